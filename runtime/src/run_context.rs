//! Everything that belongs to the run on this thread: its meter, its host, its secrets, what `ctx` is in its functions.
//!
//! A run stays on its thread, and Rhai tells its callbacks nothing of it, so the context is reached through one thread-local.
//! Runs can nest: the inner one gets no more time than the outer one has left, and its operations count for both.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, Weak};
use std::time::{Duration, Instant};

use manifest_schema::limits::Limits;
use rhai::{Dynamic, EvalAltResult, Position};

use crate::captures::{self, Captures, Cells, Place};
use crate::host::{Host, HostCall, NoMemory, Pending};
use crate::memory;
use crate::meter::{InlineBudget, Meter, Trip, Usage};
use crate::script_error;
use crate::secrets::Secrets;

/// The most log lines of one execution; enough to follow a script, too few to fill a disk with one request.
const LOG_LINES_MAX: u64 = 1000;

/// The most bytes of messages and data of one execution.
const LOG_BYTES_MAX: usize = 256 * 1024;

/// Set from outside when a run is to end.
type Stop = Arc<AtomicBool>;

/// What a thread knows of the run that it is in.
struct RunContext {
    meter: Meter,
    /// The mask of the script's captures; 0: nothing is captured.
    captures: Cell<u64>,
    /// A run on the thread was granted a deep stack.
    has_deep_stack: Cell<bool>,
    /// Not dropped with the thread, on which no run goes on then: a thread-local without a destructor is reached faster.
    run: RefCell<ManuallyDrop<Option<Run>>>,
}

/// What a run is given, and what it has had of it.
pub(crate) struct Run {
    host: Arc<dyn Host>,
    /// `None`: the pass is inline, and what has to wait ends it.
    stop: Option<Stop>,
    /// What must not stand in what is shown; `None`: nothing.
    secrets: Option<Arc<Secrets>>,
    /// `ctx`, where functions of the script read it.
    ctx: Option<Dynamic>,
    /// Where the script captures variables.
    captures: Captures,
    /// What it has captured so far.
    cells: Cells,
    started: Instant,
    log_lines: u64,
    log_bytes: usize,
    log_lines_dropped: u64,
    /// What a host call of an inline pass waits for.
    blocked_on: Option<Pending>,
    /// Why its host has no memory for it.
    no_memory: Option<NoMemory>,
    /// What it was given to `exit` with.
    exit: Option<Dynamic>,
    /// The error by which it reached a limit of the engine's, in words, and where.
    limit: Option<(String, Position)>,
}

thread_local! {
    static CURRENT: RunContext = const {
        RunContext {
            meter: Meter::idle(),
            captures: Cell::new(0),
            has_deep_stack: Cell::new(false),
            run: RefCell::new(ManuallyDrop::new(None)),
        }
    };
}

/// Counts one operation of the current run. `Some` when the run must end.
pub(crate) fn tick() -> Option<Trip> {
    CURRENT.with(|current| {
        if current.meter.count_operation() {
            current.look();
        }
        current.meter.trip()
    })
}

/// Notes native work of about as many small steps (a value that is looked at, some bytes that are copied). `Some` when the
/// run must end: native functions that can take long ask this as they go on.
pub(crate) fn worked(steps: usize) -> Option<Trip> {
    CURRENT.with(|current| {
        if current.meter.count_steps(steps) {
            current.look();
        }
        current.meter.trip()
    })
}

/// Whether the current run may hold `bytes` more; if not, it must end. For native functions, before they make much.
pub(crate) fn room_for(bytes: usize) -> Option<Trip> {
    CURRENT.with(|current| {
        current.meter.check_memory(bytes);
        current.ask_for_memory(bytes);
        current.meter.trip()
    })
}

/// Notes that the current run has lost so many bytes for good.
pub(crate) fn note_lost(bytes: u64) {
    CURRENT.with(|current| {
        if let Some((host, _)) = current.host() {
            memory::uncounted(|| host.note_lost(bytes));
        }
    });
}

/// Whether a run on this thread was granted a deep stack. The thread keeps what was used of it until it ends.
pub fn has_deep_stack() -> bool {
    CURRENT.with(|current| current.has_deep_stack.get())
}

/// Ends the current run with `value`, which is kept until [`take_exit`]. Where it has come to its end before, that one counts.
pub(crate) fn exit(value: Dynamic) {
    CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        if let Some(run) = run.as_mut()
            && current.meter.trip().is_none()
        {
            run.exit = Some(value);
            current.meter.end(Trip::Exit);
        }
    });
}

