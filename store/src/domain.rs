//! Domains of apps' own: what production names is a claim, and what was proven is held until it is released.
//!
//! Several apps can claim a domain, and one at most holds it. Only what an app holds and claims is served. A domain that is held stays
//! with the app while its production does not name it, so that a rollback loses nothing. An app that is deleted holds none, and has
//! its own back if it is brought back, unless another one has proven them meanwhile.

use chrono::{DateTime, Utc};
use manifest_schema::name::DomainName;
use uuid::Uuid;

use crate::audit::Actor;
use crate::column::Named;
use crate::error::{Conflict, PushError, StoreError};
use crate::id::AppId;
use crate::record::App;
use crate::{Store, either};

/// How it was proven that a domain is an app's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainProof {
    /// By a TXT record in DNS.
    Dns,
    /// By the word of an admin.
    Admin,
    /// The server believes the app that names a domain first.
    Trusted,
    /// The app had it before proofs were asked for.
    Earlier,
}

impl DomainProof {
    /// The proof as rows and programs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Admin => "admin",
            Self::Trusted => "trusted",
            Self::Earlier => "earlier",
        }
    }

    /// The proof of that name.
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
    /// Whether what is live in production names it.
    pub claimed: bool,
    /// How it was proven; `None`: it was not.
    pub proof: Option<DomainProof>,
    /// When it was proven.
    pub proven_at: Option<DateTime<Utc>>,
    /// Who has proven it, where somebody has.
    pub proven_by: Option<String>,
}

impl Domain {
    /// Whether the app answers there.
    pub fn is_served(&self) -> bool {
        self.claimed && self.proof.is_some()
    }
}

/// Why an app does not hold a domain. Nothing was changed, unless the store does not know.
#[derive(Debug, thiserror::Error)]
pub enum HoldDomainError {
    /// What is live in production does not name it.
    #[error("what is live in production does not name this domain")]
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
    /// Those of `domains` that apps other than `app` hold, each with the app's name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn taken_domains(
        &self,
        app: Option<AppId>,
        domains: &[DomainName],
    ) -> Result<Vec<(DomainName, String)>, StoreError> {
        either!(self, domains::taken_domains(app, domains))
    }

    /// The domains that an app claims or holds, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn domains(&self, app: AppId) -> Result<Vec<Domain>, StoreError> {
        either!(self, domains::domains(app))
    }

    /// Notes that it was proven that a domain which an app claims is its own. The app as it is then.
    ///
    /// # Errors
    /// The app does not claim it, another one holds it, or the database failed.
    pub async fn hold_domain(
        &self,
        app: &App,
        domain: &DomainName,
        proof: DomainProof,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<App, HoldDomainError> {
        either!(self, domains::hold_domain(app, domain, proof, node, by))
    }

    /// Has an app hold a domain no longer. The app as it is then; `None`: it did not hold it.
    ///
    /// # Errors
    /// The app is not there any more, or the database failed.
    pub async fn release_domain(
        &self,
        app: &App,
        domain: &DomainName,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<Option<App>, StoreError> {
        either!(self, domains::release_domain(app, domain, node, by))
    }
}
