//! Threads for scripts that take long: as many as there is work, which is as much as there are CPU permits. Those of an app
//! that wants more than its share, and all that go on and on, run at a lower priority than the threads that answer requests, so
//! that short work does not wait for long work.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, setpriority_process};
use tokio::sync::oneshot;

/// How long a run keeps the normal priority: a script of some milliseconds waits for its share of a processor only.
const NORMAL_BUDGET: Duration = Duration::from_millis(10);

/// How much lower the priority is after that, as `nice` counts: where a processor has both kinds of work, this one gets a
/// tenth.
const NICE: i32 = 10;

/// How long a thread waits for the next piece of work.
const IDLE_THREAD_TTL: Duration = Duration::from_secs(10);

/// What is to be done, and where it is. What it gives back is kept until the thread is ready for more.
type Work = (Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>, Arc<Run>);

static NORMAL_POOL: Pool = Pool::new(Priority::Normal);
static BACKGROUND_POOL: Pool = Pool::new(Priority::Background);

/// At which priority something begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// At that of the threads that answer requests, for [`NORMAL_BUDGET`].
    Normal,
    /// At the lower one.
    Background,
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

/// Threads that do work of one kind.
struct Pool {
    priority: Priority,
    queue: Mutex<Queue>,
    more: Condvar,
}

/// What waits for a thread, and the threads without work.
#[derive(Default)]
struct Queue {
    work: VecDeque<Work>,
    /// Those that are done and will look here next.
    ready: usize,
    /// Those that have looked, and must be woken.
    asleep: usize,
}

impl Pool {
    const fn new(priority: Priority) -> Self {
        Self {
            priority,
            queue: Mutex::new(Queue { work: VecDeque::new(), ready: 0, asleep: 0 }),
            more: Condvar::new(),
        }
    }

    /// Nothing panics while the lock is held.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands work to a thread without any, or to a new one. A thread has the priority of the one that starts it, so this is for
    /// threads of the usual one to call.
    fn submit(&'static self, work: Work) {
        let mut queue = self.queue();
        queue.work.push_back(work);
        let unmet = queue.work.len().saturating_sub(queue.ready);
        if unmet == 0 {
            return;
        }
        if unmet <= queue.asleep {
            self.more.notify_one();
            return;
        }
        drop(queue);
        let builder = thread::Builder::new().name("worker".to_owned()).stack_size(runtime::STACK_SIZE);
        if let Err(error) = builder.spawn(|| self.worker_loop()) {
            tracing::error!(%error, "a thread for scripts that take long cannot be started");
            // Whoever waits for the work is told when it is dropped.
            let _ = self.queue().work.pop_back();
        }
    }

    fn worker_loop(&self) {
        if self.priority == Priority::Background && this_thread().is_some() {
            let _ = setpriority_process(this_thread(), NICE);
        }
        let mut was_ready = false;
        while let Some((job, run)) = self.next(was_ready) {
            run.change(|_| Progress::On(this_thread()));
            let kept = catch_unwind(AssertUnwindSafe(job));
            // A priority may always be lowered, and by most never be raised again. A deep stack is given back with its thread.
            if run.change(|_| Progress::Over) == Progress::Lowered || runtime::has_deep_stack() {
                return;
            }
            // Whoever is let in by what is dropped now leaves work to this thread, and wakes no other one beside it.
            self.queue().ready += 1;
            was_ready = true;
            let _ = catch_unwind(AssertUnwindSafe(|| drop(kept)));
        }
    }

    /// Waits for work; `None` where none comes.
    fn next(&self, was_ready: bool) -> Option<Work> {
        let mut queue = self.queue();
        queue.ready -= usize::from(was_ready);
        loop {
            if let Some(work) = queue.work.pop_front() {
                return Some(work);
            }
            queue.asleep += 1;
            let (woken, waited) =
                self.more.wait_timeout(queue, IDLE_THREAD_TTL).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.asleep -= 1;
            if waited.timed_out() && queue.work.is_empty() {
                return None;
            }
        }
    }
}

/// Does `work` on one of the threads; `None` where it panicked, or no thread could be started. What it gives back beside its
/// outcome is kept until its thread is ready for more.
pub(crate) async fn run<T: Send + 'static, K: Send + 'static>(
    priority: Priority,
    work: impl FnOnce() -> (T, K) + Send + 'static,
) -> Option<T> {
    let (done, mut outcome) = oneshot::channel();
    let run = Arc::<Run>::default();
    let job = Box::new(move || -> Box<dyn Any + Send> {
        let (outcome, kept) = work();
        let _ = done.send(outcome);
        Box::new(kept)
    });
    if priority == Priority::Background {
        BACKGROUND_POOL.submit((job, run));
        return outcome.await.ok();
    }
    NORMAL_POOL.submit((job, Arc::clone(&run)));
    match tokio::time::timeout(NORMAL_BUDGET, &mut outcome).await {
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
        assert_eq!(run(Priority::Normal, || (1 + 1, ())).await, Some(2));
        for _ in 0..100 {
            let panics = || if true { panic!("on purpose") } else { ((), ()) };
            assert_eq!(run(Priority::Background, panics).await, None);
        }
        let name = || (thread::current().name().map(str::to_owned), ());
        assert_eq!(run(Priority::Background, name).await, Some(Some("worker".to_owned())));
    }

    #[tokio::test]
    async fn no_work_waits_for_other_work() {
        let (meeting, met) = (Arc::new(std::sync::Barrier::new(12)), Duration::from_secs(60));
        let works: Vec<_> = (0..12)
            .map(|number| {
                let meeting = Arc::clone(&meeting);
                let priority = if number % 2 == 0 { Priority::Normal } else { Priority::Background };
                tokio::spawn(run(priority, move || (meeting.wait().is_leader(), ())))
            })
            .collect();
        for work in works {
            assert!(tokio::time::timeout(met, work).await.unwrap().unwrap().is_some());
        }
    }

    #[test]
    fn a_thread_does_what_its_end_lets_in() {
        static POOL: Pool = Pool::new(Priority::Normal);
        struct LetsIn(std::sync::mpsc::Sender<thread::ThreadId>, u32);
        impl Drop for LetsIn {
            fn drop(&mut self) {
                let _ = self.0.send(thread::current().id());
                let Some(more) = self.1.checked_sub(1) else { return };
                let next = LetsIn(self.0.clone(), more);
                POOL.submit((Box::new(move || Box::new(next)), Arc::default()));
            }
        }
        let (sender, threads) = std::sync::mpsc::channel();
        let first = LetsIn(sender, 100);
        POOL.submit((Box::new(move || Box::new(first)), Arc::default()));
        let threads: Vec<_> = threads.iter().collect();
        assert_eq!(threads.len(), 101);
        assert!(threads.iter().all(|thread| *thread == threads[0]));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_goes_on_and_on_gives_way_to_others_and_the_next_does_not() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let usual = priority();
        for _ in 0..8 {
            assert_eq!(run(Priority::Normal, move || (priority(), ())).await, Some(usual));
            assert_eq!(run(Priority::Background, move || (priority(), ())).await, Some(usual + NICE));
            let lowered = run(Priority::Normal, move || {
                let deadline = std::time::Instant::now() + Duration::from_secs(10);
                while priority() == usual && std::time::Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(1));
                }
                (priority(), ())
            });
            assert_eq!(lowered.await, Some(usual + NICE));
        }
    }
}
