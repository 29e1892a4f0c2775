//! Measures one run while it goes on and ends it when a limit is reached.
//!
//! Rhai asks before every operation ([`crate::run_context::tick`]). Rhai's own operation counter is not used: what native
//! functions such as `map` or `sort` call back is counted on a copy there and lost. A limit that was reached stays reached:
//! `sort` swallows errors of its comparer, so one refusal would not end `loop { a.sort(|x, y| { loop {} }) }`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use manifest_schema::limits::Limits;

use crate::memory;

/// How many operations pass between two looks at the clock and at the stop flag. Reading the clock costs about as much
/// as a few operations; 64 keep it unnoticeable, and the overshoot below a millisecond for all but the slowest ones.
const LOOK_EVERY: u64 = 64;

/// How many small steps of native work pass between two looks; each takes some nanoseconds.
pub(crate) const STEPS_PER_LOOK: usize = 1024;

/// What a run holds, in bytes, from which on it is looked at before every operation: one operation may copy or check all
/// of it, so that few of them take long.
const HELD_UNNOTICED: i64 = 4 * 1024 * 1024;

/// What a run holds of values, in bytes, without asking its host for memory. Most runs never ask.
pub const MEMORY_FREE: u64 = 256 * 1024;
const HELD_FREE: i64 = MEMORY_FREE as i64;

/// The stack, in bytes, that a run takes without asking. An inline pass that needs more is over, since the thread of others would
/// keep it.
const STACK_FREE: usize = 1024 * 1024;

/// A run asks its host for memory in steps of so many bytes.
const GRANT_STEP: u64 = 1024 * 1024;

/// The most separate blocks of memory that a run may hold. Values that hold one another in a long chain, such as arrays in
/// arrays, are copied and freed by recursion, so that the longest chain takes 65 MiB of stack.
pub(crate) const BLOCKS_MAX: i64 = 300_000;

/// The stack, in bytes, that a block of a long chain takes: two make a link, which needs 450.
const STACK_PER_BLOCK: u64 = 225;

/// A chain of fewer blocks needs no more stack than is free.
const BLOCKS_FREE: u64 = STACK_FREE as u64 / STACK_PER_BLOCK;

/// The stack, in bytes, that a run may have taken when an operation begins. The deepest script that may be called as deep
/// as functions may call one another takes 18 MiB; native functions can call one another without being counted as calls.
const STACK_MAX: usize = 24 * 1024 * 1024;

/// How long a run with a thread of its own computes before it lets others compute.
pub const YIELD_EVERY: Duration = Duration::from_millis(50);

/// What ended a run before its script did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trip {
    Timeout,
    Operations,
    Memory,
    /// The host has no memory for it.
    NodeMemory,
    Depth,
    Size,
    /// The script has called `exit`, which is no failure.
    Exit,
    Stopped,
    /// The inline pass is over, which is no failure: see [`InlineBudget`].
    OverBudget,
    /// A host call of an inline pass has to wait, which is no failure.
    Blocked,
}

/// How much of a script runs inline, where other requests wait for the thread.
pub(crate) struct InlineBudget;

impl InlineBudget {
    /// The most operations: some tenths of a millisecond.
    pub(crate) const OPERATIONS: u64 = 4096;

    /// The longest time, for what native functions take.
    pub(crate) const TIME: Duration = Duration::from_millis(2);

    /// The most log lines, each of which is copied, queued and written down once the run has ended.
    pub(crate) const LOG_LINES: u64 = 32;
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
    /// How long it waited, for its host or while others computed; part of the duration, and of no limit.
    pub(crate) waited: Duration,
    /// What ended it, if not its script.
    pub(crate) trip: Option<Trip>,
}

/// The measurement of one run; one that limits nothing where none goes on.
pub(crate) struct Meter {
    operations: Cell<u64>,
    operations_max: Cell<u64>,
    next_look: Cell<u64>,
    deadline: Cell<Option<Instant>>,
    /// When an inline pass ends.
    inline_end: Cell<Option<Instant>>,
    bytes_before: Cell<i64>,
    bytes_max: Cell<i64>,
    blocks_before: Cell<i64>,
    blocks_max: Cell<i64>,
    /// What the host has granted for values, and for the stack.
    heap_granted: Cell<u64>,
    stack_granted: Cell<u64>,
    /// What is looked at before every operation: runs that hold more bytes than this.
    bytes_unnoticed: Cell<i64>,
    steps_left: Cell<usize>,
    /// Where the stack was when the run began; stacks grow downwards.
    stack_start: Cell<usize>,
    /// What is looked at: a stack that reaches a lower address than this.
    stack_unnoticed: Cell<usize>,
    /// The lowest address that the stack may reach.
    stack_floor: Cell<usize>,
    trip: Cell<Option<Trip>>,
    /// When the run lets others compute, if it does.
    yield_at: Cell<Option<Instant>>,
    waited: Cell<Duration>,
}

