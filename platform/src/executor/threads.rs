//! The async runtimes of a node: the main one, and ones for background work that no request waits for.

use std::io;
use std::sync::Mutex;
use std::thread;

use runtime::CountingAllocator;
use tokio::runtime::{Builder, Handle, Runtime};

/// The niceness of background threads: next to requests at full load, it leaves them a quarter of a
/// processor.
const NICE: i32 = 6;

/// The OS refuses to create more threads.
#[derive(Debug, thiserror::Error)]
#[error("cannot start: the OS refuses to create more threads")]
pub struct ThreadsError(#[source] pub io::Error);

/// The main runtime of a node. Any of its threads can run a script, which needs a deep stack.
///
/// # Errors
/// The OS refuses to create more threads.
pub fn main_runtime() -> Result<Runtime, ThreadsError> {
    build(&mut builder())
}

/// Builds a runtime after checking that the OS can create its threads: tokio panics if it cannot.
fn build(builder: &mut Builder) -> Result<Runtime, ThreadsError> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // All threads have to exist at the same time.
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

/// A runtime with lower priority for git requests, checks, commits, record writes and evictions: they use a
/// processor for milliseconds, and no request waits for them. Shut down on drop.
#[derive(Debug)]
pub struct BackgroundRuntime(Option<Runtime>);

impl BackgroundRuntime {
    /// Starts as many threads as there are processors, with `name`.
    ///
    /// # Errors
    /// The OS refuses to create more threads.
    pub fn start(name: &str) -> Result<Self, ThreadsError> {
        let mut builder = builder();
        // Linux has priorities per thread. Elsewhere only the kernel's scheduler applies.
        if cfg!(target_os = "linux") {
            builder.on_thread_start(|| {
                let _ = rustix::process::setpriority_process(None, NICE);
            });
        }
        Ok(Self(Some(build(builder.thread_name(name))?)))
    }

    /// The handle to spawn tasks on.
    pub fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |threads| threads.handle().clone())
    }
}

impl Drop for BackgroundRuntime {
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
    fn background_threads_have_lower_priority() {
        let priority = || rustix::process::getpriority_process(None).expect("a priority");
        let (normal, main, background) =
            (priority(), main_runtime().unwrap(), BackgroundRuntime::start("push").unwrap());
        let task = main.spawn(async move { priority() });
        assert_eq!(main.block_on(task).unwrap(), normal);
        for _ in 0..4 {
            let work = async move { (priority(), tokio::task::spawn_blocking(priority).await.unwrap()) };
            let task = background.handle().spawn(work);
            assert_eq!(main.block_on(task).unwrap(), (normal + NICE, normal + NICE));
        }
    }
}
