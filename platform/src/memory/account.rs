use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::AppId;

use super::budget::{BudgetState, wanted_headroom};
use super::{OutOfMemory, Purpose, Reservation};

/// The memory account of an app. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Account(pub(super) Arc<AccountState>);

/// The counters of an account, kept alive by its reservations.
pub(super) struct AccountState {
    budget: Arc<BudgetState>,
    app: Option<AppId>,
    share_bytes: AtomicU64,
    used_bytes: AtomicU64,
    /// The part that serves requests.
    serving_bytes: AtomicU64,
}

impl Account {
    /// Reserves `bytes` for `purpose`.
    ///
    /// # Errors
    /// They do not fit into the app's share or the node's budget, even after evictions.
    pub fn try_reserve(&self, purpose: Purpose, bytes: u64) -> Result<Reservation, OutOfMemory> {
        self.take(purpose, bytes)?;
        Ok(Reservation::new(self.clone(), purpose, bytes))
    }

    /// Waits until `bytes` can be reserved for `purpose`. The caller bounds the time.
    ///
    /// # Errors
    /// They exceed the app's whole share.
    pub async fn reserve(&self, purpose: Purpose, bytes: u64) -> Result<Reservation, OutOfMemory> {
        loop {
            let mut freed = pin!(self.0.budget.freed());
            // From here on no release is missed.
            freed.as_mut().enable();
            match self.try_reserve(purpose, bytes) {
                Err(
                    OutOfMemory::App { share_bytes, .. } | OutOfMemory::Node { total_bytes: share_bytes, .. },
                ) if bytes <= share_bytes => {
                    freed.await;
                }
                done => return done,
            }
        }
    }

    /// Accounts for `bytes` that are already allocated, even beyond the limits.
    pub fn charge(&self, purpose: Purpose, bytes: u64) -> Reservation {
        self.0.budget.charge(purpose, bytes);
        self.0.add(purpose, bytes);
        Reservation::new(self.clone(), purpose, bytes)
    }

    /// Accounts for `bytes` that are leaked until the process ends.
    pub fn charge_leaked(&self, bytes: u64) {
        std::mem::forget(self.charge(Purpose::Leaked, bytes));
    }

    /// The reserved bytes.
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes.load(Ordering::Relaxed)
    }

    /// The app's share.
    pub fn share_bytes(&self) -> u64 {
        self.0.share_bytes.load(Ordering::Relaxed)
    }

    /// Changes the app's share. Existing reservations stay.
    pub fn set_share(&self, bytes: u64) {
        self.0.share_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes of the app should be evicted in the background: also for other apps, if it uses more
    /// than an equal part.
    pub(super) fn wanted_headroom(&self) -> u64 {
        let (used, budget) = (self.used_bytes(), &self.0.budget);
        let for_others = if used > budget.equal_part() { budget.wanted_headroom() } else { 0 };
        wanted_headroom(used, self.0.share_of_others(self.share_bytes())).max(for_others)
    }

    /// Reserves `bytes` more, after evictions if necessary.
    pub(super) fn take(&self, purpose: Purpose, bytes: u64) -> Result<(), OutOfMemory> {
        loop {
            let error = match self.0.try_take(purpose, bytes) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // An app above its equal part only evicts its own.
            let of = match error {
                OutOfMemory::App { .. } => self.0.app,
                OutOfMemory::Node { .. } if self.used_bytes() > self.0.budget.equal_part() => self.0.app,
                OutOfMemory::Node { .. } => None,
            };
            if !self.0.budget.evict(of, bytes) {
                self.0.budget.count_rejection();
                return Err(error);
            }
        }
    }

    pub(super) fn release(&self, purpose: Purpose, bytes: u64) {
        self.0.subtract(purpose, bytes);
        self.0.budget.release(purpose, bytes);
    }
}

impl AccountState {
    pub(super) fn new(budget: Arc<BudgetState>, app: Option<AppId>, share_bytes: u64) -> Self {
        Self {
            budget,
            app,
            share_bytes: AtomicU64::new(share_bytes),
            used_bytes: AtomicU64::new(0),
            serving_bytes: AtomicU64::new(0),
        }
    }

    fn try_take(&self, purpose: Purpose, bytes: u64) -> Result<(), OutOfMemory> {
        let (used, serving) = self.add(purpose, bytes);
        let share_bytes = self.share_bytes.load(Ordering::Relaxed);
        // The last quarter is reserved for running scripts.
        let can_use_all = purpose.is_running() || self.app.is_none();
        let share_bytes = if can_use_all { share_bytes } else { self.share_of_others(share_bytes) };
        let taken = if used > share_bytes {
            let used_bytes = used.saturating_sub(bytes);
            Err(OutOfMemory::App { used_bytes, share_bytes, requested_bytes: bytes })
        } else {
            self.budget.take(purpose, bytes, used, purpose.is_serving().then_some(serving))
        };
        if taken.is_err() {
            self.subtract(purpose, bytes);
        } else {
            self.request_eviction(used, share_bytes);
        }
        taken
    }

    /// Requests background evictions if memory is nearly full: of the app if it uses more than its equal
    /// part, or of any.
    fn request_eviction(&self, used: u64, share_bytes: u64) {
        if wanted_headroom(used, share_bytes) > 0 {
            self.budget.request_eviction(self.app);
        }
        if self.budget.wanted_headroom() > 0 {
            let of = self.app.filter(|_| used > self.budget.equal_part());
            self.budget.request_eviction(of);
        }
    }

    /// The part of a share for purposes other than running scripts.
    fn share_of_others(&self, share_bytes: u64) -> u64 {
        share_bytes - share_bytes / 4
    }

    /// Adds `bytes`, and returns the totals of all and of serving purposes.
    fn add(&self, purpose: Purpose, bytes: u64) -> (u64, u64) {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.budget.update_active(before, before.saturating_add(bytes));
        let serving = match purpose.is_serving() {
            true => self.serving_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes),
            false => self.serving_bytes.load(Ordering::Relaxed),
        };
        (before.saturating_add(bytes), serving)
    }

    fn subtract(&self, purpose: Purpose, bytes: u64) {
        if purpose.is_serving() {
            self.serving_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        let before = self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.update_active(before, before.saturating_sub(bytes));
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (used, share) = (self.used_bytes(), self.share_bytes());
        f.debug_struct("Account")
            .field("app", &self.0.app)
            .field("used", &used)
            .field("share", &share)
            .finish()
    }
}
