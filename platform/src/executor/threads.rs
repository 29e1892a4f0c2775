//! The threads of a node: those that answer, and those for work that no request waits for.

use std::io;
use std::sync::Mutex;
use std::thread;

use runtime::CountingAllocator;
use tokio::runtime::{Builder, Handle, Runtime};

/// How much lower the priority of that work is, as `nice` counts: beside requests at full load, a quarter of a processor is
/// left for it.
const NICE: i32 = 6;

/// The system gives no more threads.
#[derive(Debug, thiserror::Error)]
#[error("cannot start: the system gives no more threads")]
pub struct ThreadsError(#[source] pub io::Error);

/// The threads that a node runs on. Any of them can run a script, which needs a deep stack.
///
/// # Errors
/// The system gives no more threads.
pub fn threads() -> Result<Runtime, ThreadsError> {
    build(&mut builder())
}

/// Builds a runtime once it is seen that the system gives it its threads: the runtime itself panics where it does not.
fn build(builder: &mut Builder) -> Result<Runtime, ThreadsError> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // All of them have to be there at once.
        let closed = gate.lock();
        let wait = || drop(gate.lock());
        let start = |_| thread::Builder::new().stack_size(runtime::STACK_SIZE).spawn_scoped(scope, wait);
        let started: io::Result<Vec<_>> = (0..workers).map(start).collect();
        drop(closed);
        started.map(drop)
    })
    .map_err(ThreadsError)?;
    builder.build().map_err(ThreadsError)
}

fn builder() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_stack_size(runtime::STACK_SIZE);
    builder.on_thread_park(CountingAllocator::purge_if_requested);
    builder
}

/// Threads of a lower priority: to read a request of git, to unpack, check, commit and walk, to write records and to evict programs
/// takes a processor for milliseconds, and no request waits for that. They end with this.
#[derive(Debug)]
pub struct BackgroundThreads(Option<Runtime>);

impl BackgroundThreads {
    /// Starts them, as many as there are processors. They are known to the system by `name`.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(name: &str) -> Result<Self, ThreadsError> {
        let mut builder = builder();
        // On Linux a thread has a priority of its own. Elsewhere only the kernel's fairness is left.
        if cfg!(target_os = "linux") {
            builder.on_thread_start(|| {
                let _ = rustix::process::setpriority_process(None, NICE);
            });
        }
        Ok(Self(Some(build(builder.thread_name(name))?)))
    }

    /// Where work is handed in.
    pub fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |threads| threads.handle().clone())
    }
}

impl Drop for BackgroundThreads {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_in_the_background_gives_way_and_answers_do_not() {
        let priority = || rustix::process::getpriority_process(None).expect("a priority");
        let (usual, answering, background) =
            (priority(), threads().unwrap(), BackgroundThreads::start("push").unwrap());
        let asked = answering.spawn(async move { priority() });
        assert_eq!(answering.block_on(asked).unwrap(), usual);
        for _ in 0..4 {
            let work = async move { (priority(), tokio::task::spawn_blocking(priority).await.unwrap()) };
            let asked = background.handle().spawn(work);
            assert_eq!(answering.block_on(asked).unwrap(), (usual + NICE, usual + NICE));
        }
    }
}
