//! Executes a script, from an invocation to its end.
//!
//! An execution is synchronous and stays on the thread of its caller. Most scripts finish before their work could be
//! moved to another thread, so [`run_inline`] first tries them on the thread of the request. A script that does not
//! finish soon is executed again from the start by [`run`], on a thread of its own. A script cannot observe this: it
//! has no clock, and its host returns the same values in every pass ([`crate::host`]).
//!
//! Values can be nested some ten thousand levels deep, and are copied and freed recursively, so **the thread needs a
//! stack of [`STACK_SIZE`] bytes**. Only the touched part becomes resident. The program must install
//! [`crate::CountingAllocator`]; otherwise the memory limit has no effect. Panics are caught here. The panic hook
//! belongs to the caller and should print no backtrace, which takes longer than most executions.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use manifest_schema::limits::Limits;

use crate::check::Script;
use crate::evaluation::{Files, evaluate};
use crate::failure::{Failure, FailureKind};
use crate::host::{Host, Pending};
use crate::invocation::Invocation;
use crate::meter::{BLOCKS_MAX, InlineBudget, StopReason};
use crate::response::{self, Response};
use crate::revision::{Revision, ScriptEntry};
use crate::run_context::{self, ActiveExecution, FinishedExecution};
use crate::source::Program;

/// The stack that a thread needs to execute any script, in bytes: the part that operations can use, the part that
/// copies the longest chain of values at that depth, and a reserve of a quarter.
pub const STACK_SIZE: usize = 128 * 1024 * 1024;

/// A slower execution gets its own thread next time. Long enough not to count waits for a processor.
const SLOW_EXECUTION_MIN: Duration = Duration::from_millis(5);

/// The maximum length of a body that is read inline, in bytes.
const INLINE_BODY_BYTES_MAX: usize = 64 * 1024;

/// A finished execution.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The response, or the failure.
    pub outcome: Result<Response, Failure>,
    /// The elapsed time.
    pub duration: Duration,
    /// The number of operations.
    pub operations: u64,
    /// The peak of memory use; 0 without [`crate::CountingAllocator`].
    pub memory_peak_bytes: u64,
    /// The number of log lines.
    pub log_lines: u64,
    /// The number of log lines dropped by limits.
    pub log_lines_dropped: u64,
}

impl Execution {
    /// An execution that failed before the script started.
    pub fn failed(failure: Failure) -> Self {
        Self {
            outcome: Err(failure),
            duration: Duration::ZERO,
            operations: 0,
            memory_peak_bytes: 0,
            log_lines: 0,
            log_lines_dropped: 0,
        }
    }
}

/// The result of an inline pass.
pub enum InlineOutcome {
    /// The script finished, with a response or a failure.
    Finished(Execution),
    /// The script exceeds the inline budget, or did so last time. It must [`run`] on its own thread.
    OverBudget,
    /// A host call must wait. After that, the script runs again from the start.
    Blocked {
        /// The future to wait for.
        pending: Pending,
        /// The duration of the pass.
        duration: Duration,
    },
    /// What the script read has changed. It must run again from the start.
    Restart {
        /// The duration of the pass.
        duration: Duration,
    },
}

/// The result of a run on a thread of its own.
pub enum RunOutcome {
    /// The script finished, with a response or a failure.
    Finished(Execution),
    /// What the script read has changed. It must run again from the start.
    Restart {
        /// The duration of the pass.
        duration: Duration,
    },
}

impl RunOutcome {
    /// The execution, with a host that never requires a restart.
    pub fn into_finished(self) -> Execution {
        match self {
            Self::Finished(execution) => execution,
            Self::Restart { .. } => {
                Execution::failed(Failure::new(FailureKind::Stopped, "its host required a restart"))
            }
        }
    }
}

/// Executes a script of `revision`, compiled to `program`, until it returns a value, fails, reaches a limit of the
/// manifest, or `stop` is set. Waits on this thread while the host is pending. Never panics.
pub fn run(
    revision: &Revision,
    program: &Program,
    invocation: &Invocation,
    host: Arc<dyn Host>,
    stop: &Arc<AtomicBool>,
) -> RunOutcome {
    let entry = match revision.entry(&invocation.script) {
        Ok(entry) => entry,
        Err(failure) => return RunOutcome::Finished(Execution::failed(failure)),
    };
    let script = match program.script() {
        Ok(script) => script,
        Err(failure) => return RunOutcome::Finished(Execution::failed(failure.clone())),
    };
    program.note_used();
    let (execution, unfinished) = run_pass(revision, entry, script, invocation, host, Some(Arc::clone(stop)));
    entry.note_slow(
        execution.operations > InlineBudget::OPERATIONS
            || execution.log_lines > InlineBudget::LOG_LINES
            || execution.duration > SLOW_EXECUTION_MIN,
    );
    match unfinished {
        Some(Unfinished::Restart) => RunOutcome::Restart { duration: execution.duration },
        _ => RunOutcome::Finished(execution),
    }
}

