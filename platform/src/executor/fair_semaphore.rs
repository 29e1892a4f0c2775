//! A fair semaphore for expensive work. No holder gets the last permit while it holds another one, nor the
//! last one left to other apps. Waiters are served in order of the permits they hold, fewest first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::holder::{Holder, LEVELS};

/// A fair semaphore. Cheap to clone; clones share their permits.
#[derive(Clone, Debug)]
pub struct FairSemaphore(Arc<State>);

#[derive(Debug)]
struct State {
    permits: usize,
    permits_per_holder: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    holders: Vec<Holder>,
    /// In order of arrival.
    waiting: Vec<(Holder, oneshot::Sender<FairPermit>)>,
}

/// A permit, released on drop.
#[derive(Debug)]
#[must_use = "the permit is released when it is dropped"]
pub struct FairPermit {
    semaphore: Arc<State>,
    holder: Holder,
}

impl FairSemaphore {
    /// Creates a semaphore with `permits`, of which `permits_per_holder` are available to one token, or for
    /// one app to those who already hold one.
    pub fn new(permits: usize, permits_per_holder: usize) -> Self {
        Self(Arc::new(State { permits, permits_per_holder, queue: Mutex::default() }))
    }

    /// The number of permits in use.
    pub fn in_use(&self) -> usize {
        self.0.lock().holders.len()
    }

    /// Waits for a permit. A dropped future leaves the queue.
    pub async fn acquire(&self, holder: &Holder) -> FairPermit {
        loop {
            let (sender, permit) = oneshot::channel();
            self.0.lock().waiting.push((holder.clone(), sender));
            State::dispatch(&self.0);
            // The sender is only dropped by its own waiter.
            if let Ok(permit) = permit.await {
                return permit;
            }
        }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands free permits to waiters.
    fn dispatch(semaphore: &Arc<Self>) {
        loop {
            let mut queue = semaphore.lock();
            queue.waiting.retain(|(_, sender)| !sender.is_closed());
            if queue.holders.len() >= semaphore.permits {
                return;
            }
            let Some(next) = queue.next(semaphore.permits_per_holder) else { return };
            let (holder, sender) = queue.waiting.remove(next);
            queue.holders.push(holder.clone());
            drop(queue);
            // If the waiter is gone, the permit is released again.
            drop(sender.send(FairPermit { semaphore: Arc::clone(semaphore), holder }));
        }
    }
}

impl Queue {
    /// The first waiter with the fewest permits: of its token, then of its network, then of its app.
    fn next(&self, permits_per_holder: usize) -> Option<usize> {
        let held = |holder: &Holder| -> [usize; LEVELS] {
            std::array::from_fn(|level| {
                self.holders.iter().filter(|other| holder.shares_levels_before(other, level + 1)).count()
            })
        };
        let of_app = |holder: &Holder| self.holders.iter().filter(|other| other.app == holder.app).count();
        let waiting = self.waiting.iter().enumerate().map(|(at, (holder, _))| (held(holder), at, holder));
        // A holder without a permit can take the last one, even if others hold some for the same app.
        let eligible = waiting.filter(|(held, _, holder)| {
            held[0] == 0 || (held[0] < permits_per_holder && of_app(holder) < permits_per_holder)
        });
        eligible.map(|(held, at, _)| (held, at)).min().map(|(_, at)| at)
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        let mut queue = self.semaphore.lock();
        if let Some(at) = queue.holders.iter().position(|holder| *holder == self.holder) {
            queue.holders.swap_remove(at);
        }
        drop(queue);
        State::dispatch(&self.semaphore);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::super::holder::tests::holder;
    use super::*;

    fn now<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn last_permit_is_reserved_for_others() {
        let semaphore = FairSemaphore::new(3, 2);
        let next = |token, app| {
            let holder = holder(token, 1, app);
            now(pin!(semaphore.acquire(&holder)))
        };
        let (first, second) = (next(1, "app").unwrap(), next(1, "other").unwrap());
        assert!(next(1, "more").is_none(), "a token held two");
        let third = next(2, "app").unwrap();
        assert_eq!(semaphore.in_use(), 3);
        assert!(next(3, "more").is_none(), "none is free");
        drop(second);
        assert!(next(2, "app").is_none(), "an app held two, unless somebody held none yet");
        let fourth = next(3, "app").unwrap();
        drop((first, third, fourth));
        assert_eq!(semaphore.in_use(), 0, "dropped waiters hold none");
    }

    #[test]
    fn waiter_with_fewest_permits_is_next() {
        let semaphore = FairSemaphore::new(2, 2);
        let (hog, other) = (holder(1, 1, "app"), holder(2, 1, "new"));
        let first = now(pin!(semaphore.acquire(&hog))).unwrap();
        let _second = now(pin!(semaphore.acquire(&hog))).unwrap();
        let mut queue: Vec<_> = (0..50).map(|_| Box::pin(semaphore.acquire(&hog))).collect();
        assert!(queue.iter_mut().all(|waiting| now(waiting.as_mut()).is_none()));
        let mut last = pin!(semaphore.acquire(&other));
        assert!(now(last.as_mut()).is_none());
        drop(first);
        assert!(now(last.as_mut()).is_some(), "the last waiter is served first");
        assert!(queue.iter_mut().any(|waiting| now(waiting.as_mut()).is_some()), "then the first");
    }
}
