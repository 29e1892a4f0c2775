//! Errors of client commands.

use super::api::ApiError;
use super::credential::CredentialError;
use super::remote::RemoteError;
use crate::hint::Hint;
use std::borrow::Cow;

/// An error of a client command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ClientError {
    /// Whether the server has rejected the request.
    pub(crate) fn is_rejection(&self) -> bool {
        matches!(self, Self::Api(ApiError::Rejected { .. }))
    }
}

impl Hint for ClientError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Remote(error) => error.hint(),
            Self::Credential(error) => error.hint(),
            Self::Api(error) => error.hint(),
        }
    }
}
