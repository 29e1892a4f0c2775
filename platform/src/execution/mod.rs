//! One run of a script: admitted, run where it keeps nobody waiting, recorded.
//!
//! - `host`: what its script reaches outside
//! - [`recorder`]: takes what ran, and what it logged, without making anybody wait
//! - [`writer`]: writes that into the database in batches, and into the node's log
//! - `waiting`: what has not been written yet, in bounded number
//! - `records`: from a run to its record
//! - [`journal`]: the node's own log of it
//! - [`tail`]: reads what is recorded as it comes in, on whichever node

mod host;
pub mod journal;
mod recorder;
mod records;
pub mod tail;
mod waiting;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::{Answer, Execution, Failure, FailureKind, Invocation, Live, Pass, Permit, Trigger, TurnedAway};

use tracing::Span;
use tracing::field::Empty;

use crate::TRACE_TARGET;
use crate::patient::{self, Kind};

use host::{InlineHost, ThreadHost};
pub use recorder::Recorder;
use recorder::{Ran, Said};
pub use writer::{RecordLimits, Writer};

/// Why nothing was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// The app already runs as many executions as its manifest allows, and as many wait, or this one waited for too long.
    #[error("the app is full ({limit} of {limit} executions)")]
    Full {
        /// How many those are.
        limit: u32,
    },
    /// The other executions of the app left it no turn.
    #[error("the app got no processor time within {} s", WAIT_MAX.as_secs())]
    NoTurn,
}

/// The longest that a run waits for a place and for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How often the host calls of a script wait between inline passes, and how long those passes take in all. Beyond that a thread
/// of its own costs less than running it again.
const INLINE_WAITS_MAX: u32 = 16;
const INLINE_TIME_MAX: Duration = Duration::from_millis(2);

/// Runs a script of a live revision to its end, or until the returned future is dropped: then the script is stopped.
///
/// The revision was taken once by the caller and is kept to the end, whatever is deployed meanwhile. Most scripts are over
/// within microseconds and run right here. Those that take longer run on a [`patient`] thread, since a run cannot be
/// handed to another thread, and take turns at the processors that their app may keep busy.
///
/// # Errors
/// [`Busy`] when the app's concurrency is used up and as many runs wait, or waited for too long; nothing was run then.
pub async fn execute(
    recorder: &Recorder,
    live: Arc<Live>,
    invocation: Invocation,
) -> Result<Execution, Busy> {
    // What most requests do not need is made where it is needed: the future of a request is moved some times.
    let permit = match live.enter_now() {
        Some(permit) => permit,
        None => Box::pin(in_time(live.enter()))
            .await
            .flatten()
            .ok_or(Busy::Full { limit: live.concurrency() })
            .inspect_err(|_| live.tally().turned_away(TurnedAway::Concurrency))?,
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
    let (mut waits, mut spent) = (0, Duration::ZERO);
    while waits <= INLINE_WAITS_MAX && spent < INLINE_TIME_MAX {
        let host = Arc::<InlineHost>::default();
        match runtime::run_inline(&live.revision, &invocation, Arc::<InlineHost>::clone(&host)) {
            Pass::Ended(execution) => {
                let execution = answerable(execution, &invocation);
                end(&span, &execution);
                count(&live, &invocation, &execution);
                recorder.take(&execution, Said::Held(host.take_lines()), |said| {
                    Ran::new(live, invocation, &execution, said)
                });
                return Ok(execution);
            }
            Pass::Blocked { pending, duration } => {
                pending.await;
                (waits, spent) = (waits + 1, spent + duration);
            }
            Pass::OverBudget => break,
        }
    }
    Box::pin(execute_patiently(recorder, live, invocation, span, permit)).await
}

/// The same on a thread of its own.
async fn execute_patiently(
    recorder: &Recorder,
    live: Arc<Live>,
    invocation: Invocation,
    span: Span,
    permit: Permit,
) -> Result<Execution, Busy> {
    let stop = StopOnDrop::new();
    let stopped = stop.flag();
    let turn = in_time(live.turn()).await.ok_or(Busy::NoTurn);
    let turn = Arc::new(turn.inspect_err(|_| live.tally().turned_away(TurnedAway::Processor))?);
    let recorder = recorder.clone();
    let kind = if turn.is_contested() { Kind::Low } else { Kind::Alike };
    let running = patient::run(kind, move || {
        let host = ThreadHost::new(recorder.clone(), Arc::clone(&live), &invocation, Arc::clone(&turn));
        let host = Arc::new(host);
        let execution = runtime::run(&live.revision, &invocation, Arc::<ThreadHost>::clone(&host), &stopped);
        let execution = answerable(execution, &invocation);
        end(&span, &execution);
        count(&live, &invocation, &execution);
        let said = Said::Already(host.lines());
        recorder.take(&execution, said, |said| Ran::new(live, invocation, &execution, said));
        (execution, (turn, permit))
    });
    Ok(running.await.unwrap_or_else(died))
}

/// Notes in its span how a run ended.
fn end(span: &Span, run: &Execution) {
    if let Err(failure) = &run.outcome {
        span.record("error.type", failure.kind.as_str());
    }
}

/// Counts a run that is over.
fn count(live: &Live, invocation: &Invocation, execution: &Execution) {
    let failure = execution.outcome.as_ref().err().map(|failure| failure.kind);
    live.tally().executed(invocation.trigger.kind(), failure);
}

/// What says 1xx is only the beginning of an answer to a request, and 101 would make what follows no HTTP.
fn answerable(execution: Execution, invocation: &Invocation) -> Execution {
    match (&execution.outcome, &invocation.trigger) {
        (Ok(Answer { status: status @ ..200, .. }), Trigger::Http(_)) => {
            let message = format!("a request cannot be answered with status {status}");
            let failure = Failure { kind: FailureKind::InvalidResponse, message, place: None };
            Execution { outcome: Err(failure), ..execution }
        }
        _ => execution,
    }
}

/// Waits for what comes, but not for ever.
async fn in_time<T>(coming: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(WAIT_MAX, coming).await.ok()
}

/// A thread that died under a script; the runtime catches panics itself, so this is the last net.
fn died() -> Execution {
    let failure =
        Failure { kind: FailureKind::Panic, message: "the run ended early".to_owned(), place: None };
    Execution::failed(failure)
}

/// Tells a running script to stop when nobody waits for its answer any more.
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
