//! The errors of requests to repositories: the status, and a line that git prints.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use git_receiver::{ReceiveError, RepositoryError};
use manifest_schema::name::{AppName, NameError};
use platform::StoreError;
use platform::deploy::Rejection;
use platform::memory::OutOfMemory;
use platform::tokens::Right;

use super::spool::{EVICTED, SpoolError};
use crate::edge::authenticator::AuthError;
use crate::edge::response;

/// A failed request to a repository.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// The app's name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{}", unauthorized(.0))]
    Unauthorized(AuthError),
    /// The app does not exist, or the caller must not learn that it does.
    #[error("app {0} not found, or this token has no access to it")]
    NotFound(AppName),
    /// The app does not exist; the caller can create it with a push.
    #[error("app {0} not found; the first push creates it")]
    CreatedByPush(AppName),
    /// The app does not exist; the caller can create it, but not with a push.
    #[error(
        "app {0} not found, and pushes do not create apps on this server; create it with  picloud apps create {0}"
    )]
    CreatedByHand(AppName),
    /// The token has other scopes for the app.
    #[error("this token cannot {what} {app}; it needs the scope {}", right.scope(app))]
    Forbidden { app: AppName, what: &'static str, right: Right },
    #[error("this URL is for git: use it with git clone, fetch or push")]
    NotGit,
    /// A request of Git LFS.
    #[error("this server does not support Git LFS; commit the files themselves: git lfs migrate export")]
    LargeFiles,
    #[error("unsupported content encoding; only gzip is supported")]
    Encoding,
    #[error("unsupported content type; expected {0}")]
    ContentType(&'static str),
    #[error("request too large")]
    TooLarge,
    #[error("request timeout: the client sends too slowly")]
    Timeout,
    #[error("{0}")]
    Disconnected(std::io::Error),
    #[error("too many concurrent pushes of this token; push again in a moment")]
    TooManyPushes,
    #[error("too many concurrent fetches of this token; fetch again in a moment")]
    TooManyFetches,
    /// Evicted for a holder with fewer slots.
    #[error("{EVICTED}")]
    Evicted,
    #[error("{}", response::out_of_memory_message(.0))]
    NoMemory(#[from] OutOfMemory),
    #[error(transparent)]
    NotReceived(SpoolError),
    #[error(transparent)]
    NotAPush(ReceiveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

impl GitError {
    /// The rejection of a push that fails before it is read; `None` for errors that git shows as HTTP errors, such as 401 and 404.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        Some(match self {
            Self::TooManyPushes => Rejection::TooManyPushes,
            Self::NoMemory(error) => Rejection::NoMemory(*error),
            Self::Store(error) | Self::Unauthorized(AuthError::Unavailable(error)) => unavailable(error),
            Self::Repository(error) => unavailable(error),
            _ => return None,
        })
    }
}

/// A failure of the database, or while it is unavailable. The cause is logged.
fn unavailable(error: &(dyn std::error::Error + 'static)) -> Rejection {
    match StoreError::find_in(error) {
        Some(cause) if cause.is_unavailable() => {
            tracing::warn!(%error, "push failed in the database");
            Rejection::Unavailable { reason: cause.public_reason() }
        }
        _ => {
            let incident = uuid::Uuid::new_v4();
            tracing::error!(%incident, %error, "push failed");
            Rejection::Internal { incident }
        }
    }
}

fn unauthorized(error: &AuthError) -> &'static str {
    match error {
        AuthError::Missing => "token required: enter it as the password, with any user name",
        AuthError::BasicNotAllowed | AuthError::Invalid => "invalid token",
        AuthError::Expired => "the token has expired",
        AuthError::RateLimited { .. } => "too many invalid tokens from this address; try again later",
        AuthError::Unavailable(_) => "cannot reach the database",
    }
}

impl IntoResponse for GitError {
    fn into_response(self) -> Response<Body> {
        let status = match &self {
            Self::Store(error) | Self::Unauthorized(AuthError::Unavailable(error)) => {
                return response::unavailable(error);
            }
            Self::Repository(error) => return response::unavailable(error),
            Self::Unauthorized(AuthError::RateLimited { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::CreatedByPush(_) | Self::CreatedByHand(_) | Self::NotGit => {
                StatusCode::NOT_FOUND
            }
            Self::Encoding | Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            // The status that Git LFS neither retries nor reports as its own error.
            Self::LargeFiles => StatusCode::NOT_IMPLEMENTED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout | Self::NotReceived(SpoolError::Timeout) => StatusCode::REQUEST_TIMEOUT,
            Self::Name(_)
            | Self::Disconnected(_)
            | Self::NotAPush(_)
            | Self::NotReceived(SpoolError::Disconnected(_)) => StatusCode::BAD_REQUEST,
            Self::NotReceived(SpoolError::Evicted) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyPushes | Self::TooManyFetches | Self::Evicted | Self::NoMemory(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NotReceived(SpoolError::NoSpace | SpoolError::Storage(_)) => {
                StatusCode::INSUFFICIENT_STORAGE
            }
        };
        let mut response = response::text(status, &format!("{self}\n"));
        if let Self::LargeFiles = self {
            let message = serde_json::json!({ "message": self.to_string() });
            response = response::json(status, &message);
            let kind = HeaderValue::from_static("application/vnd.git-lfs+json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        match self {
            Self::Unauthorized(AuthError::RateLimited { retry_after }) => {
                response::with_retry_after(response, retry_after)
            }
            Self::NotReceived(SpoolError::Evicted)
            | Self::TooManyPushes
            | Self::TooManyFetches
            | Self::Evicted
            | Self::NoMemory(_) => response::with_retry_after(response, response::MEMORY_RETRY),
            Self::Unauthorized(_) => {
                let challenge = HeaderValue::from_static("Basic realm=\"picloud\", charset=\"UTF-8\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response
            }
            _ => response,
        }
    }
}
