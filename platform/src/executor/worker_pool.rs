//! Worker threads for long-running scripts: as many as there are jobs, which is bounded by the CPU permits.
//! Jobs of apps that demand more than their share, and jobs beyond their time budget, run at a lower priority
//! than threads that serve requests.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, setpriority_process};
use tokio::sync::oneshot;

/// How long a job keeps the normal priority, so that scripts of some milliseconds are not delayed.
const NORMAL_BUDGET: Duration = Duration::from_millis(10);

/// The niceness of background jobs: next to normal work they get a tenth of a processor.
const NICE: i32 = 10;

/// How long an idle thread waits for a job.
const IDLE_THREAD_TTL: Duration = Duration::from_secs(10);

/// A job and its state. The returned value is dropped when the thread is ready for the next job.
type Job = (Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>, Arc<JobState>);

static NORMAL_POOL: Pool = Pool::new(Priority::Normal);
static BACKGROUND_POOL: Pool = Pool::new(Priority::Background);

/// The initial priority of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The priority of threads that serve requests, for [`NORMAL_BUDGET`].
    Normal,
    /// The lower priority.
    Background,
}

/// The state of a job.
#[derive(Debug, Default)]
struct JobState(Mutex<Progress>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    Waiting,
    /// Running on this thread, if the OS has priorities per thread.
    Running(Option<Pid>),
    /// Running on a thread whose priority was lowered.
    Lowered,
    Finished,
}

impl JobState {
    /// Lowers the priority of the thread if the job is still running.
    fn lower(&self) {
        self.update(|progress| match progress {
            Progress::Running(Some(thread)) if setpriority_process(Some(thread), NICE).is_ok() => {
                Progress::Lowered
            }
            _ => progress,
        });
    }

    /// Updates the progress and returns the previous one.
    fn update(&self, to: impl FnOnce(Progress) -> Progress) -> Progress {
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

/// Elsewhere priorities apply to the whole process.
#[cfg(not(target_os = "linux"))]
fn this_thread() -> Option<Pid> {
    None
}

/// Threads for jobs of one priority.
struct Pool {
    priority: Priority,
    queue: Mutex<Queue>,
    more: Condvar,
}

/// The waiting jobs, and the idle threads.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Threads that are about to take the next job.
    ready: usize,
    /// Threads that sleep and must be woken.
    sleeping: usize,
}

impl Pool {
    const fn new(priority: Priority) -> Self {
        Self {
            priority,
            queue: Mutex::new(Queue { jobs: VecDeque::new(), ready: 0, sleeping: 0 }),
            more: Condvar::new(),
        }
    }

    /// No code panics while holding the lock.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a job to an idle thread or a new one. A thread inherits the priority of the one that starts it,
    /// so this must be called from threads with normal priority.
    fn submit(&'static self, job: Job) {
        let mut queue = self.queue();
        queue.jobs.push_back(job);
        let unmet = queue.jobs.len().saturating_sub(queue.ready);
        if unmet == 0 {
            return;
        }
        if unmet <= queue.sleeping {
            self.more.notify_one();
            return;
        }
        drop(queue);
        let builder = thread::Builder::new().name("worker".to_owned()).stack_size(runtime::STACK_SIZE);
        if let Err(error) = builder.spawn(|| self.worker_loop()) {
            tracing::error!(%error, "cannot start a worker thread");
            // Dropping the job notifies its caller.
            let _ = self.queue().jobs.pop_back();
        }
    }

    fn worker_loop(&self) {
        if self.priority == Priority::Background && this_thread().is_some() {
            let _ = setpriority_process(this_thread(), NICE);
        }
        let mut was_ready = false;
        while let Some((job, run)) = self.next(was_ready) {
            run.update(|_| Progress::Running(this_thread()));
            let guard = catch_unwind(AssertUnwindSafe(job));
            // Unprivileged processes cannot raise a priority again. A deep stack is freed with its thread.
            if run.update(|_| Progress::Finished) == Progress::Lowered || runtime::has_deep_stack() {
                return;
            }
            // A job submitted by the drop below is left to this thread, and wakes no other one.
            self.queue().ready += 1;
            was_ready = true;
            let _ = catch_unwind(AssertUnwindSafe(|| drop(guard)));
        }
    }

    /// Waits for a job; `None` after [`IDLE_THREAD_TTL`].
    fn next(&self, was_ready: bool) -> Option<Job> {
        let mut queue = self.queue();
        queue.ready -= usize::from(was_ready);
        loop {
            if let Some(work) = queue.jobs.pop_front() {
                return Some(work);
            }
            queue.sleeping += 1;
            let (woken, waited) =
                self.more.wait_timeout(queue, IDLE_THREAD_TTL).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.sleeping -= 1;
            if waited.timed_out() && queue.jobs.is_empty() {
                return None;
            }
        }
    }
}

/// Runs `work` on a worker; `None` if it panicked or no thread could be started. The second value is dropped
/// when the thread is ready for the next job.
pub(crate) async fn run<T: Send + 'static, K: Send + 'static>(
    priority: Priority,
    work: impl FnOnce() -> (T, K) + Send + 'static,
) -> Option<T> {
    let (done, mut outcome) = oneshot::channel();
    let run = Arc::<JobState>::default();
    let job = Box::new(move || -> Box<dyn Any + Send> {
        let (outcome, guard) = work();
        let _ = done.send(outcome);
        Box::new(guard)
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
    async fn panic_only_ends_its_own_job() {
        assert_eq!(run(Priority::Normal, || (1 + 1, ())).await, Some(2));
        for _ in 0..100 {
            let panics = || if true { panic!("on purpose") } else { ((), ()) };
            assert_eq!(run(Priority::Background, panics).await, None);
        }
        let name = || (thread::current().name().map(str::to_owned), ());
        assert_eq!(run(Priority::Background, name).await, Some(Some("worker".to_owned())));
    }

    #[tokio::test]
    async fn jobs_do_not_wait_for_each_other() {
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
    fn job_submitted_on_drop_runs_on_same_thread() {
        static POOL: Pool = Pool::new(Priority::Normal);
        struct SubmitsOnDrop(std::sync::mpsc::Sender<thread::ThreadId>, u32);
        impl Drop for SubmitsOnDrop {
            fn drop(&mut self) {
                let _ = self.0.send(thread::current().id());
                let Some(more) = self.1.checked_sub(1) else { return };
                let next = SubmitsOnDrop(self.0.clone(), more);
                POOL.submit((Box::new(move || Box::new(next)), Arc::default()));
            }
        }
        let (sender, threads) = std::sync::mpsc::channel();
        let first = SubmitsOnDrop(sender, 100);
        POOL.submit((Box::new(move || Box::new(first)), Arc::default()));
        let threads: Vec<_> = threads.iter().collect();
        assert_eq!(threads.len(), 101);
        assert!(threads.iter().all(|thread| *thread == threads[0]));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn long_job_is_lowered_and_next_job_is_not() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let normal = priority();
        for _ in 0..8 {
            assert_eq!(run(Priority::Normal, move || (priority(), ())).await, Some(normal));
            assert_eq!(run(Priority::Background, move || (priority(), ())).await, Some(normal + NICE));
            let lowered = run(Priority::Normal, move || {
                let deadline = std::time::Instant::now() + Duration::from_secs(10);
                while priority() == normal && std::time::Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(1));
                }
                (priority(), ())
            });
            assert_eq!(lowered.await, Some(normal + NICE));
        }
    }
}
