//! Short responses of the server itself.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use platform::StoreError;
use platform::memory::OutOfMemory;
use serde_json::json;

/// A line of plain text, for users and for git, which prints it.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text.to_owned())
}

/// A JSON object.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    with_type(status, "application/json", value.to_string())
}

/// 503 for a request that failed in the database. The cause is logged.
pub(crate) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Response<Body> {
    tracing::error!(%error, "request failed in the store");
    let reason = StoreError::find_in(error)
        .map_or_else(|| "cannot reach the database".to_owned(), StoreError::public_reason);
    let message = format!("{reason}; try again in a moment\n");
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, &message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// The `Retry-After` of a response for want of memory.
pub(super) const MEMORY_RETRY: Duration = Duration::from_secs(1);

/// The error message for want of memory.
pub(super) fn out_of_memory_message(error: &OutOfMemory) -> &'static str {
    match error {
        OutOfMemory::App { .. } => "the app is at its memory limit; try again in a moment",
        OutOfMemory::Node { .. } => "the node is out of memory; try again in a moment",
    }
}

/// 503 for want of memory.
pub(super) fn out_of_memory(error: &OutOfMemory) -> Response<Body> {
    let response = json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": out_of_memory_message(error)}));
    with_retry_after(response, MEMORY_RETRY)
}

/// Adds `Retry-After`.
pub(crate) fn with_retry_after(mut response: Response<Body>, time: Duration) -> Response<Body> {
    let seconds = time.as_secs().max(1);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
