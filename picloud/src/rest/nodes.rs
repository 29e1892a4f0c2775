//! Nodes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// All nodes that are there, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Node>,
}

/// A node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Node {
    /// Another one for each process.
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// `all`, `manager` or `node`.
    pub(crate) role: String,
    /// Its version of PiCloud.
    pub(crate) version: String,
    /// Where it listens.
    pub(crate) address: String,
    pub(crate) started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub(crate) seen_at: DateTime<Utc>,
    /// Why it is not ready; null: it is.
    pub(crate) trouble: Option<String>,
    /// How many apps it serves as the latest push left them.
    pub(crate) apps_current: u64,
    /// How many it does not, or not yet.
    pub(crate) apps_behind: u64,
    /// When it last took up a push; null: never, or it is not known.
    pub(crate) serving_since: Option<DateTime<Utc>>,
    /// How far its clock is ahead of the database's, in milliseconds, as it last said; null: the database has no clock.
    pub(crate) clock_skew_ms: Option<i64>,
    /// The file system with its data folder, as it last said; null: it is not known.
    pub(crate) disk: Option<Disk>,
}

/// How full a file system is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Disk {
    pub(crate) free_bytes: u64,
    pub(crate) size_bytes: u64,
}
