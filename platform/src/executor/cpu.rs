//! CPU permits: which executions compute on a worker. Every app can run one, independent of other apps, and
//! beyond that as many as there are spare processors.
//!
//! The executions of an app share its permits: after a time slice an execution hands its permit to the next
//! waiting one ([`CpuPermit::yield_to_others`]) and queues again, parked on its thread in the middle of its
//! run. So long and short executions progress together. An execution that waits for its host releases its
//! permit ([`CpuPermit::wait`]).
//!
//! Previews have separate, fewer permits: production is not affected by executions of previews.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

/// The number of processors.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));

/// The shared permits for production.
static PRODUCTION: LazyLock<Shared> = LazyLock::new(|| Shared::of(apps_max(), *PROCESSORS - 1));

/// The shared permits for previews: half as many, and no spare ones.
static PREVIEWS: LazyLock<Shared> = LazyLock::new(|| Shared::of(apps_max() / 2, 0));

/// The permits shared by all apps.
#[derive(Debug)]
struct Shared {
    /// How many apps can compute at once. The kernel schedules them fairly; each takes a thread with its
    /// memory, which bounds the number.
    apps: Semaphore,
    /// Permits beyond one execution per app: as many as there are other processors. More would only compete
    /// with each other and with the threads that serve requests.
    spare: Semaphore,
    /// Slots of parked executions of all apps: each keeps its thread and memory. One app has at most half of
    /// them ([`AppCpu::parked`]).
    parked: Semaphore,
}

impl Shared {
    fn of(apps: usize, spare: usize) -> Self {
        Self { apps: Semaphore::new(apps), spare: Semaphore::new(spare), parked: Semaphore::new(apps) }
    }
}

/// How often a parked execution checks whether it was stopped.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The CPU permits of an app's production, or of all its previews.
#[derive(Debug)]
pub(crate) struct AppCpu {
    shared: &'static Shared,
    busy: Arc<Semaphore>,
    /// The app's guaranteed permit.
    own: Arc<Semaphore>,
    /// The number of executions that compute or wait for a permit.
    demand: Arc<AtomicUsize>,
    /// The executions that wait for a permit, in FIFO order.
    queue: Mutex<VecDeque<Queued>>,
    /// The app's slots of parked executions.
    parked: Semaphore,
}

/// A permit to compute on a worker, released on drop.
#[derive(Debug)]
#[must_use = "the permit is released when it is dropped"]
pub struct CpuPermit {
    cpu: Arc<AppCpu>,
    /// `None` while another execution has it.
    held: Mutex<Option<HeldPermits>>,
    _demand: DemandGuard,
    /// Whether the app demanded more permits than it can have.
    contested: bool,
}

/// The semaphore permits second a CPU permit.
#[derive(Debug)]
struct HeldPermits {
    _own: Option<OwnedSemaphorePermit>,
    _shared: SemaphorePermit<'static>,
    _app: OwnedSemaphorePermit,
}

/// An execution that waits for a permit.
#[derive(Debug)]
struct Queued {
    /// Whether it is parked in the middle of its run.
    parked: bool,
    permit: oneshot::Sender<Handover>,
}

/// A permit that is handover over.
#[derive(Debug)]
struct Handover {
    held: HeldPermits,
    /// Whether the sender takes over the receiver's parked slot.
    for_parked_slot: bool,
}

/// A slot of a parked execution.
struct ParkedSlot<'a>(Option<&'a AppCpu>);

impl<'a> ParkedSlot<'a> {
    fn try_acquire(cpu: &'a AppCpu) -> Option<Self> {
        let (of_app, of_all) = (cpu.parked.try_acquire().ok()?, cpu.shared.parked.try_acquire().ok()?);
        of_app.forget();
        of_all.forget();
        Some(Self(Some(cpu)))
    }

