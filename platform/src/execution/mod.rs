//! Executes a script: acquires a slot, runs inline or on a worker, and records the execution.
//!
//! - `host`: the host functions of a running script
//! - `commit`: commits what it has written

mod commit;
mod host;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runtime::{Execution, Failure, FailureKind, InlineOutcome, Invocation, Response, RunOutcome, Trigger};
use tokio::runtime::Handle;
use tracing::Span;
use tracing::field::Empty;

use commit::{Settled, Turn, Unstored, settle};
use host::{InlineHost, InlinePass, StreamedLog, ThreadHost};

use crate::TRACE_TARGET;
use crate::executor::worker_pool::{self, Priority};
use crate::executor::{CpuPermit, SlotPermit};
use crate::live::Live;
use crate::recording::{CapturedLogs, FinishedRun, Recorder};
use crate::request_metrics::RejectReason;
use crate::state::{NotStored, Session};

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
    let mut slot = match live.try_acquire_slot() {
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
    let mut run = Run { live, invocation, session: None, conflicts: 0 };
    let (began, mut waits, mut spent) = (Instant::now(), 0, Duration::ZERO);
    while waits <= INLINE_WAITS_MAX && spent < INLINE_TIME_BUDGET {
        // Boxed, because it is rare, to keep the future of a request small.
        let turn = match run.conflicts {
            0 => Turn::default(),
            conflicts => Box::pin(Turn::of(run.session.as_deref(), conflicts, &Handle::current())).await,
        };
        let host = InlineHost::new(run.live, run.session, &run.invocation);
        let pass =
            runtime::run_inline(&host.live().revision, &run.invocation, Arc::<InlineHost>::clone(&host));
        let InlinePass { live, lines, session, transaction } = host.into_pass();
        (run.live, run.session) = (live, session);
        match pass {
            InlineOutcome::Finished(execution) => {
                let execution = reject_1xx(execution, &run.invocation);
                let logs = CapturedLogs::Buffered(lines);
                let duration = execution.duration;
                let settled = match transaction {
                    None => Settled::Finished,
                    Some(_) => Box::pin(settle(transaction, &execution, &turn)).await,
                };
                let finished = Finished { recorder, run, span: &span, logs };
                match settled {
                    Settled::Finished => return Ok(finished.record(execution)),
                    Settled::Failed(failure) => {
                        return Ok(finished.record(commit::failed(execution, failure)));
                    }
                    Settled::Accepted(unstored) => {
                        drop(turn);
                        match Box::pin(finished.record_when_stored(execution, unstored, slot)).await {
                            Ok(execution) => return Ok(execution),
                            Err(outdated) => (run, slot) = (outdated.0.again_after_other_node(), outdated.1),
                        }
                    }
                    Settled::Outdated => run = finished.run.again_after_conflict(),
                }
                spent += duration;
            }
            InlineOutcome::Blocked { pending, duration } => {
                pending.await;
                (waits, spent) = (waits + 1, spent + duration);
            }
            InlineOutcome::Restart { duration } => {
                if let Some(failure) = run.session.as_ref().and_then(|session| session.take_failure()) {
                    let logs = CapturedLogs::Buffered(lines);
                    let finished = Finished { recorder, run, span: &span, logs };
                    return Ok(finished.record(Execution::failed(failure)));
                }
                run = run.again();
                spent += duration;
            }
            InlineOutcome::OverBudget => break,
        }
        run.invocation.spent = began.elapsed();
    }
    Box::pin(execute_on_worker(recorder, run, span, slot)).await
}

/// An execution between two passes.
struct Run {
    live: Arc<Live>,
    invocation: Invocation,
    /// What its passes share of the state.
    session: Option<Arc<Session>>,
    /// How often what it read was outdated.
    conflicts: u32,
}

impl Run {
    /// The same execution after what it read has changed.
    fn again(self) -> Self {
        Self { conflicts: self.conflicts + 1, ..self.again_after_other_node() }
    }

    /// The same execution, whose writes were refused because another node had committed first. To run alone on this node
    /// would not help it.
    fn again_after_other_node(self) -> Self {
        if let Some(session) = &self.session {
            session.namespace().note_rerun(session);
        }
        self
    }

    /// The same execution, whose writes were not accepted.
    fn again_after_conflict(self) -> Self {
        self.live.metrics().count_state_conflict();
        self.again()
    }
}

/// Runs the script on a worker.
async fn execute_on_worker(
    recorder: &Recorder,
    run: Run,
    span: Span,
    slot: SlotPermit,
) -> Result<Execution, BusyError> {
    let stop = StopOnDrop::new();
    let stopped = stop.flag();
    let live = &run.live;
    let cpu = with_wait_timeout(live.acquire_cpu()).await.ok_or(BusyError::NoCpu);
    let cpu = Arc::new(cpu.inspect_err(|_| live.metrics().count_rejection(RejectReason::Processor))?);
    let recorder = recorder.clone();
    let is_background = cpu.is_contested() || !live.branch.production;
    let priority = if is_background { Priority::Background } else { Priority::Normal };
    let handle = Handle::current();
    let running = worker_pool::run(priority, move || {
        (run_on_thread(&recorder, run, &span, &cpu, &stopped, &handle), (cpu, slot))
    });
    Ok(running.await.unwrap_or_else(worker_panicked))
}

