//! Metrics of scheduled runs on this node since its start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::{Buckets, Histogram};
use chrono::TimeDelta;
use store::RunOutcome;

/// The upper bounds of the lateness buckets.
const LATENESS_BUCKETS: [Duration; 8] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(3600),
];

/// Metrics of scheduled runs.
#[derive(Debug)]
pub struct RunMetrics {
    lateness: Histogram,
    outcomes: [AtomicU64; RunOutcome::ALL.len()],
}

impl Default for RunMetrics {
    fn default() -> Self {
        Self { lateness: Histogram::new(&LATENESS_BUCKETS), outcomes: Default::default() }
    }
}

impl RunMetrics {
    /// The lateness of runs.
    pub fn lateness(&self) -> Buckets {
        self.lateness.buckets()
    }

    /// The number of runs by outcome.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
        RunOutcome::ALL.iter().map(|outcome| outcome.as_str()).zip(counts)
    }

    pub(super) fn observe_start(&self, lateness: TimeDelta) {
        self.lateness.observe(lateness.to_std().unwrap_or_default());
    }

    pub(super) fn count_outcome(&self, outcome: RunOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}
