//! Deploys, and what the live one answers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Deploys of an app, the latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Deploys {
    pub(crate) deploys: Vec<Deploy>,
    /// Where the next page begins, where there is one: its `cursor`.
    pub(crate) next_cursor: Option<String>,
}

/// A commit that was made live.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Deploy {
    pub(crate) number: u64,
    pub(crate) branch: String,
    pub(crate) commit: String,
    /// The first line of the commit's message.
    pub(crate) subject: String,
    /// Who wrote the commit.
    pub(crate) author: String,
    pub(crate) deployed_at: DateTime<Utc>,
    pub(crate) deployed_by: String,
    /// What made it where that was no push: an act, and what it was about.
    pub(crate) because: Option<String>,
    /// What whoever made it said about it, where that was a rollback.
    pub(crate) message: Option<String>,
    /// It is what its branch serves.
    pub(crate) live: bool,
}

/// Which deploy to roll back to. Without one it is the one before the commit that is live was deployed first.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    pub(crate) deploy: Option<u64>,
    /// What is kept with the new deploy: why this is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub(crate) message: Option<String>,
}

/// What was gone back to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RolledBack {
    /// The deploy whose commit is live again.
    pub(crate) to: u64,
    /// The new deploy of it.
    pub(crate) deploy: u64,
    pub(crate) commit: String,
    /// The first line of the commit's message.
    pub(crate) subject: String,
    /// Where it answers.
    pub(crate) url: String,
    /// What is kept with the new deploy.
    pub(crate) message: Option<String>,
    /// How many nodes serve it, of those that were asked.
    pub(crate) nodes_live: Option<usize>,
    pub(crate) nodes: Option<usize>,
}

/// What is live on each branch.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Branches {
    pub(crate) branches: Vec<Branch>,
}

/// What is live on a branch.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Branch {
    pub(crate) name: String,
    /// The branch as addresses have it.
    pub(crate) label: String,
    pub(crate) production: bool,
    /// Whether its schedules run by the clock: those of production always do.
    pub(crate) scheduled: bool,
    /// Where it answers.
    pub(crate) url: String,
    pub(crate) deploy: u64,
    pub(crate) commit: String,
    pub(crate) deployed_at: Option<DateTime<Utc>>,
    /// When it is ended, unless it is pushed to before that.
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

/// How a preview is served.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BranchSettings {
    /// The branch, as git names it.
    pub(crate) branch: String,
    /// Whether its schedules run by the clock.
    pub(crate) scheduled: bool,
}

/// The routes of what is live in production, in the order of the manifest.
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
