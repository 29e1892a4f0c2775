//! The errors of the control plane, as problem details (RFC 9457). The one place that maps errors to statuses. Causes that only the operator
//! should read are logged instead.

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
use platform::activation::RETRY_INTERVAL;
use platform::deploy::{
    HoldDomainError, LimitsError, RenameAppError, RollbackError, StopAppError, UndeleteError,
    UnsetSecretError, VerifyDomainError,
};
use platform::domains::VerificationError;
use platform::gc::{GcError, PruneError};
use platform::schedules::RunNowError;
use platform::secrets::SecretError;
use platform::state::AdministrationError;
use platform::tokens::{CreateTokenError, ScopeError};
use serde_json::json;
use tokio::task::JoinError;

use super::authenticator::AuthError;
use super::response;
use crate::api_types;
use crate::render::store_failure;

/// The `Retry-After` while the database is unavailable.
const DATABASE_RETRY: Duration = Duration::from_secs(5);

/// The `Retry-After` while the state of an app cannot be read or stored, as for its scripts.
const STATE_RETRY: Duration = Duration::from_secs(1);

/// The `Retry-After` of a failed DNS lookup.
const DNS_RETRY: Duration = Duration::from_secs(10);

/// A failed request to the control plane.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// The entry of an import that the error concerns.
    entry: Option<usize>,
    /// The cause, for the log.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), retry_after: None, entry: None, cause: None }
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

    /// The token is valid but lacks a scope.
    pub(super) fn missing_scope(scope: impl fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("this token cannot do that; it needs the scope {scope}"))
    }

    /// A value that does not fit.
    pub(super) fn unprocessable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// The error of an entry of an import.
    pub(super) fn at_entry(self, entry: usize) -> Self {
        Self { entry: Some(entry), ..self }
    }

    pub(super) fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    pub(super) fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let message = "internal error; the cause is in the server's log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message).caused_by(cause)
    }

    pub(super) const NO_APP: &str = "app not found, or no revision of it is live";
    pub(super) const NO_BRANCH: &str = "branch not found, or no revision of it is live";

    /// The app does not exist, or the token has no access to it.
    pub(super) fn no_app() -> Self {
        Self::not_found(Self::NO_APP)
    }

    pub(super) fn no_branch() -> Self {
        Self::not_found(Self::NO_BRANCH)
    }

    /// The app exists, but this node cannot load it.
    pub(super) fn unserved() -> Self {
        let message = "the app is unavailable on this node; see GET /-/health/ready for the cause";
        Self::unavailable(message, RETRY_INTERVAL)
    }

    /// An admin has stopped the app.
    pub(super) fn stopped(app: &AppName) -> Self {
        Self::conflict(format!("the app is stopped; start it with  picloud apps start {app}"))
    }

    fn caused_by(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let Self { status, detail, retry_after, entry, cause } = self;
        if let Some(error) = cause {
            tracing::error!(%error, "API request failed");
        }
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        let detail = detail.into_owned();
        let problem = api_types::Problem { status: status.as_u16(), title, detail, entry };
        let mut response = response::json(status, &json!(problem));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match retry_after {
            Some(time) => response::with_retry_after(response, time),
            None => response,
        }
    }
}

/// Failures of the database, or while it is unavailable.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = store_failure(&error);
        let api_error = match &error {
            StoreError::NoApp => return Self::no_app(),
            StoreError::DiskFull => Self::new(StatusCode::INSUFFICIENT_STORAGE, message),
            StoreError::OutcomeUnknown => Self::new(StatusCode::SERVICE_UNAVAILABLE, message),
            error if error.is_unavailable() => Self::unavailable(message, DATABASE_RETRY),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        };
        api_error.caused_by(error)
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing | AuthError::Invalid => {
                Self::new(StatusCode::UNAUTHORIZED, "missing or invalid bearer token")
            }
            AuthError::BasicNotAllowed => Self::new(
                StatusCode::UNAUTHORIZED,
                "the API requires a bearer token (Authorization: Bearer TOKEN); Basic authentication is for git only",
            ),
            AuthError::Expired => Self::new(StatusCode::UNAUTHORIZED, "the token has expired"),
            AuthError::RateLimited { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many invalid tokens from this address; try again later",
                )
            },
            AuthError::Unavailable(error) => error.into(),
        }
    }
}

