//! Error responses.

use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

/// The error detail for an unknown path.
pub(crate) const NOT_FOUND: &str = "not found";

/// An error response (RFC 9457).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: u16,
    /// Name of the status.
    pub(crate) title: String,
    /// The error and how to resolve it.
    pub(crate) detail: String,
    /// The entry of an import that the error concerns, counted from 0; absent if it concerns no single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<usize>,
}

/// The error responses of all requests to the API.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only documents the error responses in the OpenAPI description")]
pub(crate) enum ErrorResponses {
    /// Invalid request.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// Missing or invalid token.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The token lacks the required scope.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// Not found, or the token has no access.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Request body timeout.
    #[response(status = 408, content_type = "application/problem+json")]
    Timeout(Problem),
    /// Conflicts with the current state.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// Conditional changes are not supported.
    #[response(status = 412, content_type = "application/problem+json")]
    PreconditionFailed(Problem),
    /// Request body too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The request body is not JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// A value does not fit, or a limit of the state is reached.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(Problem),
    /// Too many invalid tokens from this address.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// Internal error; the log of the server has the cause.
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(Problem),
    /// The database is unavailable, or the server is busy.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// The disk of the server is full.
    #[response(status = 507, content_type = "application/problem+json")]
    DiskFull(Problem),
}
