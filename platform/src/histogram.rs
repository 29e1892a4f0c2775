//! Durations, counted in classes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many durations fell into each class.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Duration],
    classes: Box<[AtomicU64]>,
    micros: AtomicU64,
}

/// What a [`Histogram`] has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    /// The upper ends of the classes but the last, which has none.
    pub bounds: &'static [Duration],
    /// How many there are in each.
    pub counts: Vec<u64>,
    /// All durations together.
    pub sum: Duration,
}

impl Histogram {
    /// Nothing counted yet, in classes that end at `bounds`, in order; one more class has what is beyond.
    pub fn new(bounds: &'static [Duration]) -> Self {
        let classes = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, classes, micros: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn note(&self, took: Duration) {
        let class = self.bounds.iter().position(|bound| took <= *bound).unwrap_or(self.bounds.len());
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn classes(&self) -> Classes {
        let counts = self.classes.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Classes {
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
    fn a_duration_belongs_to_the_first_class_that_does_not_end_before_it() {
        const BOUNDS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
        let histogram = Histogram::new(&BOUNDS);
        [0, 1000, 1001, 2000, 9000]
            .into_iter()
            .map(Duration::from_millis)
            .for_each(|took| histogram.note(took));
        let Classes { counts, sum, .. } = histogram.classes();
        assert_eq!((counts, sum), (vec![2, 2, 1], Duration::from_millis(13_001)));
    }
}
