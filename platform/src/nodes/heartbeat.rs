//! The node as a cluster member: it sends heartbeats, applies changes of other nodes, and acknowledges
//! applied generations.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use manifest_schema::name::AppName;
use store::StoreError;
use store::cluster::{self, Cluster, Heartbeat, NewNode, Notification};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::local_changes::LocalChanges;
use crate::activation::{Activation, AppliedGeneration, SYNC_TIMEOUT};
use crate::clock::Clock;
use crate::disk;

/// The heartbeat interval. Two heartbeats can be lost before the other nodes consider this one dead.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How often all generations are compared, in case notifications were lost or the tables were replaced.
const RESYNC_INTERVAL: Duration = Duration::from_secs(20);

/// The timeout of a database call before the database counts as down.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The backoff between reconnects to the database: initial and maximum.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long after a reconnect all nodes are connected again.
const SETTLE_TIME: Duration = Duration::from_secs(4);

/// The cluster as seen by a node: whether the database is reachable, and signals from other nodes.
#[derive(Clone, Debug)]
pub struct ClusterState {
    down_since: watch::Receiver<Option<Instant>>,
    reconnected_at: watch::Receiver<Option<Instant>>,
    pub(super) peer_acknowledged: watch::Receiver<()>,
    pub(super) local_changes: LocalChanges,
}

impl ClusterState {
    /// How long the database has been down, if it is.
    pub fn down_for(&self) -> Option<Duration> {
        self.down_since.borrow().map(|since| since.elapsed())
    }

    /// Whether the node list in the database is complete. While it is down and right after a reconnect, other
    /// nodes can be missing.
    pub(super) fn is_settled(&self) -> bool {
        self.down_since.borrow().is_none()
            && self
                .reconnected_at
                .borrow()
                .is_none_or(|reconnected_at| reconnected_at.elapsed() >= SETTLE_TIME)
    }
}

/// The node as a member of the cluster, for as long as it runs.
#[derive(Debug)]
pub struct ClusterMember {
    cluster: Cluster,
    node: NewNode,
    activation: Activation,
    clock: Clock,
    data_dir: PathBuf,
    down_since: watch::Sender<Option<Instant>>,
    reconnected_at: watch::Sender<Option<Instant>>,
    peer_acknowledged: watch::Sender<()>,
    local_changes: LocalChanges,
    /// The number of acknowledgements.
    sequence: AtomicU64,
}

/// The acknowledged generations, as expected in the database.
type Acknowledged = BTreeMap<AppName, AppliedGeneration>;

impl ClusterMember {
    /// Creates the member `node`, which applies changes through `activation`, passes the database time to
    /// `clock`, and reports the disk of `data_dir`.
    pub fn new(
        cluster: Cluster,
        node: NewNode,
        activation: Activation,
        clock: Clock,
        data_dir: PathBuf,
    ) -> Self {
        let (down_since, reconnected_at) = (watch::Sender::new(None), watch::Sender::new(None));
        let (peer_acknowledged, local_changes) = (watch::Sender::new(()), LocalChanges::default());
        let sequence = AtomicU64::new(0);
        Self {
            cluster,
            node,
            activation,
            clock,
            data_dir,
            down_since,
            reconnected_at,
            peer_acknowledged,
            local_changes,
            sequence,
        }
    }

    /// The cluster as seen by this node.
    pub fn state(&self) -> ClusterState {
        let local_changes = self.local_changes.clone();
        let (down_since, reconnected_at) = (self.down_since.subscribe(), self.reconnected_at.subscribe());
        ClusterState {
            down_since,
            reconnected_at,
            peer_acknowledged: self.peer_acknowledged.subscribe(),
            local_changes,
        }
    }

    /// Registers the node before it serves requests.
    ///
    /// # Errors
    /// The database failed.
    pub async fn join(&self) -> Result<(), StoreError> {
        self.cluster.join(&self.node).await?;
        self.acknowledge(&mut Acknowledged::new()).await
    }