/// What the current run was ended with by `exit`, if it was. What is done with it is measured again.
pub(crate) fn take_exit() -> Option<Dynamic> {
    CURRENT.with(|current| {
        current.meter.clear_exit();
        current.run.borrow_mut().as_mut()?.exit.take()
    })
}

/// Ends the current run where `error` says that a limit of the engine's was reached, at whatever depth of calls.
pub(crate) fn end_by(error: &EvalAltResult) {
    let innermost = innermost(error);
    let trip = match innermost {
        EvalAltResult::ErrorStackOverflow(_) => Trip::Depth,
        EvalAltResult::ErrorDataTooLarge(..) | EvalAltResult::ErrorTooManyVariables(_) => Trip::Size,
        _ => return,
    };
    CURRENT.with(|current| {
        if current.meter.trip().is_none()
            && let Some(run) = current.run.borrow_mut().as_mut()
        {
            run.limit = Some((script_error::limit(innermost), innermost.position()));
        }
        current.meter.end(trip);
    });
}

/// The error in the function that was called last.
pub(crate) fn innermost(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            innermost(inner)
        }
        error => error,
    }
}

/// Ends the current run because a value is too large, where a native function cannot fail.
pub(crate) fn end_for_size() {
    CURRENT.with(|current| current.meter.end(Trip::Size));
}

/// The secrets of the current run, where it has any.
pub(crate) fn secrets() -> Option<Arc<Secrets>> {
    CURRENT.with(|current| current.run.borrow().as_ref()?.secrets.clone())
}

/// What `ctx` is in functions of the current run.
pub(crate) fn ctx() -> Option<Dynamic> {
    CURRENT.with(|current| current.run.borrow().as_ref()?.ctx.clone())
}

/// Makes `ctx` known to the functions of the current run.
pub(crate) fn set_ctx(ctx: Option<Dynamic>) {
    let before = CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        run.as_mut().and_then(|run| std::mem::replace(&mut run.ctx, ctx))
    });
    drop(before);
}

/// What `name` stands for in the script of the current run, where it is a capture or what was caught.
#[inline(always)]
pub(crate) fn place_of(name: &str) -> Option<Place> {
    CURRENT.with(|current| {
        if !captures::is_in_mask(current.captures.get(), name) {
            return None;
        }
        current.run.borrow().as_ref()?.captures.at(name)
    })
}

/// Remembers a cell that the current run has made.
pub(crate) fn remember_cell(cell: Weak<RwLock<Dynamic>>) {
    CURRENT.with(|current| {
        if let Some(run) = current.run.borrow_mut().as_mut() {
            run.cells.remember(cell);
        }
    });
}

/// The cells that the current run has made, which are forgotten.
pub(crate) fn take_cells() -> Option<Cells> {
    CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        run.as_mut().map(|run| std::mem::replace(&mut run.cells, Cells::new()))
    })
}

/// Admits a log line of so many bytes, and says how long the run has gone on; `None`: there are too many, and it is counted.
pub(crate) fn admit_log_line(bytes: usize) -> Option<Duration> {
    CURRENT.with(|current| {
        let mut run = current.run.borrow_mut();
        let run = run.as_mut()?;
        let bytes = run.log_bytes + bytes;
        if run.log_lines >= LOG_LINES_MAX || bytes > LOG_BYTES_MAX {
            run.log_lines_dropped += 1;
            return None;
        }
        if run.stop.is_none() && run.log_lines >= InlineBudget::LOG_LINES {
            current.meter.end(Trip::OverBudget);
            return None;
        }
        run.log_lines += 1;
        run.log_bytes = bytes;
        Some(run.started.elapsed())
    })
}

/// Makes a call of the current run's host until it is answered. What it allocates is the server's.
///
/// # Errors
/// The run has come to its end, here or before: nothing is called then.
pub(crate) fn host_call<T>(mut call: impl FnMut(&dyn Host) -> HostCall<T>) -> Result<T, Trip> {
    CURRENT.with(|current| {
        loop {
            if let Some(trip) = current.meter.trip() {
                return Err(trip);
            }
            let Some((host, stop)) = current.host() else { return Err(Trip::Stopped) };
            match (memory::uncounted(|| call(&*host)), stop) {
                (HostCall::Ready(answer), _) => return Ok(answer),
                (HostCall::Pending(pending), Some(stop)) => {
                    let waited = memory::uncounted(|| host.wait(pending, &stop));
                    current.meter.note_wait(waited);
                    if stop.load(Ordering::Relaxed) {
                        current.meter.end(Trip::Stopped);
                    }
                }
                (HostCall::Pending(pending), None) => {
                    if let Some(run) = current.run.borrow_mut().as_mut() {
                        run.blocked_on = Some(pending);
                    }
                    current.meter.end(Trip::Blocked);
                }
            }
        }
    })
}

