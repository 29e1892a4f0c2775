//! What becomes of an app as a whole.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::apps::App;

/// Another name of an app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameApp {
    pub(crate) name: String,
}

/// An app under its new name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RenamedApp {
    pub(crate) app: App,
    /// The tokens that had scopes for an app of the new name before it had it, and so for this one now.
    pub(crate) tokens: Vec<String>,
}

/// The apps that are deleted and can be brought back, the latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeletedApps {
    pub(crate) apps: Vec<DeletedApp>,
}

/// A deleted app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeletedApp {
    pub(crate) id: Uuid,
    /// What it was called. Another app can have the name by now.
    pub(crate) name: String,
    pub(crate) deleted_at: DateTime<Utc>,
    pub(crate) deleted_by: String,
    /// Until when it can be brought back, at least.
    pub(crate) purged_at: DateTime<Utc>,
    /// Bytes that its repository takes in the database.
    pub(crate) disk_bytes: u64,
}

/// How a deleted app is brought back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Undelete {
    /// Its name from then on; left out: what it was called.
    #[serde(default)]
    pub(crate) name: Option<String>,
}
