//! Types for renaming, deleting and restoring apps.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::apps::App;

/// A rename of an app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameApp {
    pub(crate) name: String,
}

/// A renamed app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RenamedApp {
    pub(crate) app: App,
    /// Names of tokens that already had scopes for the new name.
    pub(crate) tokens: Vec<String>,
}

/// Deleted apps that can be restored, latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeletedApps {
    pub(crate) apps: Vec<DeletedApp>,
}

/// A deleted app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeletedApp {
    pub(crate) id: Uuid,
    /// The name before the deletion. Another app can have this name now.
    pub(crate) name: String,
    pub(crate) deleted_at: DateTime<Utc>,
    pub(crate) deleted_by: String,
    /// When the data is purged, at the earliest.
    pub(crate) purged_at: DateTime<Utc>,
    /// Size of the repository in the database.
    pub(crate) disk_bytes: u64,
}

/// A restore of a deleted app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Undelete {
    /// New name. The default is the old name.
    #[serde(default)]
    pub(crate) name: Option<String>,
}
