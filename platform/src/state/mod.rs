//! The state of apps: what scripts keep with `kv`.
//!
//! A **namespace** is the state of an app's production, or of one preview. An execution reads and writes it in a
//! [`Transaction`], which is accepted in memory when the script has ended well, and stored in a group with others. The
//! answer leaves after that.
//!
//! - `namespace`: a namespace, and the acceptance of transactions; `contents`: what of it is in memory
//! - `loading`: reads what is not in memory; `freshness`: keeps up with other nodes; `notifications`: notifies them
//! - `transaction`: what one pass of an execution reads and writes; `pass` gives it to a host
//! - `reads`: the keys and ranges that it has read; `changes`: the results of its changes
//! - `recent`: the log of recent commits; `cache`: values in memory
//! - `committer`: stores groups of accepted commits; `contended`: while other nodes change the same namespace
//! - `conflicts`: the keys that transactions run again for
//! - `sweep`: deletes what has expired
//! - `administration`: changes by operators; `pages`: what they read
//! - `metrics`: the counters
//!
//! # Invariants
//!
//! - Transactions of a namespace are accepted one after the other, each only if nothing that it read has changed, so
//!   their order is serial and agrees with real time (optimistic concurrency control with backward validation: Kung
//!   and Robinson, "On optimistic methods for concurrency control", 1981).
//! - An answer leaves after everything that its execution has seen or written is stored.
//! - If a group cannot be stored, nothing of it is, and everything accepted after it is thrown away.
//! - A key with a TTL ends at one moment of one clock, which never goes back in a namespace.

mod administration;
mod cache;
mod changes;
mod committer;
mod conflicts;
mod contended;
mod contents;
mod faults;
mod freshness;
mod loading;
mod metrics;
mod namespace;
mod notifications;
mod pages;
mod pass;
mod reads;
mod recent;
mod sweep;
mod transaction;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{AppId, NamespaceId, SharedState, StateStore};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use runtime::Pending;

use crate::clock::Clock;
use crate::memory::MemoryBudget;
use cache::equal_part;
use faults::Faults;

pub use administration::{AdministrationError, ExportedEntry, KvAction, NamespaceUsage, StateTarget};
pub(crate) use contents::Accepted;
pub use metrics::{GROUP_BOUNDS, StateCounts, StateMetrics};
pub use namespace::Namespace;
pub(crate) use namespace::{NotAccepted, NotStored};
pub use pages::{EntryPage, ListedKey};
pub(crate) use pass::PassState;
pub use runtime::{KvChange, KvKey, KvList, KvValue};
pub use store::NamespaceName;
pub(crate) use transaction::{Session, Transaction};

/// The maximum number of keys that an execution reads, and their bytes.
const READ_KEYS_MAX: u64 = 10_000;
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The maximum number of changes that an execution makes, and their bytes.
const WRITES_MAX: u64 = 5_000;
const WRITE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A page for an operator ends once its values have this many bytes.
const LIST_PAGE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// The quota of an app without one of its own, in bytes.
pub const QUOTA_BYTES: u64 = 256 * 1024 * 1024;

/// The quota of each preview, in bytes.
pub const PREVIEW_QUOTA_BYTES: u64 = 32 * 1024 * 1024;

/// What every entry counts besides its key and its value.
const ENTRY_OVERHEAD_BYTES: u64 = 32;

/// The maximum size of all cached values of the node, and the part of the memory budget that they take at most.
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const CACHE_DIVISOR: u64 = 8;

/// The disk must have this much free beyond what is written.
const DISK_RESERVE_BYTES: u64 = 1024 * 1024;

/// The state of all apps of a node. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
}

