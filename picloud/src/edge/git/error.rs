//! Why a request to a repository is refused: the status, and a line that git prints to its user.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use git_receiver::{ReceiveError, RepositoryError};
use manifest_schema::name::{AppName, NameError};
use platform::StoreError;
use platform::deploy::Rejection;
use platform::memory::OutOfMemory;
use platform::tokens::Right;

use super::spool::{GAVE_WAY, SpoolError};
use crate::edge::credentials::Refused;
use crate::edge::reply;

/// A request that git is refused, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// The app's name breaks its rule.
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{}", unauthorized(.0))]
    Unauthorized(Refused),
    /// The app is not there, or whoever asks may not know that it is.
    #[error("there is no app {0}, or this token may nothing with it")]
    Unknown(AppName),
    /// The app is not there, and may be created.
    #[error("there is no app {0}; the first push creates it")]
    PushedFirst(AppName),
    /// The app is not there, and may be created, but not by a push.
    #[error(
        "there is no app {0}, and this server creates none on a push; do it with  picloud apps create {0}"
    )]
    CreatedByHand(AppName),
    /// Whoever asks may something else with the app.
    #[error("this token may not {what} {app}; it needs the scope {}", right.scope(app))]
    Forbidden { app: AppName, what: &'static str, right: Right },
    #[error("this address is for git: clone, fetch or push it")]
    Address,
    /// Git LFS is asked for, which keeps files apart from the repository.
    #[error(
        "this server keeps no files apart from their repository (Git LFS); commit them as they are: git lfs migrate export"
    )]
    LargeFiles,
    #[error("only gzip is understood as content encoding")]
    Encoding,
    #[error("only {0} is understood as content type")]
    ContentType(&'static str),
    #[error("the request is too large")]
    TooLarge,
    #[error("the request took too long to arrive")]
    Slow,
    #[error("{0}")]
    Cut(std::io::Error),
    #[error("too many pushes of this token are arriving; push again in a moment")]
    TooManyPushes,
    #[error("too many fetches of this token are answered already; fetch again in a moment")]
    TooManyFetches,
    /// Others, who had fewer, wanted its place.
    #[error("{GAVE_WAY}")]
    GaveWay,
    #[error("{}", reply::no_memory(.0))]
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
    /// Why a push is rejected by which this happens before it is read; `None` for what git shows as an answer of HTTP (that nobody is
    /// let in, and that there is no such thing), and for what is no push.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        Some(match self {
            Self::TooManyPushes => Rejection::TooManyPushes,
            Self::NoMemory(refused) => Rejection::NoMemory(*refused),
            Self::Store(error) | Self::Unauthorized(Refused::Unknown(error)) => unavailable(error),
            Self::Repository(error) => unavailable(error),
            _ => return None,
        })
    }
}

/// What needs the database while it is away. The cause goes to the log.
fn unavailable(error: &(dyn std::error::Error + 'static)) -> Rejection {
    match StoreError::among(error) {
        Some(cause) if cause.is_unavailable() => {
            tracing::warn!(%error, "the database failed a push");
            Rejection::Unavailable { why: cause.public_reason() }
        }
        _ => {
            let incident = uuid::Uuid::new_v4();
            tracing::error!(%incident, %error, "push failed");
            Rejection::Internal { incident }
        }
    }
}

fn unauthorized(refused: &Refused) -> &'static str {
    match refused {
        Refused::Missing => "a token is needed: give it as the password, with any user name",
        Refused::Basic | Refused::Wrong => "the token is wrong",
        Refused::Expired => "the token has expired",
        Refused::TooMany { .. } => "too many wrong tokens came from this address; try again later",
        Refused::Unknown(_) => "the database cannot be reached",
    }
}

impl IntoResponse for GitError {
    fn into_response(self) -> Response<Body> {
        let status = match &self {
            Self::Store(error) | Self::Unauthorized(Refused::Unknown(error)) => {
                return reply::unavailable(error);
            }
            Self::Repository(error) => return reply::unavailable(error),
            Self::Unauthorized(Refused::TooMany { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Unknown(_) | Self::PushedFirst(_) | Self::CreatedByHand(_) | Self::Address => {
                StatusCode::NOT_FOUND
            }
            Self::Encoding | Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            // Of all statuses, the one that Git LFS neither repeats nor takes for its own fault.
            Self::LargeFiles => StatusCode::NOT_IMPLEMENTED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow | Self::NotReceived(SpoolError::Slow) => StatusCode::REQUEST_TIMEOUT,
            Self::Name(_) | Self::Cut(_) | Self::NotAPush(_) | Self::NotReceived(SpoolError::Cut(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::NotReceived(SpoolError::GaveWay) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyPushes | Self::TooManyFetches | Self::GaveWay | Self::NoMemory(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NotReceived(SpoolError::NoRoom | SpoolError::Keep(_)) => StatusCode::INSUFFICIENT_STORAGE,
        };
        let mut response = reply::text(status, &format!("{self}\n"));
        if let Self::LargeFiles = self {
            let message = serde_json::json!({ "message": self.to_string() });
            response = reply::json(status, &message);
            let kind = HeaderValue::from_static("application/vnd.git-lfs+json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        match self {
            Self::Unauthorized(Refused::TooMany { wait }) => reply::wait(response, wait),
            Self::NotReceived(SpoolError::GaveWay)
            | Self::TooManyPushes
            | Self::TooManyFetches
            | Self::GaveWay
            | Self::NoMemory(_) => reply::wait(response, reply::MEMORY_RETRY),
            Self::Unauthorized(_) => {
                let challenge = HeaderValue::from_static("Basic realm=\"picloud\", charset=\"UTF-8\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response
            }
            _ => response,
        }
    }
}
