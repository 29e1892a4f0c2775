//! Nodes that share a PostgreSQL: heartbeats, notifications, and the generations that each node applied.

use std::time::Duration;

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::error::StoreError;
use crate::id::{AppId, NamespaceId};
use crate::model::Generation;
use crate::postgres::attempts::retry;
use crate::postgres::connections::Connections;
use crate::postgres::{nodes, state_log};
use crate::sql_types::{Id, Unsigned};

/// A node without a heartbeat for this long is considered gone.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(15);

/// A node that joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNode {
    /// Its id, which changes with every start of the process.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its role: `all`, `manager` or `node`.
    pub role: &'static str,
    /// Its PiCloud version.
    pub version: String,
    /// Its listen address.
    pub address: String,
}

/// A running node.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Node {
    /// Its id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its role: `all`, `manager` or `node`.
    pub role: String,
    /// Its PiCloud version.
    pub version: String,
    /// Its listen address.
    pub address: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// Its latest heartbeat.
    pub seen_at: DateTime<Utc>,
    /// Why it is not ready; `None`: it is ready.
    pub not_ready_reason: Option<String>,
    /// How many apps it serves at their latest generation.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub apps_up_to_date: u64,
    /// How many apps it does not.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub apps_stale: u64,
    /// When it last applied a generation.
    pub applied_at: Option<DateTime<Utc>>,
    /// How far its clock is ahead of the database clock, in milliseconds.
    pub clock_skew_ms: Option<i64>,
    /// The file system with its data directory.
    #[sqlx(flatten, try_from = "nodes::DiskColumns")]
    pub disk: Option<Disk>,
}

/// What a node reports every few seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Why the node is not ready; `None`: it is ready.
    pub not_ready_reason: Option<String>,
    /// The file system with its data directory, if known.
    pub disk: Option<Disk>,
}

/// Space of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Free bytes.
    pub free_bytes: u64,
    /// Total bytes.
    pub size_bytes: u64,
}

/// A file system is nearly full if less than this is free …
const FREE_BYTES_MIN: u64 = 1 << 30;

/// … and less than this percentage.
const FREE_PERCENT_MIN: u64 = 10;

impl Disk {
    /// Whether space should be freed.
    pub fn is_nearly_full(&self) -> bool {
        self.free_bytes < FREE_BYTES_MIN
            && self.free_bytes.saturating_mul(100) < self.size_bytes.saturating_mul(FREE_PERCENT_MIN)
    }
}

/// An app that a node cannot serve at its latest generation.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct UnservedApp {
    /// The name of the node.
    pub node: String,
    /// The name of the app.
    pub app: String,
    /// The reason.
    pub error: String,
}

/// The generation of an app that a node applied.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct NodeGeneration {
    /// The node.
    #[sqlx(try_from = "Id")]
    pub node: Uuid,
    /// Its name.
    pub name: String,
    /// Whether the node applied the requested generation or a later one.
    pub up_to_date: bool,
    /// Why the node cannot serve it; `None`: it serves it.
    pub error: Option<String>,
}

/// A generation that a node applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedGeneration {
    /// The app.
    pub app: AppId,
    /// The generation.
    pub generation: Generation,
    /// Why it cannot be served; `None`: it is served.
    pub error: Option<String>,
}

/// A notification from the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// An app was changed.
    App {
        /// The app.
        name: AppName,
        /// The node that made the change, if known.
        node: Option<Uuid>,
    },
    /// A node applied a generation.
    GenerationApplied,
    /// The state of these namespaces was changed.
    State(Vec<NamespaceId>),
    /// Anything may have changed: the connection was lost and is back, or a backup was restored.
    Unknown,
}

/// The nodes that share a PostgreSQL.
#[derive(Clone, Debug)]
pub struct Cluster(pub(crate) Connections);

impl Cluster {
    /// Registers the node. An earlier process with the same name is removed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn join(&self, node: &NewNode) -> Result<(), StoreError> {
        retry!(nodes::replace(&self.0, node))?;
        retry!(nodes::join(&self.0, node))
    }

    /// Registers the node again, and leaves others with its name alone.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rejoin(&self, node: &NewNode) -> Result<(), StoreError> {
        retry!(nodes::join(&self.0, node))
    }

    /// Sends a heartbeat and deletes nodes that are gone. Returns the time of the database; `None`: the node itself
    /// was deleted and has to join again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn heartbeat(
        &self,
        node: Uuid,
        heartbeat: &Heartbeat,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        retry!(nodes::heartbeat(&self.0, node, heartbeat))
    }

    /// Deregisters the node.
    ///
    /// # Errors
    /// The database failed.
    pub async fn leave(&self, node: Uuid) -> Result<(), StoreError> {
        retry!(nodes::leave(&self.0, node))
    }

    /// Records the generations that the node applied, and notifies waiting nodes. `sequence` must grow with each
    /// call.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ack_generations(
        &self,
        node: Uuid,
        sequence: u64,
        applied: &[AppliedGeneration],
    ) -> Result<(), StoreError> {
        retry!(nodes::ack_generations(&self.0, node, sequence, applied))
    }

    /// All nodes that are not gone, sorted by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        retry!(nodes::nodes(&self.0))
    }

    /// See [`Store::all_nodes_support_gc`](crate::Store::all_nodes_support_gc).
    pub(crate) async fn all_nodes_support_gc(&self) -> Result<bool, StoreError> {
        retry!(nodes::all_nodes_support_gc(&self.0))
    }

    /// The apps that nodes cannot serve, by node and app, at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unserved_apps(&self, limit: u32) -> Result<Vec<UnservedApp>, StoreError> {
        retry!(nodes::unserved_apps(&self.0, limit))
    }

    /// Which nodes applied a generation of an app, sorted by name. A generation from before a restore counts for no
    /// node.
    ///
    /// # Errors
    /// The database failed.
    pub async fn node_generations(
        &self,
        app: AppId,
        generation: Generation,
    ) -> Result<Vec<NodeGeneration>, StoreError> {
        retry!(nodes::node_generations(&self.0, app, generation))
    }

    /// Opens a connection for notifications.
    ///
    /// # Errors
    /// The database failed.
    pub async fn listen(&self) -> Result<Listener, StoreError> {
        let mut listener = self.0.listener().await?;
        listener.listen_all([nodes::APPS, nodes::GENERATION_APPLIED, state_log::STATE]).await?;
        Ok(Listener(listener))
    }
}

/// A connection for notifications. Those sent while it is lost are missed; [`Notification::Unknown`] reports that.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Waits for the next notification.
    ///
    /// # Errors
    /// The connection is lost and cannot be restored now. The next call tries again.
    pub async fn next(&mut self) -> Result<Notification, StoreError> {
        // `None`: the connection is lost. The next call restores it, but notifications may be missed until then.
        let Some(heard) = self.0.try_recv().await? else { return Ok(Notification::Unknown) };
        if heard.channel() == nodes::GENERATION_APPLIED {
            return Ok(Notification::GenerationApplied);
        }
        if heard.channel() == state_log::STATE {
            let ids = heard.payload().split(' ').filter_map(|id| id.parse().ok());
            return Ok(Notification::State(ids.map(NamespaceId::new).collect()));
        }
        let (name, node) = heard.payload().split_once(' ').unwrap_or((heard.payload(), ""));
        let app = |name| Notification::App { name, node: Uuid::try_parse(node).ok() };
        Ok(AppName::new(name).map_or(Notification::Unknown, app))
    }
}
