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

/// What an app gets of the reserve for answering requests, however many apps want it.
const RESERVE_MIN_BYTES: u64 = 1024 * 1024;

/// An account that holds less does not count among those that share a node under pressure.
const ACTIVE_BYTES: u64 = 1024 * 1024;

/// What has to be freed before the allocator is asked to give it back to the system.
const MUCH_BYTES: u64 = 4 * 1024 * 1024;

/// How long after that it is asked: the allocator keeps what was freed within the last second.
const RETURN_DELAY: Duration = Duration::from_secs(2);

/// What is kept free by evictions in the background: a sixteenth of what can be held. To evict a large program takes milliseconds, for
/// which no request is to wait.
const HEADROOM: u64 = 16;

/// How long the background rests between two rounds of evictions.
const EVICT_EVERY: Duration = Duration::from_millis(20);

/// The memory that a node has for its apps. Cheap to clone; clones are the same budget.
///
/// An app gets memory by these rules:
///
/// 1. It never holds more than its share: half of the budget, unless its quota says otherwise. The last quarter of the share is for
///    running scripts and what they are compiled to, so that an app which is full of bodies and texts still answers.
/// 2. From three quarters of the budget on, it gets more only up to an equal part: the budget divided by the number of apps that
///    hold a mebibyte or more.
/// 3. The last eighth is a reserve for answering requests (scripts, bodies, answers). An app gets an equal part of it and at
///    least a mebibyte, so that every app can run a script while others hold the rest; rule 2 does not apply to that part.
///
/// Before anything is refused, what can be built again is evicted ([`Evict`]); most of that is done in the background, before it must
/// be ([`Self::keep_headroom`]).
#[derive(Clone)]
pub struct MemoryBudget(Arc<BudgetState>);

/// The numbers of a budget. Its accounts hold it.
pub(super) struct BudgetState {
    total_bytes: u64,
    used_bytes: AtomicU64,
    /// The most that was held at once.
    peak_bytes: AtomicU64,
    used_for: [AtomicU64; Purpose::ALL.len()],
    /// How many accounts hold [`ACTIVE_BYTES`] or more.
    active: AtomicU64,
    refused: AtomicU64,
    accounts: Mutex<HashMap<Option<AppId>, Weak<AccountState>>>,
    evict: OnceLock<Box<dyn Evict>>,
    /// Whose memory is nearly full; `None`: the node's.
    nearly_full: Mutex<HashSet<Option<AppId>>>,
    /// Notified when one comes to them.
    filling: Notify,
    /// Notified when memory is given back.
    freed: Notify,
    /// What was given back since the allocator was last asked to give it to the system.
    unreturned_bytes: AtomicU64,
    /// Notified when that is much.
    much_unreturned: Notify,
}

/// Drops what can be built again, such as compiled programs.
pub trait Evict: Send + Sync {
    /// Drops about so many bytes of that app, or of any app, and says how many were given back.
    fn evict(&self, app: Option<AppId>, bytes: u64) -> u64;

    /// The same of what was not used lately, and of nothing else.
    fn evict_unused(&self, app: Option<AppId>, bytes: u64);
}

