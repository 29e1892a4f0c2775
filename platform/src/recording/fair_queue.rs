//! What waits, of every app in a queue of its own: no app takes the place of another's, and all have their turns.

use std::collections::{HashMap, VecDeque};

use store::AppId;

use crate::memory::{Account, Purpose, Reservation};

/// How many bytes are taken of an app before it is the next one's turn.
const TURN_BYTES: usize = 16 << 10;

/// Something that waits.
pub(super) trait Waiting {
    /// Whose it is.
    fn app(&self) -> AppId;

    /// What it takes of the queue, and of its app's memory.
    fn bytes(&self) -> usize;
}

/// A bounded number of bytes that wait.
///
/// Where there is no room, the app of which most waits loses what came last. So an app of which no more than an equal part of the
/// queue waits loses nothing, whatever others hand in. What waits is counted in the app's memory, until it is taken and
/// [settled](Self::settle).
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    bytes_max: usize,
    bytes: usize,
    apps: HashMap<AppId, AppQueue<T>>,
    /// The apps of which anything waits, the next one first.
    turns: VecDeque<AppId>,
}

#[derive(Debug)]
struct AppQueue<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// Those bytes, and those of what was taken and not settled yet.
    held: Reservation,
}

impl<T: Waiting> FairQueue<T> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, apps: HashMap::new(), turns: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether anything of an app waits.
    pub(super) fn has(&self, app: AppId) -> bool {
        self.apps.get(&app).is_some_and(|queue| !queue.items.is_empty())
    }

    /// Adds something of the app whose account that is, and gives back what there is no room for.
    pub(super) fn push(&mut self, account: &Account, item: T) -> Vec<T> {
        let (app, bytes) = (item.app(), item.bytes());
        let mut dropped = Vec::new();
        while self.bytes + bytes > self.bytes_max {
            let would_wait = self.apps.get(&app).map_or(0, |queue| queue.bytes) + bytes;
            match self.longest().filter(|(_, waits)| *waits > would_wait) {
                Some((longest, _)) => dropped.extend(self.drop_last(longest)),
                None => {
                    dropped.push(item);
                    return dropped;
                }
            }
        }
        let queue = self.apps.entry(app).or_insert_with(|| AppQueue {
            items: VecDeque::new(),
            bytes: 0,
            held: account.charge(Purpose::Records, 0),
        });
        if queue.held.try_grow(bytes as u64).is_err() {
            dropped.push(item);
            return dropped;
        }
        if queue.items.is_empty() {
            self.turns.push_back(app);
        }
        queue.items.push_back(item);
        queue.bytes += bytes;
        self.bytes += bytes;
        dropped
    }

    /// Takes what comes next, of every app in its turn: `items_max` at most, and about `bytes_max` bytes, but at least one. `admits` is asked
    /// about each.
    pub(super) fn take(
        &mut self,
        items_max: usize,
        bytes_max: usize,
        mut admits: impl FnMut(AppId, usize) -> bool,
    ) -> Vec<T> {
        let (mut taken, mut taken_bytes, mut refused) = (Vec::new(), 0, Vec::new());
        while taken.len() < items_max
            && taken_bytes < bytes_max
            && let Some(app) = self.turns.pop_front()
        {
            let Some(queue) = self.apps.get_mut(&app) else { continue };
            let mut turn_bytes = 0;
            while taken.len() < items_max
                && taken_bytes < bytes_max
                && turn_bytes < TURN_BYTES
                && let Some(bytes) = queue.items.front().map(T::bytes)
                && admits(app, bytes)
            {
                taken.extend(queue.items.pop_front());
                queue.bytes -= bytes;
                self.bytes -= bytes;
                taken_bytes += bytes;
                turn_bytes += bytes;
            }
            match queue.items.is_empty() {
                true => {}
                false if turn_bytes == 0 => refused.push(app),
                false => self.turns.push_back(app),
            }
        }
        self.turns.extend(refused);
        taken
    }

    /// The next one, with the account of its app, which holds it no longer.
    pub(super) fn pop(&mut self) -> Option<(Account, T)> {
        let item = self.take(1, usize::MAX, |_, _| true).pop()?;
        let queue = self.apps.get_mut(&item.app())?;
        queue.held.shrink_to(queue.bytes as u64);
        Some((queue.held.account().clone(), item))
    }

    /// Puts back what was taken and is not settled, in front, however little room there is.
    pub(super) fn put_back(&mut self, items: Vec<T>) {
        for item in items.into_iter().rev() {
            let (app, bytes) = (item.app(), item.bytes());
            // It is there until it is settled.
            let Some(queue) = self.apps.get_mut(&app) else { continue };
            if queue.items.is_empty() {
                self.turns.push_back(app);
            }
            queue.items.push_front(item);
            queue.bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// What was taken is done with.
    pub(super) fn settle(&mut self) {
        self.apps.retain(|_, queue| {
            queue.held.shrink_to(queue.bytes as u64);
            !queue.items.is_empty()
        });
    }

    /// The app of which most waits, and how much.
    fn longest(&self) -> Option<(AppId, usize)> {
        self.apps.iter().map(|(app, queue)| (*app, queue.bytes)).max_by_key(|(_, bytes)| *bytes)
    }

    fn drop_last(&mut self, app: AppId) -> Option<T> {
        let queue = self.apps.get_mut(&app)?;
        let item = queue.items.pop_back()?;
        let bytes = item.bytes();
        queue.bytes -= bytes;
        self.bytes -= bytes;
        queue.held.shrink_to(queue.held.bytes().saturating_sub(bytes as u64));
        if queue.items.is_empty() {
            self.turns.retain(|turn| *turn != app);
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

    impl Waiting for Item {
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
    fn an_app_within_an_equal_part_loses_nothing_to_others() {
        let budget = MemoryBudget::unbounded();
        let mut queue = FairQueue::new(1000);
        assert!(
            (0..100).all(|number| add(&mut queue, &budget, 1, number, 10).is_empty()),
            "it is the only one"
        );
        let refused = add(&mut queue, &budget, 1, 100, 10);
        assert_eq!(refused, [Item { app: 1, number: 100, bytes: 10 }]);
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
            assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "what came last was dropped of app {app}");
        }
    }

    #[test]
    fn apps_have_their_turns_whatever_waits_of_others() {
        let budget = MemoryBudget::unbounded();
        let mut queue = FairQueue::new(usize::MAX);
        (0..100).for_each(|number| drop(add(&mut queue, &budget, 1, number, TURN_BYTES / 2)));
        (0..3).for_each(|number| drop(add(&mut queue, &budget, 2, number, 10)));
        let order: Vec<_> =
            queue.take(6, usize::MAX, |_, _| true).iter().map(|item| (item.app, item.number)).collect();
        assert_eq!(order, [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (1, 2)]);
        assert_eq!(queue.take(usize::MAX, TURN_BYTES, |_, _| true).len(), 2);
        add(&mut queue, &budget, 3, 0, 10);
        let admitted =
            queue.take(usize::MAX, usize::MAX, |app, _| app != AppId::from_uuid(Uuid::from_u128(1)));
        assert_eq!(admitted, [Item { app: 3, number: 0, bytes: 10 }]);
        assert_eq!(all(&mut queue).len(), 95, "those that were not admitted still wait");
    }

    #[test]
    fn what_waits_is_held_of_its_apps_memory_until_it_is_settled() {
        let budget = MemoryBudget::new(64 * MIB);
        let mut queue = FairQueue::new(usize::MAX);
        let mib = 1 << 20;
        let kept = (0..40).filter(|number| add(&mut queue, &budget, 1, *number, mib).is_empty()).count();
        assert_eq!((kept, budget.usage().used_bytes), (24, 24 * MIB), "three quarters of its share");
        assert!(add(&mut queue, &budget, 2, 0, 1000).is_empty(), "another app has a share of its own");
        let taken = queue.take(8, usize::MAX, |_, _| true);
        assert_eq!(budget.usage().used_bytes, 24 * MIB + 1000, "what is being written is held");
        queue.put_back(taken);
        assert_eq!(queue.take(2, usize::MAX, |_, _| true)[0].number, 0);
        queue.settle();
        assert_eq!(budget.usage().used_bytes, 23 * MIB, "one of each app is written");
        while queue.pop().is_some() {}
        assert_eq!(budget.usage().used_bytes, 0);
    }

    #[test]
    fn what_is_put_back_comes_again_in_its_order() {
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
        queue.settle();
        assert!(queue.apps.is_empty());
    }
}
