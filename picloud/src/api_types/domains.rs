//! Types for custom domains.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The custom domains of an app, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Domains {
    pub(crate) domains: Vec<Domain>,
}

/// A custom domain of an app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Domain {
    pub(crate) name: String,
    pub(crate) state: DomainState,
    /// How the domain was verified: `dns`, `admin`, `trusted` (domain verification is off) or `earlier` (before the introduction of
    /// domain verification); null if it is not verified.
    pub(crate) proof: Option<String>,
    pub(crate) proven_at: Option<DateTime<Utc>>,
    pub(crate) proven_by: Option<String>,
    /// The DNS record that verifies the domain.
    pub(crate) record: TxtRecord,
}

/// The state of a custom domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DomainState {
    /// The app is served at the domain.
    Live,
    /// The production manifest names the domain, but it is not verified.
    Pending,
    /// The domain is verified, but the production manifest does not name it.
    Held,
}

/// A DNS TXT record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TxtRecord {
    pub(crate) name: String,
    pub(crate) value: String,
}
