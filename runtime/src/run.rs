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
use manifest_schema::name::ScriptPath;
use rhai::{Dynamic, EvalAltResult, Position, Scope};

use crate::captures::ClearCells;
use crate::check::Script;
use crate::ctx;
use crate::failure::{Failure, FailureKind, SourceLocation};
use crate::host::{Host, Pending};
use crate::invocation::Invocation;
use crate::meter::{BLOCKS_MAX, InlineBudget, StopReason};
use crate::response::{self, Response};
use crate::revision::{Revision, ScriptEntry};
use crate::run_context::{self, ActiveExecution, FinishedExecution, innermost};
use crate::sandbox::Sandbox;
use crate::script_error;
use crate::sdk::CTX;
use crate::secrets::Secrets;
use crate::source::Program;

/// The stack that a thread needs to execute any script, in bytes: the part that operations can use, the part that
/// copies the longest chain of values at that depth, and a reserve of a quarter.
pub const STACK_SIZE: usize = 128 * 1024 * 1024;

/// The maximum length of a failure message, in bytes. Longer messages are cut off.
const MESSAGE_MAX: usize = 4 * 1024;

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
    let outcome = catch_unwind(AssertUnwindSafe(|| evaluate(revision, entry, script, invocation)));
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

/// Evaluates the script. Its values are dropped before this returns.
fn evaluate(
    revision: &Revision,
    entry: &ScriptEntry,
    script: &Script,
    invocation: &Invocation,
) -> Result<Response, Failure> {
    let ctx = ctx::build(revision, entry, script, invocation)?;
    if run_context::reserve(0).is_some() {
        // Replaced by the reached limit.
        return Err(Failure::new(FailureKind::Memory, "the request does not fit into memory"));
    }
    if !revision.templates().is_empty() {
        run_context::set_templates(revision.templates());
    }
    let uses = script.uses();
    let mut scope = Scope::new();
    // Dropped before the scope, so that long chains of closures are not dropped recursively.
    let _cells = ClearCells;
    let ctx = Dynamic::from_map(ctx);
    let _in_functions = CtxInFunctions::new(uses.in_functions.then(|| ctx.clone()));
    if !uses.is_empty() {
        scope.push_constant_dynamic(CTX, ctx);
    }
    let sandbox = Sandbox::of(script.sdk());
    let evaluated = sandbox.engine.eval_ast_with_scope::<Dynamic>(&mut scope, script.ast());
    let value = match run_context::take_exit() {
        Some(value) => value,
        None => {
            let files = Files { path: &invocation.script, script };
            evaluated.map_err(|error| failure(&error, sandbox, files, revision.secrets()))?
        }
    };
    response::from_value(value).map_err(|failure| {
        let message = revision.secrets().redact(&failure.message).into_owned();
        Failure { message, ..failure }
    })
}

/// Makes `ctx` visible to the functions of the script until it is dropped.
struct CtxInFunctions;

impl CtxInFunctions {
    fn new(ctx: Option<Dynamic>) -> Self {
        run_context::set_ctx(ctx);
        Self
    }
}

impl Drop for CtxInFunctions {
    fn drop(&mut self) {
        run_context::set_ctx(None);
    }
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
        (Some((message, at)), _) => (message.clone(), files.location(*at)),
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

fn failure(error: &EvalAltResult, sandbox: &Sandbox, files: Files<'_>, secrets: &Secrets) -> Failure {
    let innermost = innermost(error);
    let kind = match innermost {
        EvalAltResult::ErrorStackOverflow(_) => FailureKind::Depth,
        EvalAltResult::ErrorDataTooLarge(..) | EvalAltResult::ErrorTooManyVariables(_) => FailureKind::Size,
        _ => FailureKind::Script,
    };
    let message = script_error::message(innermost, &sandbox.natives, MESSAGE_MAX);
    let message = match files.script.linkage() {
        Some(linkage) => linkage.files.readable(&message),
        None => message,
    };
    // Redacted before it is cut, so that no prefix of a secret remains at its end.
    let message = secrets.redact(&message);
    let message = message[..message.floor_char_boundary(MESSAGE_MAX)].to_owned();
    let location = files.location(innermost.position()).or_else(|| files.location(error.position()));
    Failure { kind, message, location }
}

/// The files of an executed script: its own, and those of the libraries that it is linked with.
#[derive(Clone, Copy)]
struct Files<'s> {
    path: &'s ScriptPath,
    script: &'s Script,
}

impl Files<'_> {
    fn location(self, position: Position) -> Option<SourceLocation> {
        let (line, column) = (position.line()?, position.position().unwrap_or(1));
        let (library, line) = match self.script.linkage() {
            Some(linkage) => linkage.files.locate(line),
            None => (None, line),
        };
        Some(SourceLocation { script: library.unwrap_or(self.path).clone(), line, column })
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the engine panicked: {}", text.unwrap_or("no message"))
}
