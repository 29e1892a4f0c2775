//! Measures one execution and stops it when it reaches a limit.
//!
//! Rhai calls the meter before every operation ([`crate::run_context::tick`]). Rhai's own operation counter is not
//! used: it counts the callbacks of native functions such as `map` or `sort` on a copy and loses them. A reached
//! limit stays reached, because `sort` ignores errors of its comparer: a single error would not stop `loop {
//! a.sort(|x, y| { loop {} }) }`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use manifest_schema::limits::Limits;

use crate::memory;

/// The number of operations between two reads of the clock and the stop flag. Reading the clock costs about as much
/// as a few operations. With 64, the cost is negligible and the overshoot stays below a millisecond for all but the
/// slowest operations.
const POLL_INTERVAL_OPERATIONS: u64 = 64;

/// The number of small steps of native work between two polls; a step takes some nanoseconds.
pub(crate) const STEPS_PER_POLL: usize = 1024;

/// Above this memory use, limits are polled before every operation, because one operation can copy or visit all of
/// it.
const UNCHECKED_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// The memory that an execution can use for values without a reservation, in bytes. Most executions need no more.
pub const UNRESERVED_MEMORY_MAX: u64 = 256 * 1024;
const UNRESERVED_BYTES_MAX: i64 = UNRESERVED_MEMORY_MAX as i64;

/// The stack that an execution can use without a reservation, in bytes. An inline pass that needs more stops, because
/// the shared thread would keep these pages.
const UNRESERVED_STACK_MAX: usize = 1024 * 1024;

/// The granularity of memory reservations, in bytes.
const RESERVATION_STEP: u64 = 1024 * 1024;

/// The maximum number of allocations that an execution can hold. Values that contain one another in a long chain,
/// such as nested arrays, are copied and freed recursively; this limits the chain to 65 MiB of stack.
pub(crate) const BLOCKS_MAX: i64 = 300_000;

/// The stack that one allocation of a long chain needs, in bytes: a link reserved two and needs 450.
const STACK_PER_BLOCK: u64 = 225;

/// A chain of fewer allocations fits into the unreserved stack.
const UNRESERVED_BLOCKS_MAX: u64 = UNRESERVED_STACK_MAX as u64 / STACK_PER_BLOCK;

/// The maximum stack in use when an operation begins, in bytes. The deepest script at the maximum call depth uses 18
/// MiB; nested native calls are not counted as calls.
const STACK_MAX: usize = 24 * 1024 * 1024;

/// How long an execution on its own thread computes before it lets others compute.
pub const YIELD_INTERVAL: Duration = Duration::from_millis(50);

/// Why an execution stopped before the end of its script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    Timeout,
    Operations,
    Memory,
    /// The host reserved no memory left.
    NodeMemory,
    Depth,
    Size,
    /// The script called `exit`; not a failure.
    Exit,
    Stopped,
    /// The inline budget is used up; not a failure. See [`InlineBudget`].
    OverBudget,
    /// A host call of an inline pass must wait; not a failure.
    Blocked,
    /// What it read has changed; it runs again from the start.
    Restart,
}

/// The limits of an inline pass, which blocks other requests of the thread.
pub(crate) struct InlineBudget;

impl InlineBudget {
    /// The maximum number of operations: some tenths of a millisecond.
    pub(crate) const OPERATIONS: u64 = 4096;

    /// The maximum time, for slow native functions.
    pub(crate) const TIME: Duration = Duration::from_millis(2);

    /// The maximum number of log lines, each of which is copied, queued and written after the execution.
    pub(crate) const LOG_LINES: u64 = 32;
}

/// The resources that an execution used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) duration: Duration,
    pub(crate) operations: u64,
    /// The peak of memory use, in bytes.
    pub(crate) memory_peak_bytes: u64,
    /// The bytes still allocated at the end.
    pub(crate) held: u64,
    /// The time spent waiting for the host or for other executions. It is part of the duration and counts for no
    /// limit.
    pub(crate) waited: Duration,
    /// Why it stopped, if not at the end of its script.
    pub(crate) stop_reason: Option<StopReason>,
}

