//! Concurrency limit of an app's executions: as many as its manifest allows, and as many can wait.
//!
//! Slots belong to the app, not to a revision: a swap frees none. Production has its own slots, and all
//! previews of an app share others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// The slots of an app. A dropped permit decrements before it checks for waiters, and a waiter registers
/// before it checks for a free slot: neither can observe the other's steps in reverse, hence `SeqCst`
/// throughout.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    running: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
}

/// A permit for a slot, released on drop.
#[derive(Debug)]
#[must_use = "the slot is released when the permit is dropped"]
pub struct SlotPermit {
    slots: Arc<Slots>,
}

impl Slots {
    /// Acquires one of `limit` slots in order of arrival; `None` if the queue is full. The caller bounds the
    /// waiting time.
    pub(crate) async fn acquire(self: &Arc<Self>, limit: u32) -> Option<SlotPermit> {
        if let Some(permit) = self.try_acquire(limit) {
            return Some(permit);
        }
        let _waiting = Waiting::new(self, limit)?;
        loop {
            // A dropped permit wakes the longest waiter, or the next caller if there is none yet.
            if let Some(permit) = self.take(limit) {
                return Some(permit);
            }
            self.freed.notified().await;
        }
    }

    /// Acquires one of `limit` slots if one is free and there are no waiters.
    pub(crate) fn try_acquire(self: &Arc<Self>, limit: u32) -> Option<SlotPermit> {
        if self.waiting.load(Ordering::SeqCst) == 0 { self.take(limit) } else { None }
    }

    /// The numbers of running and of waiting executions.
    pub(crate) fn load(&self) -> (u32, u32) {
        (self.running.load(Ordering::Relaxed), self.waiting.load(Ordering::Relaxed))
    }

    fn take(self: &Arc<Self>, limit: u32) -> Option<SlotPermit> {
        let one_more = |running: u32| (running < limit).then(|| running.saturating_add(1));
        self.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(SlotPermit { slots: Arc::clone(self) })
    }
}

impl Drop for SlotPermit {
    fn drop(&mut self) {
        self.slots.running.fetch_sub(1, Ordering::SeqCst);
        if self.slots.waiting.load(Ordering::SeqCst) > 0 {
            self.slots.freed.notify_one();
        }
    }
}

/// Counts a waiting execution until it is dropped.
struct Waiting<'s>(&'s Slots);

impl<'s> Waiting<'s> {
    fn new(slots: &'s Slots, limit: u32) -> Option<Self> {
        let one_more = |waiting: u32| (waiting < limit).then(|| waiting.saturating_add(1));
        slots.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Self(slots))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn slots_and_queue_are_limited() {
        let slots = Arc::new(Slots::default());
        let Poll::Ready(Some(first)) = now(slots.acquire(2)) else { panic!("the first waits") };
        let Poll::Ready(Some(second)) = now(slots.acquire(2)) else { panic!("the second waits") };
        let mut context = Context::from_waker(Waker::noop());
        let (mut third, mut fourth) = (Box::pin(slots.acquire(2)), Box::pin(slots.acquire(2)));
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert!(fourth.as_mut().poll(&mut context).is_pending());
        assert!(matches!(now(slots.acquire(2)), Poll::Ready(None)), "no more can wait");
        drop(first);
        assert!(fourth.as_mut().poll(&mut context).is_pending(), "first come, first served");
        let Poll::Ready(Some(third)) = third.as_mut().poll(&mut context) else { panic!("a slot is free") };
        drop((second, third, fourth));
        assert_eq!(slots.load(), (0, 0));
        assert!(matches!(now(slots.acquire(1)), Poll::Ready(Some(_))));
    }

    #[test]
    fn dropped_waiter_passes_slot_on() {
        let slots = Arc::new(Slots::default());
        let Poll::Ready(Some(first)) = now(slots.acquire(1)) else { panic!("the first waits") };
        let mut context = Context::from_waker(Waker::noop());
        let (mut second, mut third) = (Box::pin(slots.acquire(2)), Box::pin(slots.acquire(2)));
        let Poll::Ready(Some(other)) = second.as_mut().poll(&mut context) else {
            panic!("there are two slots")
        };
        assert!(third.as_mut().poll(&mut context).is_pending());
        let mut fourth = Box::pin(slots.acquire(2));
        assert!(fourth.as_mut().poll(&mut context).is_pending());
        drop(first);
        drop(third);
        assert!(fourth.as_mut().poll(&mut context).is_ready());
        drop((second, other));
    }
}
