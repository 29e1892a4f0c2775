//! The state of the execution on the current thread: its meter, its host, its secrets, and `ctx` for its functions.
//!
//! An execution stays on its thread, and Rhai passes no context to its callbacks, so the state is reached through one
//! thread-local. Executions can nest: the inner one gets at most the remaining time of the outer one, and its
//! operations count for both.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, Weak};
use std::time::{Duration, Instant};

use manifest_schema::limits::Limits;
use manifest_schema::name::ScriptPath;
use rand::SeedableRng as _;
use rand::rngs::ChaCha20Rng;
use rhai::{Dynamic, EvalAltResult, Position};
use uuid::Uuid;

use crate::captures::{self, Captures, Cells, VariableUse};
use crate::check::{Linkage, Script};
use crate::failure::SourceLocation;
use crate::host::{Host, HostCall, OutOfMemoryError, Pending};
use crate::invocation::{HttpRequest, Invocation, Seed, Trigger};
use crate::journal::{Journal, Question};
use crate::memory;
use crate::meter::{InlineBudget, Meter, StopReason, Usage};
use crate::script_error;
use crate::secrets::Secrets;
use crate::template::Templates;

/// The maximum number of log lines of an execution: enough to trace a script, too few to fill a disk with one
/// request.
const LOG_LINES_MAX: u64 = 1000;

/// The maximum size of all messages and data of an execution, in bytes.
const LOG_BYTES_MAX: usize = 256 * 1024;

/// Set from outside to cancel an execution.
type StopFlag = Arc<AtomicBool>;

/// The state of a thread.
struct RunContext {
    meter: Meter,
    /// The mask of the script's captures; 0 if there are none.
    captures: Cell<u64>,
    /// Whether an execution on this thread reserved a deep stack.
    has_deep_stack: Cell<bool>,
    /// Not dropped with the thread, which then executes nothing: a thread-local without a destructor is faster to
    /// access.
    run: RefCell<ManuallyDrop<Option<ExecutionState>>>,
}

/// The inputs and the counters of an execution.
pub(crate) struct ExecutionState {
    host: Arc<dyn Host>,
    /// `None` for an inline pass, which a pending host call stops.
    stop: Option<StopFlag>,
    /// Secrets to redact; `None` if there are none.
    secrets: Option<Arc<Secrets>>,
    /// The script that runs now.
    script: ScriptState,
    /// The number of functions that are called.
    function_depth: usize,
    execution_id: Uuid,
    request_id: Uuid,
    journal: Arc<Journal>,
    /// The number of questions that this pass has asked the journal.
    asked: usize,
    started: Instant,
    /// The time that the script sees, in milliseconds since 1970.
    now_ms: i64,
    seed: Seed,
    /// The random numbers, once the script asked for one.
    random: Option<Box<ChaCha20Rng>>,
    /// The number of values sealed so far.
    sealings: u64,
    /// The templates of the revision, if it has some.
    templates: Option<Arc<Templates>>,
    log_lines: u64,
    log_bytes: usize,
    log_lines_dropped: u64,
    /// What a host call of an inline pass waits for.
    blocked_on: Option<Pending>,
    /// Why the host has no memory for the execution.
    memory_error: Option<OutOfMemoryError>,
    /// The argument of `exit`.
    exit: Option<Dynamic>,
    /// The error by which the engine reached one of its own limits.
    limit: Option<EngineLimit>,
}

/// The part of the state that belongs to a script: that of the execution, or of a function that it calls.
struct ScriptState {
    /// The script of a function; `None` for that of the execution.
    function: Option<ScriptPath>,
    /// The value of `ctx`, if functions of the script read it.
    ctx: Option<Dynamic>,
    /// The captured variables of the script.
    captures: Captures,
    /// What the script was linked with, if it imports libraries.
    linkage: Option<Arc<Linkage>>,
    /// The cells captured so far.
    cells: Cells,
    /// The request, if there is one.
    request: Option<Arc<HttpRequest>>,
}

/// A limit of the engine that was reached.
pub(crate) struct EngineLimit {
    pub(crate) message: String,
    /// Where, in the script that ran.
    pub(crate) at: Position,
    /// The same, if a function ran.
    pub(crate) location: Option<SourceLocation>,
}