    /// Passes the slot on.
    fn hand_over(mut self) {
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

/// Counts an execution as demand while it exists.
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
    /// Whether the app demands more than its share: then its work runs at background priority.
    pub fn is_contested(&self) -> bool {
        self.contested
    }

    /// Hands the permit to the next waiting execution of the app, if any, and waits for the next permit, or
    /// until the run is `stopped`. Returns the waiting time. Without a free parked slot, only a parked
    /// execution gets the permit.
    pub(crate) fn yield_to_others(&self, stopped: impl Fn() -> bool) -> Duration {
        let (began, cpu) = (Instant::now(), &*self.cpu);
        let Some(held) = self.held().take() else { return Duration::ZERO };
        let slot = ParkedSlot::try_acquire(cpu);
        let for_parked_slot = slot.is_none();
        if let Err(held) = cpu.hand_over(Handover { held, for_parked_slot }) {
            self.held().replace(held);
            return Duration::ZERO;
        }
        let slot = slot.unwrap_or_else(|| ParkedSlot(Some(cpu)));
        let mut permit = cpu.enqueue(true);
        let handover = block_on(cpu.handed_over_or_free(&mut permit), stopped).or_else(|| {
            permit.close();
            permit.try_recv().ok()
        });
        if let Some(Handover { held, for_parked_slot }) = handover {
            self.held().replace(held);
            if for_parked_slot {
                slot.hand_over();
            }
        }
        began.elapsed()
    }

    /// Blocks until `future` completes or the run is `stopped`, without the permit meanwhile. Returns the
    /// waiting time, including that for the next permit.
    pub(crate) fn wait(&self, future: impl Future<Output = ()>, stopped: impl Fn() -> bool) -> Duration {
        self.wait_for(future, stopped).map_or(Duration::ZERO, |(_, queued)| queued)
    }

    /// Waits for a future without the permit, and then for the permit. Returns the output and the time that it waited
    /// for the permit; `None` if the run was stopped.
    pub(crate) fn wait_for<T>(
        &self,
        future: impl Future<Output = T>,
        stopped: impl Fn() -> bool,
    ) -> Option<(T, Duration)> {
        // Most of these futures are ready, and the permit is then kept.
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some((output, Duration::ZERO));
        }
        drop(self.held().take());
        let output = block_on(future, &stopped)?;
        let queued = Instant::now();
        let mut permit = self.cpu.enqueue(false);
        if let Some(handover) = block_on(self.cpu.handed_over_or_free(&mut permit), stopped) {
            self.held().replace(handover.held);
        }
        Some((output, queued.elapsed()))
    }

    /// No code panics while holding the lock.
    fn held(&self) -> MutexGuard<'_, Option<HeldPermits>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AppCpu {
    /// The permits of an app's production.
    pub(crate) fn for_production() -> Self {
        Self::of(&PRODUCTION, apps_max())
    }

    /// The permits of all previews of an app.
    pub(crate) fn for_previews() -> Self {
        Self::of(&PREVIEWS, apps_max() / 2)
    }

    /// The permits of an app among `apps` that share them.
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

    /// Waits for a permit. An app never has more than its share.
    pub(crate) async fn acquire(self: &Arc<Self>) -> CpuPermit {
        let demand = DemandGuard::new(&self.demand);
        let mut permit = self.enqueue(false);
        let held = self.handed_over_or_free(&mut permit).await.held;
        let contested = demand.0.load(Ordering::Relaxed) > permits_max();
        CpuPermit { cpu: Arc::clone(self), held: Mutex::new(Some(held)), _demand: demand, contested }
    }

    /// Appends to the queue for a permit.
    fn enqueue(&self, parked: bool) -> oneshot::Receiver<Handover> {
        let (permit, handover) = oneshot::channel();
        let mut queue = self.queue();
        queue.retain(|waiting| !waiting.permit.is_closed());
        queue.push_back(Queued { parked, permit });
        handover
    }

    /// Waits until a permit is handover over or free.
    async fn handed_over_or_free(&self, permit: &mut oneshot::Receiver<Handover>) -> Handover {
        tokio::select! {
            biased;
            Ok(handover) = &mut *permit => handover,
            held = self.acquire_free() => {
                permit.close();
                // A permit handover over in this moment counts: its sender no longer has it.
                permit.try_recv().unwrap_or(Handover { held, for_parked_slot: false })
            }
        }
    }

    /// Hands the permit to the first eligible execution in the queue; returns it if there is none.
    fn hand_over(&self, mut handover: Handover) -> Result<(), HeldPermits> {
        let mut queue = self.queue();
        let for_parked_slot = handover.for_parked_slot;
        let is_eligible = |waiting: &Queued| waiting.parked || !for_parked_slot;
        while let Some(next) = queue.iter().position(is_eligible).and_then(|next| queue.remove(next)) {
            match next.permit.send(handover) {
                Ok(()) => return Ok(()),
                // The receiver was dropped.
                Err(back) => handover = back,
            }
        }
        Err(handover.held)
    }

