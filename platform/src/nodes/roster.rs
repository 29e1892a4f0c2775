//! Which nodes there are, as each says of itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use store::cluster::NewNode;
use store::{NodeIdentity, Store, StoreError};

use crate::activation::Activation;
use crate::disk;

pub use store::cluster::{Disk, Node};

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    #[default]
    All,
    /// The control plane: takes pushes, answers the API, runs schedules. Requests to apps are for others.
    Manager,
    /// Answers requests to apps. Pushes, the API and schedules are for others.
    Node,
}

impl Role {
    /// The role as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Manager => "manager",
            Self::Node => "node",
        }
    }

    /// Whether it takes pushes, answers the API and runs schedules.
    pub fn manages(self) -> bool {
        self != Self::Node
    }

    /// Whether it answers requests to apps.
    pub fn answers_apps(self) -> bool {
        self != Self::Manager
    }
}

/// What this node is, as others see it.
#[derive(Clone, Debug)]
pub struct ThisNode {
    /// Its id, another one for each process, and its name.
    pub identity: NodeIdentity,
    /// What it does.
    pub role: Role,
    /// Its version of PiCloud.
    pub version: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// When it was started.
    pub started_at: DateTime<Utc>,
}

impl ThisNode {
    /// The node as it joins the others.
    pub fn joining(&self) -> NewNode {
        NewNode {
            id: self.identity.id,
            name: self.identity.name.clone(),
            role: self.role.as_str(),
            program: self.version.to_owned(),
            address: self.address.to_string(),
        }
    }
}

/// All nodes that share the database, this one among them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Roster {
    store: Store,
    activation: Activation,
    this: Arc<ThisNode>,
    data_dir: PathBuf,
}

impl Roster {
    /// The nodes on `store`, of which `this` has its files in `data_dir`.
    pub fn new(store: Store, activation: Activation, this: Arc<ThisNode>, data_dir: PathBuf) -> Self {
        Self { store, activation, this, data_dir }
    }

    /// This node.
    pub fn this(&self) -> &ThisNode {
        &self.this
    }

    /// All nodes that are there, by name. On the embedded database that is this one.
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
        let taken = self.activation.taken_up();
        let apps = self.store.apps().await?;
        let is_current = |app: &&store::App| {
            let taken = taken.get(&app.name);
            taken.is_some_and(|taken| taken.generation == app.generation && taken.fault.is_none())
        };
        let current = apps.iter().filter(is_current).count() as u64;
        let NewNode { id, name, role, program, address } = self.this.joining();
        Ok(Node {
            id,
            name,
            role: role.to_owned(),
            program,
            address,
            started_at: self.this.started_at,
            seen_at: Utc::now(),
            trouble: self.activation.trouble(),
            current,
            behind: apps.len() as u64 - current,
            since: None,
            clock_skew_ms: None,
            disk: disk::of(&self.data_dir).await,
        })
    }
}
