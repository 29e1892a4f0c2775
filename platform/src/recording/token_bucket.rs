//! How many bytes can pass: so many a second, and what was not used before at once.

use tokio::time::Instant;

/// As much as passes in so many seconds passes at once after a pause.
const BURST_SECONDS: u64 = 16;

/// So many bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate {
    /// How many.
    pub bytes_per_second: u64,
}

impl ByteRate {
    fn burst_bytes(self) -> f64 {
        self.bytes_per_second.saturating_mul(BURST_SECONDS) as f64
    }
}

/// What can pass of one app now.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// Negative: more passed than could, since nothing is cut in two.
    left: f64,
    at: Instant,
}

impl TokenBucket {
    /// A full one.
    pub(super) fn new(rate: ByteRate, now: Instant) -> Self {
        Self { left: rate.burst_bytes(), at: now }
    }

    /// Whether anything is left. Then all the bytes pass, more than are left as well.
    pub(super) fn take(&mut self, rate: ByteRate, bytes: usize, now: Instant) -> bool {
        self.refill(rate, now);
        let passes = self.left > 0.0;
        if passes {
            self.left -= bytes as f64;
        }
        passes
    }

    /// Whether nothing is missing.
    pub(super) fn is_full(&mut self, rate: ByteRate, now: Instant) -> bool {
        self.refill(rate, now);
        self.left >= rate.burst_bytes()
    }

    fn refill(&mut self, rate: ByteRate, now: Instant) {
        let more = now.saturating_duration_since(self.at).as_secs_f64() * rate.bytes_per_second as f64;
        self.left = (self.left + more).min(rate.burst_bytes());
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: ByteRate = ByteRate { bytes_per_second: 100 };

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let mut now = Instant::now();
        let mut bucket = TokenBucket::new(RATE, now);
        let mut passed = 0;
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            passed += if bucket.take(RATE, 10, now) { 10 } else { 0 };
        }
        assert!((2590..=2610).contains(&passed), "{passed} of 1600 and 10 seconds of 100");
        assert!(!bucket.is_full(RATE, now) && bucket.is_full(RATE, now + Duration::from_secs(17)));
    }

    #[test]
    fn what_is_longer_than_a_burst_passes_and_is_made_up_for() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(RATE, now);
        assert!(bucket.take(RATE, 2600, now));
        assert!(!bucket.take(RATE, 1, now + Duration::from_secs(9)));
        assert!(bucket.take(RATE, 1, now + Duration::from_secs(11)));
    }

    #[test]
    fn nothing_passes_at_a_rate_of_nothing() {
        let none = ByteRate { bytes_per_second: 0 };
        let mut bucket = TokenBucket::new(none, Instant::now());
        assert!(!bucket.take(none, 1, Instant::now()));
    }
}