/// What all namespaces share.
struct Shared {
    /// `None`: nothing is stored.
    store: Option<StateStore>,
    /// The same, if other nodes change it, too.
    shared_store: Option<SharedState>,
    freshness: freshness::Freshness,
    notifications: notifications::Notifications,
    clock: Moments,
    memory: MemoryBudget,
    /// The folder of the database, if it is a file.
    folder: Option<PathBuf>,
    namespaces: Mutex<HashMap<AppId, HashMap<NamespaceName, Arc<Namespace>>>>,
    /// The namespaces with groups to store.
    queue: Mutex<VecDeque<Arc<Namespace>>>,
    work: Notify,
    /// Drives the connections of the store, also for executions on threads of their own.
    runtime: Option<Handle>,
    cached_bytes: Arc<AtomicU64>,
    cache_bytes_max: u64,
    sweep: sweep::Schedule,
    metrics: StateMetrics,
    faults: Faults,
}

/// A clock in milliseconds since 1970.
#[derive(Clone)]
pub(crate) struct Moments(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Moments {
    pub(crate) fn new(clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(clock))
    }

    fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moments")
    }
}

impl State {
    /// The state in `store`. Call it within a runtime: it starts the tasks that store groups and delete what has
    /// expired.
    pub fn new(store: StateStore, clock: Clock, memory: MemoryBudget) -> Self {
        let clock = Moments::new(move || clock.now().timestamp_millis());
        Self::with(Some(store), clock, memory)
    }

    fn with(store: Option<StateStore>, clock: Moments, memory: MemoryBudget) -> Self {
        let cache_bytes_max = CACHE_BYTES_MAX.min(memory.usage().total_bytes / CACHE_DIVISOR);
        let shared = Arc::new(Shared {
            folder: store.as_ref().and_then(|store| store.folder().map(PathBuf::from)),
            shared_store: store.as_ref().and_then(StateStore::shared),
            store,
            freshness: freshness::Freshness::default(),
            notifications: notifications::Notifications::default(),
            clock,
            memory,
            namespaces: Mutex::default(),
            queue: Mutex::default(),
            work: Notify::new(),
            runtime: Handle::try_current().ok(),
            cached_bytes: Arc::default(),
            cache_bytes_max,
            sweep: sweep::Schedule::default(),
            metrics: StateMetrics::default(),
            faults: Faults::default(),
        });
        if let Some(store) = shared.store.clone() {
            tokio::spawn(committer::run(Arc::clone(&shared), store.clone()));
            tokio::spawn(sweep::run(Arc::clone(&shared), store));
        }
        if let Some(store) = shared.shared_store.clone() {
            tokio::spawn(freshness::run(Arc::clone(&shared), store.clone()));
            tokio::spawn(notifications::run(Arc::clone(&shared), store));
        }
        Self { shared }
    }

    /// The namespace of an app's production, or of a preview, with its quota.
    pub fn namespace(&self, app: AppId, name: &NamespaceName, quota_bytes: u64) -> Arc<Namespace> {
        let namespace = self.shared.namespace(app, name);
        namespace.set_quota(quota_bytes);
        namespace
    }

    /// Notes that other nodes have changed these namespaces.
    pub(crate) fn note_changed(&self, changed: &[NamespaceId]) {
        freshness::note_changed(&self.shared, changed);
    }

    /// The counters.
    pub fn metrics(&self) -> &StateMetrics {
        &self.shared.metrics
    }

