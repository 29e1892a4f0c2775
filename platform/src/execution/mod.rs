//! One run of a script: admitted, run where it keeps nobody waiting, recorded.
//!
//! - `host`: what a script reaches outside

mod host;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::{Execution, Failure, FailureKind, InlineOutcome, Invocation, Response, Trigger};
use tracing::Span;
use tracing::field::Empty;

use host::{InlineHost, ThreadHost};

use crate::TRACE_TARGET;
use crate::executor::SlotPermit;
use crate::executor::worker_pool::{self, Priority};
use crate::live::Live;
use crate::recording::{CapturedLogs, FinishedRun, Recorder};
use crate::tally::RejectReason;

/// Why nothing was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// The app already runs as many executions as its manifest allows, and as many wait, or this one waited for too long.
    #[error("the app is full ({limit} of {limit} executions)")]
    Full {
        /// How many those are.
        limit: u32,
    },
    /// The other executions of the app left it no CPU permit.
    #[error("the app got no processor time within {} s", WAIT_MAX.as_secs())]
    NoCpu,
}

/// The longest that a run waits for a slot, and for a CPU permit.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How often the host calls of a script wait between inline passes, and how long those passes take in all. Beyond that a thread
/// of its own costs less than running it again.
const INLINE_WAITS_MAX: u32 = 16;
const INLINE_TIME_MAX: Duration = Duration::from_millis(2);

/// Runs a script of a live revision to its end, or until the returned future is dropped: then the script is stopped.
///
/// The revision was taken once by the caller and is kept to the end, whatever is deployed meanwhile. Most scripts are over
/// within microseconds and run inline. Those that take longer run on a worker, since a run cannot move to another thread, with
/// one of their app's CPU permits.
///
/// # Errors
/// [`Busy`]: the app has no free slot and as many runs wait as it has slots, or this one waited for too long. Nothing was run.
pub async fn execute(
    recorder: &Recorder,
    live: Arc<Live>,
    invocation: Invocation,
) -> Result<Execution, Busy> {
    // What most requests do not need is boxed: the future of a request is moved some times.
    let slot = match live.try_acquire_slot() {
        Some(slot) => slot,
        None => Box::pin(with_wait_timeout(live.acquire_slot()))
            .await
            .flatten()
            .ok_or(Busy::Full { limit: live.concurrency() })
            .inspect_err(|_| live.tally().rejected(RejectReason::Concurrency))?,
    };
    let span = tracing::trace_span!(
        target: TRACE_TARGET,
        "execution",
        app = %live.revision.app(),
        script = %invocation.script,
        execution = %invocation.execution_id,
        trigger = invocation.trigger.kind().as_str(),
        "error.type" = Empty,
    );
    let mut live = live;
    let (mut waits, mut spent) = (0, Duration::ZERO);
    while waits <= INLINE_WAITS_MAX && spent < INLINE_TIME_MAX {
        let host = InlineHost::new(live);
        let pass = runtime::run_inline(&host.live().revision, &invocation, Arc::<InlineHost>::clone(&host));
        let lines;
        (live, lines) = host.into_parts();
        match pass {
            InlineOutcome::Finished(execution) => {
                let logs = CapturedLogs::Buffered(lines);
                return Ok(finish(recorder, live, invocation, &span, execution, logs));
            }
            InlineOutcome::Blocked { pending, duration } => {
                pending.await;
                (waits, spent) = (waits + 1, spent + duration);
            }
            InlineOutcome::OverBudget => break,
        }
    }
    Box::pin(execute_on_worker(recorder, live, invocation, span, slot)).await
}

/// The same on a worker.
async fn execute_on_worker(
    recorder: &Recorder,
    live: Arc<Live>,
    invocation: Invocation,
    span: Span,
    slot: SlotPermit,
) -> Result<Execution, Busy> {
    let stop = StopOnDrop::new();
    let stopped = stop.flag();
    let cpu = with_wait_timeout(live.acquire_cpu()).await.ok_or(Busy::NoCpu);
    let cpu = Arc::new(cpu.inspect_err(|_| live.tally().rejected(RejectReason::Processor))?);
    let recorder = recorder.clone();
    let gives_way = cpu.is_contested() || !live.branch.production;
    let priority = if gives_way { Priority::Background } else { Priority::Normal };
    let running = worker_pool::run(priority, move || {
        let host = ThreadHost::new(recorder.clone(), Arc::clone(&live), &invocation, Arc::clone(&cpu));
        let host = Arc::new(host);
        let execution = match live.scripts().program(&live.revision, &invocation.script) {
            Ok(program) => {
                let host = Arc::<ThreadHost>::clone(&host);
                runtime::run(&live.revision, &program, &invocation, host, &stopped)
            }
            Err(failure) => Execution::failed(failure),
        };
        let logs = CapturedLogs::Streamed(host.lines());
        // What the run held is given back before it is recorded, which takes memory of the app too.
        drop(host);
        (finish(&recorder, live, invocation, &span, execution, logs), (cpu, slot))
    });
    Ok(running.await.unwrap_or_else(worker_panicked))
}

/// Traces, counts and records a run that is over.
fn finish(
    recorder: &Recorder,
    live: Arc<Live>,
    invocation: Invocation,
    span: &Span,
    execution: Execution,
    logs: CapturedLogs,
) -> Execution {
    let execution = reject_1xx(execution, &invocation);
    let failure = execution.outcome.as_ref().err().map(|failure| failure.kind);
    if let Some(kind) = failure {
        span.record("error.type", kind.as_str());
    }
    live.tally().executed(invocation.trigger.kind(), failure);
    recorder.take(live, &execution, logs, |live, logs| FinishedRun::new(live, invocation, &execution, logs));
    execution
}

/// 1xx are interim responses, and 101 switches protocols (RFC 9110 section 15.2): no answers of a script.
fn reject_1xx(execution: Execution, invocation: &Invocation) -> Execution {
    match (&execution.outcome, &invocation.trigger) {
        (Ok(Response { status: status @ ..200, .. }), Trigger::Http(_)) => {
            let message = format!("a request cannot be answered with status {status}");
            let failure = Failure { kind: FailureKind::InvalidResponse, message, location: None };
            Execution { outcome: Err(failure), ..execution }
        }
        _ => execution,
    }
}

/// Waits for [`WAIT_MAX`] at most.
async fn with_wait_timeout<T>(coming: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(WAIT_MAX, coming).await.ok()
}

/// A thread that died under a script; the runtime catches panics itself, so this is the last net.
fn worker_panicked() -> Execution {
    let failure =
        Failure { kind: FailureKind::Panic, message: "the run ended early".to_owned(), location: None };
    Execution::failed(failure)
}

/// Stops a running script when nobody waits for its answer any more.
struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
