//! Lets something happen now and then only: lines of the log about what others can make happen as often as they like.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Passes once in a while.
#[derive(Debug)]
pub struct Throttle {
    born: Instant,
    every: Duration,
    /// Milliseconds of its life from which on it passes again.
    closed_until: AtomicU64,
}

impl Throttle {
    /// Passes once in every span of that length.
    pub fn new(every: Duration) -> Self {
        Self { born: Instant::now(), every, closed_until: AtomicU64::new(0) }
    }

    /// Whether this time passes.
    pub fn passes(&self) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.born.elapsed());
        let until = self.closed_until.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(self.every));
        now >= until
            && self.closed_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_a_span() {
        let throttle = Throttle::new(Duration::from_secs(3600));
        assert_eq!((0..10).filter(|_| throttle.passes()).count(), 1);
        let always = Throttle::new(Duration::ZERO);
        assert!((0..10).all(|_| always.passes()));
    }
}