    /// The bytes of cached values.
    pub fn cached_bytes(&self) -> u64 {
        self.shared.cached_bytes()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

/// An empty namespace that nothing is stored of, for executions without effects.
pub(crate) fn unstored_namespace(app: AppId, clock_ms: Option<i64>) -> Arc<Namespace> {
    let clock = Moments::new(move || clock_ms.unwrap_or_else(|| chrono::Utc::now().timestamp_millis()));
    let memory = MemoryBudget::unbounded();
    let state = State::with(None, clock, memory);
    Namespace::new(state.shared, app, NamespaceName::Production, None, QUOTA_BYTES)
}

impl Shared {
    /// Whether other nodes change the same state.
    fn is_shared(&self) -> bool {
        self.shared_store.is_some()
    }

    /// A namespace, with the default quota if it is new.
    fn namespace(self: &Arc<Self>, app: AppId, name: &NamespaceName) -> Arc<Namespace> {
        let mut namespaces = self.namespaces();
        let of_app = namespaces.entry(app).or_default();
        if let Some(known) = of_app.get(name) {
            return Arc::clone(known);
        }
        let quota = match name {
            NamespaceName::Production => QUOTA_BYTES,
            NamespaceName::Preview(_) => PREVIEW_QUOTA_BYTES,
        };
        // Those of deleted branches, which nothing uses any more: what is not stored yet is used by the committer.
        of_app.retain(|_, namespace| Arc::strong_count(namespace) > 1);
        let account = self.memory.account(app);
        let new = Namespace::new(Arc::clone(self), app, name.clone(), Some(account), quota);
        of_app.insert(name.clone(), Arc::clone(&new));
        new
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<AppId, HashMap<NamespaceName, Arc<Namespace>>>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Namespace>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read of the database that any thread can wait for.
    fn reading(&self, read: impl Future<Output = ()> + Send + 'static) -> Pending {
        match &self.runtime {
            Some(runtime) => {
                let reading = runtime.spawn(read);
                Box::pin(async move {
                    // It neither panics nor is aborted before the runtime ends.
                    let _ = reading.await;
                })
            }
            None => Box::pin(read),
        }
    }

    /// Adds a namespace with a group to store.
    fn enqueue(&self, namespace: Arc<Namespace>) {
        if self.store.is_some() {
            self.queue().push_back(namespace);
            self.work.notify_one();
        }
    }

    /// Notes that a group of this node is stored, for notifications to other nodes.
    fn note_stored(&self, id: NamespaceId) {
        self.notifications.note(id);
    }

    fn take_queue(&self) -> VecDeque<Arc<Namespace>> {
        std::mem::take(&mut *self.queue())
    }

    fn put_back(&self, namespaces: Vec<Arc<Namespace>>) {
        let mut queue = self.queue();
        for namespace in namespaces.into_iter().rev() {
            queue.push_front(namespace);
        }
    }

    fn cached_bytes(&self) -> u64 {
        self.cached_bytes.load(Ordering::Relaxed)
    }

    /// Evicts values until a sixteenth is free: of the apps that cache more than an equal part, and of each in its
    /// largest namespaces. So nothing of an app is evicted for others as long as it caches less than they.
    fn evict(&self) {
        if self.cached_bytes() <= self.cache_bytes_max {
            return;
        }
        let wanted = self.cache_bytes_max - self.cache_bytes_max / 16;
        let apps: Vec<Vec<Arc<Namespace>>> =
            self.namespaces().values().map(|of_app| of_app.values().cloned().collect()).collect();
        let with_sizes = |of_app: Vec<Arc<Namespace>>| {
            let sizes: Vec<u64> = of_app.iter().map(|namespace| namespace.cached_bytes()).collect();
            (of_app, sizes)
        };
        let apps: Vec<(Vec<Arc<Namespace>>, Vec<u64>)> = apps.into_iter().map(with_sizes).collect();
        let part = equal_part(apps.iter().map(|(_, sizes)| sizes.iter().sum()), wanted);
        for (of_app, sizes) in apps {
            let part = equal_part(sizes.iter().copied(), part);
            for (namespace, _) in of_app.iter().zip(sizes).filter(|(_, size)| *size > part) {
                namespace.evict_to(part);
            }
        }
    }

    /// Checks that the disk has room for `bytes`.
    fn check_disk(&self, bytes: u64) -> Result<(), String> {
        let Some(folder) = &self.folder else { return Ok(()) };
        // A local file system answers from memory.
        let Ok(found) = rustix::fs::statvfs(folder) else { return Ok(()) };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        // The log and the file each get a copy.
        if free < DISK_RESERVE_BYTES + 2 * bytes {
            return Err("the disk of the server is full".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
