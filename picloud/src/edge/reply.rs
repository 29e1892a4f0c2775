//! Short answers of the server itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body as _, Frame, SizeHint};
use platform::StoreError;
use platform::memory::OutOfMemory;

/// The content of an answer. What an app says is whole, and is sent without a box around it.
pub(crate) enum Content {
    /// All of it; empty once it was sent.
    Whole(Bytes),
    /// What comes as it is made.
    Stream(Body),
}

impl From<Body> for Content {
    fn from(body: Body) -> Self {
        Self::Stream(body)
    }
}

impl hyper::body::Body for Content {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// A line for people, and for git, which prints it.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", text.to_owned())
}

/// A JSON object for programs.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    answer(status, "application/json", value.to_string())
}

/// Takes the content from an answer that must not have any (RFC 9110 sections 9.3.2 and 15). hyper leaves it out of HTTP/1.1
/// as far as it would be taken for the next answer, and not out of HTTP/2.
pub(crate) fn without_forbidden_content(mut response: Response<Content>, head: bool) -> Response<Content> {
    let none = matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !head && !none {
        return response;
    }
    let body = std::mem::replace(response.body_mut(), Content::Whole(Bytes::new()));
    if head
        && !none
        && let Some(length) = body.size_hint().exact()
    {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    response
}

/// What needs the database while it is away. The cause goes to the log.
pub(crate) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Response<Body> {
    tracing::error!(%error, "the store failed a request");
    let reason = StoreError::among(error)
        .map_or_else(|| "the database cannot be reached".to_owned(), StoreError::public_reason);
    let words = format!("{reason}; try again in a moment\n");
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, &words);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// When a client tries again for which there was no memory.
pub(super) const MEMORY_RETRY: Duration = Duration::from_secs(1);

/// What clients read where there is no memory for what they ask.
pub(super) fn no_memory(error: &OutOfMemory) -> &'static str {
    match error {
        OutOfMemory::App { .. } => "the app holds all the memory that it can have; try again in a moment",
        OutOfMemory::Node { .. } => "the node has no memory left; try again in a moment",
    }
}

/// An answer that says when to try again.
pub(crate) fn wait(mut response: Response<Body>, time: Duration) -> Response<Body> {
    let seconds = time.as_secs().max(1);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