/// The meter of one execution; unlimited while nothing is executed.
pub(crate) struct Meter {
    operations: Cell<u64>,
    operations_max: Cell<u64>,
    next_poll: Cell<u64>,
    deadline: Cell<Option<Instant>>,
    /// The deadline of an inline pass.
    inline_end: Cell<Option<Instant>>,
    bytes_before: Cell<i64>,
    bytes_max: Cell<i64>,
    blocks_before: Cell<i64>,
    blocks_max: Cell<i64>,
    /// Reserved for values and for the stack.
    heap_reserved: Cell<u64>,
    stack_reserved: Cell<u64>,
    /// Above this memory use, limits are polled before every operation.
    unchecked_bytes_max: Cell<i64>,
    steps_left: Cell<usize>,
    /// The stack address at the start; stacks grow downwards.
    stack_start: Cell<usize>,
    /// Below this stack address, limits are polled before every operation.
    unchecked_stack_floor: Cell<usize>,
    /// The lowest allowed stack address.
    stack_floor: Cell<usize>,
    stop_reason: Cell<Option<StopReason>>,
    /// When the execution lets others compute, if ever.
    yield_at: Cell<Option<Instant>>,
    waited: Cell<Duration>,
}

impl Meter {
    /// A meter without limits.
    pub(crate) const fn unlimited() -> Self {
        Self {
            operations: Cell::new(0),
            operations_max: Cell::new(u64::MAX),
            next_poll: Cell::new(u64::MAX),
            deadline: Cell::new(None),
            inline_end: Cell::new(None),
            bytes_before: Cell::new(0),
            bytes_max: Cell::new(i64::MAX),
            blocks_before: Cell::new(0),
            blocks_max: Cell::new(i64::MAX),
            heap_reserved: Cell::new(0),
            stack_reserved: Cell::new(0),
            unchecked_bytes_max: Cell::new(i64::MAX),
            steps_left: Cell::new(STEPS_PER_POLL),
            stack_start: Cell::new(0),
            unchecked_stack_floor: Cell::new(0),
            stack_floor: Cell::new(0),
            stop_reason: Cell::new(None),
            yield_at: Cell::new(None),
            waited: Cell::new(Duration::ZERO),
        }
    }

    /// The meter of an execution that starts now inside `outer`, which is unlimited if there is none. `before` is the
    /// current memory of the thread. The execution gets at most the remaining time of the outer one, and earlier passes
    /// have `spent` some of its own.
    pub(crate) fn new(
        limits: &Limits,
        spent: Duration,
        started: Instant,
        before: memory::ThreadMemory,
        inline: bool,
        outer: &Self,
    ) -> Self {
        let memory_max = i64::try_from(limits.memory).unwrap_or(i64::MAX);
        let meter = Self::unlimited();
        meter.operations_max.set(limits.operations);
        meter.next_poll.set(POLL_INTERVAL_OPERATIONS.min(limits.operations.saturating_add(1)));
        meter.bytes_before.set(before.bytes);
        meter.bytes_max.set(before.bytes.saturating_add(memory_max));
        meter.blocks_before.set(before.blocks);
        meter.blocks_max.set(before.blocks.saturating_add(BLOCKS_MAX));
        meter.unchecked_bytes_max.set(before.bytes.saturating_add(UNRESERVED_BYTES_MAX.min(memory_max)));
        meter.yield_at.set((!inline).then(|| started + YIELD_INTERVAL));
        meter.inline_end.set(inline.then(|| started + InlineBudget::TIME));
        let (start, floor) = (stack_address(), outer.stack_floor.get());
        meter.stack_start.set(start);
        meter.stack_floor.set(if floor == 0 { start.saturating_sub(STACK_MAX) } else { floor });
        meter.unchecked_stack_floor.set(start.saturating_sub(UNRESERVED_STACK_MAX));
        let deadline = started.checked_add(limits.timeout.saturating_sub(spent));
        meter.deadline.set([deadline, outer.deadline.get()].into_iter().flatten().min());
        meter
    }

