//! Garbage collection: deletes old deploys, the objects that no ref and no deploy reaches, and apps whose
//! deletion is some days old. Runs in the background, and on demand for an admin.
//!
//! When a ref or a deploy stops pointing to objects, they are released (`store::gc`). After a grace period,
//! in which running fetches end, a mark phase finds everything reachable without a lock. The rest is recorded
//! as unreachable in one transaction, and only if there was no push in between: from then on pushes cannot
//! build on it. Then it is deleted in batches with pauses; another process continues if this one ends. A push
//! that was unpacked before is unpacked again.
//!
//! A reachable object whose delta base is unreachable is stored undeltified first, so nothing depends on a deleted
//! object.

mod prune;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use git_receiver::{ObjectId, Reachability, ReadError, undeltified};
use store::{Actor, App, DeletedApp, GcRoots, GcState, NamespaceName, Object, Oid, Store, StoreError};
use tokio::time::sleep;

use crate::clock::Clock;
use crate::memory::{MemoryBudget, OutOfMemory, Purpose, Reservation};
use crate::repository::{AppRepository, object_id, stored_object};
use crate::state::State;

pub use prune::{DeployRetention, PruneError, PruneRule, Pruned};

/// How often old deploys are pruned; the first time this long after the start.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long a deleted app can be restored.
pub const DELETED_APP_RETENTION: TimeDelta = TimeDelta::days(7);

/// The actor of automatic actions in the audit log.
const GC_ACTOR: &str = "picloud";

/// Bounds of the interval between two runs; in between it is a tenth of the grace period.
const RUN_INTERVAL_MAX: Duration = Duration::from_secs(60);
const RUN_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How often an app is retried that was pushed to meanwhile.
const ATTEMPTS_MAX: usize = 5;

/// How many objects and bytes one transaction stores undeltified, so that no push waits for long.
const BATCH_OBJECTS: usize = 500;
const BATCH_BYTES: u64 = 4 << 20;

/// How many object names are read per query.
const NAMES_PER_QUERY: u32 = 5000;

/// Memory per object name in the mark phase.
const NAME_BYTES: u64 = 48;

/// The garbage collector. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GarbageCollector {
    store: Store,
    clock: Clock,
    memory: MemoryBudget,
    retention: DeployRetention,
    state: State,
}

/// What a run deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcStats {
    /// The objects.
    pub objects: u64,
    /// Their size on disk.
    pub bytes: u64,
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The repository cannot be read, or is incomplete.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is not enough memory for the names of reachable objects.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    /// The app was pushed to during every attempt.
    #[error("the app was pushed to during every attempt; try again later")]
    Busy,
    /// A node of an earlier version does not detect deleted objects.
    #[error("a node of an earlier version is running, and nothing is deleted meanwhile; upgrade it first")]
    OlderNode,
}

impl GarbageCollector {
    /// Creates a garbage collector for `store` and `state` that keeps deploys by `retention` and reserves memory of
    /// `memory`.
    pub fn new(
        store: Store,
        state: State,
        clock: Clock,
        memory: MemoryBudget,
        retention: DeployRetention,
    ) -> Self {
        Self { store, clock, memory, retention, state }
    }

    /// Prunes and collects periodically, until the future is dropped.
    pub async fn run(self) -> Infallible {
        let interval = (self.retention.gc_grace_period / 10).clamp(RUN_INTERVAL_MIN, RUN_INTERVAL_MAX);
        let mut pruned_at = Instant::now();
        loop {
            sleep(interval).await;
            if pruned_at.elapsed() >= PRUNE_INTERVAL {
                pruned_at = Instant::now();
                if let Err(error) = self.prune_old().await {
                    tracing::warn!(%error, "cannot prune old deploys");
                }
                if let Err(error) = self.purge_deleted().await {
                    tracing::warn!(%error, "cannot purge deleted apps");
                }
                if let Err(error) = self.delete_stale_state().await {
                    tracing::warn!(%error, "cannot delete the state of deleted branches");
                }
            }
            if let Err(error) = self.collect_all().await {
                tracing::warn!(%error, "cannot delete unreachable objects");
            }
            if let Err(error) = self.shrink_database().await {
                tracing::warn!(%error, "cannot shrink the database file");
            }
        }
    }

