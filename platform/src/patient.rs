//! Threads for scripts that take long: as many as there are processors, at a lower priority than the threads that answer
//! requests, so that whoever has little to do is not kept waiting by whoever has much.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// How much lower the priority is, as `nice` counts: where a processor has both kinds of work, this one gets a tenth.
const NICE: i32 = 10;

type Work = Box<dyn FnOnce() + Send>;

/// Where work is handed in. The threads are started by the first that comes.
static WORK: LazyLock<Sender<Work>> = LazyLock::new(start);

fn start() -> Sender<Work> {
    let (sender, receiver) = channel();
    let receiver = Arc::new(Mutex::new(receiver));
    for number in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
        let receiver = Arc::clone(&receiver);
        let builder = thread::Builder::new().name(format!("patient-{number}")).stack_size(runtime::STACK);
        if let Err(error) = builder.spawn(move || work_on(&receiver)) {
            tracing::error!(%error, "a thread for scripts that take long cannot be started");
        }
    }
    sender
}

fn work_on(receiver: &Mutex<Receiver<Work>>) {
    // It may always be lowered. On systems where this is of the whole process, only the kernel's fairness is left.
    if cfg!(target_os = "linux") {
        let _ = rustix::process::setpriority_process(None, NICE);
    }
    // The lock is let go before the work begins. Nothing panics while it is held.
    let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(work) = next() {
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

/// Does `work` on one of the threads; `None` where it panicked, or no thread could be started.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, outcome) = oneshot::channel();
    let work = Box::new(move || {
        let _ = done.send(work());
    });
    WORK.send(work).ok()?;
    outcome.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_ends_only_its_own() {
        assert_eq!(run(|| 1 + 1).await, Some(2));
        for _ in 0..100 {
            assert_eq!(
                run(|| if true {
                    panic!("on purpose")
                })
                .await,
                None
            );
        }
        assert_eq!(
            run(|| thread::current().name().map(|name| name.starts_with("patient"))).await,
            Some(Some(true))
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn it_gives_way_to_others() {
        let lower = run(|| rustix::process::getpriority_process(None).unwrap()).await.unwrap();
        assert!(lower > rustix::process::getpriority_process(None).unwrap());
    }
}
