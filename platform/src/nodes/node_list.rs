//! The nodes of the cluster, as reported by themselves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use store::cluster::NewNode;
use store::{NodeIdentity, Store, StoreError};

use crate::activation::Activation;
use crate::disk;

pub use store::cluster::{Disk, Node};

/// The role of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    #[default]
    All,
    /// The control plane: pushes, API and schedules. Other nodes serve apps.
    Manager,
    /// Serves apps. Other nodes handle pushes, API and schedules.
    Node,
}

impl Role {
    /// The name of the role.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Manager => "manager",
            Self::Node => "node",
        }
    }

    /// Whether it handles pushes, API and schedules.
    pub fn manages(self) -> bool {
        self != Self::Node
    }

    /// Whether it serves apps.
    pub fn serves_apps(self) -> bool {
        self != Self::Manager
    }
}

/// This node, as seen by others.
#[derive(Clone, Debug)]
pub struct LocalNode {
    /// Its name and its id, which changes with every start.
    pub identity: NodeIdentity,
    /// Its role.
    pub role: Role,
    /// Its version of PiCloud.
    pub version: &'static str,
    /// Its listen address.
    pub address: SocketAddr,
    /// Its start time.
    pub started_at: DateTime<Utc>,
}

impl LocalNode {
    /// The record of this node in the cluster.
    pub fn to_new_node(&self) -> NewNode {
        NewNode {
            id: self.identity.id,
            name: self.identity.name.clone(),
            role: self.role.as_str(),
            version: self.version.to_owned(),
            address: self.address.to_string(),
        }
    }
}

/// The nodes that share the database, including this one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeList {
    store: Store,
    activation: Activation,
    this: Arc<LocalNode>,
    data_dir: PathBuf,
}

impl NodeList {
    /// Creates the list of nodes on `store`; `this` has its files in `data_dir`.
    pub fn new(store: Store, activation: Activation, this: Arc<LocalNode>, data_dir: PathBuf) -> Self {
        Self { store, activation, this, data_dir }
    }

    /// This node.
    pub fn this(&self) -> &LocalNode {
        &self.this
    }

    /// All nodes by name; only this one on the embedded database.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self) -> Result<Vec<Node>, StoreError> {
        match self.store.cluster() {
            Some(cluster) => cluster.nodes().await,
            None => Ok(vec![self.only_node().await?]),
        }
    }

    async fn only_node(&self) -> Result<Node, StoreError> {
        let applied = self.activation.applied();
        let apps = self.store.apps().await?;
        let is_up_to_date = |app: &&store::App| {
            let applied = applied.get(&app.name);
            applied.is_some_and(|applied| applied.generation == app.generation && applied.error.is_none())
        };
        let apps_up_to_date = apps.iter().filter(is_up_to_date).count() as u64;
        let NewNode { id, name, role, version, address } = self.this.to_new_node();
        Ok(Node {
            id,
            name,
            role: role.to_owned(),
            version,
            address,
            started_at: self.this.started_at,
            seen_at: Utc::now(),
            not_ready_reason: self.activation.not_ready_reason(),
            apps_up_to_date,
            apps_stale: apps.len() as u64 - apps_up_to_date,
            applied_at: None,
            clock_skew_ms: None,
            disk: disk::usage(&self.data_dir).await,
        })
    }
}
