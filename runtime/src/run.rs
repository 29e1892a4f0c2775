//! One execution of a script, from an invocation to its end.
//!
//! A run is synchronous and stays on the caller's thread. Most scripts are over before a thread could be handed the work, so
//! [`run_briefly`] tries them where the request is; those that are not are begun anew by [`run`], where they keep nobody
//! waiting. A script cannot tell: it has no clock, nothing it does reaches outside but its log lines, and those of a
//! beginning that came to nothing are dropped. A value may be nested as deep as time and memory allow, which
//! is some ten thousand levels, and is copied and freed recursively, so **the thread needs a stack of [`STACK`] bytes**;
//! only what is touched becomes resident. The caller's allocator should be [`crate::CountingAllocator`]: without it the
//! memory limit cannot trip. A panic is caught here; the panic hook is the caller's (one without a backtrace, which takes
//! longer than most runs).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use manifest_schema::limits::Limits;
use manifest_schema::name::ScriptPath;
use rhai::{Dynamic, EvalAltResult, ImmutableString, Position, Scope};

use crate::answer::{Answer, answer};
use crate::check::Script;
use crate::context;
use crate::failure::{Failure, FailureKind, FailurePlace};
use crate::gate::Turn;
use crate::invocation::Invocation;
use crate::json;
use crate::log::{Attached, Log, LogLine};
use crate::meter::{self, BLOCKS_MAX, Meter, Slice, Trip, Usage};
use crate::revision::{Revision, ScriptEntry};
use crate::sandbox::{CtxInFunctions, Sandbox};
use crate::sdk::CTX;
use crate::secrets::Secrets;

/// The stack, in bytes, that a thread needs to run any script: as much as operations may begin within, beside what the
/// longest chain of values takes when it is copied at that depth, beside a quarter to spare.
pub const STACK: usize = 128 * 1024 * 1024;

/// The longest message of a failure, in bytes; the rest is cut off.
const MESSAGE_MAX: usize = 4 * 1024;

/// How long a run takes that is begun elsewhere the next time: long enough that it was not waiting for a processor alone.
const LONG: Duration = Duration::from_millis(5);

/// The most bytes of a body that are read where others wait.
const BRIEF_BYTES_MAX: usize = 64 * 1024;

/// What a script may reach outside.
#[derive(Clone)]
pub struct Capabilities {
    /// Where its log lines go.
    pub log: Arc<dyn Log>,
    /// Its turn, which it shares with the other runs of its app; `None`: it has its thread for itself.
    pub turn: Option<Arc<Turn>>,
}

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
            log_lines_dropped: 0,
        }
    }
}

/// Runs a script of `revision` to its end: its value, an error, a limit of the manifest, or `stop`. Never panics.
pub fn run(
    revision: &Revision,
    invocation: &Invocation,
    capabilities: &Capabilities,
    stop: &Arc<AtomicBool>,
) -> Execution {
    let (entry, compiled) = match revision.entry(&invocation.script) {
        Ok(found) => found,
        Err(failure) => return Execution::failed(failure),
    };
    let job = Job { revision, entry, script: compiled, invocation };
    let meter =
        Meter::start(&revision.manifest().limits, Some(Arc::clone(stop)), capabilities.turn.clone(), false);
    let log = Attached::new(Some(Arc::clone(&capabilities.log)), revision.secrets(), meter.started());
    let (execution, _) = job.run(meter, &log);
    entry.note_long(execution.operations > Slice::OPERATIONS || execution.duration > LONG);
    execution
}

/// Runs a script where others wait for the thread, and gives back the lines that it logged too: `None` where it does not
/// end within a fraction of a millisecond, or is not likely to, since it did not the last time. Then nothing has come of it,
/// and [`run`] begins anew.
pub fn run_briefly(revision: &Revision, invocation: &Invocation) -> Option<(Execution, Vec<LogLine>)> {
    let (entry, compiled) = revision.compiled(&invocation.script)?;
    if entry.is_long() || invocation.trigger.bytes() > BRIEF_BYTES_MAX {
        return None;
    }
    let job = Job { revision, entry, script: compiled, invocation };
    let meter = Meter::start(&revision.manifest().limits, None, None, true);
    let log = Attached::new(None, revision.secrets(), meter.started());
    let (execution, trip) = job.run(meter, &log);
    if trip == Some(Trip::Slice) {
        entry.note_long(true);
        return None;
    }
    Some((execution, log.take_held()))
}

struct Job<'a> {
    revision: &'a Revision,
    entry: &'a ScriptEntry,
    script: &'a Script,
    invocation: &'a Invocation,
}

