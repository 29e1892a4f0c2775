//! Short answers of the server itself.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Body as _;

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
pub(crate) fn without_forbidden_content(mut response: Response<Body>, head: bool) -> Response<Body> {
    let none = matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !head && !none {
        return response;
    }
    let body = std::mem::take(response.body_mut());
    if head
        && !none
        && let Some(length) = body.size_hint().exact()
    {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    response
}

/// What needs the database while it is away. The cause goes to the log.
pub(crate) fn unavailable(error: &dyn std::error::Error) -> Response<Body> {
    tracing::error!(%error, "the store failed a request");
    let mut response =
        text(StatusCode::SERVICE_UNAVAILABLE, "the database cannot be reached; try again in a moment\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
