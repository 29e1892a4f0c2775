//! What is counted of schedules' runs on this node since it started.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::{Classes, Histogram};
use chrono::TimeDelta;
use store::RunOutcome;

/// The ends of the classes that lateness is counted in.
const LATENESS_BOUNDS: [Duration; 8] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(3600),
];

/// What is counted of schedules' runs.
#[derive(Debug)]
pub struct RunNumbers {
    lateness: Histogram,
    outcomes: [AtomicU64; RunOutcome::ALL.len()],
}

impl Default for RunNumbers {
    fn default() -> Self {
        Self { lateness: Histogram::new(&LATENESS_BOUNDS), outcomes: Default::default() }
    }
}

impl RunNumbers {
    /// How late runs began.
    pub fn lateness(&self) -> Classes {
        self.lateness.classes()
    }

    /// How runs ended, by name.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
        RunOutcome::ALL.iter().map(|outcome| outcome.as_str()).zip(counts)
    }

    pub(super) fn began(&self, late: TimeDelta) {
        self.lateness.note(late.to_std().unwrap_or_default());
    }

    pub(super) fn ended(&self, outcome: RunOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}