impl Job<'_> {
    /// Runs it, and says which limit ended it, if one did.
    fn run(&self, meter: Meter, log: &Attached) -> (Execution, Option<Trip>) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.evaluate()));
        let usage = meter.finish();
        let outcome = match outcome {
            Ok(outcome) => {
                self.entry.note_lost(usage.held.saturating_sub(kept(&outcome)));
                outcome
            }
            // What a panic holds on to, a backtrace's symbols among it, is not the script's loss.
            Err(panic) => Err(Failure::new(FailureKind::Panic, panic_message(&*panic))),
        };
        let execution = Execution {
            outcome: ended(outcome, &usage, &self.revision.manifest().limits),
            duration: usage.duration,
            operations: usage.operations,
            memory_peak: usage.memory_peak,
            log_lines_dropped: log.dropped(),
        };
        (execution, usage.trip)
    }

    /// Everything of a run that belongs to the script: whatever it makes is dropped when this returns.
    fn evaluate(&self) -> Result<Answer, Failure> {
        let ctx = context::build(
            self.revision,
            self.entry,
            self.invocation.script.stem(),
            self.script,
            self.invocation,
        )?;
        if meter::room_for(0).is_some() {
            return Err(Failure::new(FailureKind::Memory, "the request does not fit"));
        }
        let uses = self.script.uses();
        let mut scope = Scope::new();
        let ctx = Dynamic::from_map(ctx);
        let _in_functions = CtxInFunctions::new(uses.in_functions.then(|| ctx.clone()));
        if !uses.is_empty() {
            scope.push_constant_dynamic(CTX, ctx);
        }
        let value = Sandbox::of(self.script.sdk())
            .engine
            .eval_ast_with_scope::<Dynamic>(&mut scope, self.script.ast())
            .map_err(|error| failure(&error, &self.invocation.script, self.revision.secrets()))?;
        answer(value).map_err(|failure| {
            let message = self.revision.secrets().redact(&failure.message).into_owned();
            Failure { message, ..failure }
        })
    }
}

/// A limit that was reached decides, whatever the script made of it.
fn ended(outcome: Result<Answer, Failure>, usage: &Usage, limits: &Limits) -> Result<Answer, Failure> {
    let (kind, message) = match usage.trip {
        None => return outcome,
        Some(Trip::Timeout) => {
            let waited = match usage.waited {
                Duration::ZERO => String::new(),
                waited => format!(", without the {waited:.1?} in which other runs of the app had its turn"),
            };
            (FailureKind::Timeout, format!("took longer than {:?}{waited}", limits.timeout))
        }
        Some(Trip::Operations) => {
            (FailureKind::Operations, format!("ran more than {} operations", limits.operations))
        }
        Some(Trip::Memory) => {
            (FailureKind::Memory, format!("held more than {} bytes or {BLOCKS_MAX} pieces", limits.memory))
        }
        Some(Trip::Depth) => {
            (FailureKind::Depth, "functions call one another deeper than the stack allows".to_owned())
        }
        Some(Trip::Size) => (FailureKind::Size, "a value is too large to be written as text".to_owned()),
        Some(Trip::Stopped | Trip::Slice) => (FailureKind::Stopped, "was stopped".to_owned()),
    };
    Err(Failure { kind, message, place: outcome.err().and_then(|failure| failure.place) })
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

fn failure(error: &EvalAltResult, script: &ScriptPath, secrets: &Secrets) -> Failure {
    let innermost = innermost(error);
    let kind = match innermost {
        EvalAltResult::ErrorStackOverflow(_) => FailureKind::Depth,
        EvalAltResult::ErrorDataTooLarge(..) | EvalAltResult::ErrorTooManyVariables(_) => FailureKind::Size,
        _ => FailureKind::Script,
    };
    let message = match innermost {
        EvalAltResult::ErrorRuntime(thrown, _) => thrown_text(thrown),
        EvalAltResult::ErrorTerminated(..) => "was ended".to_owned(),
        other => {
            let mut bare = other.to_string();
            // The place is told by itself.
            if let Some(at) = bare.rfind(" (line ") {
                bare.truncate(at);
            }
            bare
        }
    };
    // Before it is cut, so that no beginning of a secret is left at its end.
    let message = secrets.redact(&message);
    let message = message[..message.floor_char_boundary(MESSAGE_MAX)].to_owned();
    let place = place(innermost.position()).or_else(|| place(error.position()));
    let place = place.map(|(line, column)| FailurePlace { script: script.clone(), line, column });
    Failure { kind, message, place }
}

fn innermost(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            innermost(inner)
        }
        error => error,
    }
}

fn place(position: Position) -> Option<(usize, usize)> {
    Some((position.line()?, position.position().unwrap_or(1)))
}

/// What was thrown, as text: a string as it is, anything else as JSON where it has such a form.
fn thrown_text(thrown: &Dynamic) -> String {
    match thrown.read_lock::<ImmutableString>() {
        Some(text) => text.to_string(),
        None => json::write_text(thrown, MESSAGE_MAX)
            .unwrap_or_else(|_| format!("threw a value of type {}", thrown.type_name())),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the engine failed: {}", text.unwrap_or("without a word"))
}
