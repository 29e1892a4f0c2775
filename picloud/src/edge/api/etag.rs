//! Answers that a client has already are not sent again (RFC 9110 section 13.1.2).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use http_body_util::BodyExt as _;

/// Gives answers to GET an ETag, and leaves out what the client says that it has.
pub(super) async fn unless_known(request: Request, next: Next) -> Response<Body> {
    let asks = *request.method() == Method::GET;
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // Anything else is a refusal, or a stream.
    if !asks || response.status() != StatusCode::OK || kind != Some("application/json") {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // What is answered here was made whole; reading it cannot fail.
    let body = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let tag = tag(&body);
    let is_known = known.is_some_and(|known| names(&known, &tag));
    parts.headers.insert(header::ETAG, tag);
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

/// The same for the same bytes, on every node of the same version.
fn tag(body: &Bytes) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("W/\"{:016x}\"", hasher.finish());
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("W/\"\""))
}

/// Whether a list of tags, or `*`, names this one.
fn names(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let (Ok(known), Ok(tag)) = (known.to_str(), tag.to_str()) else { return false };
    known.trim() == "*" || known.split(',').any(|known| weak(known) == weak(tag))
}
