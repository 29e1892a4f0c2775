//! The JSON body of a request.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api_types;
use crate::edge::api::state::Api;
use crate::edge::api_error::ApiError;
use crate::edge::read_body::{BodyError, read_body};
use crate::edge::response;

/// A type of a JSON body.
pub(crate) trait Input: DeserializeOwned {
    /// The maximum size of the body.
    const BYTES_MAX: u64 = 64 * 1024;
    /// Replaces the cause in the error for an invalid body, where the cause can quote a secret.
    const CONCEALED_CAUSE: Option<&'static str> = None;
}

impl Input for api_types::AppSettings {}
impl Input for api_types::BranchSettings {}
impl Input for api_types::LimitChanges {}
impl Input for api_types::NewToken {}
impl Input for api_types::Prune {}
impl Input for api_types::RenameApp {}
impl Input for api_types::Undelete {}
impl Input for api_types::Rollback {}

/// A value has at most a mebibyte; Base64 and escapes make it longer.
impl Input for api_types::NewKvValue {
    const BYTES_MAX: u64 = 8 * 1024 * 1024;
}

/// What one transaction stores, with room for Base64 and escapes.
impl Input for api_types::KvEntries {
    const BYTES_MAX: u64 = 16 * 1024 * 1024;
}

impl Input for api_types::NewSecret {
    // A JSON escape has up to six bytes per byte of the value.
    const BYTES_MAX: u64 = 6 * platform::secrets::VALUE_BYTES_MAX as u64 + 1024;
    const CONCEALED_CAUSE: Option<&'static str> = Some("expected {\"value\": \"…\"}");
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl Input for Empty {}

/// The JSON body of a request.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: Input> FromRequest<Api> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = read(body, T::BYTES_MAX, api).await?;
        parse(&parts.headers, &body).map(Self)
    }
}

/// No body, or an empty object, which some clients send with every POST.
pub(crate) struct NoBody;

impl FromRequest<Api> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = read(body, Empty::BYTES_MAX, api).await?;
        if body.is_empty() {
            return Ok(Self);
        }
        parse(&parts.headers, &body).map(|Empty {}| Self)
    }
}

async fn read(body: Body, bytes_max: u64, api: &Api) -> Result<Bytes, ApiError> {
    read_body(body, bytes_max, api.bodies, &api.memory).await.map_err(|error| match error {
        BodyError::TooLarge { bytes_max } => {
            let message = format!("the body is larger than {bytes_max} bytes");
            ApiError::new(error.status(), message)
        }
        BodyError::NoMemory(_) => ApiError::unavailable(error.message(), response::MEMORY_RETRY),
        BodyError::Incomplete | BodyError::Timeout | BodyError::TooSlow { .. } => {
            ApiError::new(error.status(), error.message())
        }
    })
}

fn parse<T: Input>(headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    require_json(headers)?;
    // serde would accept an array of the values.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(ApiError::bad_request("invalid JSON body: expected an object, found an array"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let cause = T::CONCEALED_CAUSE.map_or_else(|| error.to_string(), str::to_owned);
        ApiError::bad_request(format!("invalid JSON body: {cause}"))
    })
}

/// Rejects a body without a JSON content type. A page of another site can send other types without a CORS preflight.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let problem = match headers.get(header::CONTENT_TYPE) {
        Some(value) if is_json(value) => return Ok(()),
        Some(value) => {
            format!("unsupported content type {}", String::from_utf8_lossy(value.as_bytes()).escape_default())
        }
        None => "missing content type".to_owned(),
    };
    let message = format!("{problem}; send JSON with  content-type: application/json");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

/// Whether this is `application/json` or a type with the suffix `+json`.
fn is_json(content_type: &HeaderValue) -> bool {
    let content_type = content_type.to_str().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Rejects conditional changes. Preconditions are not supported, and ignoring one would make a change that the client wants to prevent
/// (RFC 9110 section 13.1.1).
pub(crate) async fn reject_preconditions(request: Request, next: Next) -> Result<Response, ApiError> {
    let conditions = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];
    let found = conditions.iter().find(|name| request.headers().contains_key(*name));
    match found.filter(|_| !request.method().is_safe()) {
        Some(name) => {
            let message = format!("conditional changes are not supported; send the request without `{name}`");
            Err(ApiError::new(StatusCode::PRECONDITION_FAILED, message))
        }
        None => Ok(next.run(request).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_media_types_are_recognized() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert!(is_json(&HeaderValue::from_static(json)), "{json}");
        }
        for other in ["", "text/plain", "application/x-www-form-urlencoded", "text/json"] {
            assert!(!is_json(&HeaderValue::from_static(other)), "{other}");
        }
    }
}
