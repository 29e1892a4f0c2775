use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use runtime::CountingAllocator;
use store::AppId;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::account::{Account, AccountState};
use super::{OutOfMemory, Purpose};

/// The minimum part of the serving reserve per app.
const RESERVE_MIN_BYTES: u64 = 1024 * 1024;

/// Accounts below this size do not count as active.
const ACTIVE_BYTES_MIN: u64 = 1024 * 1024;

/// How much has to be freed before the allocator returns it to the OS.
const RETURN_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// The delay of that: the allocator keeps memory freed within the last second.
const RETURN_DELAY: Duration = Duration::from_secs(2);

/// The part kept free by background evictions: one sixteenth. Evicting a large program takes milliseconds,
/// and no request should wait for that.
const HEADROOM_DIVISOR: u64 = 16;

/// The pause between rounds of background evictions.
const EVICTION_INTERVAL: Duration = Duration::from_millis(20);

/// The memory budget of a node for its apps. Cheap to clone; clones share it.
///
/// The rules for apps:
///
/// 1. An app never exceeds its share: half of the budget by default. The last quarter of the share is for
///    running scripts and their compiled programs, so that an app full of bodies and sources still serves
///    requests.
/// 2. From three quarters of the budget on, an app gets more only up to an equal part: the budget divided by
///    the number of apps that use a mebibyte or more.
/// 3. The last eighth is reserved for serving requests (scripts, bodies, responses). Every app gets an equal
///    part of it, at least a mebibyte, so that it can run a script while others use the rest; rule 2 does not
///    apply to this part.
///
/// Before a rejection, rebuildable data is evicted ([`Evict`]); most evictions happen in the background
/// before that ([`Self::keep_headroom`]).
#[derive(Clone)]
pub struct MemoryBudget(Arc<BudgetState>);

/// The counters of a budget, kept alive by its accounts.
pub(super) struct BudgetState {
    total_bytes: u64,
    used_bytes: AtomicU64,
    /// The peak usage.
    peak_bytes: AtomicU64,
    used_for: [AtomicU64; Purpose::ALL.len()],
    /// How many accounts use [`ACTIVE_BYTES_MIN`] or more.
    active: AtomicU64,
    rejections: AtomicU64,
    accounts: Mutex<HashMap<Option<AppId>, Weak<AccountState>>>,
    evict: OnceLock<Box<dyn Evict>>,
    /// The accounts that need background evictions; `None`: the node.
    eviction_queue: Mutex<HashSet<Option<AppId>>>,
    /// Notified when one is added.
    eviction_requested: Notify,
    /// Notified when memory is released.
    freed: Notify,
    /// The bytes freed since memory was last returned to the OS.
    unreturned_bytes: AtomicU64,
    /// Notified when they exceed [`RETURN_BYTES_MIN`].
    return_requested: Notify,
}

/// Evicts rebuildable data, such as compiled programs.
pub trait Evict: Send + Sync {
    /// Evicts about `bytes` of the app, or of any app. Returns the freed bytes.
    fn evict(&self, app: Option<AppId>, bytes: u64) -> u64;

    /// Evicts only what was not used recently.
    fn evict_unused(&self, app: Option<AppId>, bytes: u64);
}

/// The usage of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryUsage {
    /// The budget.
    pub total_bytes: u64,
    /// The reserved bytes.
    pub used_bytes: u64,
    /// The peak since the start.
    pub peak_bytes: u64,
    /// The reserved bytes by purpose.
    pub by_purpose: [(Purpose, u64); Purpose::ALL.len()],
    /// The number of rejections since the start.
    pub rejections: u64,
}

impl MemoryBudget {
    /// Creates a budget of `total_bytes`.
    pub fn new(total_bytes: u64) -> Self {
        Self(Arc::new(BudgetState {
            total_bytes,
            used_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            used_for: std::array::from_fn(|_| AtomicU64::new(0)),
            active: AtomicU64::new(0),
            rejections: AtomicU64::new(0),
            accounts: Mutex::default(),
            evict: OnceLock::new(),
            eviction_queue: Mutex::default(),
            eviction_requested: Notify::new(),
            freed: Notify::new(),
            unreturned_bytes: AtomicU64::new(0),
            return_requested: Notify::new(),
        }))
    }

    /// Creates an unlimited budget, for the machine of an app's author.
    pub fn unbounded() -> Self {
        Self::new(u64::MAX)
    }

    /// Sets the evictor. Only the first call has an effect.
    pub fn set_evict(&self, evict: Box<dyn Evict>) {
        let _ = self.0.evict.set(evict);
    }

    /// The account of an app, shared while it is referenced.
    pub fn account(&self, app: AppId) -> Account {
        self.account_of(Some(app), self.default_share())
    }

    /// The account for data of no app: API requests, and requests before routing.
    pub fn node_account(&self) -> Account {
        self.account_of(None, self.0.total_bytes / 4)
    }

    /// The default share of an app.
    pub fn default_share(&self) -> u64 {
        self.0.total_bytes / 2
    }

    /// The current usage.
    pub fn usage(&self) -> MemoryUsage {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        MemoryUsage {
            total_bytes: self.0.total_bytes,
            used_bytes: load(&self.0.used_bytes),
            peak_bytes: load(&self.0.peak_bytes),
            by_purpose: std::array::from_fn(|at| (Purpose::ALL[at], load(&self.0.used_for[at]))),
            rejections: load(&self.0.rejections),
        }
    }