thread_local! {
    static CURRENT: RunContext = const {
        RunContext {
            meter: Meter::unlimited(),
            captures: Cell::new(0),
            has_deep_stack: Cell::new(false),
            run: RefCell::new(ManuallyDrop::new(None)),
        }
    };
}

/// Counts one operation of the current execution. `Some` if the execution must stop.
pub(crate) fn tick() -> Option<StopReason> {
    CURRENT.with(|current| {
        if current.meter.count_operation() {
            current.poll_limits();
        }
        current.meter.stop_reason()
    })
}

/// Charges about `steps` small steps of native work, such as visiting a value or copying some bytes. `Some` if the
/// execution must stop. Native functions that can take long call this repeatedly.
pub(crate) fn charge(steps: usize) -> Option<StopReason> {
    CURRENT.with(|current| {
        if current.meter.count_steps(steps) {
            current.poll_limits();
        }
        current.meter.stop_reason()
    })
}

/// Reserves `bytes` of memory before a native function allocates them. `Some` if the execution must stop.
pub(crate) fn reserve(bytes: usize) -> Option<StopReason> {
    CURRENT.with(|current| {
        current.meter.check_memory(bytes);
        current.reserve_memory(bytes);
        current.meter.stop_reason()
    })
}

/// Stops the current execution if it is an inline pass, before native work that blocks other requests. `Some` if it
/// must stop.
pub(crate) fn require_own_thread() -> Option<StopReason> {
    CURRENT.with(|current| {
        if current.run.borrow().as_ref().is_some_and(|run| run.stop.is_none()) {
            current.meter.stop(StopReason::OverBudget);
        }
        current.meter.stop_reason()
    })
}

/// Stops the current execution if its time limit leaves less than `time`. `Some` if it must stop. Work that cannot be
/// stopped would exceed the limit.
pub(crate) fn require_time(time: Duration) -> Option<StopReason> {
    CURRENT.with(|current| {
        current.poll_limits();
        if current.meter.time_left().is_some_and(|left| left < time) {
            current.meter.stop(StopReason::Timeout);
        }
        current.meter.stop_reason()
    })
}

/// Reports to the host that the current execution leaked `bytes`.
pub(crate) fn note_leaked(bytes: u64) {
    CURRENT.with(|current| {
        if let Some((host, _)) = current.host() {
            memory::uncounted(|| host.note_leaked(bytes));
        }
    });
}

/// Whether an execution on this thread reserved a deep stack. Its pages stay resident until the thread ends.
pub fn has_deep_stack() -> bool {
    CURRENT.with(|current| current.has_deep_stack.get())
}

/// Stops the current execution with `value`, which is kept until [`take_exit`]. An earlier stop reason takes
/// precedence.
pub(crate) fn exit(value: Dynamic) {
    CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        if let Some(run) = run.as_mut()
            && current.meter.stop_reason().is_none()
        {
            run.exit = Some(value);
            current.meter.stop(StopReason::Exit);
        }
    });
}

/// The argument of `exit`, if the current execution called it. Limits apply again to the use of this value.
pub(crate) fn take_exit() -> Option<Dynamic> {
    CURRENT.with(|current| {
        current.meter.clear_exit();
        current.run.borrow_mut().as_mut()?.exit.take()
    })
}

/// Stops the current execution if `error` is a reached limit of the engine, at any call depth.
pub(crate) fn stop_on_engine_limit(error: &EvalAltResult) {
    let innermost = innermost(error);
    let stop_reason = match innermost {
        EvalAltResult::ErrorStackOverflow(_) => StopReason::Depth,
        EvalAltResult::ErrorDataTooLarge(..) | EvalAltResult::ErrorTooManyVariables(_) => StopReason::Size,
        _ => return,
    };
    CURRENT.with(|current| {
        if current.meter.stop_reason().is_none()
            && let Some(run) = current.run.borrow_mut().as_mut()
        {
            let (message, at) = (script_error::limit(innermost), innermost.position());
            run.limit = Some(EngineLimit { message, at, location: None });
        }
        current.meter.stop(stop_reason);
    });
}

