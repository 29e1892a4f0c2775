//! Why a request to a repository is refused: the status, and a line that git prints to its user.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use git_receiver::{ReceiveError, RepositoryError};
use manifest_schema::name::{AppName, NameError};
use platform::StoreError;
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
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow | Self::NotReceived(SpoolError::Slow) => StatusCode::REQUEST_TIMEOUT,
            Self::Name(_) | Self::Cut(_) | Self::NotAPush(_) | Self::NotReceived(SpoolError::Cut(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::NotReceived(SpoolError::GaveWay) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyPushes | Self::TooManyFetches | Self::GaveWay | Self::NoMemory(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NotReceived(SpoolError::NoRoom { .. } | SpoolError::Keep { .. }) => {
                StatusCode::INSUFFICIENT_STORAGE
            }
        };
        let mut response = reply::text(status, &format!("{self}\n"));
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
