//! Which executions compute on a thread of their own: one of each app, whatever others do, since else it would wait for the
//! whole of their executions, and beyond that as many as there are processors to spare.
//!
//! The executions of one app share its permits: one that has computed for a while hands its permit to the next that waits for
//! one ([`CpuPermit::yield_to_others`]), and waits after the others, on its thread and in the middle of its run. So a long one
//! and short ones go on side by side. One that waits for its host gives its permit back ([`CpuPermit::wait`]).
//!
//! Previews have permits apart from those of production, fewer of them: however many executions of previews go on, production
//! finds what it would find without them.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

/// How many processors there are.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));

/// What all apps share, for production.
static PRODUCTION: LazyLock<Shared> = LazyLock::new(|| Shared::of(apps(), *PROCESSORS - 1));

/// The same for previews: half as many, and none beyond one execution of each app.
static PREVIEWS: LazyLock<Shared> = LazyLock::new(|| Shared::of(apps() / 2, 0));

/// What all apps share.
#[derive(Debug)]
struct Shared {
    /// The apps that keep a processor busy at once. The kernel shares the processors among them, so that none waits for another
    /// one's execution to end; each takes a thread and its memory, which is why there are not more.
    apps: Semaphore,
    /// What apps can have beyond one execution each: as much as there are other processors, and more would only take turns with
    /// each other, and with the threads that answer requests.
    spare: Semaphore,
    /// The executions that wait in the middle of their run, of all apps: each keeps its thread and its memory. One app has half of
    /// that at the most ([`AppCpu::parked`]).
    parked: Semaphore,
}

impl Shared {
    fn of(apps: usize, spare: usize) -> Self {
        Self { apps: Semaphore::new(apps), spare: Semaphore::new(spare), parked: Semaphore::new(apps) }
    }
}

/// How often one that waits in the middle of its run looks whether it has been stopped.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// What production of an app has of the processors, or all of its previews.
#[derive(Debug)]
pub(crate) struct AppCpu {
    shared: &'static Shared,
    busy: Arc<Semaphore>,
    /// The one permit that is the app's own.
    own: Arc<Semaphore>,
    /// How many executions compute, or want to.
    demand: Arc<AtomicUsize>,
    /// Those that wait for a permit, the one that has waited longest first.
    queue: Mutex<VecDeque<Queued>>,
    /// Slots for those that wait in the middle of their run.
    parked: Semaphore,
}

/// The right to compute on a thread of its own, given back on drop.
#[derive(Debug)]
#[must_use = "the permit ends as soon as it is dropped"]
pub struct CpuPermit {
    cpu: Arc<AppCpu>,
    /// `None` while it is another execution's.
    held: Mutex<Option<Held>>,
    _demand: DemandGuard,
    /// Whether others of the app wanted it as well.
    contested: bool,
}

/// What a permit consists of.
#[derive(Debug)]
struct Held {
    _own: Option<OwnedSemaphorePermit>,
    _shared: SemaphorePermit<'static>,
    _app: OwnedSemaphorePermit,
}

/// An execution that waits for a permit.
#[derive(Debug)]
struct Queued {
    /// It waits in the middle of its run.
    parked: bool,
    permit: oneshot::Sender<Handed>,
}

/// A permit that is handed over.
#[derive(Debug)]
struct Handed {
    held: Held,
    /// The sender takes over the receiver's slot among those that wait in the middle of their run.
    for_parked_slot: bool,
}

/// A slot among the executions that wait in the middle of their run.
struct ParkedSlot<'a>(Option<&'a AppCpu>);

impl<'a> ParkedSlot<'a> {
    fn try_acquire(cpu: &'a AppCpu) -> Option<Self> {
        let (of_app, of_all) = (cpu.parked.try_acquire().ok()?, cpu.shared.parked.try_acquire().ok()?);
        of_app.forget();
        of_all.forget();
        Some(Self(Some(cpu)))
    }

    /// It is another one's now.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for ParkedSlot<'_> {
    fn drop(&mut self) {
        if let Some(cpu) = self.0 {
            cpu.parked.add_permits(1);
            cpu.shared.parked.add_permits(1);
        }
    }
}

/// An execution that keeps a processor busy, or wants to.
#[derive(Debug)]
struct DemandGuard(Arc<AtomicUsize>);

impl DemandGuard {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for DemandGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CpuPermit {
    /// Whether the app wants more than its share: then what it has should give way to others.
    pub fn is_contested(&self) -> bool {
        self.contested
    }

