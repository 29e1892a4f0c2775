//! Executes a script: acquires a slot, runs inline or on a worker, and records the execution.
//!
//! - `host`: the host functions of a running script

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
use crate::request_metrics::RejectReason;

/// Why an execution was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusyError {
    /// The concurrency limit of the app is reached, and its queue is full or the wait timed out.
    #[error("the app is at its limit of {limit} concurrent executions")]
    NoSlot {
        /// The limit.
        limit: u32,
    },
    /// No CPU permit of the app became free in time.
    #[error("the app got no CPU permit within {} s", WAIT_TIMEOUT.as_secs())]
    NoCpu,
}

/// The wait timeouts for a slot and for a CPU permit.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The budget of inline passes: host calls that wait, and total time. Beyond it a worker is cheaper than
/// running the script again.
const INLINE_WAITS_MAX: u32 = 16;
const INLINE_TIME_BUDGET: Duration = Duration::from_millis(2);

/// Runs a script of a live revision to its end, or stops it when the returned future is dropped.
///
/// The caller's revision is used to the end, whatever is deployed meanwhile. Most scripts end within
/// microseconds and run inline. Longer ones run on a worker, since a run cannot move to another thread, with
/// a CPU permit of their app.
///
/// # Errors
/// [`BusyError`]: the app has no free slot and its queue is full, or the wait timed out. Nothing was run.
pub async fn execute(
    recorder: &Recorder,
    live: Arc<Live>,
    invocation: Invocation,
) -> Result<Execution, BusyError> {
    // The slow path is boxed to keep the future of a request small.
    let slot = match live.try_acquire_slot() {
        Some(slot) => slot,
        None => Box::pin(with_wait_timeout(live.acquire_slot()))
            .await
            .flatten()
            .ok_or(BusyError::NoSlot { limit: live.concurrency() })
            .inspect_err(|_| live.metrics().count_rejection(RejectReason::Concurrency))?,
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
    while waits <= INLINE_WAITS_MAX && spent < INLINE_TIME_BUDGET {
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
            InlineOutcome::Restart { duration } => (waits, spent) = (waits + 1, spent + duration),
            InlineOutcome::OverBudget => break,
        }
    }
    Box::pin(execute_on_worker(recorder, live, invocation, span, slot)).await
}

/// Runs the script on a worker.
async fn execute_on_worker(
    recorder: &Recorder,
    live: Arc<Live>,
    invocation: Invocation,
    span: Span,
    slot: SlotPermit,
) -> Result<Execution, BusyError> {
    let stop = StopOnDrop::new();
    let stopped = stop.flag();
    let cpu = with_wait_timeout(live.acquire_cpu()).await.ok_or(BusyError::NoCpu);
    let cpu = Arc::new(cpu.inspect_err(|_| live.metrics().count_rejection(RejectReason::Processor))?);
    let recorder = recorder.clone();
    let is_background = cpu.is_contested() || !live.branch.production;
    let priority = if is_background { Priority::Background } else { Priority::Normal };
    let running = worker_pool::run(priority, move || {
        let host = ThreadHost::new(recorder.clone(), Arc::clone(&live), &invocation, Arc::clone(&cpu));
        let host = Arc::new(host);
        let execution = match live.scripts().program(&live.revision, &invocation.script) {
            Ok(program) => {
                let host = Arc::<ThreadHost>::clone(&host);
                runtime::run(&live.revision, &program, &invocation, host, &stopped).into_finished()
            }
            Err(failure) => Execution::failed(failure),
        };
        let logs = CapturedLogs::Streamed(host.lines());
        // Release the memory of the run before recording, which uses memory of the app too.
        drop(host);
        (finish(&recorder, live, invocation, &span, execution, logs), (cpu, slot))
    });
    Ok(running.await.unwrap_or_else(worker_panicked))
}

/// Traces, counts and records a finished run.
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
    live.metrics().observe_execution(invocation.trigger.kind(), failure);
    recorder
        .record(live, &execution, logs, |live, logs| FinishedRun::new(live, invocation, &execution, logs));
    execution
}

/// 1xx are interim responses, and 101 switches protocols (RFC 9110 section 15.2): not allowed from scripts.
pub(crate) fn reject_1xx(execution: Execution, invocation: &Invocation) -> Execution {
    match (&execution.outcome, &invocation.trigger) {
        (Ok(Response { status: status @ ..200, .. }), Trigger::Http(_)) => {
            let message = format!("a response cannot have status {status}");
            let failure = Failure { kind: FailureKind::InvalidResponse, message, location: None };
            Execution { outcome: Err(failure), ..execution }
        }
        _ => execution,
    }
}

/// Waits for at most [`WAIT_TIMEOUT`].
async fn with_wait_timeout<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(WAIT_TIMEOUT, future).await.ok()
}

/// The result after a panic of the worker; the runtime catches panics of scripts itself, so this is a
/// fallback.
fn worker_panicked() -> Execution {
    let failure =
        Failure { kind: FailureKind::Panic, message: "the worker panicked".to_owned(), location: None };
    Execution::failed(failure)
}

/// Stops a running script when the caller drops the execution.
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
