//! Apps.

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
    /// The branch that is served as the app itself.
    pub(crate) production_branch: String,
    /// Whether that branch only goes forward, but for those who have the right to set it back.
    pub(crate) protected: bool,
    /// When its first push came, or when it was created by hand.
    pub(crate) created_at: DateTime<Utc>,
    /// Bytes that its repository takes in the database.
    pub(crate) disk_bytes: u64,
    /// Since when and by whom it is stopped; null: it is not.
    pub(crate) stopped: Option<StoppedApp>,
    /// What is live in production on the node that answers.
    pub(crate) live: Option<LiveDeploy>,
}

/// What is live.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LiveDeploy {
    /// The number of the deploy.
    pub(crate) deploy: u64,
    /// The commit, 40 hexadecimal digits.
    pub(crate) commit: String,
}

/// The settings of an app. In a request, those that are left out stay as they are.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppSettings {
    /// Whether the production branch only goes forward, but for those who have the right to set it back.
    #[serde(default)]
    pub(crate) protected: Option<bool>,
}

/// Which deploys of an app are deleted: those that are more or older than that. What is live is kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prune {
    /// How many deploys of each branch are kept; left out: as the server is set.
    #[serde(default)]
    pub(crate) deploys: Option<usize>,
    /// For how long they are kept; left out: as the server is set.
    #[serde(default)]
    pub(crate) older_than_seconds: Option<u64>,
}

/// What was deleted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Pruned {
    /// How many deploys.
    pub(crate) deploys: u64,
    /// How many git objects, which nothing reaches any more.
    pub(crate) objects: u64,
    /// How many bytes of the database the app takes less.
    pub(crate) bytes: u64,
    /// How many it takes now.
    pub(crate) disk_bytes: u64,
}

/// That an app is stopped.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoppedApp {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
}
