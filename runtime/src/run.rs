//! One execution of a script, from an invocation to its end.
//!
//! A run is synchronous and stays on the caller's thread. Most scripts are over before a thread could be handed the work, so
//! [`run_inline`] tries them where the request is; those that are not over soon run again from their beginning by [`run`], on
//! a thread of their own. A script cannot tell: it has no clock, and its host gives every pass the same answers
//! ([`crate::host`]). A value can be nested as deep as time and memory allow, which is some ten thousand levels, and is copied
//! and freed recursively, so **the thread needs a stack of [`STACK`] bytes**; only what is touched becomes resident. The
//! caller's allocator should be [`crate::CountingAllocator`]: without it the memory limit cannot trip. A panic is caught here;
//! the panic hook is the caller's (one without a backtrace, which takes longer than most runs).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use manifest_schema::limits::Limits;
use manifest_schema::name::ScriptPath;
use rhai::{Dynamic, EvalAltResult, Position, Scope};

use crate::answer::{Answer, answer};
use crate::captures::EmptyCells;
use crate::check::Script;
use crate::ctx;
use crate::failure::{Failure, FailureKind, FailurePlace};
use crate::host::{Host, Pending};
use crate::invocation::Invocation;
use crate::meter::{BLOCKS_MAX, InlineBudget, Trip};
use crate::revision::{Revision, ScriptEntry};
use crate::run_context::{self, ActiveRun, Finished, innermost};
use crate::sandbox::Sandbox;
use crate::script_error;
use crate::sdk::CTX;
use crate::secrets::Secrets;
use crate::source::Program;

/// The stack, in bytes, that a thread needs to run any script: as much as operations may begin within, what the longest
/// chain of values takes when it is copied at that depth, and a quarter to spare.
pub const STACK: usize = 128 * 1024 * 1024;

/// The longest message of a failure, in bytes; the rest is cut off.
const MESSAGE_MAX: usize = 4 * 1024;

/// A run that took longer gets a thread of its own the next time: long enough that it did more than wait for a processor.
const LONG: Duration = Duration::from_millis(5);

/// The most bytes of a body that are read inline.
const INLINE_BODY_BYTES_MAX: usize = 64 * 1024;

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Execution {
    /// What came out.
    pub outcome: Result<Answer, Failure>,
    /// How long it took, by the clock.
    pub duration: Duration,
    /// How many operations it ran.
    pub operations: u64,
    /// The most bytes it held at once; 0 without [`crate::CountingAllocator`].
    pub memory_peak: u64,
    /// How many log lines it wrote.
    pub log_lines: u64,
    /// How many log lines were left out because there were too many.
    pub log_lines_dropped: u64,
}

impl Execution {
    /// An execution that failed before anything ran.
    pub fn failed(failure: Failure) -> Self {
        Self {
            outcome: Err(failure),
            duration: Duration::ZERO,
            operations: 0,
            memory_peak: 0,
            log_lines: 0,
            log_lines_dropped: 0,
        }
    }
}

/// How an inline pass over a script ended.
pub enum Pass {
    /// The script has ended, well or not.
    Ended(Execution),
    /// It takes longer than others should wait for, or did so the last time: it has to [`run`] on a thread of its own.
    OverBudget,
    /// A host call has to wait. Once that is over, the script runs again from its beginning.
    Blocked {
        /// What it waits for.
        pending: Pending,
        /// How long the pass took.
        duration: Duration,
    },
}

/// Runs a script of `revision`, which is compiled to `program`, to its end: its value, an error, a limit of the manifest, or `stop`.
/// Waits on this thread for what the host leaves pending. Never panics.
pub fn run(
    revision: &Revision,
    program: &Program,
    invocation: &Invocation,
    host: Arc<dyn Host>,
    stop: &Arc<AtomicBool>,
) -> Execution {
    let entry = match revision.entry(&invocation.script) {
        Ok(entry) => entry,
        Err(failure) => return Execution::failed(failure),
    };
    let script = match program.script() {
        Ok(script) => script,
        Err(failure) => return Execution::failed(failure.clone()),
    };
    program.note_used();
    let (execution, _) = pass(revision, entry, script, invocation, host, Some(Arc::clone(stop)));
    entry.note_long(
        execution.operations > InlineBudget::OPERATIONS
            || execution.log_lines > InlineBudget::LOG_LINES
            || execution.duration > LONG,
    );
    execution
}

