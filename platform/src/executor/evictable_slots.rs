//! Slots for transfers at the client's speed, bounded in number and bytes. If none is free, the holder of the
//! most is evicted, so that nobody can block others by starting transfers without finishing them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::holder::{Holder, LEVELS};

/// The limits.
#[derive(Clone, Copy, Debug)]
pub struct SlotLimits {
    /// The number of slots, …
    pub slots: usize,
    /// … and of those the maximum per app.
    pub app_slots: usize,
    /// The total bytes of all slots, …
    pub bytes: u64,
    /// … and the maximum per app.
    pub app_bytes: u64,
}

/// A set of evictable slots. Cheap to clone; clones share their slots.
#[derive(Clone, Debug)]
pub struct EvictableSlots(Arc<State>);

#[derive(Debug)]
struct State {
    limits: SlotLimits,
    inner: Mutex<Inner>,
    /// Notified when a slot is free.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// By id, in order of acquisition.
    entries: HashMap<u64, Entry>,
    next_id: u64,
    waiting: usize,
}

#[derive(Debug)]
struct Entry {
    holder: Holder,
    bytes: u64,
    /// Whether it can be evicted.
    is_evictable: bool,
    evicted: CancellationToken,
}

/// A permit for a slot, released on drop.
#[derive(Debug)]
#[must_use = "the slot is released when the permit is dropped"]
pub struct EvictablePermit {
    slots: Arc<State>,
    id: u64,
    evicted: CancellationToken,
}

/// No slot is free, and no holder has more than the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no slot is free, and no other holder has more")]
pub struct NoSlotError;

impl EvictableSlots {
    /// Creates free slots.
    pub fn new(limits: SlotLimits) -> Self {
        Self(Arc::new(State { limits, inner: Mutex::default(), freed: Notify::new() }))
    }

    /// The number of slots in use.
    pub fn in_use(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// Acquires a slot for `holder` without waiting: a free one, or by evicting a holder of more.
    ///
    /// # Errors
    /// No slot is free, and no holder has more.
    pub fn try_acquire(&self, holder: &Holder) -> Result<EvictablePermit, NoSlotError> {
        let mut inner = self.0.lock();
        let is_of_app = |entry: &Entry| entry.holder.app == holder.app;
        loop {
            let app_count = inner.entries.values().filter(|entry| is_of_app(entry)).count();
            let victim = if app_count >= self.0.limits.app_slots {
                inner.find_victim(holder, 1, is_of_app, |_| 1)
            } else if inner.entries.len() >= self.0.limits.slots {
                inner.find_victim(holder, 1, |_| true, |_| 1)
            } else {
                break;
            };
            inner.evict(victim.ok_or(NoSlotError)?);
        }
        let (id, evicted) = (inner.next_id, CancellationToken::new());
        inner.next_id += 1;
        let entry = Entry { holder: holder.clone(), bytes: 0, is_evictable: true, evicted: evicted.clone() };
        inner.entries.insert(id, entry);
        Ok(EvictablePermit { slots: Arc::clone(&self.0), id, evicted })
    }

    /// Acquires a slot, waiting up to `timeout`. As many callers can wait as there are slots.
    ///
    /// # Errors
    /// None was free within `timeout`, or too many callers wait.
    pub async fn acquire(&self, holder: &Holder, timeout: Duration) -> Result<EvictablePermit, NoSlotError> {
        if let Ok(permit) = self.try_acquire(holder) {
            return Ok(permit);
        }
        let _waiting = Waiting::begin(&self.0)?;
        let waiting = async {
            loop {
                let mut freed = std::pin::pin!(self.0.freed.notified());
                // From here on no release is missed.
                freed.as_mut().enable();
                match self.try_acquire(holder) {
                    Ok(permit) => return permit,
                    Err(NoSlotError) => freed.await,
                }
            }
        };
        tokio::time::timeout(timeout, waiting).await.map_err(|_| NoSlotError)
    }
}

impl EvictablePermit {
    /// Completes when the slot is evicted.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// A token that is cancelled on eviction.
    pub(crate) fn eviction_token(&self) -> CancellationToken {
        self.evicted.clone()
    }

    /// Excludes the slot from eviction.
    pub fn pin(&self) {
        if let Some(entry) = self.slots.lock().entries.get_mut(&self.id) {
            entry.is_evictable = false;
        }
    }

