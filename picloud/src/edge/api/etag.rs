//! Conditional GET: a response that the client has cached is not sent again (RFC 9110 section 13.1.2).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use http_body_util::BodyExt as _;

/// Adds an ETag to responses to GET, and responds 304 where it matches `If-None-Match`.
pub(super) async fn conditional_get(request: Request, next: Next) -> Response<Body> {
    let is_get = *request.method() == Method::GET;
    let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // Everything else is an error or a stream.
    if !is_get || response.status() != StatusCode::OK || kind != Some("application/json") {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The body is complete; reading it cannot fail.
    let body = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let tag = tag(&body);
    let is_cached = if_none_match.is_some_and(|tags| matches(&tags, &tag));
    parts.headers.insert(header::ETAG, tag);
    if is_cached {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

/// A weak ETag: equal for equal bodies on all nodes of one version.
fn tag(body: &Bytes) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("W/\"{:016x}\"", hasher.finish());
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("W/\"\""))
}

/// Whether `If-None-Match` contains the tag, or is `*`.
fn matches(tags: &HeaderValue, tag: &HeaderValue) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let (Ok(tags), Ok(tag)) = (tags.to_str(), tag.to_str()) else { return false };
    tags.trim() == "*" || tags.split(',').any(|cached| weak(cached) == weak(tag))
}