/// Runs a script that is compiled already, where others wait for the thread. Where it does not end within a fraction of a
/// millisecond, nothing has come of the pass but what its host made of the calls. Never panics.
pub fn run_inline(revision: &Revision, invocation: &Invocation, host: Arc<dyn Host>) -> Pass {
    let Ok(entry) = revision.entry(&invocation.script) else { return Pass::OverBudget };
    let program = entry.source().load_program(revision.manifest().sdk);
    let Some(Ok(script)) = program.as_ref().map(|program| program.script()) else { return Pass::OverBudget };
    if entry.is_long() || invocation.trigger.bytes() > INLINE_BODY_BYTES_MAX {
        return Pass::OverBudget;
    }
    if let Some(program) = program.as_ref() {
        program.note_used();
    }
    let (execution, unfinished) = pass(revision, entry, script, invocation, host, None);
    match unfinished {
        None => Pass::Ended(execution),
        Some(Unfinished::OverBudget) => {
            entry.note_long(true);
            Pass::OverBudget
        }
        Some(Unfinished::Blocked(pending)) => Pass::Blocked { pending, duration: execution.duration },
    }
}

/// Why an inline pass came to no end of the script.
enum Unfinished {
    OverBudget,
    Blocked(Pending),
}

/// One pass over a script, inline where there is no `stop`.
fn pass(
    revision: &Revision,
    entry: &ScriptEntry,
    script: &Script,
    invocation: &Invocation,
    host: Arc<dyn Host>,
    stop: Option<Arc<AtomicBool>>,
) -> (Execution, Option<Unfinished>) {
    let limits = revision.limits();
    let active = ActiveRun::begin(limits, host, stop, revision.secrets(), script.captures());
    let outcome = catch_unwind(AssertUnwindSafe(|| evaluate(revision, entry, script, invocation)));
    let finished = active.finish();
    let usage = finished.usage;
    let outcome = match outcome {
        Ok(outcome) => {
            let lost = usage.held.saturating_sub(kept(&outcome));
            if entry.note_lost(lost) {
                run_context::note_lost(lost);
            }
            outcome
        }
        // What a panic holds on to, a backtrace's symbols among it, is not the script's loss.
        Err(panic) => Err(Failure::new(FailureKind::Panic, panic_message(&*panic))),
    };
    let execution = Execution {
        outcome: ended(outcome, limits, &invocation.script, &finished),
        duration: usage.duration,
        operations: usage.operations,
        memory_peak: usage.memory_peak,
        log_lines: finished.log_lines,
        log_lines_dropped: finished.log_lines_dropped,
    };
    let unfinished = match (usage.trip, finished.blocked_on) {
        (Some(Trip::OverBudget), _) => Some(Unfinished::OverBudget),
        (Some(Trip::Blocked), Some(pending)) => Some(Unfinished::Blocked(pending)),
        _ => None,
    };
    (execution, unfinished)
}

/// Everything of a run that belongs to the script: what it makes is dropped when this returns.
fn evaluate(
    revision: &Revision,
    entry: &ScriptEntry,
    script: &Script,
    invocation: &Invocation,
) -> Result<Answer, Failure> {
    let ctx = ctx::build(revision, entry, script, invocation)?;
    if run_context::room_for(0).is_some() {
        // The limit that was reached is told instead.
        return Err(Failure::new(FailureKind::Memory, "the request does not fit"));
    }
    let uses = script.uses();
    let mut scope = Scope::new();
    // Dropped before the scope, so that nothing of it is dropped by long recursion.
    let _cells = EmptyCells;
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
            evaluated.map_err(|error| failure(&error, sandbox, &invocation.script, revision.secrets()))?
        }
    };
    answer(value).map_err(|failure| {
        let message = revision.secrets().redact(&failure.message).into_owned();
        Failure { message, ..failure }
    })
}