/// The error of the innermost call.
pub(crate) fn innermost(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            innermost(inner)
        }
        error => error,
    }
}

/// Stops the current execution because a value is too large; for native functions that cannot fail.
pub(crate) fn stop_for_size() {
    CURRENT.with(|current| current.meter.stop(StopReason::Size));
}

/// Resolves the position of a reached limit of the engine within the script of a function, which ends.
pub(crate) fn locate_limit(locate: impl FnOnce(Position) -> Option<SourceLocation>) {
    CURRENT.with(|current| {
        if let Some(run) = current.run.borrow_mut().as_mut()
            && let Some(limit) = run.limit.as_mut().filter(|limit| limit.location.is_none())
        {
            limit.location = locate(limit.at);
        }
    });
}

/// The number of functions that the current execution is in.
pub(crate) fn function_depth() -> usize {
    CURRENT.with(|current| current.run.borrow().as_ref().map_or(0, |run| run.function_depth))
}

/// The script of the function that runs now, if any.
pub(crate) fn function_script() -> Option<ScriptPath> {
    CURRENT.with(|current| current.run.borrow().as_ref()?.script.function.clone())
}

/// Whether the current execution is an inline pass.
pub(crate) fn is_inline() -> bool {
    CURRENT.with(|current| current.run.borrow().as_ref().is_some_and(|run| run.stop.is_none()))
}

/// The call of a function within the current execution.
pub(crate) fn invocation_of(script: &ScriptPath, trigger: Trigger) -> Option<Invocation> {
    CURRENT.with(|current| {
        let run = current.run.borrow();
        let run = run.as_ref()?;
        Some(Invocation {
            script: script.clone(),
            execution_id: run.execution_id,
            request_id: run.request_id,
            trigger,
            started_at_ms: run.now_ms,
            spent: Duration::ZERO,
            seed: run.seed.clone(),
            limits: None,
            journal: Arc::clone(&run.journal),
        })
    })
}

/// Passes the current host to `call`, which never waits; for calls that a limit does not prevent.
pub(crate) fn with_host<T>(call: impl FnOnce(&dyn Host) -> T) -> Option<T> {
    let (host, _) = CURRENT.with(RunContext::host)?;
    Some(memory::uncounted(|| call(&*host)))
}

/// The answer that an earlier pass of the current execution got to the next question, else that of `find_out`.
///
/// # Errors
/// Those of `find_out`.
pub(crate) fn journaled<E>(
    question: Question,
    find_out: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let next = CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        let run = run.as_mut()?;
        run.asked += 1;
        Some((Arc::clone(&run.journal), run.asked - 1))
    });
    let Some((journal, at)) = next else { return find_out() };
    if let Some(answer) = journal.answer(at, question) {
        return Ok(answer.to_vec());
    }
    let answer = find_out()?;
    memory::uncounted(|| journal.record(at, question, &answer));
    Ok(answer)
}

/// The time that the current execution sees, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    CURRENT.with(|current| current.run.borrow().as_ref().map_or(0, |run| run.now_ms))
}

/// Passes the random numbers of the current execution to `draw`, which runs no script.
pub(crate) fn with_random<T>(draw: impl FnOnce(&mut ChaCha20Rng) -> T) -> T {
    CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        match run.as_mut() {
            Some(run) => {
                let seed = &run.seed;
                draw(run.random.get_or_insert_with(|| Box::new(ChaCha20Rng::from_seed(seed.0))))
            }
            // Without an execution there is no script that could see it.
            None => draw(&mut ChaCha20Rng::from_seed([0; 32])),
        }
    })
}

/// The seed of the current execution and the number of this call, for a nonce that no other call gets.
pub(crate) fn next_sealing() -> (Seed, u64) {
    CURRENT.with(|current| match current.run.borrow_mut().as_mut() {
        Some(run) => {
            run.sealings += 1;
            (run.seed.clone(), run.sealings)
        }
        // Without an execution there is no key either.
        None => (Seed::fixed(0), 0),
    })
}