    /// Returns freed memory to the OS for as long as the node runs: some seconds after much was freed, until
    /// little is left. It wakes the threads of this runtime and of `others`, which each cache freed memory.
    pub async fn return_freed(self, others: Vec<Handle>) {
        let runtimes = [others, vec![Handle::current()]].concat();
        loop {
            self.0.return_requested.notified().await;
            while self.0.unreturned_bytes.swap(0, Ordering::Relaxed) >= RETURN_BYTES_MIN {
                // The second round returns what the threads released in the first.
                for _ in 0..2 {
                    tokio::time::sleep(RETURN_DELAY).await;
                    CountingAllocator::purge();
                    let threads =
                        runtimes.iter().flat_map(|runtime| vec![runtime; runtime.metrics().num_workers()]);
                    threads.for_each(|runtime| drop(runtime.spawn(async {})));
                }
            }
        }
    }

    /// Evicts unused data in the background when the memory of an app or of the node is nearly full, for as
    /// long as the node runs.
    pub async fn keep_headroom(self) {
        loop {
            self.0.eviction_requested.notified().await;
            let eviction_queue = std::mem::take(&mut *self.0.eviction_queue());
            for app in eviction_queue {
                let bytes = match app {
                    Some(app) => self.account(app).wanted_headroom(),
                    None => self.0.wanted_headroom(),
                };
                if let Some(evict) = self.0.evict.get().filter(|_| bytes > 0) {
                    evict.evict_unused(app, bytes);
                }
            }
            tokio::time::sleep(EVICTION_INTERVAL).await;
        }
    }

    fn account_of(&self, app: Option<AppId>, share_bytes: u64) -> Account {
        let mut accounts = self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = accounts.get(&app).and_then(Weak::upgrade) {
            return Account(state);
        }
        accounts.retain(|_, state| state.strong_count() > 0);
        let state = Arc::new(AccountState::new(Arc::clone(&self.0), app, share_bytes));
        accounts.insert(app, Arc::downgrade(&state));
        Account(state)
    }
}

impl BudgetState {
    /// Reserves `bytes` for an account that then uses `account_bytes`, of which `serving_bytes` serve
    /// requests; `None` for other purposes.
    pub(super) fn take(
        &self,
        purpose: Purpose,
        bytes: u64,
        account_bytes: u64,
        serving_bytes: Option<u64>,
    ) -> Result<(), OutOfMemory> {
        let active = self.active();
        let reserve = self.total_bytes / 8;
        let uses_reserve =
            serving_bytes.is_some_and(|serving| serving <= (reserve / active).max(RESERVE_MIN_BYTES));
        let limit = match uses_reserve {
            true => self.total_bytes,
            false if account_bytes <= self.equal_part() => self.total_bytes - reserve,
            false => self.total_bytes / 4 * 3,
        };
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit);
        match self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(before) => {
                self.record(purpose, before, bytes);
                Ok(())
            }
            Err(used_bytes) => {
                Err(OutOfMemory::Node { used_bytes, total_bytes: self.total_bytes, requested_bytes: bytes })
            }
        }
    }

    /// The equal part of each active app.
    pub(super) fn equal_part(&self) -> u64 {
        self.total_bytes / self.active()
    }

    fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed).max(1)
    }

    /// Accounts for `bytes` that are already allocated.
    pub(super) fn charge(&self, purpose: Purpose, bytes: u64) {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.record(purpose, before, bytes);
    }

    pub(super) fn release(&self, purpose: Purpose, bytes: u64) {
        self.used_for[purpose as usize].fetch_sub(bytes, Ordering::Relaxed);
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
        let before = self.unreturned_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before < RETURN_BYTES_MIN && before.saturating_add(bytes) >= RETURN_BYTES_MIN {
            self.return_requested.notify_one();
        }
    }

    /// Updates the number of active accounts.
    pub(super) fn update_active(&self, before: u64, after: u64) {
        match (before >= ACTIVE_BYTES_MIN, after >= ACTIVE_BYTES_MIN) {
            (false, true) => drop(self.active.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.active.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    pub(super) fn count_rejection(&self) {
        self.rejections.fetch_add(1, Ordering::Relaxed);
    }

    /// How many bytes of any app should be evicted in the background.
    pub(super) fn wanted_headroom(&self) -> u64 {
        wanted_headroom(self.used_bytes.load(Ordering::Relaxed), self.total_bytes / 4 * 3)
    }

    /// Requests background evictions of an app, or of the node.
    pub(super) fn request_eviction(&self, app: Option<AppId>) {
        if self.eviction_queue().insert(app) {
            self.eviction_requested.notify_one();
        }
    }

    fn eviction_queue(&self) -> MutexGuard<'_, HashSet<Option<AppId>>> {
        self.eviction_queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evicts about `bytes`. Returns whether anything was freed.
    pub(super) fn evict(&self, app: Option<AppId>, bytes: u64) -> bool {
        self.evict.get().is_some_and(|evict| evict.evict(app, bytes) > 0)
    }

    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    fn record(&self, purpose: Purpose, before: u64, bytes: u64) {
        self.used_for[purpose as usize].fetch_add(bytes, Ordering::Relaxed);
        self.peak_bytes.fetch_max(before.saturating_add(bytes), Ordering::Relaxed);
    }
}

/// How many bytes should be evicted when `used` of `limit` are reserved.
pub(super) fn wanted_headroom(used: u64, limit: u64) -> u64 {
    used.saturating_sub(limit - limit / HEADROOM_DIVISOR)
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usage().fmt(f)
    }
}
