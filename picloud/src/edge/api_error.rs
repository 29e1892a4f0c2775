//! Why a request to the control plane fails, answered as problem details (RFC 9457): the one place that says which error is which
//! status. What only its operator may read goes to the log.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use manifest_schema::name::{AppName, NameError};
use platform::StoreError;
use platform::activation::RETRY;
use platform::collection::{CollectError, PruneError};
use platform::deploy::{
    HoldDomainError, LimitsError, NameAppError, NotUnset, ProveDomainError, RollbackError, StopAppError,
    UndeleteError,
};
use platform::domains::ProofError;
use platform::schedules::NotRun;
use platform::secrets::SecretError;
use platform::tokens::{NotCreated, ScopeError};
use serde_json::json;
use tokio::task::JoinError;

use super::credentials::Refused;
use super::reply;
use crate::rest;
use crate::words::store_failure;

/// When a client tries again that needs the database.
const DATABASE_RETRY: Duration = Duration::from_secs(5);

/// When a client tries again for which DNS could not be asked.
const DNS_RETRY: Duration = Duration::from_secs(10);

/// A request that is not done, and why.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// For the log.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), retry_after: None, cause: None }
    }

    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// The token is right and has not this scope.
    pub(super) fn missing_scope(scope: impl fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("this token may not do that; it needs the scope {scope}"))
    }

    pub(super) fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    pub(super) fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let words = "the server failed; its log has the cause";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, words).caused_by(cause)
    }

    pub(super) const NO_APP: &str = "there is no such app, or nothing of it is live";
    pub(super) const NO_BRANCH: &str = "nothing is live on that branch";

    /// There is no such app, or the token may not know of it.
    pub(super) fn no_app() -> Self {
        Self::not_found(Self::NO_APP)
    }

    pub(super) fn no_branch() -> Self {
        Self::not_found(Self::NO_BRANCH)
    }

    /// The app is there, and this node cannot load it.
    pub(super) fn unserved() -> Self {
        let words = "this node cannot serve the app at the moment; GET /-/health/ready says why";
        Self::unavailable(words, RETRY)
    }

    /// The app is there, and an admin has stopped it.
    pub(super) fn stopped(app: &AppName) -> Self {
        Self::conflict(format!("the app is stopped; start it with  picloud apps start {app}"))
    }

    fn caused_by(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let Self { status, detail, retry_after, cause } = self;
        if let Some(error) = cause {
            tracing::error!(%error, "a request to the API failed");
        }
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        let problem = rest::Problem { status: status.as_u16(), title, detail: detail.into_owned() };
        let mut response = reply::json(status, &json!(problem));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match retry_after {
            Some(time) => reply::wait(response, time),
            None => response,
        }
    }
}

/// What needs the database while it is away, or fails in it.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let words = store_failure(&error);
        let refused = match &error {
            StoreError::NoApp => return Self::no_app(),
            StoreError::DiskFull => Self::new(StatusCode::INSUFFICIENT_STORAGE, words),
            StoreError::OutcomeUnknown => Self::new(StatusCode::SERVICE_UNAVAILABLE, words),
            error if error.is_unavailable() => Self::unavailable(words, DATABASE_RETRY),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, words),
        };
        refused.caused_by(error)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Missing | Refused::Wrong => {
                Self::new(StatusCode::UNAUTHORIZED, "a right token is needed as bearer")
            }
            Refused::Basic => Self::new(
                StatusCode::UNAUTHORIZED,
                "the API takes tokens as bearer (Authorization: Bearer TOKEN); user names and passwords are for git",
            ),
            Refused::Expired => Self::new(StatusCode::UNAUTHORIZED, "the token has expired"),
            Refused::TooMany { wait } => Self {
                retry_after: Some(wait),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many wrong tokens came from this address; try again later",
                )
            },
            Refused::Unknown(error) => error.into(),
        }
    }
}

/// What an address names by a name that cannot be one.
impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// A task that was to carry something out panicked.
impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        Self::internal(error)
    }
}

