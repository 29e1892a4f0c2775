//! Domains of an app's own.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The domains that an app claims or holds, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Domains {
    pub(crate) domains: Vec<Domain>,
}

/// A domain that an app claims or holds.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Domain {
    pub(crate) name: String,
    pub(crate) state: DomainState,
    /// How it was proven that it is the app's: `dns`, `admin`, `trusted` (the server believes the app that names a domain first) or `earlier`
    /// (the app had it before proofs were asked for); null: it was not.
    pub(crate) proof: Option<String>,
    pub(crate) proven_at: Option<DateTime<Utc>>,
    pub(crate) proven_by: Option<String>,
    /// The DNS record that proves it.
    pub(crate) record: TxtRecord,
}

/// What becomes of requests to a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DomainState {
    /// The app answers.
    Live,
    /// Production names it, and it is not proven that it is the app's.
    Pending,
    /// It is the app's, and production does not name it.
    Held,
}

/// A TXT record in DNS.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TxtRecord {
    pub(crate) name: String,
    pub(crate) value: String,
}
