//! The propagation of a push: which nodes serve it.

use std::time::Duration;

use manifest_schema::name::AppName;
use store::cluster::{Cluster, NodeGeneration};
use store::{App, StoreError};
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use super::LocalChange;
use super::heartbeat::ClusterState;

/// How long a push waits for all nodes.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same after a reconnect to the database, since nodes take seconds to reconnect.
const RECONNECT_WAIT_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the state of nodes is polled without a notification.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The other nodes, as seen by this one.
#[derive(Clone, Debug)]
pub struct Peers {
    cluster: Cluster,
    state: ClusterState,
    /// This node.
    pub(crate) node: Uuid,
}

/// The propagation of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// The number of nodes that serve it.
    pub live: usize,
    /// The nodes that do not.
    pub stale: Vec<StaleNode>,
    /// The database went down before the nodes were queried.
    pub unknown: bool,
}

/// A node that does not serve the push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleNode {
    /// The node's name.
    pub node: String,
    /// The error; `None`: it has not acknowledged in time.
    pub error: Option<String>,
}

impl Propagation {
    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.live + self.stale.len()
    }
}

impl Peers {
    /// Creates the peers of `node` in the cluster.
    pub fn new(cluster: Cluster, state: ClusterState, node: Uuid) -> Self {
        Self { cluster, state, node }
    }

    /// Begins a change by this node to the app.
    pub(crate) fn begin_change(&self, app: &AppName) -> LocalChange {
        self.state.local_changes.begin(app)
    }

    /// Waits, up to a timeout, until every node serves the app's current generation or reports an error.
    pub(crate) async fn wait_for(&self, app: &App) -> Propagation {
        let began = Instant::now();
        let mut deadline = began + WAIT_TIMEOUT;
        let mut acknowledged = self.state.peer_acknowledged.clone();
        let mut propagation = Propagation { unknown: true, ..Propagation::default() };
        loop {
            acknowledged.borrow_and_update();
            match timeout_at(deadline, self.query(app)).await {
                Ok(Ok((found, is_pending))) => {
                    let settled = self.state.is_settled();
                    propagation = Propagation { unknown: !settled, ..found };
                    if settled && !is_pending {
                        return propagation;
                    }
                    if !settled {
                        deadline = began + RECONNECT_WAIT_TIMEOUT;
                    }
                }
                Ok(Err(error)) if Instant::now() < deadline => {
                    tracing::warn!(app = %app.name, %error, "cannot query the state of other nodes");
                }
                Ok(Err(_)) | Err(_) => return propagation,
            }
            let next_poll = (Instant::now() + POLL_INTERVAL).min(deadline);
            tokio::select! {
                changed = acknowledged.changed() => if changed.is_err() { sleep_until(next_poll).await },
                () = sleep_until(next_poll) => {}
            }
            if Instant::now() >= deadline {
                return propagation;
            }
        }
    }

    /// Queries the propagation, and whether nodes are pending.
    async fn query(&self, app: &App) -> Result<(Propagation, bool), StoreError> {
        let serving = self.cluster.node_generations(app.id, app.generation).await?;
        let mut propagation = Propagation::default();
        let mut is_pending = false;
        for NodeGeneration { name, up_to_date, error, .. } in serving {
            match (up_to_date, error) {
                (true, None) => propagation.live += 1,
                (true, error) => propagation.stale.push(StaleNode { node: name, error }),
                (false, _) => {
                    is_pending = true;
                    propagation.stale.push(StaleNode { node: name, error: None });
                }
            }
        }
        Ok((propagation, is_pending))
    }
}
