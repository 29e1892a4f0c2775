//! How many executions of an app go on at once, and who waits.
//!
//! There is one gate for an app, whatever is deployed meanwhile: a swap frees no place, and previews share them with
//! production. It says two things: how many executions there are ([`Permit`], as many as the manifest allows), and how
//! many of them may keep a processor busy for long ([`Gate::turn`]): one of each app, whatever others do, since else it would
//! wait for the whole of their executions, and beyond that as many as there are processors to spare.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// How many processors there are.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));

/// The apps that keep a processor busy at once. The kernel shares the processors among them, so that none waits for another
/// one's execution to end; each takes a thread and its memory, which is why there are not more.
static APPS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new((4 * *PROCESSORS).clamp(8, 64)));

/// What apps may have beyond one execution each: as much as there are other processors, and more would only take turns with
/// each other, and with the threads that answer everybody else.
static SPARE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*PROCESSORS - 1));

/// The executions of an app. Who leaves looks for who waits after it has left, and who waits looks for a place after it has said
/// so: neither may be seen to have done the second before the first, hence `SeqCst` throughout.
#[derive(Debug)]
pub(crate) struct Gate {
    running: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
    busy: Arc<Semaphore>,
    /// The one turn that is the app's own.
    own: Arc<Semaphore>,
    /// How many executions keep a processor busy, or want to.
    wanting: Arc<AtomicUsize>,
}

/// A place among an app's running executions, given back on drop.
#[derive(Debug)]
#[must_use = "the place is given back as soon as the permit is dropped"]
pub struct Permit {
    gate: Arc<Gate>,
}

/// The right to keep a processor busy, given back on drop.
#[derive(Debug)]
#[must_use = "the turn ends as soon as it is dropped"]
pub struct Turn {
    _own: Option<OwnedSemaphorePermit>,
    _shared: SemaphorePermit<'static>,
    _app: OwnedSemaphorePermit,
    _wanting: Wanting,
    /// Whether others of the app wanted it as well.
    contested: bool,
}

/// An execution that keeps a processor busy, or wants to.
#[derive(Debug)]
struct Wanting(Arc<AtomicUsize>);

impl Wanting {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Wanting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// Whether the app wants more than it may have: then what it has should give way to others.
    pub fn is_contested(&self) -> bool {
        self.contested
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            running: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
            busy: Arc::new(Semaphore::new(turns())),
            own: Arc::new(Semaphore::new(1)),
            wanting: Arc::default(),
        }
    }
}

impl Gate {
    /// Takes one of `limit` places, waiting for it behind those who came before; `None` where as many wait already. How
    /// long to wait is the caller's to say.
    pub(crate) async fn enter(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        if let Some(permit) = self.enter_now(limit) {
            return Some(permit);
        }
        let _waiting = Waiting::new(self, limit)?;
        loop {
            // Whoever leaves wakes the one who waits longest, or whoever comes next where nobody waits yet.
            if let Some(permit) = self.take(limit) {
                return Some(permit);
            }
            self.freed.notified().await;
        }
    }

    /// Takes one of `limit` places if one is free and nobody waits for it.
    pub(crate) fn enter_now(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        if self.waiting.load(Ordering::SeqCst) == 0 { self.take(limit) } else { None }
    }

    /// How many executions go on, and how many wait for a place.
    pub(crate) fn load(&self) -> (u32, u32) {
        (self.running.load(Ordering::Relaxed), self.waiting.load(Ordering::Relaxed))
    }

    fn take(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        let one_more = |running: u32| (running < limit).then(|| running.saturating_add(1));
        self.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Permit { gate: Arc::clone(self) })
    }

    /// Waits for a turn. None has more of them than its own share, however many of its executions wait.
    pub(crate) async fn turn(&self) -> Turn {
        const OPEN: &str = "these semaphores are never closed";
        let wanting = Wanting::new(&self.wanting);
        let app = Arc::clone(&self.busy).acquire_owned().await.expect(OPEN);
        let own = async {
            let own = Arc::clone(&self.own).acquire_owned().await.expect(OPEN);
            (Some(own), APPS.acquire().await.expect(OPEN))
        };
        let spare = async { (None, SPARE.acquire().await.expect(OPEN)) };
        let (own, shared) = tokio::select! {
            biased;
            own = own => own,
            spare = spare => spare,
        };
        let contested = wanting.0.load(Ordering::Relaxed) > turns();
        Turn { _own: own, _shared: shared, _app: app, _wanting: wanting, contested }
    }
}

