//! How many executions of an app go on at once, and who waits.
//!
//! There is one gate for an app, whatever is deployed meanwhile: a swap frees no place, and previews share them with
//! production. It says two things: how many executions there are ([`Permit`], as many as the manifest allows), and how
//! many of them may keep a processor busy for long ([`Gate::turn`]): one of each app, whatever others do, since else it would
//! wait for the whole of their executions, and beyond that as many as there are processors to spare.
//!
//! The executions of one app share its turns: one that has had a turn for a slice passes it on to the next that waits for one
//! ([`Turn::pass_on`]), and waits behind the others, on its thread and in the middle of its run. So a long one and short ones go
//! on side by side.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

/// How many processors there are.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));

/// The apps that keep a processor busy at once. The kernel shares the processors among them, so that none waits for another
/// one's execution to end; each takes a thread and its memory, which is why there are not more.
static APPS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(apps()));

/// What apps may have beyond one execution each: as much as there are other processors, and more would only take turns with
/// each other, and with the threads that answer everybody else.
static SPARE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*PROCESSORS - 1));

/// The executions that wait in the middle of their run, of all apps: each keeps its thread and its memory. One app has half of
/// that at the most ([`Gate::parked`]).
static PARKED: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(apps()));

/// How often one that waits in the middle of its run looks whether it has been stopped.
const STOP_LOOK: Duration = Duration::from_millis(50);

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
    /// Those that wait for a turn, the one that has waited longest first.
    line: Mutex<VecDeque<InLine>>,
    /// Places for those that wait in the middle of their run.
    parked: Semaphore,
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
    gate: Arc<Gate>,
    /// `None` while it is another execution's.
    held: Mutex<Option<Held>>,
    _wanting: Wanting,
    /// Whether others of the app wanted it as well.
    contested: bool,
}

/// What a turn consists of.
#[derive(Debug)]
struct Held {
    _own: Option<OwnedSemaphorePermit>,
    _shared: SemaphorePermit<'static>,
    _app: OwnedSemaphorePermit,
}

/// An execution that waits for a turn.
#[derive(Debug)]
struct InLine {
    /// It waits in the middle of its run.
    parked: bool,
    turn: oneshot::Sender<Handed>,
}

/// A turn that is handed over.
#[derive(Debug)]
struct Handed {
    held: Held,
    /// Whoever hands it over takes the place of the one that gets it, among those that wait in the middle of their run.
    for_its_place: bool,
}

/// A place among those that wait in the middle of their run.
struct Place<'g>(Option<&'g Gate>);

impl<'g> Place<'g> {
    fn free(gate: &'g Gate) -> Option<Self> {
        let (of_app, of_all) = (gate.parked.try_acquire().ok()?, PARKED.try_acquire().ok()?);
        of_app.forget();
        of_all.forget();
        Some(Self(Some(gate)))
    }

    /// It is another one's now.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.0 {
            gate.parked.add_permits(1);
            PARKED.add_permits(1);
        }
    }
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

    /// Lets another execution of the app have the turn, if any waits for it, and waits until it is this one's again, or until it
    /// is `stopped`. Returns how long that took. Where there is no room for one more to wait in the middle of its run, only one
    /// that does already gets the turn.
    pub fn pass_on(&self, stopped: impl Fn() -> bool) -> Duration {
        let (began, gate) = (Instant::now(), &*self.gate);
        let Some(held) = self.held().take() else { return Duration::ZERO };
        let place = Place::free(gate);
        let for_its_place = place.is_none();
        if let Err(held) = gate.hand_over(Handed { held, for_its_place }) {
            self.held().replace(held);
            return Duration::ZERO;
        }
        let place = place.unwrap_or_else(|| Place(Some(gate)));
        let mut turn = gate.get_in_line(true);
        let handed = wait(gate.handed_or_free(&mut turn), stopped).or_else(|| {
            turn.close();
            turn.try_recv().ok()
        });
        if let Some(Handed { held, for_its_place }) = handed {
            self.held().replace(held);
            if for_its_place {
                place.leave();
            }
        }
        began.elapsed()
    }

    /// Waits on this thread until `coming` is over or the run is `stopped`, without the turn meanwhile. Returns how long that
    /// took, the wait for the next turn included.
    pub fn wait(&self, coming: impl Future<Output = ()>, stopped: impl Fn() -> bool) -> Duration {
        let began = Instant::now();
        drop(self.held().take());
        if wait(coming, &stopped).is_some() {
            let mut turn = self.gate.get_in_line(false);
            if let Some(handed) = wait(self.gate.handed_or_free(&mut turn), stopped) {
                self.held().replace(handed.held);
            }
        }
        began.elapsed()
    }

    /// Nothing panics while the lock is held.
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
            line: Mutex::default(),
            parked: Semaphore::new((apps() / 2).max(1)),
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
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        let wanting = Wanting::new(&self.wanting);
        let mut turn = self.get_in_line(false);
        let held = self.handed_or_free(&mut turn).await.held;
        let contested = wanting.0.load(Ordering::Relaxed) > turns();
        Turn { gate: Arc::clone(self), held: Mutex::new(Some(held)), _wanting: wanting, contested }
    }

    /// Waits behind those that wait for a turn already.
    fn get_in_line(&self, parked: bool) -> oneshot::Receiver<Handed> {
        let (turn, handed) = oneshot::channel();
        let mut line = self.line();
        line.retain(|waiting| !waiting.turn.is_closed());
        line.push_back(InLine { parked, turn });
        handed
    }

    /// Waits until a turn is handed over by an execution that had it for a slice, or free.
    async fn handed_or_free(&self, turn: &mut oneshot::Receiver<Handed>) -> Handed {
        tokio::select! {
            biased;
            Ok(handed) = &mut *turn => handed,
            held = self.free() => {
                turn.close();
                // One that came in this moment counts, since whoever sent it goes by that.
                turn.try_recv().unwrap_or(Handed { held, for_its_place: false })
            }
        }
    }

    /// Hands the turn to the execution that has waited longest for one; gives it back where none waits.
    fn hand_over(&self, mut handed: Handed) -> Result<(), Held> {
        let mut line = self.line();
        let for_its_place = handed.for_its_place;
        let may_get_it = |waiting: &InLine| waiting.parked || !for_its_place;
        while let Some(next) = line.iter().position(may_get_it).and_then(|next| line.remove(next)) {
            match next.turn.send(handed) {
                Ok(()) => return Ok(()),
                // It waits no more.
                Err(back) => handed = back,
            }
        }
        Err(handed.held)
    }

    /// Nothing panics while the lock is held.
    fn line(&self) -> MutexGuard<'_, VecDeque<InLine>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a turn is free.
    async fn free(&self) -> Held {
        const OPEN: &str = "these semaphores are never closed";
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
        Held { _own: own, _shared: shared, _app: app }
    }
}

