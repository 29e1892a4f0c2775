//! What is counted of an app: answers by class of status and by duration, executions by trigger and outcome, requests that met a
//! limit before anything ran.
//!
//! Counting is a few relaxed additions on a request's way. Each thread counts in a shard, most often its own, so that
//! processors do not wait for one another's cache lines. An app that nobody calls has no shards and takes no room.

use std::array;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use manifest_schema::execution::TriggerKind;
use runtime::FailureKind;

/// The upper ends of the classes that durations of answers are counted in; one more class has what takes longer.
pub const ANSWER_BOUNDS: [Duration; 13] = [
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

/// How many classes of durations there are.
pub const ANSWER_CLASSES: usize = ANSWER_BOUNDS.len() + 1;

/// The classes of status: 1xx to 5xx.
pub const STATUS_CLASSES: usize = 5;

/// How an execution may end: well, or by one of the kinds of failure.
pub const OUTCOMES: usize = 1 + FailureKind::ALL.len();

/// The most shards of an app; more would hardly be met by two threads at once.
const SHARDS_MAX: usize = 8;

/// A limit that a request met before anything ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// As many executions as the app may have ran and waited.
    Concurrency,
    /// The body was larger than the app takes.
    Body,
    /// The app's other executions left it no CPU permit in time.
    Processor,
    /// The app, or the node, had no memory for it.
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

/// What is counted of one app; of several, where there are very many.
#[derive(Debug, Default)]
pub struct Tally(OnceLock<Box<[Shard]>>);

/// What has been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answers by class of status (1xx first), and in it by class of duration.
    pub answers: [[u64; ANSWER_CLASSES]; STATUS_CLASSES],
    /// How long they took together.
    pub answering: Duration,
    /// Executions by [`TriggerKind`] in order, and in it by outcome: well, or [`FailureKind::ALL`] in order.
    pub executions: [[u64; OUTCOMES]; TriggerKind::ALL.len()],
    /// Requests by [`RejectReason`] in order.
    pub turned_away: [u64; RejectReason::ALL.len()],
}

/// As long as two cache lines, which are fetched together, so that no two shards share any.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    answers: [[AtomicU64; ANSWER_CLASSES]; STATUS_CLASSES],
    micros: AtomicU64,
    executions: [[AtomicU64; OUTCOMES]; TriggerKind::ALL.len()],
    turned_away: [AtomicU64; RejectReason::ALL.len()],
}

impl Tally {
    /// A request was answered.
    pub fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, STATUS_CLASSES) - 1;
        let bucket = ANSWER_BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(ANSWER_BOUNDS.len());
        let shard = self.shard();
        add(&shard.answers[class][bucket], 1);
        add(&shard.micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// A script was run; `None`: it ended well.
    pub fn executed(&self, trigger: TriggerKind, failure: Option<FailureKind>) {
        add(&self.shard().executions[trigger as usize][failure.map_or(0, |kind| 1 + kind as usize)], 1);
    }

    /// A request met a limit before anything ran.
    pub fn rejected(&self, limit: RejectReason) {
        add(&self.shard().turned_away[limit as usize], 1);
    }

    /// What has been counted; `None` where nothing was.
    pub fn counts(&self) -> Option<Counts> {
        let shards = self.0.get()?;
        let sum = |of: &dyn Fn(&Shard) -> &AtomicU64| {
            shards.iter().map(|shard| of(shard).load(Ordering::Relaxed)).sum::<u64>()
        };
        Some(Counts {
            answers: array::from_fn(|class| {
                array::from_fn(|bucket| sum(&|shard| &shard.answers[class][bucket]))
            }),
            answering: Duration::from_micros(sum(&|shard| &shard.micros)),
            executions: array::from_fn(|trigger| {
                array::from_fn(|outcome| sum(&|shard| &shard.executions[trigger][outcome]))
            }),
            turned_away: array::from_fn(|limit| sum(&|shard| &shard.turned_away[limit])),
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

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Numbers threads in the order in which they first count.
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
    fn everything_is_counted_once_whatever_the_thread() {
        let tally = Tally::default();
        assert_eq!(tally.counts(), None);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        tally.answered(200, Duration::from_micros(50));
                        tally.answered(503, Duration::from_secs(9));
                        tally.executed(TriggerKind::Function, Some(FailureKind::Timeout));
                    }
                });
            }
        });
        tally.executed(TriggerKind::Http, None);
        tally.rejected(RejectReason::Body);
        let counts = tally.counts().unwrap();
        assert_eq!((counts.answers[1][0], counts.answers[4][10]), (1600, 1600));
        assert_eq!(counts.answers.iter().flatten().sum::<u64>(), 3200);
        assert_eq!(counts.answering, Duration::from_micros(1600 * 9_000_050));
        let timeout = 1 + FailureKind::ALL.iter().position(|kind| *kind == FailureKind::Timeout).unwrap();
        assert_eq!((counts.executions[1][timeout], counts.executions[0][0]), (1600, 1));
        assert_eq!(counts.turned_away, [0, 1, 0, 0]);
    }

    #[test]
    fn a_status_that_is_none_is_counted_all_the_same() {
        let tally = Tally::default();
        [0, 999].iter().for_each(|status| tally.answered(*status, Duration::ZERO));
        let counts = tally.counts().unwrap();
        assert_eq!((counts.answers[0][0], counts.answers[4][0]), (1, 1));
    }

    #[test]
    fn the_kinds_are_listed_in_their_order() {
        assert!(FailureKind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
        assert!(TriggerKind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
        assert!(RejectReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    }
}
