//! What requests and answers of git's HTTP have in common.

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

/// How many bytes of an answer may wait for a slow client.
pub(super) const ANSWER_BUFFER: usize = 256 * 1024;

pub(super) fn protocol(headers: &HeaderMap) -> Protocol {
    Protocol::from_header(headers.get("git-protocol").and_then(|value| value.to_str().ok()))
}

/// How much of a body is inflated whatever it came as.
const RATIO_FREE: u64 = 64 * 1024;

/// A body as it was before the client compressed it.
pub(super) struct PlainBody {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    came: Arc<AtomicU64>,
    plain: u64,
    ratio_max: u64,
}

/// The body as it was before the client compressed it, which can be `ratio_max` times as long as it came, and some more. The
/// receiver's limits count what comes out.
pub(super) fn plain_body(request: Request<Body>, ratio_max: u64) -> Result<PlainBody, GitError> {
    use futures_util::TryStreamExt as _;
    let encoding = request.headers().get(header::CONTENT_ENCODING).cloned();
    let came = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&came);
    let stream = request.into_body().into_data_stream().map_err(io::Error::other);
    let stream = stream.inspect_ok(move |piece| {
        counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
    });
    let reader = StreamReader::new(stream);
    let reader: Box<dyn AsyncRead + Send + Unpin> = match encoding.as_ref().map(|value| value.as_bytes()) {
        None | Some(b"identity") => Box::new(reader),
        Some(b"gzip" | b"x-gzip") => Box::new(GzipDecoder::new(reader)),
        Some(_) => return Err(GitError::Encoding),
    };
    Ok(PlainBody { reader, came, plain: 0, ratio_max })
}

impl PlainBody {
    /// How many bytes have come, as the client compressed them.
    pub(super) fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }
}

impl AsyncRead for PlainBody {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.reader).poll_read(context, into);
        self.plain += (into.filled().len() - before) as u64;
        let ratio_max = self.ratio_max;
        if self.plain > RATIO_FREE.saturating_add(self.came().saturating_mul(ratio_max)) {
            let words =
                format!("the request becomes more than {ratio_max} times as long when it is inflated");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
        }
        read
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