/// An invalid name in the path.
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

/// A panic in the task of a request.
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

impl From<CreateTokenError> for ApiError {
    fn from(error: CreateTokenError) -> Self {
        match error {
            CreateTokenError::Taken => Self::conflict(error.to_string()),
            CreateTokenError::Name | CreateTokenError::Lifetime => Self::bad_request(error.to_string()),
            CreateTokenError::Random(_) => Self::internal(error),
            CreateTokenError::Store(error) => error.into(),
        }
    }
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Store(error) => error.into(),
            SecretError::Value => Self::bad_request(error.to_string()),
            SecretError::TooMany => Self::conflict(error.to_string()),
            SecretError::Key(_) | SecretError::Cipher(_) => {
                Self::conflict(error.to_string()).caused_by(error)
            }
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

impl From<RenameAppError> for ApiError {
    fn from(error: RenameAppError) -> Self {
        match error {
            RenameAppError::NotFound => Self::not_found(error.to_string()),
            RenameAppError::Taken(_) | RenameAppError::DomainTaken(_) => Self::conflict(error.to_string()),
            RenameAppError::Store(error) => error.into(),
        }
    }
}

impl From<VerifyDomainError> for ApiError {
    fn from(error: VerifyDomainError) -> Self {
        match error {
            VerifyDomainError::Hold(HoldDomainError::Store(error)) => error.into(),
            VerifyDomainError::Hold(HoldDomainError::NotClaimed) => Self::not_found(error.to_string()),
            VerifyDomainError::ServerName(_)
            | VerifyDomainError::Hold(HoldDomainError::Taken)
            | VerifyDomainError::Verification(VerificationError::NoRecord(_)) => {
                Self::conflict(error.to_string())
            }
            VerifyDomainError::Verification(VerificationError::Lookup { record, source }) => {
                Self::unavailable(format!("cannot look up {record} in DNS: {source}"), DNS_RETRY)
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
            GcError::Store(error) => error.into(),
            GcError::Busy | GcError::OlderNode => Self::conflict(error.to_string()),
            GcError::Memory(_) => {
                Self::unavailable("the server is out of memory", DATABASE_RETRY).caused_by(error)
            }
            GcError::Read(_) => Self::internal(error),
        }
    }
}

impl From<UnsetSecretError> for ApiError {
    fn from(error: UnsetSecretError) -> Self {
        match error {
            UnsetSecretError::InUse { .. } => Self::conflict(error.to_string()),
            UnsetSecretError::Secret(error) => error.into(),
        }
    }
}

impl From<RunNowError> for ApiError {
    fn from(error: RunNowError) -> Self {
        match error {
            RunNowError::Overlaps(_) | RunNowError::NotLive => Self::conflict(error.to_string()),
            RunNowError::Store(error) => error.into(),
        }
    }
}

impl From<AdministrationError> for ApiError {
    fn from(error: AdministrationError) -> Self {
        match error {
            AdministrationError::Rejected(message) => Self::unprocessable(message),
            AdministrationError::Unavailable(message) => Self::unavailable(message, STATE_RETRY),
            AdministrationError::Store(error) if error.is_unavailable() => {
                Self::unavailable(store_failure(&error), STATE_RETRY).caused_by(error)
            }
            AdministrationError::Store(error) => error.into(),
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
            RollbackError::NotLive | RollbackError::NoEarlierDeploy | RollbackError::Live(_) => {
                Self::conflict(error.to_string())
            }
            RollbackError::Store(error) => error.into(),
        }
    }
}
