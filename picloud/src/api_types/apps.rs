//! Types for apps.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All apps, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Apps {
    pub(crate) apps: Vec<App>,
}

/// An app.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct App {
    pub(crate) name: String,
    /// The branch that is served as production.
    pub(crate) production_branch: String,
    /// Whether non-fast-forward pushes to the production branch require the right `force`.
    pub(crate) protected: bool,
    /// When the app was created.
    pub(crate) created_at: DateTime<Utc>,
    /// Size of the repository in the database.
    pub(crate) disk_bytes: u64,
    /// When and by whom the app was stopped; null if it is not stopped.
    pub(crate) stopped: Option<StoppedApp>,
    /// The live production deploy on the responding node; null if there is none.
    pub(crate) live: Option<LiveDeploy>,
}

/// A live deploy.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LiveDeploy {
    /// Number of the deploy.
    pub(crate) deploy: u64,
    /// The commit id, 40 hexadecimal digits.
    pub(crate) commit: String,
}

/// The settings of an app. Omitted settings of a request are unchanged.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppSettings {
    /// Whether non-fast-forward pushes to the production branch require the right `force`.
    #[serde(default)]
    pub(crate) protected: Option<bool>,
}

/// The deploys to keep; all others are deleted. The live deploy is always kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prune {
    /// Number of deploys to keep of each branch. The default is the setting of the server.
    #[serde(default)]
    pub(crate) deploys: Option<usize>,
    /// Maximum age of deploys to keep. The default is the setting of the server.
    #[serde(default)]
    pub(crate) older_than_seconds: Option<u64>,
}

/// The result of a prune.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Pruned {
    /// Number of deleted deploys.
    pub(crate) deploys: u64,
    /// Number of deleted git objects.
    pub(crate) objects: u64,
    /// Bytes freed in the database.
    pub(crate) bytes: u64,
    /// Size of the repository after the prune.
    pub(crate) disk_bytes: u64,
}

/// When and by whom an app was stopped.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoppedApp {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
}