    /// Purges apps whose deletion is older than [`DELETED_APP_RETENTION`].
    async fn purge_deleted(&self) -> Result<(), StoreError> {
        let Some(now) = self.clock.retention_now(&self.store).await? else { return Ok(()) };
        for app in self.store.deleted_apps().await? {
            if app.purging || app.deleted_at <= now - DELETED_APP_RETENTION {
                self.purge(&app).await?;
            }
        }
        Ok(())
    }

    /// Deletes the state of branches that do not exist any more, which a push deletes at once if it can.
    async fn delete_stale_state(&self) -> Result<(), StoreError> {
        let store = self.store.state();
        for id in store.deleted_namespaces().await? {
            let mut began = Instant::now();
            while store.delete_namespace(id).await? {
                pause(began).await;
                began = Instant::now();
            }
        }
        for row in store.namespaces(None).await? {
            let NamespaceName::Preview(branch) = &row.name else { continue };
            // Read after the namespaces: a branch that is created meanwhile gets another namespace.
            let (refs, name) = (self.store.refs(row.app).await?, format!("refs/heads/{branch}"));
            if !refs.iter().any(|found| found.name == name) {
                self.state.delete_row(&row).await?;
            }
        }
        Ok(())
    }

    async fn purge(&self, app: &DeletedApp) -> Result<(), StoreError> {
        loop {
            let began = Instant::now();
            if !self.store.purge_app(app, &Actor::named(GC_ACTOR)).await? {
                self.state.forget_app(app.id);
                tracing::info!(app = %app.name, id = %app.id.as_uuid(), "purged a deleted app");
                return Ok(());
            }
            pause(began).await;
        }
    }

    /// Deletes unreachable objects of all apps after the grace period.
    async fn collect_all(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let before = TimeDelta::from_std(self.retention.gc_grace_period)
            .ok()
            .and_then(|age| now.checked_sub_signed(age))
            .unwrap_or(DateTime::UNIX_EPOCH);
        for app in self.store.apps_to_gc(before, now).await? {
            match self.collect(&app, before, now).await {
                Ok(GcStats { objects: 0, .. }) | Err(GcError::Busy | GcError::OlderNode) => {}
                Ok(GcStats { objects, bytes }) => {
                    tracing::info!(app = %app.name, objects, bytes, "deleted unreachable objects");
                }
                Err(GcError::Store(error)) if error.is_unavailable() => return Err(error),
                // Continue with the other apps.
                Err(error) => {
                    tracing::warn!(app = %app.name, %error, "cannot delete unreachable objects");
                }
            }
        }
        Ok(())
    }