/// The request of the current execution, unless something else started it.
pub(crate) fn request() -> Option<Arc<HttpRequest>> {
    CURRENT.with(|current| current.run.borrow().as_ref()?.script.request.clone())
}

/// The templates of the current execution, if any.
pub(crate) fn templates() -> Option<Arc<Templates>> {
    CURRENT.with(|current| current.run.borrow().as_ref()?.templates.clone())
}

/// Sets the templates of the current execution.
pub(crate) fn set_templates(templates: &Arc<Templates>) {
    CURRENT.with(|current| {
        if let Some(run) = current.run.borrow_mut().as_mut() {
            run.templates = Some(Arc::clone(templates));
        }
    });
}

/// The secrets of the current execution, if any.
pub(crate) fn secrets() -> Option<Arc<Secrets>> {
    CURRENT.with(|current| current.run.borrow().as_ref()?.secrets.clone())
}

/// The value of `ctx` in functions of the current script.
pub(crate) fn ctx() -> Option<Dynamic> {
    CURRENT.with(|current| current.run.borrow().as_ref()?.script.ctx.clone())
}

/// Sets the value of `ctx` for functions of the current script.
pub(crate) fn set_ctx(ctx: Option<Dynamic>) {
    let before = CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        run.as_mut().and_then(|run| std::mem::replace(&mut run.script.ctx, ctx))
    });
    drop(before);
}

/// How the script uses `name` at this position, if it is a capture or a caught error.
#[inline(always)]
pub(crate) fn variable_use(name: &str) -> Option<VariableUse> {
    CURRENT.with(|current| {
        if !captures::is_in_mask(current.captures.get(), name) {
            return None;
        }
        current.run.borrow().as_ref()?.script.captures.use_at(name)
    })
}

/// The value of a constant of a library, by its unique name.
pub(crate) fn library_constant(name: &str) -> Option<Dynamic> {
    CURRENT.with(|current| {
        let run = current.run.borrow();
        run.as_ref()?.script.linkage.as_ref()?.constants.get(name).cloned()
    })
}

/// The library of a line of the current script (`None` for the script itself), and the line in that file.
pub(crate) fn locate(line: usize) -> (Option<ScriptPath>, usize) {
    CURRENT.with(|current| {
        let run = current.run.borrow();
        match run.as_ref().and_then(|run| run.script.linkage.as_ref()) {
            Some(linkage) => {
                let (library, line) = linkage.files.locate(line);
                (library.cloned(), line)
            }
            None => (None, line),
        }
    })
}

/// Records a cell that the current execution created.
pub(crate) fn remember_cell(cell: Weak<RwLock<Dynamic>>) {
    CURRENT.with(|current| {
        if let Some(run) = current.run.borrow_mut().as_mut() {
            run.script.cells.remember(cell);
        }
    });
}

/// Takes the cells that the current execution created.
pub(crate) fn take_cells() -> Option<Cells> {
    CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        run.as_mut().map(|run| std::mem::replace(&mut run.script.cells, Cells::new()))
    })
}

/// Admits a log line of this length and returns its number and the time since the start; `None` if a limit drops the
/// line.
pub(crate) fn admit_log_line(bytes: usize) -> Option<(u64, Duration)> {
    CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        let run = run.as_mut()?;
        let bytes = run.log_bytes + bytes;
        if run.log_lines >= LOG_LINES_MAX || bytes > LOG_BYTES_MAX {
            run.log_lines_dropped += 1;
            return None;
        }
        if run.stop.is_none() && run.log_lines >= InlineBudget::LOG_LINES {
            current.meter.stop(StopReason::OverBudget);
            return None;
        }
        let number = run.log_lines;
        run.log_lines += 1;
        run.log_bytes = bytes;
        Some((number, run.started.elapsed()))
    })
}