/// Executes a compiled script on a thread that other requests share. If it does not finish within a fraction of a
/// millisecond, the pass has no effect except the host calls. Never panics.
pub fn run_inline(revision: &Revision, invocation: &Invocation, host: Arc<dyn Host>) -> InlineOutcome {
    let Ok(entry) = revision.entry(&invocation.script) else { return InlineOutcome::OverBudget };
    let program = entry.source().load_program(revision.manifest().sdk);
    let Some(Ok(script)) = program.as_ref().map(|program| program.script()) else {
        return InlineOutcome::OverBudget;
    };
    if entry.is_slow() || invocation.trigger.bytes() > INLINE_BODY_BYTES_MAX {
        return InlineOutcome::OverBudget;
    }
    if let Some(program) = program.as_ref() {
        program.note_used();
    }
    let (execution, unfinished) = run_pass(revision, entry, script, invocation, host, None);
    match unfinished {
        None => InlineOutcome::Finished(execution),
        Some(Unfinished::OverBudget) => {
            entry.note_slow(true);
            InlineOutcome::OverBudget
        }
        Some(Unfinished::Blocked(pending)) => {
            InlineOutcome::Blocked { pending, duration: execution.duration }
        }
        Some(Unfinished::Restart) => InlineOutcome::Restart { duration: execution.duration },
    }
}

/// Why a pass did not finish the script.
enum Unfinished {
    OverBudget,
    Blocked(Pending),
    Restart,
}

/// Executes a script once; inline if `stop` is `None`.
fn run_pass(
    revision: &Revision,
    entry: &ScriptEntry,
    script: &Script,
    invocation: &Invocation,
    host: Arc<dyn Host>,
    stop: Option<Arc<AtomicBool>>,
) -> (Execution, Option<Unfinished>) {
    let limits = invocation.limits.as_deref().unwrap_or(revision.limits());
    let active = ActiveExecution::begin(limits, invocation, host, stop, revision.secrets(), script);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        evaluate(revision, entry, script, invocation, response::from_value)
    }));
    let finished = active.finish();
    let usage = finished.usage;
    let outcome = match outcome {
        Ok(outcome) => {
            let leaked = usage.held.saturating_sub(retained_bytes(&outcome));
            if entry.note_leaked(leaked) {
                run_context::note_leaked(leaked);
            }
            outcome
        }
        // The memory that a panic retains, such as symbols of a backtrace, is not a leak of the script.
        Err(panic) => Err(Failure::new(FailureKind::Panic, panic_message(&*panic))),
    };
    let execution = Execution {
        outcome: apply_stop_reason(outcome, limits, Files { path: &invocation.script, script }, &finished),
        duration: usage.duration,
        operations: usage.operations,
        memory_peak_bytes: usage.memory_peak_bytes,
        log_lines: finished.log_lines,
        log_lines_dropped: finished.log_lines_dropped,
    };
    let unfinished = match (usage.stop_reason, finished.blocked_on) {
        (Some(StopReason::OverBudget), _) => Some(Unfinished::OverBudget),
        (Some(StopReason::Blocked), Some(pending)) => Some(Unfinished::Blocked(pending)),
        (Some(StopReason::Restart), _) => Some(Unfinished::Restart),
        _ => None,
    };
    (execution, unfinished)
}

/// Turns a reached limit into a failure, whatever the script returned.
fn apply_stop_reason(
    outcome: Result<Response, Failure>,
    limits: &Limits,
    files: Files<'_>,
    finished: &FinishedExecution,
) -> Result<Response, Failure> {
    let usage = &finished.usage;
    let (kind, message) = match usage.stop_reason {
        None | Some(StopReason::Exit) => return outcome,
        Some(StopReason::Timeout) => {
            let waited = match usage.waited {
                Duration::ZERO => String::new(),
                waited => format!(", not counting {waited:.1?} of waiting"),
            };
            (FailureKind::Timeout, format!("took longer than {:?}{waited}", limits.timeout))
        }
        Some(StopReason::Operations) => {
            (FailureKind::Operations, format!("ran more than {} operations", limits.operations))
        }
        Some(StopReason::Memory) => (
            FailureKind::Memory,
            format!("used more than {} bytes or {BLOCKS_MAX} allocations", limits.memory),
        ),
        Some(StopReason::NodeMemory) => {
            let refused = finished.memory_error.as_ref();
            (FailureKind::NodeMemory, refused.map(|refused| refused.0.clone()).unwrap_or_default())
        }
        Some(StopReason::Depth) => (FailureKind::Depth, "function calls are nested too deep".to_owned()),
        Some(StopReason::Size) => (FailureKind::Size, "a string or a blob is longer than 32 MiB".to_owned()),
        Some(StopReason::Stopped | StopReason::OverBudget | StopReason::Blocked | StopReason::Restart) => {
            (FailureKind::Stopped, "stopped".to_owned())
        }
    };
    let failed = outcome.err();
    // The engine's error has a better message, and a location.
    let (message, at) = match (&finished.limit, &failed) {
        (Some(limit), _) => {
            (limit.message.clone(), limit.location.clone().or_else(|| files.location(limit.at)))
        }
        (None, Some(failure)) if failure.kind == kind => (failure.message.clone(), None),
        _ => (message, None),
    };
    Err(Failure { kind, message, location: at.or_else(|| failed.and_then(|failure| failure.location)) })
}

/// The bytes of an outcome, which outlive the execution.
fn retained_bytes(outcome: &Result<Response, Failure>) -> u64 {
    let bytes = match outcome {
        Ok(answer) => {
            let headers = answer.headers.iter().map(|(name, value)| name.capacity() + value.capacity() + 48);
            answer.body.len() + headers.sum::<usize>()
        }
        Err(failure) => failure.message.capacity(),
    };
    // JSON buffers grow by doubling, so up to half of the capacity is unused.
    (bytes as u64).saturating_mul(2)
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the engine panicked: {}", text.unwrap_or("no message"))
}