    /// No code panics while holding the lock.
    fn queue(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a permit is free.
    async fn acquire_free(&self) -> HeldPermits {
        const NEVER_CLOSED: &str = "the semaphores are never closed";
        let app = Arc::clone(&self.busy).acquire_owned().await.expect(NEVER_CLOSED);
        let own = async {
            let own = Arc::clone(&self.own).acquire_owned().await.expect(NEVER_CLOSED);
            (Some(own), self.shared.apps.acquire().await.expect(NEVER_CLOSED))
        };
        let spare = async { (None, self.shared.spare.acquire().await.expect(NEVER_CLOSED)) };
        let (own, shared) = tokio::select! {
            biased;
            own = own => own,
            spare = spare => spare,
        };
        HeldPermits { _own: own, _shared: shared, _app: app }
    }
}

/// Blocks on a future; `None` if the run was stopped.
fn block_on<T>(future: impl Future<Output = T>, stopped: impl Fn() -> bool) -> Option<T> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if stopped() {
            return None;
        }
        thread::park_timeout(STOP_POLL_INTERVAL);
    }
}

/// How many apps can compute at once.
fn apps_max() -> usize {
    (4 * *PROCESSORS).clamp(8, 64)
}

/// How many permits one app can have.
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
    fn every_app_has_a_guaranteed_permit() {
        let apps: Vec<Arc<AppCpu>> = (0..4).map(|_| Arc::new(AppCpu::for_production())).collect();
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
    fn previews_do_not_use_permits_of_production() {
        let (previews, production) = (Arc::new(AppCpu::for_previews()), Arc::new(AppCpu::for_production()));
        let Poll::Ready(preview) = now(previews.acquire()) else { panic!("the first waits") };
        assert!(now(previews.acquire()).is_pending(), "one at a time");
        // Production does not wait for previews.
        assert!(matches!(now(production.acquire()), Poll::Ready(_)));
        drop(preview);
        assert!(matches!(now(previews.acquire()), Poll::Ready(_)));
    }

    #[tokio::test]
    async fn permit_is_contested_when_demand_exceeds_share() {
        let cpu = Arc::new(AppCpu::for_production());
        let mut permits = Vec::new();
        for _ in 0..self::permits_max() {
            permits.push(cpu.acquire().await);
        }
        assert!(permits.iter().all(|permit| !permit.is_contested()));
        let (mut next, mut second) = (Box::pin(cpu.acquire()), Box::pin(cpu.acquire()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(next.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        permits.pop();
        assert!(next.await.is_contested(), "another one waits after it");
        drop((permits, second));
        assert!(!cpu.acquire().await.is_contested(), "none waits any more");
    }

    /// All permits of the app.
    async fn all_permits(cpu: &Arc<AppCpu>) -> Vec<CpuPermit> {
        let mut permits = Vec::new();
        for _ in 0..self::permits_max() {
            permits.push(cpu.acquire().await);
        }
        permits
    }

    #[tokio::test]
    async fn yielded_permit_returns_after_waiting_execution() {
        let cpu = Arc::new(AppCpu::for_production());
        let mut permits = all_permits(&cpu).await;
        let long = permits.pop().expect("at least one");
        assert_eq!(long.yield_to_others(|| false), Duration::ZERO, "none waits");
        let (mut short, mut gave_up) = (Box::pin(cpu.acquire()), Box::pin(cpu.acquire()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(gave_up.as_mut().poll(&mut context).is_pending());
        assert!(short.as_mut().poll(&mut context).is_pending());
        drop(gave_up);
        let passed = thread::spawn(move || (long.yield_to_others(|| false), long));
        // It has the permit while the long one is parked.
        let short = short.await;
        assert!(!passed.is_finished());
        drop(short);
        let (waited, long) = passed.join().expect("it comes back");
        assert!(waited > Duration::ZERO && long.held().is_some());
        drop((permits, long));
        assert_eq!(
            (cpu.parked.available_permits(), cpu.busy.available_permits()),
            (apps_max() / 2, self::permits_max())
        );
    }

    #[tokio::test]
    async fn executions_share_permits_and_all_finish() {
        let cpu = Arc::new(AppCpu::for_production());
        let held = all_permits(&cpu).await;
        let threads: Vec<_> = (0..2 * apps_max())
            .map(|_| {
                let cpu = Arc::clone(&cpu);
                thread::spawn(move || {
                    let permit = block_on(cpu.acquire(), || false).expect("it is not stopped");
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
            (apps_max() / 2, self::permits_max())
        );
    }

    #[tokio::test]
    async fn stopped_execution_does_not_wait_for_permit() {
        let cpu = Arc::new(AppCpu::for_production());
        let mut permits = all_permits(&cpu).await;
        let long = permits.pop().expect("at least one");
        let mut short = Box::pin(cpu.acquire());
        assert!(short.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        long.yield_to_others(|| true);
        assert!(long.held().is_none());
        drop((short.await, permits, long));
        assert_eq!(cpu.busy.available_permits(), self::permits_max());
    }
}
