//! Deletes what nothing holds any more: old deploys, the objects that no ref and no deploy reaches, and apps that were deleted a while
//! ago. In the background, and at once where an admin asks for it.
//!
//! What a ref or a deploy lets go of is released (`store::collection`). After a while, in which fetches that are under way end, it is
//! found what everything else reaches, without a lock. The rest is condemned, all at once and only while nobody has pushed: from then
//! on it is not there for pushes. Then it is deleted some at a time, with pauses, also by the next process should this one end. A push
//! that was unpacked before is unpacked again.
//!
//! An object that is reached and stored as a delta on one that is not is stored whole first. So nothing is left of what is deleted.

mod prune;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use git_receiver::{ObjectId, Reachability, ReadError, undeltified};
use store::{Actor, App, CollectionRoots, CollectionState, DeletedApp, Object, Oid, Store, StoreError};
use tokio::time::sleep;

use crate::clock::Clock;
use crate::memory::{MemoryBudget, OutOfMemory, Purpose, Reservation};
use crate::repository::{AppRepository, object_id, stored_object};

pub use prune::{DeployRetention, PruneError, PruneRule, Pruned};

/// How often it is looked for old deploys; the first time so long after the start.
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);

/// How long a deleted app can be brought back.
pub const DELETED_KEPT: TimeDelta = TimeDelta::days(7);

/// Who does what nobody has asked for, as the audit list says.
const BY: &str = "picloud";

/// How often what was released is looked for, at most and at least. In between it is a part of the time that it is kept.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);

/// How often an app is looked at again that was pushed to meanwhile. Later it is tried anew.
const TRIES: usize = 5;

/// How many objects and bytes one transaction stores whole, so that no push waits for long.
const BATCH_OBJECTS: usize = 500;
const BATCH_BYTES: u64 = 4 << 20;

/// How many names are listed at once.
const LISTED_AT_ONCE: u32 = 5000;

/// What the name of an object takes in memory while it is looked at what is reached.
const NAME_BYTES: u64 = 48;

/// Deletes what nothing holds any more. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Collector {
    store: Store,
    clock: Clock,
    memory: MemoryBudget,
    retention: DeployRetention,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many objects.
    pub objects: u64,
    /// How many bytes of the disk they took.
    pub bytes: u64,
}

/// Why nothing more is deleted for now.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The repository cannot be read, or is not whole.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no memory for the names of all that is reached.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    /// Others push to the app all the time.
    #[error("the app is pushed to all the time; try again later")]
    Busy,
    /// The pushes of a node do not notice when objects are deleted.
    #[error("nothing is deleted while there is a node of an earlier version; upgrade it first")]
    OlderNode,
}

impl Collector {
    /// A collector of what `store` has, which keeps deploys by `retention` and holds memory of `memory`.
    pub fn new(store: Store, clock: Clock, memory: MemoryBudget, retention: DeployRetention) -> Self {
        Self { store, clock, memory, retention }
    }