/// Calls the current host until the call returns a value. Its allocations count for the server.
///
/// # Errors
/// The execution stopped, now or earlier. After that, nothing is called.
pub(crate) fn host_call<T>(mut call: impl FnMut(&dyn Host) -> HostCall<T>) -> Result<T, StopReason> {
    CURRENT.with(|current| {
        loop {
            if let Some(stop_reason) = current.meter.stop_reason() {
                return Err(stop_reason);
            }
            let Some((host, stop)) = current.host() else { return Err(StopReason::Stopped) };
            match (memory::uncounted(|| call(&*host)), stop) {
                (HostCall::Ready(value), _) => return Ok(value),
                (HostCall::Restart, _) => current.meter.stop(StopReason::Restart),
                (HostCall::Pending(pending), Some(stop)) => {
                    let waited = memory::uncounted(|| host.wait(pending, &stop));
                    current.meter.note_wait(waited);
                    if stop.load(Ordering::Relaxed) {
                        current.meter.stop(StopReason::Stopped);
                    }
                }
                (HostCall::Pending(pending), None) => {
                    if let Some(run) = current.run.borrow_mut().as_mut() {
                        run.blocked_on = Some(pending);
                    }
                    current.meter.stop(StopReason::Blocked);
                }
            }
        }
    })
}

impl RunContext {
    fn host(&self) -> Option<(Arc<dyn Host>, Option<StopFlag>)> {
        let run = self.run.borrow();
        let run = run.as_ref()?;
        Some((Arc::clone(&run.host), run.stop.clone()))
    }

    #[cold]
    fn poll_limits(&self) {
        if self.meter.yield_is_due()
            && let Some((host, Some(stop))) = self.host()
        {
            let waited = memory::uncounted(|| host.yield_cpu(&stop));
            self.meter.note_wait(waited);
        }
        self.meter.poll_limits();
        self.reserve_memory(0);
        let run = self.run.borrow();
        let stop = run.as_ref().and_then(|run| run.stop.as_ref());
        if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            self.meter.stop(StopReason::Stopped);
        }
    }

    /// Reserves memory for the execution's values plus `more` bytes. The execution stops if the host refuses.
    fn reserve_memory(&self, more: usize) {
        if self.meter.stop_reason().is_none()
            && let Some(reservation) = self.meter.missing_reservation(more)
            && let Some((host, _)) = self.host()
        {
            match memory::uncounted(|| host.reserve_memory(reservation.bytes())) {
                Ok(()) => {
                    self.meter.note_reserved(reservation);
                    self.has_deep_stack.set(self.has_deep_stack.get() || reservation.stack > 0);
                }
                Err(refused) => {
                    if let Some(run) = self.run.borrow_mut().as_mut() {
                        run.memory_error = Some(refused);
                    }
                    self.meter.stop(StopReason::NodeMemory);
                }
            }
        }
    }
}

impl ScriptState {
    /// The state at the start of a script.
    fn of(script: &Script) -> Self {
        Self {
            function: None,
            ctx: None,
            captures: script.captures().clone(),
            linkage: script.linkage().map(Arc::clone),
            cells: Cells::new(),
            request: None,
        }
    }
}

/// A function that the current execution calls, from [`CalledFunction::enter`] until it is dropped, which restores the
/// state of the caller.
pub(crate) struct CalledFunction {
    caller: Option<ScriptState>,
    caller_captures: u64,
}

impl CalledFunction {
    /// Begins the script of a function. It has no request.
    pub(crate) fn enter(path: &ScriptPath, script: &Script) -> Self {
        let state = ScriptState { function: Some(path.clone()), ..ScriptState::of(script) };
        CURRENT.with(|current| {
            let mut run = current.run.borrow_mut();
            let caller = run.as_mut().map(|run| {
                run.function_depth += 1;
                std::mem::replace(&mut run.script, state)
            });
            Self { caller, caller_captures: current.captures.replace(script.captures().mask) }
        })
    }
}

impl Drop for CalledFunction {
    fn drop(&mut self) {
        let ended = CURRENT.with(|current| {
            current.captures.set(self.caller_captures);
            let mut run = current.run.borrow_mut();
            let (run, caller) = (run.as_mut()?, self.caller.take()?);
            run.function_depth -= 1;
            Some(std::mem::replace(&mut run.script, caller))
        });
        drop(ended);
    }
}

/// An execution on this thread, from [`ActiveExecution::begin`] to [`ActiveExecution::finish`]. Dropping it restores
/// the outer execution.
pub(crate) struct ActiveExecution {
    started: Instant,
    before: memory::ThreadMemory,
    outer_peak: i64,
    outer_meter: Meter,
    outer_captures: u64,
    outer_state: Option<ExecutionState>,
}

