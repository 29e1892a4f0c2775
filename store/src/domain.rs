//! Custom domains: the manifest of production claims a domain, and a verified domain is held until it is released.
//!
//! Several apps can claim a domain, but only one can hold it. A domain is served if its app holds and claims it. An
//! app keeps a domain that its production does not claim for a while, so that a rollback loses nothing. A deleted app
//! holds none; an undeleted app gets its domains back, unless another app has verified them meanwhile.

use chrono::{DateTime, Utc};
use manifest_schema::name::DomainName;
use uuid::Uuid;

use crate::audit::Actor;
use crate::error::{Conflict, PushError, StoreError};
use crate::id::AppId;
use crate::model::App;
use crate::sql_types::Named;
use crate::{Store, dispatch};

/// How a domain was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainProof {
    /// By a TXT record in DNS.
    Dns,
    /// By an admin.
    Admin,
    /// Without verification: the server trusts the first app that claims a domain.
    Trusted,
    /// Held before verification existed.
    Earlier,
}

impl DomainProof {
    /// The name in rows and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Admin => "admin",
            Self::Trusted => "trusted",
            Self::Earlier => "earlier",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Dns, Self::Admin, Self::Trusted, Self::Earlier]
            .into_iter()
            .find(|proof| proof.as_str() == name)
    }
}

/// A domain that an app claims or holds.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Domain {
    /// The domain.
    #[sqlx(try_from = "Named<DomainName>")]
    pub name: DomainName,
    /// Whether the manifest of production claims it.
    pub claimed: bool,
    /// How it was verified; `None`: it is not.
    pub proof: Option<DomainProof>,
    /// When it was verified.
    pub proven_at: Option<DateTime<Utc>>,
    /// Who verified it, if a user did.
    pub proven_by: Option<String>,
}

impl Domain {
    /// Whether the app serves the domain.
    pub fn is_served(&self) -> bool {
        self.claimed && self.proof.is_some()
    }
}

/// Why an app does not hold a domain. Nothing was changed, unless the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum HoldDomainError {
    /// The manifest of production does not claim it.
    #[error("the manifest of production does not claim this domain")]
    NotClaimed,
    /// Another app holds it.
    #[error("another app holds this domain")]
    Taken,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Conflict for HoldDomainError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

impl From<sqlx::Error> for HoldDomainError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<PushError> for HoldDomainError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::DomainTaken { .. } => Self::Taken,
            error => Self::Store(error.into_store()),
        }
    }
}

impl Store {
    /// Those of `domains` that apps other than `app` hold, with the names of these apps.
    ///
    /// # Errors
    /// The database failed.
    pub async fn taken_domains(
        &self,
        app: Option<AppId>,
        domains: &[DomainName],
    ) -> Result<Vec<(DomainName, String)>, StoreError> {
        dispatch!(self, domains::taken_domains(app, domains))
    }

    /// The domains that an app claims or holds, sorted by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn domains(&self, app: AppId) -> Result<Vec<Domain>, StoreError> {
        dispatch!(self, domains::domains(app))
    }

    /// Records that a claimed domain was verified. Returns the updated app.
    ///
    /// # Errors
    /// The app does not claim it, another app holds it, or the database failed.
    pub async fn hold_domain(
        &self,
        app: &App,
        domain: &DomainName,
        proof: DomainProof,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<App, HoldDomainError> {
        dispatch!(self, domains::hold_domain(app, domain, proof, node, by))
    }

    /// Releases a domain. Returns the updated app; `None`: the app did not hold it.
    ///
    /// # Errors
    /// The app does not exist any more, or the database failed.
    pub async fn release_domain(
        &self,
        app: &App,
        domain: &DomainName,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<Option<App>, StoreError> {
        dispatch!(self, domains::release_domain(app, domain, node, by))
    }
}
