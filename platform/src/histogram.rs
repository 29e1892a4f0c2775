//! Histograms of durations, as in Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A histogram of durations.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Duration],
    buckets: Box<[AtomicU64]>,
    micros: AtomicU64,
}

/// The state of a [`Histogram`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// The upper bounds of all buckets but the last, which has none.
    pub bounds: &'static [Duration],
    /// The count per bucket, not cumulative.
    pub counts: Vec<u64>,
    /// The sum of all durations.
    pub sum: Duration,
}

impl Histogram {
    /// Creates an empty histogram with buckets up to `bounds`, in ascending order, and one beyond.
    pub fn new(bounds: &'static [Duration]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, micros: AtomicU64::new(0) }
    }

    /// Adds a duration.
    pub fn observe(&self, took: Duration) {
        let bucket = self.bounds.iter().position(|bound| took <= *bound).unwrap_or(self.bounds.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The current state.
    pub fn buckets(&self) -> Buckets {
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Buckets {
            bounds: self.bounds,
            counts,
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_counted_in_first_bucket_that_fits() {
        const BOUNDS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
        let histogram = Histogram::new(&BOUNDS);
        [0, 1000, 1001, 2000, 9000]
            .into_iter()
            .map(Duration::from_millis)
            .for_each(|took| histogram.observe(took));
        let Buckets { counts, sum, .. } = histogram.buckets();
        assert_eq!((counts, sum), (vec![2, 2, 1], Duration::from_millis(13_001)));
    }
}