    /// Adds `bytes` to the slot. If they exceed the limits, holders of more bytes are evicted.
    ///
    /// # Errors
    /// No holder has more, or the slot itself was evicted.
    pub fn try_grow(&self, bytes: u64) -> Result<(), NoSlotError> {
        let mut inner = self.slots.lock();
        let limits = self.slots.limits;
        loop {
            let holder = inner.entries.get(&self.id).ok_or(NoSlotError)?.holder.clone();
            let sum = |of: &dyn Fn(&Entry) -> bool| {
                inner.entries.values().filter(|entry| of(entry)).map(|entry| entry.bytes).sum::<u64>()
            };
            let is_of_app = |entry: &Entry| entry.holder.app == holder.app;
            let victim = if sum(&is_of_app).saturating_add(bytes) > limits.app_bytes {
                inner.find_victim(&holder, bytes, is_of_app, |entry| entry.bytes)
            } else if sum(&|_| true).saturating_add(bytes) > limits.bytes {
                inner.find_victim(&holder, bytes, |_| true, |entry| entry.bytes)
            } else {
                if let Some(entry) = inner.entries.get_mut(&self.id) {
                    entry.bytes += bytes;
                }
                return Ok(());
            };
            inner.evict(victim.ok_or(NoSlotError)?);
            self.slots.freed.notify_waiters();
        }
    }
}

impl Drop for EvictablePermit {
    fn drop(&mut self) {
        let entry = self.slots.lock().entries.remove(&self.id);
        drop(entry);
        self.slots.freed.notify_waiters();
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The slot to evict for `newcomer`, who wants `wanted` more: the oldest one of the holder with the most,
    /// compared among tokens, else among the networks of the same token, else among their apps. The victim's
    /// holder still has as much as the newcomer afterwards.
    fn find_victim(
        &self,
        newcomer: &Holder,
        wanted: u64,
        is_counted: impl Fn(&Entry) -> bool,
        size: impl Fn(&Entry) -> u64,
    ) -> Option<u64> {
        let counted = || self.entries.iter().filter(|(_, entry)| is_counted(entry));
        for level in 0..LEVELS {
            let mut sizes = HashMap::new();
            for (_, entry) in
                counted().filter(|(_, entry)| entry.holder.shares_levels_before(newcomer, level))
            {
                let (sum, id) = sizes.entry(entry.holder.key(level)).or_insert((0_u64, None));
                *sum += size(entry);
                if entry.is_evictable && size(entry) > 0 {
                    id.get_or_insert(&entry.holder);
                }
            }
            let own = sizes.remove(&newcomer.key(level)).map_or(0, |(sum, _)| sum);
            let find_victim = sizes.into_values().filter_map(|(sum, some)| Some((sum, some?)));
            let Some((sum, mut holder)) = find_victim.max_by_key(|(sum, _)| *sum) else { continue };
            if sum <= own.saturating_add(wanted) {
                continue;
            }
            // The heaviest of its addresses, and of those the heaviest of their apps.
            let can_be_evicted = |entry: &Entry| entry.is_evictable && size(entry) > 0;
            for below in level + 1..LEVELS {
                let mut sizes = HashMap::new();
                for (_, entry) in counted().filter(|(_, entry)| {
                    entry.holder.shares_levels_before(holder, below) && can_be_evicted(entry)
                }) {
                    let (sum, _) = sizes.entry(entry.holder.key(below)).or_insert((0, &entry.holder));
                    *sum += size(entry);
                }
                holder = sizes.into_values().max_by_key(|(sum, _)| *sum)?.1;
            }
            let its_slots = counted().filter(|(_, entry)| entry.holder == *holder && can_be_evicted(entry));
            return its_slots.map(|(id, _)| *id).min();
        }
        None
    }

    fn evict(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            entry.evicted.cancel();
        }
    }
}

/// Counts a waiter until it is dropped.
struct Waiting<'p>(&'p State);