    /// Counts one operation. `true` if limits must be polled ([`Self::poll_limits`]), because of the operation count
    /// or the memory use.
    #[inline(always)]
    pub(crate) fn count_operation(&self) -> bool {
        let operations = self.operations.get() + 1;
        self.operations.set(operations);
        let held = memory::thread_memory();
        held.bytes > self.unchecked_bytes_max.get()
            || held.blocks > self.blocks_max.get()
            || operations >= self.next_poll.get()
            || stack_address() < self.unchecked_stack_floor.get()
    }

    /// Counts small steps of native work. `true` if limits must be polled.
    pub(crate) fn count_steps(&self, steps: usize) -> bool {
        let left = self.steps_left.get();
        if steps < left {
            self.steps_left.set(left - steps);
            return false;
        }
        self.steps_left.set(STEPS_PER_POLL);
        true
    }

    /// Checks every limit.
    pub(crate) fn poll_limits(&self) {
        self.check_memory(0);
        self.check_stack();
        let operations = self.operations.get();
        self.next_poll.set(
            operations
                .saturating_add(POLL_INTERVAL_OPERATIONS)
                .min(self.operations_max.get().saturating_add(1)),
        );
        if operations > self.operations_max.get() {
            self.stop(StopReason::Operations);
        }
        if let Some(deadline) = self.deadline.get() {
            let now = Instant::now();
            if now >= deadline {
                self.stop(StopReason::Timeout);
            }
            if self.inline_end.get().is_some_and(|end| operations > InlineBudget::OPERATIONS || now >= end) {
                self.stop(StopReason::OverBudget);
            }
        }
    }

    /// The time until the time limit, if there is one.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.deadline.get().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether the execution must let others compute.
    pub(crate) fn yield_is_due(&self) -> bool {
        self.yield_at.get().is_some_and(|at| Instant::now() >= at)
    }

    /// Records time spent waiting, which does not count for the time limit.
    pub(crate) fn note_wait(&self, waited: Duration) {
        self.waited.set(self.waited.get() + waited);
        self.deadline.set(self.deadline.get().and_then(|deadline| deadline.checked_add(waited)));
        if self.yield_at.get().is_some() {
            self.yield_at.set(Some(Instant::now() + YIELD_INTERVAL));
        }
    }

    /// Stops the execution if it uses too much memory, or would with `more` bytes, or if it allocated a value that is
    /// too large.
    pub(crate) fn check_memory(&self, more: usize) {
        if memory::take_oversized() {
            self.stop(StopReason::Size);
        }
        let held = memory::thread_memory();
        let bytes = held.bytes.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
        if bytes > self.bytes_max.get() || held.blocks > self.blocks_max.get() {
            self.stop(StopReason::Memory);
        }
    }

    /// Stops the execution if its stack is too deep.
    fn check_stack(&self) {
        let reached = stack_address();
        if reached < self.stack_floor.get() {
            self.stop(StopReason::Depth);
        } else if reached < self.unchecked_stack_floor.get() && self.inline_end.get().is_some() {
            self.stop(StopReason::OverBudget);
        }
    }

    /// The total reservation that the execution needs for values and stack before it continues, if the current one is
    /// too small. One operation can copy all values, and can copy and free the longest possible chain of allocations,
    /// so both are reserved in advance; `more` is the announced size of the next allocation.
    pub(crate) fn missing_reservation(&self, more: usize) -> Option<Reservation> {
        let count =
            |held: i64, before: &Cell<i64>| u64::try_from(held.saturating_sub(before.get())).unwrap_or(0);
        let reading = memory::thread_memory();
        let (bytes, blocks) =
            (count(reading.bytes, &self.bytes_before), count(reading.blocks, &self.blocks_before));
        let values = bytes.saturating_mul(2).max(bytes.saturating_add(more as u64));
        let heap = if values <= 2 * UNRESERVED_MEMORY_MAX { 0 } else { round_up_to_step(values) };
        let chain = if blocks <= UNRESERVED_BLOCKS_MAX { 0 } else { blocks.saturating_mul(STACK_PER_BLOCK) };
        let reached = self.stack_start.get().saturating_sub(stack_address());
        let stack = if reached <= UNRESERVED_STACK_MAX { chain } else { chain + reached as u64 };
        let reserved = Reservation { heap: self.heap_reserved.get(), stack: self.stack_reserved.get() };
        let reservation =
            Reservation { heap: heap.max(reserved.heap), stack: round_up_to_step(stack).max(reserved.stack) };
        (reservation != reserved).then_some(reservation)
    }