impl From<ScopeError> for ApiError {
    fn from(error: ScopeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<NotCreated> for ApiError {
    fn from(error: NotCreated) -> Self {
        match error {
            NotCreated::Taken => Self::conflict(error.to_string()),
            NotCreated::Name | NotCreated::Lifetime => Self::bad_request(error.to_string()),
            NotCreated::Random(_) => Self::internal(error),
            NotCreated::Store(error) => error.into(),
        }
    }
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Store(error) => error.into(),
            SecretError::Value => Self::bad_request(error.to_string()),
            SecretError::TooMany => Self::conflict(error.to_string()),
            SecretError::Key(_) | SecretError::Seal(_) => Self::conflict(error.to_string()).caused_by(error),
        }
    }
}

impl From<LimitsError> for ApiError {
    fn from(error: LimitsError) -> Self {
        match error {
            LimitsError::Range(error) => Self::bad_request(error.to_string()),
            LimitsError::Store(error) => error.into(),
        }
    }
}

impl From<StopAppError> for ApiError {
    fn from(error: StopAppError) -> Self {
        match error {
            StopAppError::OlderNode => Self::conflict(error.to_string()),
            StopAppError::Store(error) => error.into(),
        }
    }
}

impl From<NameAppError> for ApiError {
    fn from(error: NameAppError) -> Self {
        match error {
            NameAppError::NotThere => Self::not_found(error.to_string()),
            NameAppError::Taken(_) | NameAppError::DomainTaken(_) => Self::conflict(error.to_string()),
            NameAppError::Store(error) => error.into(),
        }
    }
}

impl From<ProveDomainError> for ApiError {
    fn from(error: ProveDomainError) -> Self {
        match error {
            ProveDomainError::Hold(HoldDomainError::Store(error)) => error.into(),
            ProveDomainError::Hold(HoldDomainError::NotClaimed) => Self::not_found(error.to_string()),
            ProveDomainError::OwnName(_)
            | ProveDomainError::Hold(HoldDomainError::Taken)
            | ProveDomainError::Proof(ProofError::NoRecord(_)) => Self::conflict(error.to_string()),
            ProveDomainError::Proof(ProofError::Lookup { record, source }) => {
                Self::unavailable(format!("cannot ask DNS for {record}: {source}"), DNS_RETRY)
            }
        }
    }
}

impl From<UndeleteError> for ApiError {
    fn from(error: UndeleteError) -> Self {
        match error {
            UndeleteError::Name(error) => error.into(),
            UndeleteError::Load(_) => Self::conflict(error.to_string()),
        }
    }
}

impl From<PruneError> for ApiError {
    fn from(PruneError::Collect(error): PruneError) -> Self {
        match error {
            CollectError::Store(error) => error.into(),
            CollectError::Busy | CollectError::OlderNode => Self::conflict(error.to_string()),
            CollectError::Memory(_) => {
                Self::unavailable("the server has no memory left for that", DATABASE_RETRY).caused_by(error)
            }
            CollectError::Read(_) => Self::internal(error),
        }
    }
}

impl From<NotUnset> for ApiError {
    fn from(error: NotUnset) -> Self {
        match error {
            NotUnset::InUse { .. } => Self::conflict(error.to_string()),
            NotUnset::Secret(error) => error.into(),
        }
    }
}

impl From<NotRun> for ApiError {
    fn from(error: NotRun) -> Self {
        match error {
            NotRun::Overlaps(_) | NotRun::NotLive => Self::conflict(error.to_string()),
            NotRun::Store(error) => error.into(),
        }
    }
}

impl From<RollbackError> for ApiError {
    fn from(error: RollbackError) -> Self {
        match error {
            RollbackError::UnknownApp | RollbackError::UnknownDeploy(_) | RollbackError::Pruned(_) => {
                Self::not_found(error.to_string())
            }
            RollbackError::Message => Self::bad_request(error.to_string()),
            RollbackError::NothingLive | RollbackError::NothingBefore | RollbackError::Live(_) => {
                Self::conflict(error.to_string())
            }
            RollbackError::Store(error) => error.into(),
        }
    }
}
