//! Parts common to the requests and responses of git's smart HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_compression::tokio::bufread::GzipDecoder;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, header};
use git_receiver::Protocol;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use super::error::GitError;

/// How much of a response is buffered for a slow client.
pub(super) const RESPONSE_BUFFER: usize = 256 * 1024;

/// The protocol version that the client requests.
pub(super) fn protocol(headers: &HeaderMap) -> Protocol {
    Protocol::from_header(headers.get("git-protocol").and_then(|value| value.to_str().ok()))
}

/// How much of a body can be inflated at any ratio.
const RATIO_EXEMPT_BYTES: u64 = 64 * 1024;

/// A request body, decompressed.
pub(super) struct DecodedBody {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    received: Arc<AtomicU64>,
    decoded: u64,
    ratio_max: u64,
}

/// Decodes the `Content-Encoding` of a body, which can inflate to `ratio_max` times its length. Further limits apply to the decoded bytes.
pub(super) fn decode_body(request: Request<Body>, ratio_max: u64) -> Result<DecodedBody, GitError> {
    use futures_util::TryStreamExt as _;
    let encoding = request.headers().get(header::CONTENT_ENCODING).cloned();
    let received = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&received);
    let stream = request.into_body().into_data_stream().map_err(io::Error::other);
    let stream = stream.inspect_ok(move |chunk| {
        counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    });
    let reader = StreamReader::new(stream);
    let reader: Box<dyn AsyncRead + Send + Unpin> = match encoding.as_ref().map(|value| value.as_bytes()) {
        None | Some(b"identity") => Box::new(reader),
        Some(b"gzip" | b"x-gzip") => Box::new(GzipDecoder::new(reader)),
        Some(_) => return Err(GitError::Encoding),
    };
    Ok(DecodedBody { reader, received, decoded: 0, ratio_max })
}

impl DecodedBody {
    /// The received bytes, before decompression.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl AsyncRead for DecodedBody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.reader).poll_read(context, into);
        self.decoded += (into.filled().len() - before) as u64;
        let ratio_max = self.ratio_max;
        if self.decoded > RATIO_EXEMPT_BYTES.saturating_add(self.received().saturating_mul(ratio_max)) {
            let message = format!("the request inflates to more than {ratio_max} times its size");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        read
    }
}

/// A response that no cache stores, as git requires.
pub(super) fn git_response(content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Ok(content_type) = content_type.parse() {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-cache, max-age=0, must-revalidate"),
    );
    response
}