    /// Records a reservation of the host.
    pub(crate) fn note_reserved(&self, granted: Reservation) {
        self.heap_reserved.set(granted.heap);
        self.stack_reserved.set(granted.stack);
        let held = i64::try_from(granted.heap / 2)
            .unwrap_or(i64::MAX)
            .clamp(UNRESERVED_BYTES_MAX, UNCHECKED_BYTES_MAX);
        self.unchecked_bytes_max.set(self.bytes_before.get().saturating_add(held).min(self.bytes_max.get()));
        let stack = usize::try_from(granted.stack).unwrap_or(usize::MAX).max(UNRESERVED_STACK_MAX);
        self.unchecked_stack_floor.set(self.stack_start.get().saturating_sub(stack));
    }

    /// Records the first stop reason; every later operation sees it.
    pub(crate) fn stop(&self, stop_reason: StopReason) {
        if self.stop_reason.get().is_none() {
            self.stop_reason.set(Some(stop_reason));
        }
    }

    /// Clears `exit`, so that limits apply again to the use of its value.
    pub(crate) fn clear_exit(&self) {
        if self.stop_reason.get() == Some(StopReason::Exit) {
            self.stop_reason.set(None);
        }
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.stop_reason.get()
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations.get()
    }

    pub(crate) fn waited(&self) -> Duration {
        self.waited.get()
    }

    /// Adds the usage of a finished inner execution.
    pub(crate) fn add(&self, inner: &Self) {
        self.note_wait(inner.waited.get());
        self.operations.set(self.operations.get().saturating_add(inner.operations.get()));
    }

    pub(crate) fn swap(&self, other: &Self) {
        self.operations.swap(&other.operations);
        self.operations_max.swap(&other.operations_max);
        self.next_poll.swap(&other.next_poll);
        self.deadline.swap(&other.deadline);
        self.inline_end.swap(&other.inline_end);
        self.bytes_before.swap(&other.bytes_before);
        self.bytes_max.swap(&other.bytes_max);
        self.blocks_before.swap(&other.blocks_before);
        self.blocks_max.swap(&other.blocks_max);
        self.heap_reserved.swap(&other.heap_reserved);
        self.stack_reserved.swap(&other.stack_reserved);
        self.unchecked_bytes_max.swap(&other.unchecked_bytes_max);
        self.steps_left.swap(&other.steps_left);
        self.stack_start.swap(&other.stack_start);
        self.unchecked_stack_floor.swap(&other.unchecked_stack_floor);
        self.stack_floor.swap(&other.stack_floor);
        self.stop_reason.swap(&other.stop_reason);
        self.yield_at.swap(&other.yield_at);
        self.waited.swap(&other.waited);
    }
}

/// Memory to reserve from the host, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// For values and one copy of them.
    pub(crate) heap: u64,
    pub(crate) stack: u64,
}

impl Reservation {
    pub(crate) fn bytes(self) -> u64 {
        self.heap.saturating_add(self.stack)
    }
}

fn round_up_to_step(bytes: u64) -> u64 {
    bytes.div_ceil(RESERVATION_STEP).saturating_mul(RESERVATION_STEP)
}

/// The approximate address of the top of the stack.
#[inline(always)]
fn stack_address() -> usize {
    let here = 0_u8;
    (&raw const here).addr()
}
