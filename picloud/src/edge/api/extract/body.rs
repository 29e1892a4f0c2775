//! The JSON document of a request, read whole and checked.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::edge::api::state::Api;
use crate::edge::api_error::ApiError;
use crate::edge::body::{BodyError, read_body};
use crate::edge::reply;
use crate::rest;

/// A document that a request brings.
pub(crate) trait Input: DeserializeOwned {
    /// The largest that is read, in bytes.
    const BYTES_MAX: u64 = 64 * 1024;
    /// What is said of one that is not understood, where the cause may hold what must not be repeated.
    const CONCEALED: Option<&'static str> = None;
}

impl Input for rest::AppSettings {}
impl Input for rest::BranchSettings {}
impl Input for rest::LimitChanges {}
impl Input for rest::NewToken {}
impl Input for rest::Prune {}
impl Input for rest::RenameApp {}
impl Input for rest::Undelete {}
impl Input for rest::Rollback {}

impl Input for rest::NewSecret {
    // Every byte of a value may be written as six.
    const BYTES_MAX: u64 = 6 * platform::secrets::VALUE_MAX as u64 + 1024;
    const CONCEALED: Option<&'static str> = Some("it is {\"value\": \"…\"}");
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Input for Nothing {}

/// The JSON document of a request.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: Input> FromRequest<Api> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = whole(body, T::BYTES_MAX, api).await?;
        parse(&parts.headers, &body).map(Self)
    }
}

/// No body, or an empty object, which some clients send with every POST.
pub(crate) struct NoBody;

impl FromRequest<Api> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = whole(body, Nothing::BYTES_MAX, api).await?;
        if body.is_empty() {
            return Ok(Self);
        }
        parse(&parts.headers, &body).map(|Nothing {}| Self)
    }
}

async fn whole(body: Body, bytes_max: u64, api: &Api) -> Result<Bytes, ApiError> {
    read_body(body, bytes_max, api.bodies, &api.memory).await.map_err(|error| match error {
        BodyError::TooLarge { bytes_max } => {
            let words = format!("the document is larger than {bytes_max} bytes");
            ApiError::new(error.status(), words)
        }
        BodyError::NoMemory(_) => ApiError::unavailable(error.words(), reply::MEMORY_RETRY),
        BodyError::CutOff | BodyError::Timeout | BodyError::TooSlow { .. } => {
            ApiError::new(error.status(), error.words())
        }
    })
}

fn parse<T: Input>(headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    require_json(headers)?;
    // serde reads an array as an object's values in their order.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(ApiError::bad_request("invalid JSON document: it is an array, and has to be an object"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let why = T::CONCEALED.map_or_else(|| error.to_string(), str::to_owned);
        ApiError::bad_request(format!("invalid JSON document: {why}"))
    })
}

/// Refuses a body that is not called JSON. A page of another site can send what is called otherwise, or nothing, without being asked whether
/// it is let in.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let called = match headers.get(header::CONTENT_TYPE) {
        Some(kind) if is_json(kind) => return Ok(()),
        Some(kind) => format!("is called {}", String::from_utf8_lossy(kind.as_bytes()).escape_default()),
        None => "has no content-type".to_owned(),
    };
    let words = format!("the body {called}; send it as JSON, with  content-type: application/json");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words))
}

/// `application/json`, or a kind that is written in it.
fn is_json(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Refuses changes on a condition. None is evaluated here, and to pass one over would change what must not be changed
/// (RFC 9110 section 13.1.1).
pub(crate) async fn unless_conditional(request: Request, next: Next) -> Result<Response, ApiError> {
    let conditions = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];
    let named = conditions.iter().find(|name| request.headers().contains_key(*name));
    match named.filter(|_| !request.method().is_safe()) {
        Some(name) => {
            let words = format!("changes have no conditions here; send the request without `{name}`");
            Err(ApiError::new(StatusCode::PRECONDITION_FAILED, words))
        }
        None => Ok(next.run(request).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_media_type() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert!(is_json(&HeaderValue::from_static(json)), "{json}");
        }
        for other in ["", "text/plain", "application/x-www-form-urlencoded", "text/json"] {
            assert!(!is_json(&HeaderValue::from_static(other)), "{other}");
        }
    }
}
