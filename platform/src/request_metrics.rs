//! Request metrics of an app: responses by status class and latency, executions by trigger and outcome, and
//! requests rejected by a limit before an execution.
//!
//! Counting is a few relaxed atomic additions per request. Each thread counts in a shard, mostly its own, so
//! that processors do not contend for cache lines. An app without traffic has no shards.

use std::array;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use manifest_schema::execution::TriggerKind;
use runtime::FailureKind;

/// The upper bounds of the latency buckets; one more bucket has the slower responses.
pub const LATENCY_BUCKETS: [Duration; 13] = [
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// The number of latency buckets.
pub const LATENCY_BUCKET_COUNT: usize = LATENCY_BUCKETS.len() + 1;

/// The number of status classes: 1xx to 5xx.
pub const STATUS_CLASSES: usize = 5;

/// The number of outcomes of an execution: success, or a kind of failure.
pub const OUTCOMES: usize = 1 + FailureKind::ALL.len();

/// The maximum number of shards per app.
const SHARDS_MAX: usize = 8;

/// The limit that rejected a request before an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// The concurrency limit and its queue were full.
    Concurrency,
    /// The body exceeded the app's limit.
    Body,
    /// No CPU permit became free in time.
    Processor,
    /// The app or the node was out of memory.
    Memory,
}

impl RejectReason {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Concurrency, Self::Body, Self::Processor, Self::Memory];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Body => "body",
            Self::Processor => "processor",
            Self::Memory => "no_memory",
        }
    }
}

/// The metrics of one app, or shared by several beyond the maximum.
#[derive(Debug, Default)]
pub struct RequestMetrics(OnceLock<Box<[Shard]>>);

/// A snapshot of the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Responses by status class (1xx first) and latency bucket.
    pub responses: [[u64; LATENCY_BUCKET_COUNT]; STATUS_CLASSES],
    /// The sum of their durations.
    pub response_time: Duration,
    /// Executions by [`TriggerKind`], and by outcome: success first, then the [`FailureKind`]s in order.
    pub executions: [[u64; OUTCOMES]; TriggerKind::ALL.len()],
    /// Requests by [`RejectReason`] in order.
    pub rejections: [u64; RejectReason::ALL.len()],
    /// Executions whose writes were not accepted because what they had read had changed.
    pub state_conflicts: u64,
}

/// Aligned to two cache lines, which are prefetched together, so that shards share none.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    responses: [[AtomicU64; LATENCY_BUCKET_COUNT]; STATUS_CLASSES],
    micros: AtomicU64,
    executions: [[AtomicU64; OUTCOMES]; TriggerKind::ALL.len()],
    rejections: [AtomicU64; RejectReason::ALL.len()],
    state_conflicts: AtomicU64,
}

impl RequestMetrics {
    /// Counts a response.
    pub fn observe(&self, status: u16, took: Duration) {
        let status_class = usize::from(status / 100).clamp(1, STATUS_CLASSES) - 1;
        let bucket = LATENCY_BUCKETS.iter().position(|bound| took <= *bound).unwrap_or(LATENCY_BUCKETS.len());
        let shard = self.shard();
        add(&shard.responses[status_class][bucket], 1);
        add(&shard.micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts an execution; `None`: it succeeded.
    pub fn observe_execution(&self, trigger: TriggerKind, failure: Option<FailureKind>) {
        add(&self.shard().executions[trigger as usize][failure.map_or(0, |kind| 1 + kind as usize)], 1);
    }

    /// Counts a request rejected by a limit.
    pub fn count_rejection(&self, limit: RejectReason) {
        add(&self.shard().rejections[limit as usize], 1);
    }

    /// Counts an execution that runs again because what it had read had changed when it ended.
    pub fn count_state_conflict(&self) {
        add(&self.shard().state_conflicts, 1);
    }

    /// The counters; `None` without any traffic.
    pub fn counts(&self) -> Option<RequestCounts> {
        let shards = self.0.get()?;
        let sum = |of: &dyn Fn(&Shard) -> &AtomicU64| {
            shards.iter().map(|shard| of(shard).load(Ordering::Relaxed)).sum::<u64>()
        };
        Some(RequestCounts {
            responses: array::from_fn(|status_class| {
                array::from_fn(|bucket| sum(&|shard| &shard.responses[status_class][bucket]))
            }),
            response_time: Duration::from_micros(sum(&|shard| &shard.micros)),
            executions: array::from_fn(|trigger| {
                array::from_fn(|outcome| sum(&|shard| &shard.executions[trigger][outcome]))
            }),
            rejections: array::from_fn(|limit| sum(&|shard| &shard.rejections[limit])),
            state_conflicts: sum(&|shard| &shard.state_conflicts),
        })
    }

    fn shard(&self) -> &Shard {
        let shards = self.0.get_or_init(|| {
            let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            (0..threads.next_power_of_two().min(SHARDS_MAX)).map(|_| Shard::default()).collect()
        });
        &shards[thread_number() & (shards.len() - 1)]
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Numbers threads in the order of their first count.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const UNKNOWN: usize = usize::MAX;
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(UNKNOWN) };
    }
    NUMBER.with(|number| match number.get() {
        UNKNOWN => {
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(new);
            new
        }
        known => known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_exact_across_threads() {
        let metrics = RequestMetrics::default();
        assert_eq!(metrics.counts(), None);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        metrics.observe(200, Duration::from_micros(50));
                        metrics.observe(503, Duration::from_secs(9));
                        metrics.observe_execution(TriggerKind::Function, Some(FailureKind::Timeout));
                    }
                });
            }
        });
        metrics.observe_execution(TriggerKind::Http, None);
        metrics.count_rejection(RejectReason::Body);
        metrics.count_state_conflict();
        let counts = metrics.counts().unwrap();
        assert_eq!((counts.responses[1][0], counts.responses[4][10]), (1600, 1600));
        assert_eq!(counts.responses.iter().flatten().sum::<u64>(), 3200);
        assert_eq!(counts.response_time, Duration::from_micros(1600 * 9_000_050));
        let timeout = 1 + FailureKind::ALL.iter().position(|kind| *kind == FailureKind::Timeout).unwrap();
        assert_eq!((counts.executions[1][timeout], counts.executions[0][0]), (1600, 1));
        assert_eq!((counts.rejections, counts.state_conflicts), ([0, 1, 0, 0], 1));
    }

    #[test]
    fn invalid_status_is_counted() {
        let metrics = RequestMetrics::default();
        [0, 999].iter().for_each(|status| metrics.observe(*status, Duration::ZERO));
        let counts = metrics.counts().unwrap();
        assert_eq!((counts.responses[0][0], counts.responses[4][0]), (1, 1));
    }

    #[test]
    fn kinds_are_listed_in_order() {
        assert!(FailureKind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
        assert!(TriggerKind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
        assert!(RejectReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    }
}