impl<'p> Waiting<'p> {
    fn begin(slots: &'p State) -> Result<Self, NoSlotError> {
        let mut inner = slots.lock();
        if inner.waiting >= slots.limits.slots {
            return Err(NoSlotError);
        }
        inner.waiting += 1;
        drop(inner);
        Ok(Self(slots))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::holder::tests::holder;
    use super::*;

    fn slots(number: usize) -> EvictableSlots {
        EvictableSlots::new(SlotLimits { slots: number, app_slots: number, bytes: 100, app_bytes: 60 })
    }

    fn is_evicted(place: &EvictablePermit) -> bool {
        place.evicted.is_cancelled()
    }

    #[test]
    fn holder_of_most_slots_is_evicted_down_to_equal_share() {
        let all = slots(6);
        let enter = |token| all.try_acquire(&holder(token, 1, "app"));
        let hog: Vec<EvictablePermit> = (0..6).map(|_| enter(1).unwrap()).collect();
        assert!(enter(1).is_err(), "no holder has more");
        let others = [enter(2).unwrap(), enter(2).unwrap(), enter(2).unwrap()];
        let evicted: Vec<bool> = hog.iter().map(is_evicted).collect();
        assert_eq!(evicted, [true, true, true, false, false, false], "the oldest");
        assert!(enter(2).is_err() && enter(1).is_err(), "three and three");
        let third = enter(3).unwrap();
        assert_eq!(all.in_use(), 6);
        drop((hog, others));
        assert_eq!(all.in_use(), 1, "evicted slots are not released twice");
        drop(third);
        assert_eq!(all.in_use(), 0);
    }

    #[test]
    fn slots_of_one_token_are_shared_by_networks_and_apps() {
        let all = slots(4);
        let enter = |client, app| all.try_acquire(&holder(1, client, app));
        let hog: Vec<EvictablePermit> = (0..4).map(|_| enter(1, "app").unwrap()).collect();
        let elsewhere = enter(2, "app").unwrap();
        let other = enter(1, "other").unwrap();
        assert_eq!(hog.iter().filter(|place| is_evicted(place)).count(), 2);
        assert!(!is_evicted(&elsewhere) && !is_evicted(&other));
        // Of the three of the first network, two are for one app.
        let _second = enter(2, "more").unwrap();
        assert_eq!(hog.iter().filter(|place| is_evicted(place)).count(), 3);
    }

    #[test]
    fn app_limit_is_shared_fairly() {
        let all = EvictableSlots::new(SlotLimits { slots: 5, app_slots: 3, bytes: 0, app_bytes: 0 });
        let enter = |token, app| all.try_acquire(&holder(token, 1, app));
        let hog: Vec<EvictablePermit> = (0..3).map(|_| enter(1, "app").unwrap()).collect();
        assert!(enter(1, "app").is_err());
        let other = enter(2, "app").unwrap();
        assert!(is_evicted(&hog[0]) && !is_evicted(&hog[1]));
        let more = [enter(1, "more").unwrap(), enter(1, "more").unwrap()];
        assert_eq!(all.in_use(), 5);
        drop((hog, other, more));
    }

    #[test]
    fn pinned_slots_are_not_evicted() {
        let all = slots(2);
        let hog = [1, 1].map(|token| all.try_acquire(&holder(token, 1, "app")).unwrap());
        hog.iter().for_each(EvictablePermit::pin);
        assert!(all.try_acquire(&holder(2, 1, "app")).is_err());
        assert!(!hog.iter().any(is_evicted));
    }

    #[test]
    fn bytes_are_limited_in_total_and_per_app() {
        let all = slots(10);
        let enter = |token, app| all.try_acquire(&holder(token, 1, app)).unwrap();
        let (hog, other) = (enter(1, "app"), enter(1, "more"));
        hog.try_grow(50).unwrap();
        assert_eq!(hog.try_grow(11), Err(NoSlotError), "the limit per app");
        other.try_grow(45).unwrap();
        let small = enter(2, "new");
        small.try_grow(5).unwrap();
        assert!(![&hog, &other, &small].into_iter().any(is_evicted), "all fit");
        small.try_grow(5).unwrap();
        assert!(is_evicted(&hog) && !is_evicted(&other), "the larger app of the larger token");
        assert_eq!(hog.try_grow(1), Err(NoSlotError));
        let same_app = enter(3, "more");
        same_app.try_grow(20).unwrap();
        assert!(is_evicted(&other), "within an app, the largest holder");
        drop((hog, other, small, same_app));
        enter(1, "app").try_grow(60).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_slot_times_out() {
        let all = slots(1);
        let first = all.try_acquire(&holder(1, 1, "app")).unwrap();
        let second = Duration::from_secs(1);
        assert!(all.acquire(&holder(1, 1, "app"), second).await.is_err());
        let waiting = tokio::spawn({
            let all = all.clone();
            async move { all.acquire(&holder(1, 1, "app"), Duration::from_secs(60)).await.map(drop) }
        });
        tokio::time::sleep(second).await;
        assert!(all.acquire(&holder(1, 1, "app"), second).await.is_err(), "too many wait");
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
}