/// The results of a finished execution.
pub(crate) struct FinishedExecution {
    pub(crate) usage: Usage,
    pub(crate) log_lines: u64,
    pub(crate) log_lines_dropped: u64,
    /// What an inline pass waits for.
    pub(crate) blocked_on: Option<Pending>,
    /// Why the host had no memory for it.
    pub(crate) memory_error: Option<OutOfMemoryError>,
    /// The error by which the engine reached one of its own limits.
    pub(crate) limit: Option<EngineLimit>,
}

impl ActiveExecution {
    /// Begins an execution: inline if `stop` is `None`, else on its own thread until `stop` is set.
    pub(crate) fn begin(
        limits: &Limits,
        invocation: &Invocation,
        host: Arc<dyn Host>,
        stop: Option<StopFlag>,
        secrets: &Arc<Secrets>,
        script: &Script,
    ) -> Self {
        let started = Instant::now();
        let outer_peak = memory::begin_peak();
        memory::take_oversized();
        let before = memory::thread_memory();
        let secrets = (!secrets.is_empty()).then(|| Arc::clone(secrets));
        let inline = stop.is_none();
        let run = ExecutionState {
            host,
            stop,
            secrets,
            script: ScriptState {
                request: match &invocation.trigger {
                    Trigger::Http(request) => Some(Arc::clone(request)),
                    Trigger::Function { .. } | Trigger::Scheduled(_) => None,
                },
                ..ScriptState::of(script)
            },
            function_depth: 0,
            execution_id: invocation.execution_id,
            request_id: invocation.request_id,
            journal: Arc::clone(&invocation.journal),
            asked: 0,
            started,
            now_ms: invocation.started_at_ms,
            seed: invocation.seed.clone(),
            random: None,
            sealings: 0,
            templates: None,
            log_lines: 0,
            log_bytes: 0,
            log_lines_dropped: 0,
            blocked_on: None,
            memory_error: None,
            exit: None,
            limit: None,
        };
        CURRENT.with(|current| {
            let outer_meter = Meter::new(limits, invocation.spent, started, before, inline, &current.meter);
            current.meter.swap(&outer_meter);
            let outer_captures = current.captures.replace(script.captures().mask);
            let outer_state = ManuallyDrop::into_inner(current.run.replace(ManuallyDrop::new(Some(run))));
            Self { started, before, outer_peak, outer_meter, outer_captures, outer_state }
        })
    }

    /// Ends the execution.
    pub(crate) fn finish(self) -> FinishedExecution {
        let positive = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        let peak = memory::end_peak(self.outer_peak);
        CURRENT.with(|current| {
            let usage = Usage {
                duration: self.started.elapsed(),
                operations: current.meter.operations(),
                memory_peak_bytes: positive(peak.saturating_sub(self.before.bytes)),
                held: positive(memory::thread_memory().bytes.saturating_sub(self.before.bytes)),
                waited: current.meter.waited(),
                stop_reason: current.meter.stop_reason(),
            };
            let mut run = current.run.borrow_mut();
            let run = run.as_mut();
            let mut finished = FinishedExecution {
                usage,
                log_lines: 0,
                log_lines_dropped: 0,
                blocked_on: None,
                memory_error: None,
                limit: None,
            };
            if let Some(run) = run {
                finished.log_lines = run.log_lines;
                finished.log_lines_dropped = run.log_lines_dropped;
                finished.blocked_on = run.blocked_on.take();
                finished.memory_error = run.memory_error.take();
                finished.limit = run.limit.take();
            }
            finished
        })
    }
}