/// What is held of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryUsage {
    /// The most that can be held.
    pub total_bytes: u64,
    /// What is held.
    pub used_bytes: u64,
    /// The most that was held at once since the start.
    pub peak_bytes: u64,
    /// What is held, by purpose.
    pub by_purpose: [(Purpose, u64); Purpose::ALL.len()],
    /// How often memory was refused since the start.
    pub refused: u64,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(total_bytes: u64) -> Self {
        Self(Arc::new(BudgetState {
            total_bytes,
            used_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            used_for: std::array::from_fn(|_| AtomicU64::new(0)),
            active: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            accounts: Mutex::default(),
            evict: OnceLock::new(),
            nearly_full: Mutex::default(),
            filling: Notify::new(),
            freed: Notify::new(),
            unreturned_bytes: AtomicU64::new(0),
            much_unreturned: Notify::new(),
        }))
    }

    /// A budget that refuses nothing, for one app on the machine of its author.
    pub fn unbounded() -> Self {
        Self::new(u64::MAX)
    }

    /// Names what drops compiled programs and the like under pressure. Only the first one counts.
    pub fn set_evict(&self, evict: Box<dyn Evict>) {
        let _ = self.0.evict.set(evict);
    }

    /// The account of an app: the same one for as long as anybody holds it or memory of it.
    pub fn account(&self, app: AppId) -> Account {
        self.account_of(Some(app), self.default_share())
    }

    /// The account of what belongs to no app: requests to the API, clients that have not yet said whose address they want.
    pub fn node_account(&self) -> Account {
        self.account_of(None, self.0.total_bytes / 4)
    }

    /// What an app can hold where its quota says nothing.
    pub fn default_share(&self) -> u64 {
        self.0.total_bytes / 2
    }

    /// What is held.
    pub fn usage(&self) -> MemoryUsage {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        MemoryUsage {
            total_bytes: self.0.total_bytes,
            used_bytes: load(&self.0.used_bytes),
            peak_bytes: load(&self.0.peak_bytes),
            by_purpose: std::array::from_fn(|at| (Purpose::ALL[at], load(&self.0.used_for[at]))),
            refused: load(&self.0.refused),
        }
    }

    /// Gives what was freed back to the system, for as long as the node runs: some seconds after much was freed, and again until
    /// little is. Until then it sleeps. It wakes the threads of this runtime and of `others`, each of which holds freed memory of its own.
    pub async fn return_freed(self, others: Vec<Handle>) {
        let runtimes = [others, vec![Handle::current()]].concat();
        loop {
            self.0.much_unreturned.notified().await;
            while self.0.unreturned_bytes.swap(0, Ordering::Relaxed) >= MUCH_BYTES {
                // What the threads no longer hold is given to the system the second time.
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

    /// Evicts what was not used lately where an app's or the node's memory is nearly full, for as long as the node runs. While none is,
    /// it sleeps.
    pub async fn keep_headroom(self) {
        loop {
            self.0.filling.notified().await;
            let nearly_full = std::mem::take(&mut *self.0.nearly_full());
            for app in nearly_full {
                let bytes = match app {
                    Some(app) => self.account(app).wanted_headroom(),
                    None => self.0.wanted_headroom(),
                };
                if let Some(evict) = self.0.evict.get().filter(|_| bytes > 0) {
                    evict.evict_unused(app, bytes);
                }
            }
            tokio::time::sleep(EVICT_EVERY).await;
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
    /// Counts `bytes` more for an account that then holds `account_bytes`, of which `serving_bytes` answer requests; `None` where
    /// they are for something else.
    pub(super) fn take(
        &self,
        purpose: Purpose,
        bytes: u64,
        account_bytes: u64,
        serving_bytes: Option<u64>,
    ) -> Result<(), OutOfMemory> {
        let active = self.active();
        let reserve = self.total_bytes / 8;
        let of_reserve =
            serving_bytes.is_some_and(|serving| serving <= (reserve / active).max(RESERVE_MIN_BYTES));
        let most = match of_reserve {
            true => self.total_bytes,
            false if account_bytes <= self.equal_part() => self.total_bytes - reserve,
            false => self.total_bytes / 4 * 3,
        };
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= most);
        match self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(before) => {
                self.note(purpose, before, bytes);
                Ok(())
            }
            Err(used_bytes) => {
                Err(OutOfMemory::Node { used_bytes, total_bytes: self.total_bytes, asked_bytes: bytes })
            }
        }
    }

    /// What an app holds that holds as much as the others.
    pub(super) fn equal_part(&self) -> u64 {
        self.total_bytes / self.active()
    }

    fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed).max(1)
    }

    /// Counts `bytes` more that are held already.
    pub(super) fn charge(&self, purpose: Purpose, bytes: u64) {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.note(purpose, before, bytes);
    }

    pub(super) fn give_back(&self, purpose: Purpose, bytes: u64) {
        self.used_for[purpose as usize].fetch_sub(bytes, Ordering::Relaxed);
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
        let before = self.unreturned_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before < MUCH_BYTES && before.saturating_add(bytes) >= MUCH_BYTES {
            self.much_unreturned.notify_one();
        }
    }

    /// Notes that an account came to hold, or no longer holds, [`ACTIVE_BYTES`].
    pub(super) fn note_active(&self, before: u64, after: u64) {
        match (before >= ACTIVE_BYTES, after >= ACTIVE_BYTES) {
            (false, true) => drop(self.active.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.active.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    pub(super) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many bytes are to be evicted in the background, of any app.
    pub(super) fn wanted_headroom(&self) -> u64 {
        wanted_headroom(self.used_bytes.load(Ordering::Relaxed), self.total_bytes / 4 * 3)
    }

    /// Notes that the memory of an app, or of the node, is nearly full.
    pub(super) fn note_nearly_full(&self, app: Option<AppId>) {
        if self.nearly_full().insert(app) {
            self.filling.notify_one();
        }
    }

    fn nearly_full(&self) -> MutexGuard<'_, HashSet<Option<AppId>>> {
        self.nearly_full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evicts about so many bytes, and says whether anything was given back.
    pub(super) fn evict(&self, app: Option<AppId>, bytes: u64) -> bool {
        self.evict.get().is_some_and(|evict| evict.evict(app, bytes) > 0)
    }

    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    fn note(&self, purpose: Purpose, before: u64, bytes: u64) {
        self.used_for[purpose as usize].fetch_add(bytes, Ordering::Relaxed);
        self.peak_bytes.fetch_max(before.saturating_add(bytes), Ordering::Relaxed);
    }
}

/// How many bytes are to be evicted where `used` are held of `most`.
pub(super) fn wanted_headroom(used: u64, most: u64) -> u64 {
    used.saturating_sub(most - most / HEADROOM)
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usage().fmt(f)
    }
}
