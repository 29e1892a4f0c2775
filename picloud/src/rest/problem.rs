//! Refusals.

use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

/// What an address of the API is answered that this version does not have.
pub(crate) const NOTHING_THERE: &str = "there is nothing at this address";

/// Why a request is refused (RFC 9457).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Problem {
    /// The status of the answer.
    pub(crate) status: u16,
    /// The status in words.
    pub(crate) title: String,
    /// What is wrong, and what to do about it.
    pub(crate) detail: String,
}

/// How every request to the API may be refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it says what refusals there are, to the description of the API")]
pub(crate) enum Refusals {
    /// The request is not understood.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// A right token is needed.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The token may not do that.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no such thing, or the token may not know of it.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The body took too long.
    #[response(status = 408, content_type = "application/problem+json")]
    Timeout(Problem),
    /// It cannot be done as things are.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// Changes have no conditions.
    #[response(status = 412, content_type = "application/problem+json")]
    PreconditionFailed(Problem),
    /// The document is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The document is no JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// Too many wrong tokens came from this address.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// The server failed; its log has the cause.
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(Problem),
    /// The database cannot be reached for the moment, or the server is busy.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// The server's disk is full.
    #[response(status = 507, content_type = "application/problem+json")]
    DiskFull(Problem),
}
