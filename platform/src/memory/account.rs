use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::AppId;

use super::budget::{BudgetState, wanted_headroom};
use super::{OutOfMemory, Purpose, Reservation};

/// What an app holds of a node's memory. Cheap to clone; clones are the same account.
#[derive(Clone)]
pub struct Account(pub(super) Arc<AccountState>);

/// The numbers of an account. Its reservations hold it.
pub(super) struct AccountState {
    budget: Arc<BudgetState>,
    app: Option<AppId>,
    share_bytes: AtomicU64,
    used_bytes: AtomicU64,
    /// The part of it that answers requests.
    serving_bytes: AtomicU64,
}

impl Account {
    /// Holds `bytes` for `purpose`.
    ///
    /// # Errors
    /// They do not fit into the app's share or the node's budget, not even after evictions.
    pub fn try_reserve(&self, purpose: Purpose, bytes: u64) -> Result<Reservation, OutOfMemory> {
        self.take(purpose, bytes)?;
        Ok(Reservation::new(self.clone(), purpose, bytes))
    }

    /// Holds `bytes` for `purpose`, and waits until they fit. The caller bounds how long.
    ///
    /// # Errors
    /// They are more than the app's whole share.
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

    /// Counts `bytes` that are held already, whether or not they fit. Until they are given back there is less for others.
    pub fn charge(&self, purpose: Purpose, bytes: u64) -> Reservation {
        self.0.budget.charge(purpose, bytes);
        self.0.add(purpose, bytes);
        Reservation::new(self.clone(), purpose, bytes)
    }

    /// Counts `bytes` that are lost until the process ends.
    pub fn charge_lost(&self, bytes: u64) {
        std::mem::forget(self.charge(Purpose::Leaked, bytes));
    }

    /// What the app holds.
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes.load(Ordering::Relaxed)
    }

    /// The most that the app can hold.
    pub fn share_bytes(&self) -> u64 {
        self.0.share_bytes.load(Ordering::Relaxed)
    }

    /// Changes the most that the app can hold. What it holds already stays.
    pub fn set_share(&self, bytes: u64) {
        self.0.share_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes of the app are to be evicted in the background: for others too, where it holds more than they.
    pub(super) fn wanted_headroom(&self) -> u64 {
        let (used, budget) = (self.used_bytes(), &self.0.budget);
        let for_others = if used > budget.equal_part() { budget.wanted_headroom() } else { 0 };
        wanted_headroom(used, self.0.share_of_others(self.share_bytes())).max(for_others)
    }

    /// Takes `bytes` more, after evictions where it must be.
    pub(super) fn take(&self, purpose: Purpose, bytes: u64) -> Result<(), OutOfMemory> {
        loop {
            let refused = match self.0.try_take(purpose, bytes) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            // Who holds more than others takes nothing from them.
            let of = match refused {
                OutOfMemory::App { .. } => self.0.app,
                OutOfMemory::Node { .. } if self.used_bytes() > self.0.budget.equal_part() => self.0.app,
                OutOfMemory::Node { .. } => None,
            };
            if !self.0.budget.evict(of, bytes) {
                self.0.budget.note_refused();
                return Err(refused);
            }
        }
    }

    pub(super) fn give_back(&self, purpose: Purpose, bytes: u64) {
        self.0.subtract(purpose, bytes);
        self.0.budget.give_back(purpose, bytes);
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
        // The last part is for scripts: what they answer with what the app holds.
        let is_all = purpose.is_running() || self.app.is_none();
        let share_bytes = if is_all { share_bytes } else { self.share_of_others(share_bytes) };
        let taken = if used > share_bytes {
            let used_bytes = used.saturating_sub(bytes);
            Err(OutOfMemory::App { used_bytes, share_bytes, asked_bytes: bytes })
        } else {
            self.budget.take(purpose, bytes, used, purpose.is_serving().then_some(serving))
        };
        if taken.is_err() {
            self.subtract(purpose, bytes);
        } else {
            self.note_nearly_full(used, share_bytes);
        }
        taken
    }

    /// Has the background evict something, if it is time to: of the app that holds more than others, or of any.
    fn note_nearly_full(&self, used: u64, share_bytes: u64) {
        if wanted_headroom(used, share_bytes) > 0 {
            self.budget.note_nearly_full(self.app);
        }
        if self.budget.wanted_headroom() > 0 {
            let of = self.app.filter(|_| used > self.budget.equal_part());
            self.budget.note_nearly_full(of);
        }
    }

    /// What of a share is for other purposes than running scripts, which have all of it.
    fn share_of_others(&self, share_bytes: u64) -> u64 {
        share_bytes - share_bytes / 4
    }

    /// Counts more, and gives what is held then in all, and for serving.
    fn add(&self, purpose: Purpose, bytes: u64) -> (u64, u64) {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.budget.note_active(before, before.saturating_add(bytes));
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
        self.budget.note_active(before, before.saturating_sub(bytes));
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
