//! Measures one run while it goes on and ends it when a limit is reached.
//!
//! Rhai asks [`tick`] before every operation. Rhai's own operation counter is not used: what native functions such as
//! `map` or `sort` call back is counted on a copy there and lost. A limit that was reached stays reached: `sort`
//! swallows errors of its comparer, so one refusal would not end `loop { a.sort(|x, y| { loop {} }) }`.
//!
//! The state belongs to the thread, since a run stays on its thread and Rhai's callback is told nothing else. Runs may
//! nest; the inner one never gets more time than the outer one has left, and its operations count for both.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use manifest_schema::limits::Limits;

use crate::gate::{SLICE, Turn};
use crate::memory;

/// How many operations pass between two looks at the clock and at the stop flag. Reading the clock costs about as much
/// as a few operations; 64 keep it unnoticeable, and the overshoot below a millisecond for all but the slowest ones.
const LOOK_EVERY: u64 = 64;

/// How many small steps of native work pass between two looks; each takes some nanoseconds.
const STEPS_PER_LOOK: usize = 1024;

/// What a run holds, in bytes, from which on it is looked at before every operation: one operation may copy or check all
/// of it, so that few of them take long.
const HELD_UNNOTICED: i64 = 4 * 1024 * 1024;

/// The most separate blocks of memory that a run may hold. Values that hold one another in a long chain, such as arrays in
/// arrays or closures that capture closures, are copied, printed and freed by recursion: two blocks make a link of such a
/// chain, and a link needs 450 bytes of stack, so that the longest chain takes 65 MiB.
pub(crate) const BLOCKS_MAX: i64 = 300_000;

/// The stack, in bytes, that a run may have taken when an operation begins. The deepest script that may be called as deep
/// as functions may call one another takes 18 MiB; native functions can call one another without being counted as calls.
const STACK_MAX: usize = 24 * 1024 * 1024;

/// The limit that ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trip {
    Timeout,
    Operations,
    Memory,
    Depth,
    Size,
    Stopped,
    /// The slice is over, which is no failure: see [`Slice`].
    Slice,
}

/// How much of a script is run at first, where other requests wait: it must be over soon, or is begun anew elsewhere.
pub(crate) struct Slice;

impl Slice {
    /// The most operations: some tenths of a millisecond.
    pub(crate) const OPERATIONS: u64 = 4096;

    /// The longest time, for what native functions take.
    pub(crate) const TIME: Duration = Duration::from_millis(2);
}

/// What a run has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) duration: Duration,
    pub(crate) operations: u64,
    /// The most bytes held at once.
    pub(crate) memory_peak: u64,
    /// The bytes that the run still holds.
    pub(crate) held: u64,
    /// How long it waited for its turn while others of its app had it; part of the duration, and of no limit.
    pub(crate) waited: Duration,
    /// The limit that was reached, if any.
    pub(crate) trip: Option<Trip>,
}

/// The measurement that goes on on a thread; between runs, one that limits nothing.
struct State {
    operations: Cell<u64>,
    operations_max: Cell<u64>,
    next_look: Cell<u64>,
    deadline: Cell<Option<Instant>>,
    slice: Cell<Option<Instant>>,
    bytes_max: Cell<i64>,
    blocks_max: Cell<i64>,
    /// What is looked at before every operation: runs that hold more bytes than this.
    bytes_unnoticed: Cell<i64>,
    steps_left: Cell<usize>,
    /// The lowest address that the stack may reach; stacks grow downwards.
    stack_floor: Cell<usize>,
    trip: Cell<Option<Trip>>,
    stop: RefCell<Option<Arc<AtomicBool>>>,
    /// The turn that others of the app may have at times, and from when on.
    turn: RefCell<Option<Arc<Turn>>>,
    turn_end: Cell<Option<Instant>>,
    waited: Cell<Duration>,
}

thread_local! {
    static STATE: State = const { State::idle() };
}

/// Counts one operation of the current run. `Some` when the run must end.
pub(crate) fn tick() -> Option<Trip> {
    STATE.with(|state| {
        let operations = state.operations.get() + 1;
        state.operations.set(operations);
        if state.weigh() > state.bytes_unnoticed.get() || operations >= state.next_look.get() {
            state.look(operations);
        }
        if stack_reached() < state.stack_floor.get() {
            state.end(Trip::Depth);
        }
        state.trip.get()
    })
}

/// Notes native work of about as many small steps (a value that is looked at, some bytes that are copied). `Some` when the
/// run must end: native functions that can take long ask this as they go on.
pub(crate) fn worked(steps: usize) -> Option<Trip> {
    STATE.with(|state| {
        let left = state.steps_left.get();
        if steps < left {
            state.steps_left.set(left - steps);
            return state.trip.get();
        }
        state.steps_left.set(STEPS_PER_LOOK);
        state.look(state.operations.get());
        state.weigh();
        state.trip.get()
    })
}