impl Drop for ActiveExecution {
    fn drop(&mut self) {
        let run = CURRENT.with(|current| {
            current.meter.swap(&self.outer_meter);
            current.meter.add(&self.outer_meter);
            current.captures.set(self.outer_captures);
            ManuallyDrop::into_inner(current.run.replace(ManuallyDrop::new(self.outer_state.take())))
        });
        drop(run);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use manifest_schema::name::JobName;
    use manifest_schema::sdk::SdkVersion;
    use uuid::Uuid;

    use super::*;
    use crate::check::compile;
    use crate::log_line::LogLine;
    use crate::meter::STEPS_PER_POLL;

    struct NoHost;

    impl Host for NoHost {
        fn log(&self, _: LogLine) -> HostCall<()> {
            HostCall::Ready(())
        }

        fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
            Duration::ZERO
        }
    }

    fn begin(limits: &Limits, stop: Option<StopFlag>) -> ActiveExecution {
        let name = JobName::new("main").unwrap();
        let trigger = Trigger::Function { name, payload: Bytes::new() };
        let script = ScriptPath::new("main.rhai").unwrap();
        let invocation = Invocation::new(script, Uuid::nil(), Uuid::nil(), trigger);
        let (host, secrets) = (Arc::new(NoHost), Arc::default());
        let compiled = compile(SdkVersion::V1_3, &invocation.script, "1").unwrap();
        ActiveExecution::begin(limits, &invocation, host, stop, &secrets, &compiled)
    }

    fn run(limits: Limits) -> ActiveExecution {
        begin(&limits, Some(Arc::default()))
    }

    #[test]
    fn reached_limit_stays_reached() {
        let run = run(Limits { operations: 2, ..Limits::UNBOUNDED });
        assert_eq!((tick(), tick()), (None, None));
        assert_eq!((tick(), tick()), (Some(StopReason::Operations), Some(StopReason::Operations)));
        assert!(host_call(|_| HostCall::Ready(())).is_err(), "no host calls after a limit");
        assert_eq!(run.finish().usage.stop_reason, Some(StopReason::Operations));
        assert_eq!(tick(), None);
    }

    #[test]
    fn clock_is_read_every_64_operations() {
        let run = run(Limits { timeout: Duration::ZERO, ..Limits::UNBOUNDED });
        let ended = (1..=1000).find(|_| tick().is_some());
        assert_eq!(ended, Some(64));
        assert_eq!(run.finish().usage.stop_reason, Some(StopReason::Timeout));
    }

    #[test]
    fn inline_pass_stops_at_its_budget() {
        let run = begin(&Limits::DEFAULT, None);
        let ended = (1..=InlineBudget::OPERATIONS + 64).find(|_| tick().is_some());
        assert!(
            ended.is_some_and(|ended| ended > InlineBudget::OPERATIONS)
                || run.started.elapsed() > InlineBudget::TIME
        );
        assert_eq!(run.finish().usage.stop_reason, Some(StopReason::OverBudget));
    }

    #[test]
    fn inline_pass_stops_at_its_log_lines() {
        for (stop, stop_reason) in [(None, Some(StopReason::OverBudget)), (Some(Arc::default()), None)] {
            let run = begin(&Limits::DEFAULT, stop);
            let admitted = (0..2 * InlineBudget::LOG_LINES).filter(|_| admit_log_line(1).is_some()).count();
            let finished = run.finish();
            assert_eq!(finished.usage.stop_reason, stop_reason);
            assert_eq!(admitted as u64, finished.log_lines);
            assert_eq!(finished.log_lines_dropped, 0);
        }
    }

    #[test]
    fn stop_flag_stops_an_execution() {
        let stop = Arc::new(AtomicBool::new(false));
        let run = begin(&Limits::UNBOUNDED, Some(Arc::clone(&stop)));
        assert_eq!(charge(STEPS_PER_POLL), None);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(charge(STEPS_PER_POLL), Some(StopReason::Stopped));
        drop(run);
    }

    #[test]
    fn inner_execution_counts_for_the_outer_one_and_keeps_its_limits() {
        let outer = run(Limits { operations: 10, ..Limits::UNBOUNDED });
        let inner = run(Limits { operations: 4, timeout: Duration::MAX, ..Limits::UNBOUNDED });
        let spent = (0..4).filter(|_| tick().is_none()).count();
        assert_eq!((spent, inner.finish().usage.operations), (4, 4));
        let more = (0..10).take_while(|_| tick().is_none()).count();
        assert_eq!(more, 6);
        drop(outer);
    }
}