impl RunContext {
    fn host(&self) -> Option<(Arc<dyn Host>, Option<Stop>)> {
        let run = self.run.borrow();
        let run = run.as_ref()?;
        Some((Arc::clone(&run.host), run.stop.clone()))
    }

    #[cold]
    fn look(&self) {
        if self.meter.yield_is_due()
            && let Some((host, Some(stop))) = self.host()
        {
            let waited = memory::uncounted(|| host.yield_cpu(&stop));
            self.meter.note_wait(waited);
        }
        self.meter.look();
        self.ask_for_memory(0);
        let run = self.run.borrow();
        let stop = run.as_ref().and_then(|run| run.stop.as_ref());
        if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            self.meter.end(Trip::Stopped);
        }
    }

    /// Asks the host for what the run holds, and is about to hold with `more` bytes. The run ends where it is refused.
    fn ask_for_memory(&self, more: usize) {
        if self.meter.trip().is_none()
            && let Some(wanted) = self.meter.memory_wanted(more)
            && let Some((host, _)) = self.host()
        {
            match memory::uncounted(|| host.grow_memory(wanted.bytes())) {
                Ok(()) => {
                    self.meter.grant(wanted);
                    self.has_deep_stack.set(self.has_deep_stack.get() || wanted.stack > 0);
                }
                Err(refused) => {
                    if let Some(run) = self.run.borrow_mut().as_mut() {
                        run.no_memory = Some(refused);
                    }
                    self.meter.end(Trip::NodeMemory);
                }
            }
        }
    }
}

/// A run on this thread, from [`ActiveRun::begin`] to [`ActiveRun::finish`]. The run around it goes on afterwards.
pub(crate) struct ActiveRun {
    started: Instant,
    before: memory::Reading,
    peak_around: i64,
    meter_around: Meter,
    captures_around: u64,
    run_around: Option<Run>,
}

/// What is left of a run that is over.
pub(crate) struct Finished {
    pub(crate) usage: Usage,
    pub(crate) log_lines: u64,
    pub(crate) log_lines_dropped: u64,
    /// What an inline pass waits for.
    pub(crate) blocked_on: Option<Pending>,
    /// Why its host had no memory for it.
    pub(crate) no_memory: Option<NoMemory>,
    /// The error by which it reached a limit of the engine's, in words, and where.
    pub(crate) limit: Option<(String, Position)>,
}

impl ActiveRun {
    /// Begins a run: inline where there is no `stop`, else on a thread of its own, until `stop` is set.
    pub(crate) fn begin(
        limits: &Limits,
        host: Arc<dyn Host>,
        stop: Option<Stop>,
        secrets: &Arc<Secrets>,
        captures: &Captures,
    ) -> Self {
        let started = Instant::now();
        let peak_around = memory::begin_peak();
        memory::take_oversized();
        let before = memory::reading();
        let secrets = (!secrets.is_empty()).then(|| Arc::clone(secrets));
        let inline = stop.is_none();
        let run = Run {
            host,
            stop,
            secrets,
            ctx: None,
            captures: captures.clone(),
            cells: Cells::new(),
            started,
            log_lines: 0,
            log_bytes: 0,
            log_lines_dropped: 0,
            blocked_on: None,
            no_memory: None,
            exit: None,
            limit: None,
        };
        CURRENT.with(|current| {
            let meter_around = Meter::new(limits, started, before, inline, &current.meter);
            current.meter.swap(&meter_around);
            let captures_around = current.captures.replace(captures.mask);
            let run_around = ManuallyDrop::into_inner(current.run.replace(ManuallyDrop::new(Some(run))));
            Self { started, before, peak_around, meter_around, captures_around, run_around }
        })
    }