/// Whether the current run may hold `bytes` more; if not, it must end. For native functions, before they make much.
pub(crate) fn room_for(bytes: usize) -> Option<Trip> {
    STATE.with(|state| {
        let held = memory::reading().bytes;
        if held.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX)) > state.bytes_max.get() {
            state.end(Trip::Memory);
        }
        state.trip.get()
    })
}

/// Ends the current run because a value is too large, where a native function cannot fail.
pub(crate) fn end_for_size() {
    STATE.with(|state| state.end(Trip::Size));
}

/// About where the stack has grown to.
#[inline(always)]
fn stack_reached() -> usize {
    let here = 0_u8;
    (&raw const here).addr()
}

impl State {
    const fn idle() -> Self {
        Self {
            operations: Cell::new(0),
            operations_max: Cell::new(u64::MAX),
            next_look: Cell::new(u64::MAX),
            deadline: Cell::new(None),
            slice: Cell::new(None),
            bytes_max: Cell::new(i64::MAX),
            blocks_max: Cell::new(i64::MAX),
            bytes_unnoticed: Cell::new(i64::MAX),
            steps_left: Cell::new(STEPS_PER_LOOK),
            stack_floor: Cell::new(0),
            trip: Cell::new(None),
            stop: RefCell::new(None),
            turn: RefCell::new(None),
            turn_end: Cell::new(None),
            waited: Cell::new(Duration::ZERO),
        }
    }

    fn look(&self, operations: u64) {
        self.next_look
            .set(operations.saturating_add(LOOK_EVERY).min(self.operations_max.get().saturating_add(1)));
        if operations > self.operations_max.get() {
            self.end(Trip::Operations);
        }
        if self.turn_end.get().is_some_and(|end| Instant::now() >= end) {
            self.pass_turn_on();
        }
        if let Some(deadline) = self.deadline.get() {
            let now = Instant::now();
            if now >= deadline {
                self.end(Trip::Timeout);
            }
            if self.slice.get().is_some_and(|end| operations > Slice::OPERATIONS || now >= end) {
                self.end(Trip::Slice);
            }
        }
        if self.stop.borrow().as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            self.end(Trip::Stopped);
        }
    }

    /// Lets others of the app have the turn. That takes nothing from the time of this run.
    fn pass_turn_on(&self) {
        let (turn, stop) = (self.turn.borrow().clone(), self.stop.borrow().clone());
        let Some(turn) = turn else { return };
        let stopped = || stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
        let waited = memory::uncounted(|| turn.pass_on(stopped));
        self.extend(waited);
        self.turn_end.set(Some(Instant::now() + SLICE));
    }

    /// Notes that the run waited for so long.
    fn extend(&self, waited: Duration) {
        self.waited.set(self.waited.get() + waited);
        self.deadline.set(self.deadline.get().and_then(|deadline| deadline.checked_add(waited)));
    }

    /// The bytes held by the thread; the run ends when they are too many.
    fn weigh(&self) -> i64 {
        let held = memory::reading();
        if held.bytes > self.bytes_max.get() || held.blocks > self.blocks_max.get() {
            self.end(Trip::Memory);
        }
        held.bytes
    }

    /// Notes the limit that was reached first; it is told on every later operation.
    fn end(&self, trip: Trip) {
        if self.trip.get().is_none() {
            self.trip.set(Some(trip));
        }
    }

    fn swap(&self, other: &Self) {
        self.operations.swap(&other.operations);
        self.operations_max.swap(&other.operations_max);
        self.next_look.swap(&other.next_look);
        self.deadline.swap(&other.deadline);
        self.slice.swap(&other.slice);
        self.bytes_max.swap(&other.bytes_max);
        self.blocks_max.swap(&other.blocks_max);
        self.bytes_unnoticed.swap(&other.bytes_unnoticed);
        self.stack_floor.swap(&other.stack_floor);
        self.trip.swap(&other.trip);
        self.stop.swap(&other.stop);
        self.turn.swap(&other.turn);
        self.turn_end.swap(&other.turn_end);
        self.waited.swap(&other.waited);
    }
}

/// One run being measured, from [`Meter::start`] to [`Meter::finish`].
pub(crate) struct Meter {
    started: Instant,
    before: memory::Reading,
    peak_around: i64,
    /// The measurement that goes on afterwards.
    around: State,
}

