//! Short answers of the server itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, SizeHint};
use platform::StoreError;
use platform::memory::{Account, OutOfMemory, Purpose};
use serde_json::json;

/// What an answer takes without holding memory of the budget. A connection of HTTP/1 has no more than one of them in its buffers, and
/// one of HTTP/2 is held to little by itself.
const UNHELD_MAX: usize = 16 * 1024;

/// How much of an answer is handed on to be sent at a time: what takes pieces copies them.
const PIECE: usize = 64 * 1024;

/// The content of an answer. What an app says is whole, and is sent without a box around it.
pub(crate) enum Content {
    /// What is left of all of it.
    Whole(Bytes),
    /// What comes as it is made.
    Stream(Body),
}

impl Content {
    /// All of `bytes`, with the memory that they take until the client has taken them.
    ///
    /// # Errors
    /// There is none left.
    pub(super) fn held(bytes: Bytes, account: &Account) -> Result<Self, OutOfMemory> {
        if bytes.len() <= UNHELD_MAX {
            return Ok(Self::Whole(bytes));
        }
        let held = account.try_reserve(Purpose::Responses, bytes.len() as u64)?;
        Ok(Self::Whole(held.into_bytes(bytes)))
    }
}

/// Marks a response whose content holds the memory that it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct HoldsMemory;

/// An answer with the memory that it takes, where it is whole and large.
pub(super) async fn held(response: Response<Body>, account: &Account) -> Response<Content> {
    let (parts, body) = response.into_parts();
    let small = |bytes: u64| bytes <= UNHELD_MAX as u64;
    if parts.extensions.get::<HoldsMemory>().is_some() || body.size_hint().exact().is_none_or(small) {
        return Response::from_parts(parts, Content::Stream(body));
    }
    let whole = match body.collect().await {
        Ok(whole) => Content::held(whole.to_bytes(), account),
        Err(error) => return unavailable(&error).map(Content::from),
    };
    match whole {
        Ok(content) => Response::from_parts(parts, content),
        Err(error) => out_of_memory(&error).map(Content::from),
    }
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
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.split_to(bytes.len().min(PIECE)))))),
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

/// The answer where there is no memory for what is asked.
pub(super) fn out_of_memory(error: &OutOfMemory) -> Response<Body> {
    wait(json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": no_memory(error)})), MEMORY_RETRY)
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
