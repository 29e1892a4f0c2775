//! What requests and answers of git's HTTP have in common.

use std::io;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, header};
use git_receiver::Protocol;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::error::GitError;

/// How many bytes of an answer may wait for a slow client.
pub(super) const ANSWER_BUFFER: usize = 256 * 1024;

pub(super) fn protocol(headers: &HeaderMap) -> Protocol {
    Protocol::from_header(headers.get("git-protocol").and_then(|value| value.to_str().ok()))
}

/// The body as it was before the client compressed it. The receiver's limits count what comes out.
pub(super) fn plain_body(request: Request<Body>) -> Result<Box<dyn AsyncRead + Send + Unpin>, GitError> {
    use futures_util::TryStreamExt as _;
    let encoding = request.headers().get(header::CONTENT_ENCODING).cloned();
    let stream = request.into_body().into_data_stream().map_err(io::Error::other);
    let reader = StreamReader::new(stream);
    match encoding.as_ref().map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(Box::new(reader)),
        Some(b"gzip" | b"x-gzip") => {
            Ok(Box::new(async_compression::tokio::bufread::GzipDecoder::new(reader)))
        }
        Some(_) => Err(GitError::Encoding),
    }
}

pub(super) fn git_reply(kind: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Ok(kind) = kind.parse() {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-cache, max-age=0, must-revalidate"),
    );
    response
}