    /// Runs until the future is dropped. While the database is down, it reconnects with a backoff.
    pub async fn run(self) -> Infallible {
        let mut backoff = BACKOFF_MIN;
        loop {
            let Err(error) = self.run_connected().await;
            let first = self.down_since.send_if_modified(|down_since| {
                let first = down_since.is_none();
                down_since.get_or_insert_with(Instant::now);
                first
            });
            if first {
                tracing::warn!(%error, "database down; apps are served from memory, pushes have to wait");
                backoff = BACKOFF_MIN;
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Runs until the database fails.
    async fn run_connected(&self) -> Result<Infallible, StoreError> {
        let mut listener = with_timeout(CALL_TIMEOUT, self.cluster.listen()).await?;
        let mut changes = self.activation.changes();
        let mut acknowledged = Acknowledged::new();
        self.rejoin(&mut acknowledged).await?;
        self.acknowledge(&mut acknowledged).await?;
        if self.down_since.borrow().is_some() {
            self.reconnected_at.send_replace(Some(Instant::now()));
        }
        if let Some(since) = self.down_since.send_replace(None) {
            tracing::info!(after = ?since.elapsed(), "database up again");
        }
        let mut heartbeat_timer = interval(HEARTBEAT_INTERVAL);
        heartbeat_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut resync_timer = interval(RESYNC_INTERVAL);
        resync_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                notification = listener.next() => with_timeout(SYNC_TIMEOUT, self.handle(notification?, &mut acknowledged)).await?,
                _ = changes.changed() => {}
                _ = heartbeat_timer.tick() => {
                    let heartbeat = Heartbeat {
                        not_ready_reason: self.activation.not_ready_reason(),
                        disk: disk::usage(&self.data_dir).await,
                    };
                    match with_timeout(CALL_TIMEOUT, self.cluster.heartbeat(self.node.id, &heartbeat)).await? {
                        Some(shown) => self.clock.set_database_time(shown),
                        // Removed by the other nodes or never registered: the database can be a restored one.
                        None => self.rejoin(&mut acknowledged).await?,
                    }
                    for name in self.local_changes.take_unsynced() {
                        with_timeout(SYNC_TIMEOUT, self.activation.sync_named(&name)).await?;
                    }
                }
                _ = resync_timer.tick() => with_timeout(SYNC_TIMEOUT, self.activation.sync_all()).await?,
            }
            self.acknowledge(&mut acknowledged).await?;
        }
    }

    /// Registers again, syncs all apps and acknowledges everything again: the database can be a restored one
    /// that lacks the acknowledgements.
    async fn rejoin(&self, acknowledged: &mut Acknowledged) -> Result<(), StoreError> {
        acknowledged.clear();
        with_timeout(CALL_TIMEOUT, self.cluster.rejoin(&self.node)).await?;
        with_timeout(SYNC_TIMEOUT, self.activation.sync_all()).await
    }

    async fn handle(
        &self,
        notification: Notification,
        acknowledged: &mut Acknowledged,
    ) -> Result<(), StoreError> {
        match notification {
            // This node is about to serve its own change.
            Notification::App { name, node }
                if node == Some(self.node.id) && self.local_changes.is_running(&name) =>
            {
                Ok(())
            }
            Notification::App { name, .. } => self.activation.sync_named(&name).await,
            Notification::Unknown => self.rejoin(acknowledged).await,
            Notification::State(changed) => {
                if let Some(state) = self.activation.state() {
                    state.note_changed(&changed);
                }
                Ok(())
            }
            Notification::GenerationApplied => {
                self.peer_acknowledged.send_replace(());
                Ok(())
            }
        }
    }

    /// Acknowledges generations that were applied since the last acknowledgement.
    async fn acknowledge(&self, acknowledged: &mut Acknowledged) -> Result<(), StoreError> {
        let applied = self.activation.applied();
        let pending: Vec<cluster::AppliedGeneration> = applied
            .iter()
            .filter(|(name, applied)| acknowledged.get(*name) != Some(applied))
            .map(|(_, applied)| cluster::AppliedGeneration {
                app: applied.app,
                generation: applied.generation,
                error: applied.error.clone(),
            })
            .collect();
        if !pending.is_empty() {
            let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
            with_timeout(CALL_TIMEOUT, self.cluster.ack_generations(self.node.id, sequence, &pending))
                .await?;
            *acknowledged = applied;
        }
        Ok(())
    }
}

/// A timeout, since a dead machine does not even refuse connections.
async fn with_timeout<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, call).await.unwrap_or(Err(StoreError::Unresponsive(limit)))
}