/// Makes `ctx` known to the functions of a run until it is dropped.
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

/// A limit that was reached decides, whatever the script made of it.
fn ended(
    outcome: Result<Answer, Failure>,
    limits: &Limits,
    script: &ScriptPath,
    finished: &Finished,
) -> Result<Answer, Failure> {
    let usage = &finished.usage;
    let (kind, message) = match usage.trip {
        None | Some(Trip::Exit) => return outcome,
        Some(Trip::Timeout) => {
            let waited = match usage.waited {
                Duration::ZERO => String::new(),
                waited => format!(", without the {waited:.1?} in which it waited"),
            };
            (FailureKind::Timeout, format!("took longer than {:?}{waited}", limits.timeout))
        }
        Some(Trip::Operations) => {
            (FailureKind::Operations, format!("ran more than {} operations", limits.operations))
        }
        Some(Trip::Memory) => {
            (FailureKind::Memory, format!("held more than {} bytes or {BLOCKS_MAX} pieces", limits.memory))
        }
        Some(Trip::NodeMemory) => {
            let refused = finished.no_memory.as_ref();
            (FailureKind::NodeMemory, refused.map(|refused| refused.0.clone()).unwrap_or_default())
        }
        Some(Trip::Depth) => (FailureKind::Depth, "functions call one another too deep".to_owned()),
        Some(Trip::Size) => (FailureKind::Size, "a string or a blob is longer than 32 MiB".to_owned()),
        Some(Trip::Stopped | Trip::OverBudget | Trip::Blocked) => {
            (FailureKind::Stopped, "was stopped".to_owned())
        }
    };
    let failed = outcome.err();
    // The error that it was says more than the limit, and where.
    let (message, at) = match (&finished.limit, &failed) {
        (Some((message, at)), _) => (message.clone(), place(*at, script)),
        (None, Some(failure)) if failure.kind == kind => (failure.message.clone(), None),
        _ => (message, None),
    };
    Err(Failure { kind, message, place: at.or_else(|| failed.and_then(|failure| failure.place)) })
}

/// The bytes of an outcome that rightly outlive the run.
fn kept(outcome: &Result<Answer, Failure>) -> u64 {
    let bytes = match outcome {
        Ok(answer) => {
            let headers = answer.headers.iter().map(|(name, value)| name.capacity() + value.capacity() + 48);
            answer.body.len() + headers.sum::<usize>()
        }
        Err(failure) => failure.message.capacity(),
    };
    // JSON grows by doubling, so up to as much again is slack.
    (bytes as u64).saturating_mul(2)
}

fn failure(error: &EvalAltResult, sandbox: &Sandbox, script: &ScriptPath, secrets: &Secrets) -> Failure {
    let innermost = innermost(error);
    let kind = match innermost {
        EvalAltResult::ErrorStackOverflow(_) => FailureKind::Depth,
        EvalAltResult::ErrorDataTooLarge(..) | EvalAltResult::ErrorTooManyVariables(_) => FailureKind::Size,
        _ => FailureKind::Script,
    };
    let message = script_error::message(innermost, &sandbox.natives, MESSAGE_MAX);
    // Before it is cut, so that no beginning of a secret is left at its end.
    let message = secrets.redact(&message);
    let message = message[..message.floor_char_boundary(MESSAGE_MAX)].to_owned();
    let place = place(innermost.position(), script).or_else(|| place(error.position(), script));
    Failure { kind, message, place }
}

fn place(position: Position, script: &ScriptPath) -> Option<FailurePlace> {
    let (line, column) = (position.line()?, position.position().unwrap_or(1));
    Some(FailurePlace { script: script.clone(), line, column })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the engine failed: {}", text.unwrap_or("without a word"))
}