/// Waits on this thread; `None` where it was stopped.
fn wait<T>(coming: impl Future<Output = T>, stopped: impl Fn() -> bool) -> Option<T> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut coming = pin!(coming);
    loop {
        if let Poll::Ready(came) = coming.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(came);
        }
        if stopped() {
            return None;
        }
        thread::park_timeout(STOP_LOOK);
    }
}

/// How many apps may keep a processor busy at once.
fn apps() -> usize {
    (4 * *PROCESSORS).clamp(8, 64)
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
        let apps: Vec<Arc<Gate>> = (0..4).map(|_| Arc::default()).collect();
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
        let gate = Arc::new(Gate::default());
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

    /// All turns that the app may have.
    async fn all_turns(gate: &Arc<Gate>) -> Vec<Turn> {
        let mut turns = Vec::new();
        for _ in 0..self::turns() {
            turns.push(gate.turn().await);
        }
        turns
    }

    #[tokio::test]
    async fn a_turn_is_passed_on_to_who_waits_and_comes_back() {
        let gate = Arc::new(Gate::default());
        let mut turns = all_turns(&gate).await;
        let long = turns.pop().expect("one at the least");
        assert_eq!(long.pass_on(|| false), Duration::ZERO, "nobody waits");
        let (mut short, mut gave_up) = (Box::pin(gate.turn()), Box::pin(gate.turn()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(gave_up.as_mut().poll(&mut context).is_pending());
        assert!(short.as_mut().poll(&mut context).is_pending());
        drop(gave_up);
        let passed = thread::spawn(move || (long.pass_on(|| false), long));
        // It has the turn, while the long one waits in the middle of its run.
        let short = short.await;
        assert!(!passed.is_finished());
        drop(short);
        let (waited, long) = passed.join().expect("it comes back");
        assert!(waited > Duration::ZERO && long.held().is_some());
        drop((turns, long));
        assert_eq!(
            (gate.parked.available_permits(), gate.busy.available_permits()),
            (apps() / 2, self::turns())
        );
    }

    #[tokio::test]
    async fn many_share_one_turn_and_each_comes_to_its_end() {
        let gate = Arc::new(Gate::default());
        let held = all_turns(&gate).await;
        let threads: Vec<_> = (0..2 * apps())
            .map(|_| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || {
                    let turn = wait(gate.turn(), || false).expect("it is not stopped");
                    for _ in 0..100 {
                        turn.pass_on(|| false);
                    }
                    assert!(turn.held().is_some());
                })
            })
            .collect();
        drop(held);
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        assert_eq!(
            (gate.parked.available_permits(), gate.busy.available_permits()),
            (apps() / 2, self::turns())
        );
    }

    #[tokio::test]
    async fn one_that_is_stopped_waits_for_its_turn_no_more() {
        let gate = Arc::new(Gate::default());
        let mut turns = all_turns(&gate).await;
        let long = turns.pop().expect("one at the least");
        let mut short = Box::pin(gate.turn());
        assert!(short.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        long.pass_on(|| true);
        assert!(long.held().is_none());
        drop((short.await, turns, long));
        assert_eq!(gate.busy.available_permits(), self::turns());
    }
}