impl Meter {
    /// Begins to measure a run on this thread. The run ends when `stop` is set; one that is `brief` ends with its slice. Where it
    /// has a turn, it shares that with the other runs of its app.
    pub(crate) fn start(
        limits: &Limits,
        stop: Option<Arc<AtomicBool>>,
        turn: Option<Arc<Turn>>,
        brief: bool,
    ) -> Self {
        let started = Instant::now();
        let peak_around = memory::begin_peak();
        let before = memory::reading();
        let memory_max = i64::try_from(limits.memory).unwrap_or(i64::MAX);
        let own = State::idle();
        own.operations_max.set(limits.operations);
        own.next_look.set(LOOK_EVERY.min(limits.operations.saturating_add(1)));
        own.bytes_max.set(before.bytes.saturating_add(memory_max));
        own.blocks_max.set(before.blocks.saturating_add(BLOCKS_MAX));
        own.bytes_unnoticed.set(before.bytes.saturating_add(HELD_UNNOTICED));
        own.stop.replace(stop);
        own.turn_end.set(turn.is_some().then(|| started + SLICE));
        own.turn.replace(turn);
        own.slice.set(brief.then_some(started + Slice::TIME));
        STATE.with(|state| {
            let around = state.stack_floor.get();
            own.stack_floor.set(if around == 0 { stack_reached().saturating_sub(STACK_MAX) } else { around });
            let deadline = started.checked_add(limits.timeout);
            own.deadline.set([deadline, state.deadline.get()].into_iter().flatten().min());
            state.swap(&own);
        });
        Self { started, before, peak_around, around: own }
    }

    /// When the run began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Ends the measurement.
    pub(crate) fn finish(self) -> Usage {
        let positive = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        let peak = memory::end_peak(self.peak_around);
        let (operations, waited, trip) =
            STATE.with(|state| (state.operations.get(), state.waited.get(), state.trip.get()));
        Usage {
            duration: self.started.elapsed(),
            operations,
            memory_peak: positive(peak.saturating_sub(self.before.bytes)),
            held: positive(memory::reading().bytes.saturating_sub(self.before.bytes)),
            waited,
            trip,
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        STATE.with(|state| {
            let (spent, waited) = (state.operations.get(), state.waited.get());
            state.swap(&self.around);
            state.extend(waited);
            state.operations.set(state.operations.get().saturating_add(spent));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(limits: Limits) -> Meter {
        Meter::start(&limits, None, None, false)
    }

    #[test]
    fn a_limit_that_was_reached_stays_reached() {
        let meter = meter(Limits { operations: 2, ..Limits::UNBOUNDED });
        assert_eq!((tick(), tick()), (None, None));
        assert_eq!((tick(), tick()), (Some(Trip::Operations), Some(Trip::Operations)));
        assert_eq!(meter.finish().trip, Some(Trip::Operations));
        assert_eq!(tick(), None);
    }

    #[test]
    fn the_clock_is_looked_at_now_and_then() {
        let meter = meter(Limits { timeout: Duration::ZERO, ..Limits::UNBOUNDED });
        let ended = (1..=LOOK_EVERY).find(|_| tick().is_some());
        assert_eq!(ended, Some(LOOK_EVERY));
        assert_eq!(meter.finish().trip, Some(Trip::Timeout));
    }

    #[test]
    fn a_brief_run_ends_with_its_slice() {
        let meter = Meter::start(&Limits::DEFAULT, None, None, true);
        let ended = (1..=Slice::OPERATIONS + LOOK_EVERY).find(|_| tick().is_some());
        assert!(
            ended.is_some_and(|ended| ended > Slice::OPERATIONS) || meter.started().elapsed() > Slice::TIME
        );
        assert_eq!(meter.finish().trip, Some(Trip::Slice));
    }

    #[test]
    fn a_run_is_stopped_from_outside() {
        let stop = Arc::new(AtomicBool::new(false));
        let meter = Meter::start(&Limits::UNBOUNDED, Some(Arc::clone(&stop)), None, false);
        assert_eq!(worked(STEPS_PER_LOOK), None);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(worked(STEPS_PER_LOOK), Some(Trip::Stopped));
        drop(meter);
    }

    #[test]
    fn an_inner_run_counts_for_the_outer_one_and_leaves_its_limits() {
        let outer = meter(Limits { operations: 10, ..Limits::UNBOUNDED });
        let inner = meter(Limits { operations: 4, timeout: Duration::MAX, ..Limits::UNBOUNDED });
        let spent = (0..4).filter(|_| tick().is_none()).count();
        assert_eq!((spent, inner.finish().operations), (4, 4));
        let more = (0..10).take_while(|_| tick().is_none()).count();
        assert_eq!(more, 6);
        drop(outer);
    }
}
