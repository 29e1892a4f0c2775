//! Types for nodes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The live nodes, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Node>,
}

/// A node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Node {
    /// Changes with every start of the process.
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// `all`, `manager` or `node`.
    pub(crate) role: String,
    /// Version of PiCloud.
    pub(crate) version: String,
    /// Listen address.
    pub(crate) address: String,
    pub(crate) started_at: DateTime<Utc>,
    /// Time of the last heartbeat.
    pub(crate) seen_at: DateTime<Utc>,
    /// Why the node is not ready; null if it is ready.
    pub(crate) not_ready_reason: Option<String>,
    /// Number of apps whose latest revision the node serves.
    pub(crate) apps_up_to_date: u64,
    /// Number of apps whose latest revision the node does not serve yet.
    pub(crate) apps_stale: u64,
    /// When the node last applied a push; null if never or unknown.
    pub(crate) serving_since: Option<DateTime<Utc>>,
    /// Offset of the node's clock from the clock of the database, as last reported; null if the database has no clock.
    pub(crate) clock_skew_ms: Option<i64>,
    /// The file system of the data folder, as last reported; null if unknown.
    pub(crate) disk: Option<Disk>,
}

/// The usage of a file system.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Disk {
    pub(crate) free_bytes: u64,
    pub(crate) size_bytes: u64,
}
