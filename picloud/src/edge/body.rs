//! The body of a request, read whole.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::json;

use super::reply;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge { bytes_max: u64 },
    CutOff,
    Timeout,
}

/// Reads a body of at most `bytes_max` bytes within `time`.
pub(super) async fn read_body<B>(body: B, bytes_max: u64, time: Duration) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // A body that says how long it is need not be asked for.
    if body.size_hint().lower() > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    match Box::pin(tokio::time::timeout(time, Limited::new(body, limit).collect())).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { bytes_max }),
        Ok(Err(_)) => Err(BodyError::CutOff),
        Err(_) => Err(BodyError::Timeout),
    }
}

impl BodyError {
    /// The same to someone who has called a script.
    pub(super) fn answer(self) -> Response<Body> {
        let (status, words) = match self {
            Self::TooLarge { bytes_max } => {
                let words = json!({"error": "body too large", "limit": bytes_max});
                (StatusCode::PAYLOAD_TOO_LARGE, words)
            }
            Self::CutOff => (StatusCode::BAD_REQUEST, json!({"error": "the body was cut off"})),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, json!({"error": "the body took too long"})),
        };
        reply::json(status, &words)
    }
}
