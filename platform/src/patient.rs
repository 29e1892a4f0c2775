//! Threads for scripts that take long, as many as there are processors of each kind. Those of an app that wants more than it may
//! have, and all that go on and on, run at a lower priority than the threads that answer requests, so that whoever has little
//! to do is not kept waiting by whoever has much.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, setpriority_process};
use tokio::sync::oneshot;

/// How long a run has the priority of everybody else: a script of some milliseconds is to wait for its share of a processor
/// only.
const ALIKE: Duration = Duration::from_millis(10);

/// How much lower the priority is after that, as `nice` counts: where a processor has both kinds of work, this one gets a
/// tenth.
const NICE: i32 = 10;

/// What is to be done, and where it is.
type Work = (Box<dyn FnOnce() + Send>, Arc<Run>);

/// Where work is handed in. The threads are started by the first that comes.
static ALIKE_WORK: LazyLock<Sender<Work>> = LazyLock::new(|| start(Kind::Alike));
static LOW_WORK: LazyLock<Sender<Work>> = LazyLock::new(|| start(Kind::Low));

/// At which priority something begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// At that of everybody else, for [`ALIKE`].
    Alike,
    /// At the lower one.
    Low,
}

/// Where a piece of work is.
#[derive(Debug, Default)]
struct Run(Mutex<Progress>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Waiting,
    /// On this thread, if threads have a priority of their own.
    On(Option<Pid>),
    /// On a thread whose priority was lowered for it.
    Lowered,
    Over,
}

impl Run {
    /// Lowers the priority of the thread, if the work is still going on.
    fn lower(&self) {
        self.change(|progress| match progress {
            Progress::On(Some(thread)) if setpriority_process(Some(thread), NICE).is_ok() => {
                Progress::Lowered
            }
            _ => progress,
        });
    }

    /// Changes where it is, and says where it was.
    fn change(&self, to: impl FnOnce(Progress) -> Progress) -> Progress {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was = *progress;
        *progress = to(was);
        was
    }
}

#[cfg(target_os = "linux")]
fn this_thread() -> Option<Pid> {
    Some(rustix::thread::gettid())
}

/// Elsewhere a priority is that of the whole process, and only the kernel's fairness is left.
#[cfg(not(target_os = "linux"))]
fn this_thread() -> Option<Pid> {
    None
}

/// What the threads share.
#[derive(Clone)]
struct Pool {
    kind: Kind,
    work: Arc<Mutex<Receiver<Work>>>,
    /// Asks for a thread in place of one.
    anew: Sender<usize>,
}

fn start(kind: Kind) -> Sender<Work> {
    let (sender, work) = channel();
    let (anew, asked) = channel();
    let pool = Pool { kind, work: Arc::new(Mutex::new(work)), anew };
    for number in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
        begin(number, &pool);
    }
    // A thread has the priority of the one that starts it, so that none may be started by one that was lowered.
    let keeper = move || asked.iter().for_each(|number| begin(number, &pool));
    if let Err(error) = thread::Builder::new().name("patient-keeper".to_owned()).spawn(keeper) {
        tracing::error!(%error, "scripts that take long will run at a lower priority from their beginning");
    }
    sender
}

fn begin(number: usize, pool: &Pool) {
    let builder = thread::Builder::new().name(format!("patient-{number}")).stack_size(runtime::STACK);
    let pool = pool.clone();
    if let Err(error) = builder.spawn(move || work_on(number, &pool)) {
        tracing::error!(%error, "a thread for scripts that take long cannot be started");
    }
}

fn work_on(number: usize, pool: &Pool) {
    if pool.kind == Kind::Low && this_thread().is_some() {
        let _ = setpriority_process(this_thread(), NICE);
    }
    // The lock is let go before the work begins. Nothing panics while it is held.
    let next = || pool.work.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok((job, run)) = next() {
        run.change(|_| Progress::On(this_thread()));
        let _ = catch_unwind(AssertUnwindSafe(job));
        let was = run.change(|_| Progress::Over);
        // A priority may always be lowered, and by most never be raised again: another thread takes the place of this one.
        if was == Progress::Lowered && pool.anew.send(number).is_ok() {
            return;
        }
    }
}

/// Does `work` on one of the threads; `None` where it panicked, or no thread could be started.
pub(crate) async fn run<T: Send + 'static>(
    kind: Kind,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, mut outcome) = oneshot::channel();
    let run = Arc::<Run>::default();
    let job = Box::new(move || {
        let _ = done.send(work());
    });
    if kind == Kind::Low {
        LOW_WORK.send((job, run)).ok()?;
        return outcome.await.ok();
    }
    ALIKE_WORK.send((job, Arc::clone(&run))).ok()?;
    match tokio::time::timeout(ALIKE, &mut outcome).await {
        Ok(outcome) => outcome.ok(),
        Err(_) => {
            run.lower();
            outcome.await.ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_ends_only_its_own() {
        assert_eq!(run(Kind::Alike, || 1 + 1).await, Some(2));
        for _ in 0..100 {
            assert_eq!(
                run(Kind::Low, || if true {
                    panic!("on purpose")
                })
                .await,
                None
            );
        }
        assert_eq!(
            run(Kind::Low, || thread::current().name().map(|name| name.starts_with("patient"))).await,
            Some(Some(true))
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_goes_on_and_on_gives_way_to_others_and_the_next_does_not() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let usual = priority();
        for _ in 0..8 {
            assert_eq!(run(Kind::Alike, priority).await, Some(usual));
            assert_eq!(run(Kind::Low, priority).await, Some(usual + NICE));
            let lowered = run(Kind::Alike, move || {
                let deadline = std::time::Instant::now() + Duration::from_secs(10);
                while priority() == usual && std::time::Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(1));
                }
                priority()
            });
            assert_eq!(lowered.await, Some(usual + NICE));
        }
    }
}