    /// Ends the run.
    pub(crate) fn finish(self) -> Finished {
        let positive = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        let peak = memory::end_peak(self.peak_around);
        CURRENT.with(|current| {
            let usage = Usage {
                duration: self.started.elapsed(),
                operations: current.meter.operations(),
                memory_peak: positive(peak.saturating_sub(self.before.bytes)),
                held: positive(memory::reading().bytes.saturating_sub(self.before.bytes)),
                waited: current.meter.waited(),
                trip: current.meter.trip(),
            };
            let mut run = current.run.borrow_mut();
            let run = run.as_mut();
            let mut finished = Finished {
                usage,
                log_lines: 0,
                log_lines_dropped: 0,
                blocked_on: None,
                no_memory: None,
                limit: None,
            };
            if let Some(run) = run {
                finished.log_lines = run.log_lines;
                finished.log_lines_dropped = run.log_lines_dropped;
                finished.blocked_on = run.blocked_on.take();
                finished.no_memory = run.no_memory.take();
                finished.limit = run.limit.take();
            }
            finished
        })
    }
}

impl Drop for ActiveRun {
    fn drop(&mut self) {
        let run = CURRENT.with(|current| {
            current.meter.swap(&self.meter_around);
            current.meter.add(&self.meter_around);
            current.captures.set(self.captures_around);
            ManuallyDrop::into_inner(current.run.replace(ManuallyDrop::new(self.run_around.take())))
        });
        drop(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_line::LogLine;
    use crate::meter::STEPS_PER_LOOK;

    struct NoHost;

    impl Host for NoHost {
        fn log(&self, _: LogLine) -> HostCall<()> {
            HostCall::Ready(())
        }

        fn wait(&self, _: Pending, _: &AtomicBool) -> Duration {
            Duration::ZERO
        }
    }

    fn begin(limits: &Limits, stop: Option<Stop>) -> ActiveRun {
        ActiveRun::begin(limits, Arc::new(NoHost), stop, &Arc::default(), &Captures::default())
    }

    fn run(limits: Limits) -> ActiveRun {
        begin(&limits, Some(Arc::default()))
    }

    #[test]
    fn a_limit_that_was_reached_stays_reached() {
        let run = run(Limits { operations: 2, ..Limits::UNBOUNDED });
        assert_eq!((tick(), tick()), (None, None));
        assert_eq!((tick(), tick()), (Some(Trip::Operations), Some(Trip::Operations)));
        assert!(host_call(|_| HostCall::Ready(())).is_err(), "it reaches nothing outside any more");
        assert_eq!(run.finish().usage.trip, Some(Trip::Operations));
        assert_eq!(tick(), None);
    }

    #[test]
    fn the_clock_is_looked_at_now_and_then() {
        let run = run(Limits { timeout: Duration::ZERO, ..Limits::UNBOUNDED });
        let ended = (1..=1000).find(|_| tick().is_some());
        assert_eq!(ended, Some(64));
        assert_eq!(run.finish().usage.trip, Some(Trip::Timeout));
    }

    #[test]
    fn an_inline_pass_ends_with_its_budget() {
        let run = begin(&Limits::DEFAULT, None);
        let ended = (1..=InlineBudget::OPERATIONS + 64).find(|_| tick().is_some());
        assert!(
            ended.is_some_and(|ended| ended > InlineBudget::OPERATIONS)
                || run.started.elapsed() > InlineBudget::TIME
        );
        assert_eq!(run.finish().usage.trip, Some(Trip::OverBudget));
    }

    #[test]
    fn an_inline_pass_ends_with_its_log_lines() {
        for (stop, trip) in [(None, Some(Trip::OverBudget)), (Some(Arc::default()), None)] {
            let run = begin(&Limits::DEFAULT, stop);
            let admitted = (0..2 * InlineBudget::LOG_LINES).filter(|_| admit_log_line(1).is_some()).count();
            let finished = run.finish();
            assert_eq!(finished.usage.trip, trip);
            assert_eq!(admitted as u64, finished.log_lines);
            assert_eq!(finished.log_lines_dropped, 0);
        }
    }

    #[test]
    fn a_run_is_stopped_from_outside() {
        let stop = Arc::new(AtomicBool::new(false));
        let run = begin(&Limits::UNBOUNDED, Some(Arc::clone(&stop)));
        assert_eq!(worked(STEPS_PER_LOOK), None);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(worked(STEPS_PER_LOOK), Some(Trip::Stopped));
        drop(run);
    }

    #[test]
    fn an_inner_run_counts_for_the_outer_one_and_leaves_its_limits() {
        let outer = run(Limits { operations: 10, ..Limits::UNBOUNDED });
        let inner = run(Limits { operations: 4, timeout: Duration::MAX, ..Limits::UNBOUNDED });
        let spent = (0..4).filter(|_| tick().is_none()).count();
        assert_eq!((spent, inner.finish().usage.operations), (4, 4));
        let more = (0..10).take_while(|_| tick().is_none()).count();
        assert_eq!(more, 6);
        drop(outer);
    }
}