    /// Deletes what is old and what was released a while ago, until the future is dropped.
    pub async fn run(self) -> Infallible {
        let look_every = (self.retention.released_kept / 10).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX);
        let mut pruned = Instant::now();
        loop {
            sleep(look_every).await;
            if pruned.elapsed() >= PRUNE_EVERY {
                pruned = Instant::now();
                if let Err(error) = self.prune_old().await {
                    tracing::warn!(%error, "old deploys are not deleted");
                }
                if let Err(error) = self.purge_deleted().await {
                    tracing::warn!(%error, "apps that were deleted are not purged");
                }
            }
            if let Err(error) = self.collect_released().await {
                tracing::warn!(%error, "objects that nothing reaches are not deleted");
            }
            if let Err(error) = self.give_back_pages().await {
                tracing::warn!(%error, "the database's file is not made smaller");
            }
        }
    }

    /// Deletes what is left of apps that were deleted a while ago.
    async fn purge_deleted(&self) -> Result<(), StoreError> {
        let Some(now) = self.clock.retention_now(&self.store).await? else { return Ok(()) };
        for app in self.store.deleted_apps().await? {
            if app.purging || app.deleted_at <= now - DELETED_KEPT {
                self.purge(&app).await?;
            }
        }
        Ok(())
    }

    async fn purge(&self, app: &DeletedApp) -> Result<(), StoreError> {
        loop {
            let began = Instant::now();
            if !self.store.purge_app(app, &Actor::named(BY)).await? {
                tracing::info!(app = %app.name, id = %app.id.as_uuid(), "a deleted app is gone");
                return Ok(());
            }
            give_way(began).await;
        }
    }

    /// Deletes the objects that were released a while ago, of all apps.
    async fn collect_released(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let before = TimeDelta::from_std(self.retention.released_kept)
            .ok()
            .and_then(|age| now.checked_sub_signed(age))
            .unwrap_or(DateTime::UNIX_EPOCH);
        for app in self.store.apps_to_collect(before, now).await? {
            match self.collect(&app, before, now).await {
                Ok(Collected { objects: 0, .. }) | Err(CollectError::Busy | CollectError::OlderNode) => {}
                Ok(Collected { objects, bytes }) => {
                    tracing::info!(app = %app.name, objects, bytes, "deleted objects that nothing reaches");
                }
                Err(CollectError::Store(error)) if error.is_unavailable() => return Err(error),
                // The others are looked at all the same.
                Err(error) => {
                    tracing::warn!(app = %app.name, %error, "objects that nothing reaches are not deleted");
                }
            }
        }
        Ok(())
    }

    /// Deletes the objects of an app that nothing reaches, but for what was released after `before`.
    async fn collect(
        &self,
        app: &App,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Collected, CollectError> {
        if !self.store.all_notice_deletions().await? {
            return Err(CollectError::OlderNode);
        }
        let mut collected = Collected::default();
        self.delete_condemned(app, &mut collected).await?;
        let repository = AppRepository::new(self.store.clone(), Some(app.clone()));
        let mut reach = Reachability::default();
        let mut held = self.memory.account(app.id).try_reserve(Purpose::Pushes, 0)?;
        for _ in 0..TRIES {
            let Some(roots) = self.store.collection_roots(app.id, before, now).await? else {
                return Ok(collected);
            };
            if roots.released.is_empty() {
                return Ok(collected);
            }
            match self.condemn(app, &repository, &roots, &mut reach, &mut held).await {
                Ok(true) => {
                    drop((reach, held));
                    self.delete_condemned(app, &mut collected).await?;
                    return Ok(collected);
                }
                Ok(false) => {}
                // Another node has deleted what was reached when it was looked for it. What was found until then has gaps.
                Err(CollectError::Read(error)) if self.is_in(app, roots.state).await? => {
                    return Err(error.into());
                }
                Err(CollectError::Read(_)) => reach = Reachability::default(),
                Err(error) => return Err(error),
            }
        }
        Err(CollectError::Busy)
    }

    /// Condemns what is not reached. `false`: somebody has pushed, and what is reached is to be looked at again.
    async fn condemn(
        &self,
        app: &App,
        repository: &AppRepository,
        roots: &CollectionRoots,
        reach: &mut Reachability,
        held: &mut Reservation,
    ) -> Result<bool, CollectError> {
        let ids: Vec<ObjectId> = roots.held.iter().map(|oid| object_id(*oid)).collect();
        reach.add_roots(repository, &ids).await?;
        loop {
            let began = Instant::now();
            let goes_on = reach.step(repository).await?;
            hold(held, reach.len() as u64)?;
            if !goes_on {
                break;
            }
            give_way(began).await;
        }
        let Unreached { garbage, on_garbage } = self.unreached(app, reach, held).await?;
        Ok(self.make_whole(app, repository, roots.state, on_garbage).await?
            && self.store.condemn(app.id, roots.state, &garbage, &roots.released).await?)
    }

    /// Whether the app still is in that state.
    async fn is_in(&self, app: &App, state: CollectionState) -> Result<bool, StoreError> {
        let now = self.store.app(&app.name).await?;
        Ok(now.is_some_and(|now| now.id == app.id && now.collection_state() == state))
    }

    /// What is stored of an app and is not reached.
    async fn unreached(
        &self,
        app: &App,
        reach: &Reachability,
        held: &mut Reservation,
    ) -> Result<Unreached, CollectError> {
        let is_reached = |oid: Oid| reach.contains(&object_id(oid));
        let mut found = Unreached::default();
        let mut after = None;
        loop {
            let began = Instant::now();
            let page = self.store.object_names(app.id, after, LISTED_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some(last.oid);
            for name in page {
                match (is_reached(name.oid), name.base) {
                    (false, _) => found.garbage.push(name.oid),
                    (true, Some(base)) if !is_reached(base) => found.on_garbage.push(name.oid),
                    (true, _) => {}
                }
            }
            hold(held, (reach.len() + found.garbage.len() + found.on_garbage.len()) as u64)?;
            give_way(began).await;
        }
    }

    /// Stores objects whole. `false`: somebody has pushed, and what is reached is to be looked at again.
    async fn make_whole(
        &self,
        app: &App,
        repository: &AppRepository,
        state: CollectionState,
        oids: Vec<Oid>,
    ) -> Result<bool, CollectError> {
        let mut batch: Vec<Object> = Vec::new();
        let mut left = oids.len();
        for oid in oids {
            batch.extend(undeltified(repository, object_id(oid)).await?.map(stored_object));
            left -= 1;
            let bytes: u64 = batch.iter().map(|object| object.zlib.len() as u64).sum();
            if left == 0 || batch.len() >= BATCH_OBJECTS || bytes >= BATCH_BYTES {
                let began = Instant::now();
                if !self.store.make_whole(app.id, state, &batch).await? {
                    return Ok(false);
                }
                batch.clear();
                give_way(began).await;
            }
        }
        Ok(true)
    }

    /// Deletes what is condemned.
    async fn delete_condemned(&self, app: &App, collected: &mut Collected) -> Result<(), StoreError> {
        loop {
            let began = Instant::now();
            let Some(deleted) = self.store.delete_condemned(app.id).await? else { return Ok(()) };
            collected.objects += deleted.rows;
            collected.bytes += deleted.bytes;
            tracing::debug!(app = %app.name, rows = deleted.rows, took = ?began.elapsed(), "deleted objects");
            give_way(began).await;
        }
    }

    /// Makes the embedded database's file smaller, as far as it can be.
    async fn give_back_pages(&self) -> Result<(), StoreError> {
        loop {
            let began = Instant::now();
            if !self.store.give_back_pages().await? {
                return Ok(());
            }
            give_way(began).await;
        }
    }
}

/// Holds memory for so many names.
fn hold(held: &mut Reservation, names: u64) -> Result<(), OutOfMemory> {
    let bytes = names * NAME_BYTES;
    match bytes.checked_sub(held.bytes()) {
        Some(more) if more > 0 => held.try_grow(more),
        _ => Ok(()),
    }
}

/// Leaves others as much time as was taken.
async fn give_way(began: Instant) {
    sleep(began.elapsed().max(Duration::from_millis(1))).await;
}

/// What is not reached.
#[derive(Default)]
struct Unreached {
    garbage: Vec<Oid>,
    /// What is reached, and stored as a delta on something that is not.
    on_garbage: Vec<Oid>,
}