/// How many processors one app may keep busy.
fn turns() -> usize {
    PROCESSORS.saturating_sub(1).max(1)
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.running.fetch_sub(1, Ordering::SeqCst);
        if self.gate.waiting.load(Ordering::SeqCst) > 0 {
            self.gate.freed.notify_one();
        }
    }
}

/// Somebody who waits for a place.
struct Waiting<'g>(&'g Gate);

impl<'g> Waiting<'g> {
    fn new(gate: &'g Gate, limit: u32) -> Option<Self> {
        let one_more = |waiting: u32| (waiting < limit).then(|| waiting.saturating_add(1));
        gate.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Self(gate))
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
    fn a_gate_lets_in_as_many_as_its_limit_and_as_many_wait() {
        let gate = Arc::new(Gate::default());
        let Poll::Ready(Some(first)) = now(gate.enter(2)) else { panic!("the first waits") };
        let Poll::Ready(Some(second)) = now(gate.enter(2)) else { panic!("the second waits") };
        let mut context = Context::from_waker(Waker::noop());
        let (mut third, mut fourth) = (Box::pin(gate.enter(2)), Box::pin(gate.enter(2)));
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert!(fourth.as_mut().poll(&mut context).is_pending());
        assert!(matches!(now(gate.enter(2)), Poll::Ready(None)), "no more may wait");
        drop(first);
        assert!(fourth.as_mut().poll(&mut context).is_pending(), "the one who came first is let in first");
        let Poll::Ready(Some(third)) = third.as_mut().poll(&mut context) else { panic!("a place is free") };
        drop((second, third, fourth));
        assert_eq!(gate.running.load(Ordering::SeqCst) + gate.waiting.load(Ordering::SeqCst), 0);
        assert!(matches!(now(gate.enter(1)), Poll::Ready(Some(_))));
    }

    #[test]
    fn who_gives_up_waiting_passes_the_place_on() {
        let gate = Arc::new(Gate::default());
        let Poll::Ready(Some(first)) = now(gate.enter(1)) else { panic!("the first waits") };
        let mut context = Context::from_waker(Waker::noop());
        let (mut second, mut third) = (Box::pin(gate.enter(2)), Box::pin(gate.enter(2)));
        let Poll::Ready(Some(other)) = second.as_mut().poll(&mut context) else {
            panic!("there are two places")
        };
        assert!(third.as_mut().poll(&mut context).is_pending());
        let mut fourth = Box::pin(gate.enter(2));
        assert!(fourth.as_mut().poll(&mut context).is_pending());
        drop(first);
        drop(third);
        assert!(fourth.as_mut().poll(&mut context).is_ready());
        drop((second, other));
    }

    #[test]
    fn every_app_has_a_turn_of_its_own_however_many_others_take() {
        let apps: Vec<Gate> = (0..4).map(|_| Gate::default()).collect();
        let mut turns = Vec::new();
        for app in &apps {
            let before = turns.len();
            while let Poll::Ready(turn) = now(app.turn()) {
                turns.push(turn);
            }
            let taken = turns.len() - before;
            assert!((1..=self::turns()).contains(&taken), "{taken}");
        }
        drop(turns);
        assert_eq!(apps[0].own.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_turn_is_contested_where_the_app_wants_more_than_it_may_have() {
        let gate = Gate::default();
        let mut turns = Vec::new();
        for _ in 0..self::turns() {
            turns.push(gate.turn().await);
        }
        assert!(turns.iter().all(|turn| !turn.is_contested()));
        let (mut next, mut behind) = (Box::pin(gate.turn()), Box::pin(gate.turn()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(next.as_mut().poll(&mut context).is_pending());
        assert!(behind.as_mut().poll(&mut context).is_pending());
        turns.pop();
        assert!(next.await.is_contested(), "another one waits behind it");
        drop((turns, behind));
        assert!(!gate.turn().await.is_contested(), "nobody waits any more");
    }
}