impl Meter {
    /// A meter that limits nothing.
    pub(crate) const fn idle() -> Self {
        Self {
            operations: Cell::new(0),
            operations_max: Cell::new(u64::MAX),
            next_look: Cell::new(u64::MAX),
            deadline: Cell::new(None),
            inline_end: Cell::new(None),
            bytes_before: Cell::new(0),
            bytes_max: Cell::new(i64::MAX),
            blocks_before: Cell::new(0),
            blocks_max: Cell::new(i64::MAX),
            heap_granted: Cell::new(0),
            stack_granted: Cell::new(0),
            bytes_unnoticed: Cell::new(i64::MAX),
            steps_left: Cell::new(STEPS_PER_LOOK),
            stack_start: Cell::new(0),
            stack_unnoticed: Cell::new(0),
            stack_floor: Cell::new(0),
            trip: Cell::new(None),
            yield_at: Cell::new(None),
            waited: Cell::new(Duration::ZERO),
        }
    }

    /// A meter of a run that begins now within another one's, which limits nothing where there is none. `before` is what the
    /// thread holds now. The run gets no more time than the one around it has left.
    pub(crate) fn new(
        limits: &Limits,
        started: Instant,
        before: memory::Reading,
        inline: bool,
        around: &Self,
    ) -> Self {
        let memory_max = i64::try_from(limits.memory).unwrap_or(i64::MAX);
        let meter = Self::idle();
        meter.operations_max.set(limits.operations);
        meter.next_look.set(LOOK_EVERY.min(limits.operations.saturating_add(1)));
        meter.bytes_before.set(before.bytes);
        meter.bytes_max.set(before.bytes.saturating_add(memory_max));
        meter.blocks_before.set(before.blocks);
        meter.blocks_max.set(before.blocks.saturating_add(BLOCKS_MAX));
        meter.bytes_unnoticed.set(before.bytes.saturating_add(HELD_FREE.min(memory_max)));
        meter.yield_at.set((!inline).then(|| started + YIELD_EVERY));
        meter.inline_end.set(inline.then(|| started + InlineBudget::TIME));
        let (start, floor) = (stack_reached(), around.stack_floor.get());
        meter.stack_start.set(start);
        meter.stack_floor.set(if floor == 0 { start.saturating_sub(STACK_MAX) } else { floor });
        meter.stack_unnoticed.set(start.saturating_sub(STACK_FREE));
        let deadline = started.checked_add(limits.timeout);
        meter.deadline.set([deadline, around.deadline.get()].into_iter().flatten().min());
        meter
    }

    /// Counts one operation. `true`: it is time to look ([`Self::look`]), for the number of operations so far, or for what the run
    /// holds.
    #[inline(always)]
    pub(crate) fn count_operation(&self) -> bool {
        let operations = self.operations.get() + 1;
        self.operations.set(operations);
        let held = memory::reading();
        held.bytes > self.bytes_unnoticed.get()
            || held.blocks > self.blocks_max.get()
            || operations >= self.next_look.get()
            || stack_reached() < self.stack_unnoticed.get()
    }

    /// Notes native work of about as many small steps. `true`: it is time to look.
    pub(crate) fn count_steps(&self, steps: usize) -> bool {
        let left = self.steps_left.get();
        if steps < left {
            self.steps_left.set(left - steps);
            return false;
        }
        self.steps_left.set(STEPS_PER_LOOK);
        true
    }

    /// Compares all that is limited.
    pub(crate) fn look(&self) {
        self.check_memory(0);
        self.check_stack();
        let operations = self.operations.get();
        self.next_look
            .set(operations.saturating_add(LOOK_EVERY).min(self.operations_max.get().saturating_add(1)));
        if operations > self.operations_max.get() {
            self.end(Trip::Operations);
        }
        if let Some(deadline) = self.deadline.get() {
            let now = Instant::now();
            if now >= deadline {
                self.end(Trip::Timeout);
            }
            if self.inline_end.get().is_some_and(|end| operations > InlineBudget::OPERATIONS || now >= end) {
                self.end(Trip::OverBudget);
            }
        }
    }

    /// Whether it is time to let others compute.
    pub(crate) fn yield_is_due(&self) -> bool {
        self.yield_at.get().is_some_and(|at| Instant::now() >= at)
    }

    /// Notes that the run waited for so long. That takes nothing from its time.
    pub(crate) fn note_wait(&self, waited: Duration) {
        self.waited.set(self.waited.get() + waited);
        self.deadline.set(self.deadline.get().and_then(|deadline| deadline.checked_add(waited)));
        if self.yield_at.get().is_some() {
            self.yield_at.set(Some(Instant::now() + YIELD_EVERY));
        }
    }

    /// Ends the run where it holds too much, or would with `more` bytes, and where it has made a value that is too large.
    pub(crate) fn check_memory(&self, more: usize) {
        if memory::take_oversized() {
            self.end(Trip::Size);
        }
        let held = memory::reading();
        let bytes = held.bytes.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
        if bytes > self.bytes_max.get() || held.blocks > self.blocks_max.get() {
            self.end(Trip::Memory);
        }
    }

