//! Whether all is well.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether all is well, as the node that answers sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// Everything below is as it should be.
    pub(crate) well: bool,
    /// The version of PiCloud.
    pub(crate) version: String,
    /// The node that answers.
    pub(crate) node: String,
    /// `PostgreSQL` or `SQLite`.
    pub(crate) database: String,
    /// How many nodes there are, and how many of them are ready.
    pub(crate) nodes: usize,
    pub(crate) nodes_ready: usize,
    /// Why others are not, each with its node.
    pub(crate) troubles: Vec<String>,
    /// How many apps there are, and how many have something live in production.
    pub(crate) apps: usize,
    pub(crate) apps_live: usize,
}