/// Runs the script on this thread, again as long as what it reads changes.
fn run_on_thread(
    recorder: &Recorder,
    mut run: Run,
    span: &Span,
    cpu: &Arc<CpuPermit>,
    stopped: &Arc<AtomicBool>,
    handle: &Handle,
) -> Execution {
    let log = Arc::<StreamedLog>::default();
    let (began, before) = (Instant::now(), run.invocation.spent);
    let is_stopped = || stopped.load(Ordering::Relaxed);
    loop {
        let live = Arc::clone(&run.live);
        let program = match live.scripts().program(&live.revision, &run.invocation.script) {
            Ok(program) => program,
            Err(failure) => {
                let logs = CapturedLogs::Streamed(log.lines());
                return Finished { recorder, run, span, logs }.record(Execution::failed(failure));
            }
        };
        let turn = match run.conflicts {
            0 => Turn::default(),
            conflicts => {
                let session = run.session.clone();
                let turn = Turn::of(session.as_deref(), conflicts, handle);
                cpu.wait_for(turn, is_stopped).map(|(turn, _)| turn).unwrap_or_default()
            }
        };
        let (own, permit) = (Arc::clone(&live), Arc::clone(cpu));
        let session = run.session.take();
        let host = ThreadHost::new(recorder.clone(), own, &run.invocation, permit, Arc::clone(&log), session);
        let host = Arc::new(host);
        let pass = Arc::<ThreadHost>::clone(&host);
        let outcome = runtime::run(&live.revision, &program, &run.invocation, pass, stopped);
        run.session = host.state().session();
        let transaction = host.state().take_transaction();
        // Release the memory of the pass before recording, which uses memory of the app too.
        drop(host);
        let logs = CapturedLogs::Streamed(log.lines());
        match outcome {
            RunOutcome::Finished(execution) => {
                let execution = reject_1xx(execution, &run.invocation);
                let settled = match transaction {
                    None => Settled::Finished,
                    Some(_) => {
                        let settled = settle(transaction, &execution, &turn);
                        let settled = cpu.wait_for(settled, is_stopped).map(|(settled, _)| settled);
                        settled.unwrap_or_else(|| Settled::Failed(stopped_failure()))
                    }
                };
                drop(turn);
                let finished = Finished { recorder, run, span, logs };
                match settled {
                    Settled::Finished => return finished.record(execution),
                    Settled::Failed(failure) => return finished.record(commit::failed(execution, failure)),
                    Settled::Accepted(unstored) => {
                        // What is accepted is stored, or fails for all: the client gets to know which.
                        match cpu.wait_for(unstored.stored(), || false) {
                            Some((Ok(()), _)) => return finished.record(execution),
                            Some((Err(NotStored::Outdated), _)) => {
                                run = finished.run.again_after_other_node()
                            }
                            _ => return finished.record(commit::failed(execution, commit::not_stored())),
                        }
                    }
                    Settled::Outdated => run = finished.run.again_after_conflict(),
                }
            }
            RunOutcome::Restart { .. } => {
                if let Some(failure) = run.session.as_ref().and_then(|session| session.take_failure()) {
                    return Finished { recorder, run, span, logs }.record(Execution::failed(failure));
                }
                run = run.again();
            }
        }
        if is_stopped() {
            let logs = CapturedLogs::Streamed(log.lines());
            return Finished { recorder, run, span, logs }.record(Execution::failed(stopped_failure()));
        }
        run.invocation.spent = before + began.elapsed();
    }
}

fn stopped_failure() -> Failure {
    Failure { kind: FailureKind::Stopped, message: "stopped".to_owned(), location: None }
}

/// A finished execution that is not recorded yet.
struct Finished<'r> {
    recorder: &'r Recorder,
    run: Run,
    span: &'r Span,
    logs: CapturedLogs,
}

impl Finished<'_> {
    /// Records the execution.
    fn record(self, execution: Execution) -> Execution {
        finish(self.recorder, self.run.live, self.run.invocation, self.span, execution, self.logs)
    }

    /// Records the execution after its writes, and all that it has seen, are stored. They are stored even if the caller
    /// leaves, and so is the record. Until then it keeps its slot, so that callers who leave at once are not without
    /// bound.
    ///
    /// # Errors
    /// What it has seen was changed by another process: it must run again.
    async fn record_when_stored(
        self,
        execution: Execution,
        unstored: Unstored,
        slot: SlotPermit,
    ) -> Result<Execution, Box<(Run, SlotPermit)>> {
        let (recorder, span) = (self.recorder.clone(), self.span.clone());
        let (run, logs) = (self.run, self.logs);
        let recording = tokio::spawn(async move {
            let execution = match unstored.stored().await {
                Ok(()) => execution,
                Err(NotStored::Failed) => commit::failed(execution, commit::not_stored()),
                Err(NotStored::Outdated) => return Err(Box::new((run, slot))),
            };
            drop(slot);
            Ok(Finished { recorder: &recorder, run, span: &span, logs }.record(execution))
        });
        recording.await.unwrap_or_else(|_| Ok(worker_panicked()))
    }
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
