//! A fair queue: one queue per app, served round-robin, with a shared limit.

use std::collections::{HashMap, VecDeque};

use store::AppId;

use crate::memory::{Account, Purpose, Reservation};

/// The bytes taken of an app before the next one has its turn.
const QUANTUM_BYTES: usize = 16 << 10;

/// An item of a queue.
pub(super) trait Queued {
    /// The app.
    fn app(&self) -> AppId;

    /// Its size in the queue and in the app's memory.
    fn bytes(&self) -> usize;
}

/// A fair queue with a maximum of bytes.
///
/// If it is full, the app with the most bytes loses its newest items. So an app within its equal part loses
/// nothing, whatever others add. Items count in the app's memory until they are taken and
/// [released](Self::release_taken).
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    bytes_max: usize,
    bytes: usize,
    apps: HashMap<AppId, AppQueue<T>>,
    /// The apps with items, the next one first.
    rotation: VecDeque<AppId>,
}

#[derive(Debug)]
struct AppQueue<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// Their bytes, and those of taken items that are not released yet.
    reservation: Reservation,
}

impl<T: Queued> FairQueue<T> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, apps: HashMap::new(), rotation: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rotation.is_empty()
    }

    /// Whether there are items of an app.
    pub(super) fn has(&self, app: AppId) -> bool {
        self.apps.get(&app).is_some_and(|queue| !queue.items.is_empty())
    }

    /// Adds an item of the app with `account`. Returns the dropped items.
    pub(super) fn push(&mut self, account: &Account, item: T) -> Vec<T> {
        let (app, bytes) = (item.app(), item.bytes());
        let mut dropped = Vec::new();
        while self.bytes + bytes > self.bytes_max {
            let would_use = self.apps.get(&app).map_or(0, |queue| queue.bytes) + bytes;
            match self.largest().filter(|(_, used)| *used > would_use) {
                Some((largest, _)) => dropped.extend(self.drop_last(largest)),
                None => {
                    dropped.push(item);
                    return dropped;
                }
            }
        }
        let queue = self.apps.entry(app).or_insert_with(|| AppQueue {
            items: VecDeque::new(),
            bytes: 0,
            reservation: account.charge(Purpose::Records, 0),
        });
        if queue.reservation.try_grow(bytes as u64).is_err() {
            dropped.push(item);
            return dropped;
        }
        if queue.items.is_empty() {
            self.rotation.push_back(app);
        }
        queue.items.push_back(item);
        queue.bytes += bytes;
        self.bytes += bytes;
        dropped
    }

    /// Takes the next items round-robin: up to `items_max`, and about `bytes_max` bytes, but at least one.
    /// `admits` decides about each.
    pub(super) fn take(
        &mut self,
        items_max: usize,
        bytes_max: usize,
        mut admits: impl FnMut(AppId, usize) -> bool,
    ) -> Vec<T> {
        let (mut taken, mut taken_bytes, mut skipped) = (Vec::new(), 0, Vec::new());
        while taken.len() < items_max
            && taken_bytes < bytes_max
            && let Some(app) = self.rotation.pop_front()
        {
            let Some(queue) = self.apps.get_mut(&app) else { continue };
            let mut quantum_used = 0;
            while taken.len() < items_max
                && taken_bytes < bytes_max
                && quantum_used < QUANTUM_BYTES
                && let Some(bytes) = queue.items.front().map(T::bytes)
                && admits(app, bytes)
            {
                taken.extend(queue.items.pop_front());
                queue.bytes -= bytes;
                self.bytes -= bytes;
                taken_bytes += bytes;
                quantum_used += bytes;
            }
            match queue.items.is_empty() {
                true => {}
                false if quantum_used == 0 => skipped.push(app),
                false => self.rotation.push_back(app),
            }
        }
        self.rotation.extend(skipped);
        taken
    }

    /// Takes the next item with the account of its app, and releases its memory.
    pub(super) fn pop(&mut self) -> Option<(Account, T)> {
        let item = self.take(1, usize::MAX, |_, _| true).pop()?;
        let queue = self.apps.get_mut(&item.app())?;
        queue.reservation.shrink_to(queue.bytes as u64);
        Some((queue.reservation.account().clone(), item))
    }

    /// Puts taken items back to the front, even if the queue is full.
    pub(super) fn put_back(&mut self, items: Vec<T>) {
        for item in items.into_iter().rev() {
            let (app, bytes) = (item.app(), item.bytes());
            // The entry stays until its items are released.
            let Some(queue) = self.apps.get_mut(&app) else { continue };
            if queue.items.is_empty() {
                self.rotation.push_back(app);
            }
            queue.items.push_front(item);
            queue.bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// Releases the memory of all taken items.
    pub(super) fn release_taken(&mut self) {
        self.apps.retain(|_, queue| {
            queue.reservation.shrink_to(queue.bytes as u64);
            !queue.items.is_empty()
        });
    }

    /// The app with the most bytes, and its bytes.
    fn largest(&self) -> Option<(AppId, usize)> {
        self.apps.iter().map(|(app, queue)| (*app, queue.bytes)).max_by_key(|(_, bytes)| *bytes)
    }

    fn drop_last(&mut self, app: AppId) -> Option<T> {
        let queue = self.apps.get_mut(&app)?;
        let item = queue.items.pop_back()?;
        let bytes = item.bytes();
        queue.bytes -= bytes;
        self.bytes -= bytes;
        queue.reservation.shrink_to(queue.reservation.bytes().saturating_sub(bytes as u64));
        if queue.items.is_empty() {
            self.rotation.retain(|turn| *turn != app);
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::memory::MemoryBudget;

    const MIB: u64 = 1 << 20;

    #[derive(Clone, Debug, PartialEq)]
    struct Item {
        app: u128,
        number: usize,
        bytes: usize,
    }

    impl Queued for Item {
        fn app(&self) -> AppId {
            AppId::from_uuid(Uuid::from_u128(self.app))
        }

        fn bytes(&self) -> usize {
            self.bytes
        }
    }

    fn add(
        queue: &mut FairQueue<Item>,
        budget: &MemoryBudget,
        app: u128,
        number: usize,
        bytes: usize,
    ) -> Vec<Item> {
        let item = Item { app, number, bytes };
        queue.push(&budget.account(item.app()), item)
    }

    fn all(queue: &mut FairQueue<Item>) -> Vec<(u128, usize)> {
        let taken = queue.take(usize::MAX, usize::MAX, |_, _| true);
        taken.into_iter().map(|item| (item.app, item.number)).collect()
    }

    #[test]
    fn app_within_equal_part_loses_nothing() {
        let budget = MemoryBudget::unbounded();
        let mut queue = FairQueue::new(1000);
        assert!((0..100).all(|number| add(&mut queue, &budget, 1, number, 10).is_empty()), "the only app");
        let skipped = add(&mut queue, &budget, 1, 100, 10);
        assert_eq!(skipped, [Item { app: 1, number: 100, bytes: 10 }]);
        for app in 2..=10 {
            for number in 0..10 {
                let dropped = add(&mut queue, &budget, app, number, 10);
                assert!(dropped.iter().all(|item| item.app == 1), "{app} {number}: {dropped:?}");
                assert!(!add(&mut queue, &budget, 1, 200, 10).is_empty());
            }
        }
        let left = all(&mut queue);
        for app in 1..=10 {
            let numbers: Vec<_> = left.iter().filter(|item| item.0 == app).map(|item| item.1).collect();
            assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "the newest were dropped of app {app}");
        }
    }

    #[test]
    fn apps_are_served_round_robin() {
        let budget = MemoryBudget::unbounded();
        let mut queue = FairQueue::new(usize::MAX);
        (0..100).for_each(|number| drop(add(&mut queue, &budget, 1, number, QUANTUM_BYTES / 2)));
        (0..3).for_each(|number| drop(add(&mut queue, &budget, 2, number, 10)));
        let order: Vec<_> =
            queue.take(6, usize::MAX, |_, _| true).iter().map(|item| (item.app, item.number)).collect();
        assert_eq!(order, [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (1, 2)]);
        assert_eq!(queue.take(usize::MAX, QUANTUM_BYTES, |_, _| true).len(), 2);
        add(&mut queue, &budget, 3, 0, 10);
        let admitted =
            queue.take(usize::MAX, usize::MAX, |app, _| app != AppId::from_uuid(Uuid::from_u128(1)));
        assert_eq!(admitted, [Item { app: 3, number: 0, bytes: 10 }]);
        assert_eq!(all(&mut queue).len(), 95, "items not admitted stay");
    }

    #[test]
    fn items_count_in_memory_of_app_until_released() {
        let budget = MemoryBudget::new(64 * MIB);
        let mut queue = FairQueue::new(usize::MAX);
        let mib = 1 << 20;
        let kept = (0..40).filter(|number| add(&mut queue, &budget, 1, *number, mib).is_empty()).count();
        assert_eq!((kept, budget.usage().used_bytes), (24, 24 * MIB), "three quarters of its share");
        assert!(add(&mut queue, &budget, 2, 0, 1000).is_empty(), "another app has its own share");
        let taken = queue.take(8, usize::MAX, |_, _| true);
        assert_eq!(budget.usage().used_bytes, 24 * MIB + 1000, "taken items still count");
        queue.put_back(taken);
        assert_eq!(queue.take(2, usize::MAX, |_, _| true)[0].number, 0);
        queue.release_taken();
        assert_eq!(budget.usage().used_bytes, 23 * MIB, "one of each app is written");
        while queue.pop().is_some() {}
        assert_eq!(budget.usage().used_bytes, 0);
    }

    #[test]
    fn items_put_back_keep_order() {
        let budget = MemoryBudget::unbounded();
        let mut queue = FairQueue::new(100);
        (0..6).for_each(|number| drop(add(&mut queue, &budget, number as u128 % 2, number, 10)));
        let taken = queue.take(usize::MAX, usize::MAX, |_, _| true);
        assert!(queue.is_empty());
        assert!(add(&mut queue, &budget, 0, 6, 90).is_empty());
        queue.put_back(taken);
        let mut again = all(&mut queue);
        again.sort_by_key(|(app, _)| *app);
        assert_eq!(again, [(0, 0), (0, 2), (0, 4), (0, 6), (1, 1), (1, 3), (1, 5)]);
        queue.release_taken();
        assert!(queue.apps.is_empty());
    }
}
