//! Types for deploys, branches and routes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Deploys of an app, latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Deploys {
    pub(crate) deploys: Vec<Deploy>,
    /// Cursor of the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// A deploy: a commit that became live on a branch.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Deploy {
    pub(crate) number: u64,
    pub(crate) branch: String,
    pub(crate) commit: String,
    /// The first line of the commit message.
    pub(crate) subject: String,
    /// The author of the commit.
    pub(crate) author: String,
    pub(crate) deployed_at: DateTime<Utc>,
    pub(crate) deployed_by: String,
    /// The action that created the deploy and its subject; null for a push.
    pub(crate) cause: Option<String>,
    /// The message of a rollback.
    pub(crate) message: Option<String>,
    /// Whether the branch serves this deploy.
    pub(crate) live: bool,
}

/// A rollback.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// Deploy to roll back to. The default is the deploy before the live commit was first deployed.
    pub(crate) deploy: Option<u64>,
    /// Reason for the rollback, stored with the new deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub(crate) message: Option<String>,
}

/// The result of a rollback.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RolledBack {
    /// The deploy that was rolled back to.
    pub(crate) to: u64,
    /// The new deploy.
    pub(crate) deploy: u64,
    pub(crate) commit: String,
    /// The first line of the commit message.
    pub(crate) subject: String,
    /// URL of the deploy.
    pub(crate) url: String,
    /// The reason that was stored with the new deploy.
    pub(crate) message: Option<String>,
    /// Number of nodes that serve the new deploy.
    pub(crate) nodes_live: Option<usize>,
    /// Number of all nodes.
    pub(crate) nodes: Option<usize>,
}

/// The live deploys of all branches.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Branches {
    pub(crate) branches: Vec<Branch>,
}

/// The live deploy of a branch.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Branch {
    pub(crate) name: String,
    /// The branch as it appears in URLs.
    pub(crate) label: String,
    pub(crate) production: bool,
    /// Whether its schedules are enabled; always true for production.
    pub(crate) scheduled: bool,
    /// URL of the deploy.
    pub(crate) url: String,
    pub(crate) deploy: u64,
    pub(crate) commit: String,
    pub(crate) deployed_at: Option<DateTime<Utc>>,
    /// When the preview expires unless it is pushed to; null if it does not.
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

/// The settings of a preview.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BranchSettings {
    /// The git branch.
    pub(crate) branch: String,
    /// Whether its schedules are enabled.
    pub(crate) scheduled: bool,
}

/// The routes and functions of a live deploy, in the order of the manifest.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Routes {
    pub(crate) deploy: u64,
    pub(crate) routes: Vec<Route>,
    pub(crate) functions: Vec<Function>,
}

/// A route.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Route {
    pub(crate) path: String,
    pub(crate) methods: Vec<String>,
    pub(crate) script: String,
}

/// A function.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) script: String,
}