    /// Deletes the unreachable objects of an app, except those released after `before`.
    async fn collect(
        &self,
        app: &App,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<GcStats, GcError> {
        if !self.store.all_nodes_support_gc().await? {
            return Err(GcError::OlderNode);
        }
        let mut stats = GcStats::default();
        self.delete_unreachable(app, &mut stats).await?;
        let repository = AppRepository::new(self.store.clone(), Some(app.clone()));
        let mut reachable = Reachability::default();
        let mut reservation = self.memory.account(app.id).try_reserve(Purpose::Pushes, 0)?;
        for _ in 0..ATTEMPTS_MAX {
            let Some(roots) = self.store.gc_roots(app.id, before, now).await? else {
                return Ok(stats);
            };
            if roots.released.is_empty() {
                return Ok(stats);
            }
            match self.mark_unreachable(app, &repository, &roots, &mut reachable, &mut reservation).await {
                Ok(true) => {
                    drop((reachable, reservation));
                    self.delete_unreachable(app, &mut stats).await?;
                    return Ok(stats);
                }
                Ok(false) => {}
                // Another node deleted objects during the mark phase, so its result is incomplete.
                Err(GcError::Read(error)) if self.is_unchanged(app, roots.state).await? => {
                    return Err(error.into());
                }
                Err(GcError::Read(_)) => reachable = Reachability::default(),
                Err(error) => return Err(error),
            }
        }
        Err(GcError::Busy)
    }

    /// Records the unreachable objects. `false`: there was a push, and the mark phase has to run again.
    async fn mark_unreachable(
        &self,
        app: &App,
        repository: &AppRepository,
        roots: &GcRoots,
        reachable: &mut Reachability,
        reservation: &mut Reservation,
    ) -> Result<bool, GcError> {
        let ids: Vec<ObjectId> = roots.roots.iter().map(|oid| object_id(*oid)).collect();
        reachable.add_roots(repository, &ids).await?;
        loop {
            let began = Instant::now();
            let has_more = reachable.step(repository).await?;
            reserve(reservation, reachable.len() as u64)?;
            if !has_more {
                break;
            }
            pause(began).await;
        }
        let Unreachable { garbage, deltas_on_garbage } =
            self.unreachable(app, reachable, reservation).await?;
        Ok(self.store_undeltified(app, repository, roots.state, deltas_on_garbage).await?
            && self.store.mark_unreachable(app.id, roots.state, &garbage, &roots.released).await?)
    }

    /// Whether the app is still in this state.
    async fn is_unchanged(&self, app: &App, state: GcState) -> Result<bool, StoreError> {
        let now = self.store.app(&app.name).await?;
        Ok(now.is_some_and(|now| now.id == app.id && now.gc_state() == state))
    }

    /// The stored objects of an app that are unreachable.
    async fn unreachable(
        &self,
        app: &App,
        reachable: &Reachability,
        reservation: &mut Reservation,
    ) -> Result<Unreachable, GcError> {
        let is_reached = |oid: Oid| reachable.contains(&object_id(oid));
        let mut found = Unreachable::default();
        let mut after = None;
        loop {
            let began = Instant::now();
            let page = self.store.object_names(app.id, after, NAMES_PER_QUERY).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some(last.oid);
            for name in page {
                match (is_reached(name.oid), name.base) {
                    (false, _) => found.garbage.push(name.oid),
                    (true, Some(base)) if !is_reached(base) => found.deltas_on_garbage.push(name.oid),
                    (true, _) => {}
                }
            }
            reserve(
                reservation,
                (reachable.len() + found.garbage.len() + found.deltas_on_garbage.len()) as u64,
            )?;
            pause(began).await;
        }
    }

    /// Stores objects without delta bases. `false`: there was a push, and the mark phase has to run again.
    async fn store_undeltified(
        &self,
        app: &App,
        repository: &AppRepository,
        state: GcState,
        oids: Vec<Oid>,
    ) -> Result<bool, GcError> {
        let mut batch: Vec<Object> = Vec::new();
        let mut remaining = oids.len();
        for oid in oids {
            batch.extend(undeltified(repository, object_id(oid)).await?.map(stored_object));
            remaining -= 1;
            let bytes: u64 = batch.iter().map(|object| object.zlib.len() as u64).sum();
            if remaining == 0 || batch.len() >= BATCH_OBJECTS || bytes >= BATCH_BYTES {
                let began = Instant::now();
                if !self.store.undeltify(app.id, state, &batch).await? {
                    return Ok(false);
                }
                batch.clear();
                pause(began).await;
            }
        }
        Ok(true)
    }

    /// Deletes the recorded unreachable objects.
    async fn delete_unreachable(&self, app: &App, stats: &mut GcStats) -> Result<(), StoreError> {
        loop {
            let began = Instant::now();
            let Some(deleted) = self.store.delete_unreachable(app.id).await? else { return Ok(()) };
            stats.objects += deleted.rows;
            stats.bytes += deleted.bytes;
            tracing::debug!(app = %app.name, rows = deleted.rows, took = ?began.elapsed(), "deleted objects");
            pause(began).await;
        }
    }

    /// Shrinks the file of the embedded database.
    async fn shrink_database(&self) -> Result<(), StoreError> {
        loop {
            let began = Instant::now();
            if !self.store.release_free_pages().await? {
                return Ok(());
            }
            pause(began).await;
        }
    }
}

/// Reserves memory for this many names.
fn reserve(reservation: &mut Reservation, names: u64) -> Result<(), OutOfMemory> {
    let bytes = names * NAME_BYTES;
    match bytes.checked_sub(reservation.bytes()) {
        Some(more) if more > 0 => reservation.try_grow(more),
        _ => Ok(()),
    }
}

/// Pauses for as long as the last step took.
async fn pause(began: Instant) {
    sleep(began.elapsed().max(Duration::from_millis(1))).await;
}

/// The result of the mark phase.
#[derive(Default)]
struct Unreachable {
    garbage: Vec<Oid>,
    /// Reachable objects whose delta base is unreachable.
    deltas_on_garbage: Vec<Oid>,
}