    /// Hands the permit to another execution of the app, if any waits for it, and waits for the next one, or until the run is
    /// `stopped`. Returns how long that took. Where no more executions can wait in the middle of their run, only one that does
    /// already gets the permit.
    pub(crate) fn yield_to_others(&self, stopped: impl Fn() -> bool) -> Duration {
        let (began, cpu) = (Instant::now(), &*self.cpu);
        let Some(held) = self.held().take() else { return Duration::ZERO };
        let slot = ParkedSlot::try_acquire(cpu);
        let for_parked_slot = slot.is_none();
        if let Err(held) = cpu.hand_over(Handed { held, for_parked_slot }) {
            self.held().replace(held);
            return Duration::ZERO;
        }
        let slot = slot.unwrap_or_else(|| ParkedSlot(Some(cpu)));
        let mut permit = cpu.enqueue(true);
        let handed = wait(cpu.handed_or_free(&mut permit), stopped).or_else(|| {
            permit.close();
            permit.try_recv().ok()
        });
        if let Some(Handed { held, for_parked_slot }) = handed {
            self.held().replace(held);
            if for_parked_slot {
                slot.leave();
            }
        }
        began.elapsed()
    }

    /// Waits on this thread until `coming` is over or the run is `stopped`, without the permit meanwhile. Returns how long that
    /// took, the wait for the next permit included.
    pub(crate) fn wait(&self, coming: impl Future<Output = ()>, stopped: impl Fn() -> bool) -> Duration {
        let began = Instant::now();
        drop(self.held().take());
        if wait(coming, &stopped).is_some() {
            let mut permit = self.cpu.enqueue(false);
            if let Some(handed) = wait(self.cpu.handed_or_free(&mut permit), stopped) {
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

impl AppCpu {
    /// What production of an app has.
    pub(crate) fn of_production() -> Self {
        Self::of(&PRODUCTION, apps())
    }

    /// What all previews of an app have.
    pub(crate) fn of_previews() -> Self {
        Self::of(&PREVIEWS, apps() / 2)
    }

    /// What an app has of what so many share.
    fn of(shared: &'static Shared, apps: usize) -> Self {
        Self {
            shared,
            busy: Arc::new(Semaphore::new(permits_max())),
            own: Arc::new(Semaphore::new(1)),
            demand: Arc::default(),
            queue: Mutex::default(),
            parked: Semaphore::new((apps / 2).max(1)),
        }
    }

    /// Waits for a permit. No app has more of them than its share, however many of its executions wait.
    pub(crate) async fn acquire(self: &Arc<Self>) -> CpuPermit {
        let demand = DemandGuard::new(&self.demand);
        let mut permit = self.enqueue(false);
        let held = self.handed_or_free(&mut permit).await.held;
        let contested = demand.0.load(Ordering::Relaxed) > permits_max();
        CpuPermit { cpu: Arc::clone(self), held: Mutex::new(Some(held)), _demand: demand, contested }
    }

    /// Waits after those that wait for a permit already.
    fn enqueue(&self, parked: bool) -> oneshot::Receiver<Handed> {
        let (permit, handed) = oneshot::channel();
        let mut queue = self.queue();
        queue.retain(|waiting| !waiting.permit.is_closed());
        queue.push_back(Queued { parked, permit });
        handed
    }

    /// Waits until a permit is handed over by an execution that had it for a slice, or free.
    async fn handed_or_free(&self, permit: &mut oneshot::Receiver<Handed>) -> Handed {
        tokio::select! {
            biased;
            Ok(handed) = &mut *permit => handed,
            held = self.acquire_free() => {
                permit.close();
                // One that came in this moment counts: its sender has given it away.
                permit.try_recv().unwrap_or(Handed { held, for_parked_slot: false })
            }
        }
    }

    /// Hands the permit to the execution that has waited longest for one; gives it back where none waits.
    fn hand_over(&self, mut handed: Handed) -> Result<(), Held> {
        let mut queue = self.queue();
        let for_parked_slot = handed.for_parked_slot;
        let may_get_it = |waiting: &Queued| waiting.parked || !for_parked_slot;
        while let Some(next) = queue.iter().position(may_get_it).and_then(|next| queue.remove(next)) {
            match next.permit.send(handed) {
                Ok(()) => return Ok(()),
                // It waits no more.
                Err(back) => handed = back,
            }
        }
        Err(handed.held)
    }

    /// Nothing panics while the lock is held.
    fn queue(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a permit is free.
    async fn acquire_free(&self) -> Held {
        const OPEN: &str = "these semaphores are never closed";
        let app = Arc::clone(&self.busy).acquire_owned().await.expect(OPEN);
        let own = async {
            let own = Arc::clone(&self.own).acquire_owned().await.expect(OPEN);
            (Some(own), self.shared.apps.acquire().await.expect(OPEN))
        };
        let spare = async { (None, self.shared.spare.acquire().await.expect(OPEN)) };
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
fn permits_max() -> usize {
    PROCESSORS.saturating_sub(1).max(1)
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
    fn every_app_has_a_permit_of_its_own_however_many_others_take() {
        let apps: Vec<Arc<AppCpu>> = (0..4).map(|_| Arc::new(AppCpu::of_production())).collect();
        let mut permits = Vec::new();
        for app in &apps {
            let before = permits.len();
            while let Poll::Ready(permit) = now(app.acquire()) {
                permits.push(permit);
            }
            let taken = permits.len() - before;
            assert!((1..=self::permits_max()).contains(&taken), "{taken}");
        }
        drop(permits);
        assert_eq!(apps[0].own.available_permits(), 1);
    }

    #[test]
    fn previews_take_nothing_from_production() {
        let (previews, production) = (Arc::new(AppCpu::of_previews()), Arc::new(AppCpu::of_production()));
        let Poll::Ready(preview) = now(previews.acquire()) else { panic!("the first waits") };
        assert!(now(previews.acquire()).is_pending(), "one at a time");
        // It waits in the middle of its run for nobody: what waits is of previews.
        assert!(matches!(now(production.acquire()), Poll::Ready(_)));
        drop(preview);
        assert!(matches!(now(previews.acquire()), Poll::Ready(_)));
    }

    #[tokio::test]
    async fn a_permit_is_contested_where_the_app_wants_more_than_it_may_have() {
        let cpu = Arc::new(AppCpu::of_production());
        let mut permits = Vec::new();
        for _ in 0..self::permits_max() {
            permits.push(cpu.acquire().await);
        }
        assert!(permits.iter().all(|permit| !permit.is_contested()));
        let (mut next, mut behind) = (Box::pin(cpu.acquire()), Box::pin(cpu.acquire()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(next.as_mut().poll(&mut context).is_pending());
        assert!(behind.as_mut().poll(&mut context).is_pending());
        permits.pop();
        assert!(next.await.is_contested(), "another one waits behind it");
        drop((permits, behind));
        assert!(!cpu.acquire().await.is_contested(), "nobody waits any more");
    }

    /// All permits that the app may have.
    async fn all_permits(cpu: &Arc<AppCpu>) -> Vec<CpuPermit> {
        let mut permits = Vec::new();
        for _ in 0..self::permits_max() {
            permits.push(cpu.acquire().await);
        }
        permits
    }

    #[tokio::test]
    async fn a_permit_is_passed_on_to_who_waits_and_comes_back() {
        let cpu = Arc::new(AppCpu::of_production());
        let mut permits = all_permits(&cpu).await;
        let long = permits.pop().expect("one at the least");
        assert_eq!(long.yield_to_others(|| false), Duration::ZERO, "nobody waits");
        let (mut short, mut gave_up) = (Box::pin(cpu.acquire()), Box::pin(cpu.acquire()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(gave_up.as_mut().poll(&mut context).is_pending());
        assert!(short.as_mut().poll(&mut context).is_pending());
        drop(gave_up);
        let passed = thread::spawn(move || (long.yield_to_others(|| false), long));
        // It has the permit, while the long one waits in the middle of its run.
        let short = short.await;
        assert!(!passed.is_finished());
        drop(short);
        let (waited, long) = passed.join().expect("it comes back");
        assert!(waited > Duration::ZERO && long.held().is_some());
        drop((permits, long));
        assert_eq!(
            (cpu.parked.available_permits(), cpu.busy.available_permits()),
            (apps() / 2, self::permits_max())
        );
    }

    #[tokio::test]
    async fn many_share_one_permit_and_each_comes_to_its_end() {
        let cpu = Arc::new(AppCpu::of_production());
        let held = all_permits(&cpu).await;
        let threads: Vec<_> = (0..2 * apps())
            .map(|_| {
                let cpu = Arc::clone(&cpu);
                thread::spawn(move || {
                    let permit = wait(cpu.acquire(), || false).expect("it is not stopped");
                    for _ in 0..100 {
                        permit.yield_to_others(|| false);
                    }
                    assert!(permit.held().is_some());
                })
            })
            .collect();
        drop(held);
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        assert_eq!(
            (cpu.parked.available_permits(), cpu.busy.available_permits()),
            (apps() / 2, self::permits_max())
        );
    }

    #[tokio::test]
    async fn one_that_is_stopped_waits_for_its_permit_no_more() {
        let cpu = Arc::new(AppCpu::of_production());
        let mut permits = all_permits(&cpu).await;
        let long = permits.pop().expect("one at the least");
        let mut short = Box::pin(cpu.acquire());
        assert!(short.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        long.yield_to_others(|| true);
        assert!(long.held().is_none());
        drop((short.await, permits, long));
        assert_eq!(cpu.busy.available_permits(), self::permits_max());
    }
}