    /// Ends the run where its stack has grown too far.
    fn check_stack(&self) {
        let reached = stack_reached();
        if reached < self.stack_floor.get() {
            self.end(Trip::Depth);
        } else if reached < self.stack_unnoticed.get() && self.inline_end.get().is_some() {
            self.end(Trip::OverBudget);
        }
    }

    /// How many bytes the host has to grant in all before the run goes on, for values and for its stack, where that is more than it
    /// has granted. One operation can copy everything that the run holds, and copy and free the longest chain that its blocks can
    /// make, which is granted beforehand; what an operation says that it takes, is `more`.
    pub(crate) fn memory_wanted(&self, more: usize) -> Option<Wanted> {
        let count =
            |held: i64, before: &Cell<i64>| u64::try_from(held.saturating_sub(before.get())).unwrap_or(0);
        let reading = memory::reading();
        let (bytes, blocks) =
            (count(reading.bytes, &self.bytes_before), count(reading.blocks, &self.blocks_before));
        let values = bytes.saturating_mul(2).max(bytes.saturating_add(more as u64));
        let heap = if values <= 2 * MEMORY_FREE { 0 } else { in_steps(values) };
        let chain = if blocks <= BLOCKS_FREE { 0 } else { blocks.saturating_mul(STACK_PER_BLOCK) };
        let reached = self.stack_start.get().saturating_sub(stack_reached());
        let stack = if reached <= STACK_FREE { chain } else { chain + reached as u64 };
        let has = Wanted { heap: self.heap_granted.get(), stack: self.stack_granted.get() };
        let wanted = Wanted { heap: heap.max(has.heap), stack: in_steps(stack).max(has.stack) };
        (wanted != has).then_some(wanted)
    }

    /// Notes that the host has granted this.
    pub(crate) fn grant(&self, granted: Wanted) {
        self.heap_granted.set(granted.heap);
        self.stack_granted.set(granted.stack);
        let held = i64::try_from(granted.heap / 2).unwrap_or(i64::MAX).clamp(HELD_FREE, HELD_UNNOTICED);
        self.bytes_unnoticed.set(self.bytes_before.get().saturating_add(held).min(self.bytes_max.get()));
        let stack = usize::try_from(granted.stack).unwrap_or(usize::MAX).max(STACK_FREE);
        self.stack_unnoticed.set(self.stack_start.get().saturating_sub(stack));
    }

    /// Notes what ended the run first; every later operation meets it.
    pub(crate) fn end(&self, trip: Trip) {
        if self.trip.get().is_none() {
            self.trip.set(Some(trip));
        }
    }

    /// Takes back that the script has called `exit`: what comes of its value is measured as ever.
    pub(crate) fn clear_exit(&self) {
        if self.trip.get() == Some(Trip::Exit) {
            self.trip.set(None);
        }
    }

    pub(crate) fn trip(&self) -> Option<Trip> {
        self.trip.get()
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations.get()
    }

    pub(crate) fn waited(&self) -> Duration {
        self.waited.get()
    }

    /// Adds what a run within this one has used, when it is over.
    pub(crate) fn add(&self, inner: &Self) {
        self.note_wait(inner.waited.get());
        self.operations.set(self.operations.get().saturating_add(inner.operations.get()));
    }

    pub(crate) fn swap(&self, other: &Self) {
        self.operations.swap(&other.operations);
        self.operations_max.swap(&other.operations_max);
        self.next_look.swap(&other.next_look);
        self.deadline.swap(&other.deadline);
        self.inline_end.swap(&other.inline_end);
        self.bytes_before.swap(&other.bytes_before);
        self.bytes_max.swap(&other.bytes_max);
        self.blocks_before.swap(&other.blocks_before);
        self.blocks_max.swap(&other.blocks_max);
        self.heap_granted.swap(&other.heap_granted);
        self.stack_granted.swap(&other.stack_granted);
        self.bytes_unnoticed.swap(&other.bytes_unnoticed);
        self.steps_left.swap(&other.steps_left);
        self.stack_start.swap(&other.stack_start);
        self.stack_unnoticed.swap(&other.stack_unnoticed);
        self.stack_floor.swap(&other.stack_floor);
        self.trip.swap(&other.trip);
        self.yield_at.swap(&other.yield_at);
        self.waited.swap(&other.waited);
    }
}

/// What a run wants of its host's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// For its values, and a copy of them.
    pub(crate) heap: u64,
    pub(crate) stack: u64,
}

impl Wanted {
    pub(crate) fn bytes(self) -> u64 {
        self.heap.saturating_add(self.stack)
    }
}

fn in_steps(bytes: u64) -> u64 {
    bytes.div_ceil(GRANT_STEP).saturating_mul(GRANT_STEP)
}

/// About where the stack has grown to.
#[inline(always)]
fn stack_reached() -> usize {
    let here = 0_u8;
    (&raw const here).addr()
}
