//! A token bucket for bytes.

use tokio::time::Instant;

/// The burst size in seconds of the rate.
const BURST_SECONDS: u64 = 16;

/// A rate in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate {
    /// The bytes per second.
    pub bytes_per_second: u64,
}

impl ByteRate {
    fn burst_bytes(self) -> f64 {
        self.bytes_per_second.saturating_mul(BURST_SECONDS) as f64
    }
}

/// The token bucket of one app.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// The available tokens; negative after an item larger than the rest, since items are not split.
    tokens: f64,
    refilled_at: Instant,
}

impl TokenBucket {
    /// Creates a full bucket.
    pub(super) fn new(rate: ByteRate, now: Instant) -> Self {
        Self { tokens: rate.burst_bytes(), refilled_at: now }
    }

    /// Takes `bytes` if any tokens are left, even if `bytes` exceed them.
    pub(super) fn take(&mut self, rate: ByteRate, bytes: usize, now: Instant) -> bool {
        self.refill(rate, now);
        let is_allowed = self.tokens > 0.0;
        if is_allowed {
            self.tokens -= bytes as f64;
        }
        is_allowed
    }

    /// Whether the bucket is full.
    pub(super) fn is_full(&mut self, rate: ByteRate, now: Instant) -> bool {
        self.refill(rate, now);
        self.tokens >= rate.burst_bytes()
    }

    fn refill(&mut self, rate: ByteRate, now: Instant) {
        let more =
            now.saturating_duration_since(self.refilled_at).as_secs_f64() * rate.bytes_per_second as f64;
        self.tokens = (self.tokens + more).min(rate.burst_bytes());
        self.refilled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: ByteRate = ByteRate { bytes_per_second: 100 };

    #[test]
    fn bucket_allows_burst_and_then_rate() {
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
    fn item_beyond_burst_passes_and_delays_the_next() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(RATE, now);
        assert!(bucket.take(RATE, 2600, now));
        assert!(!bucket.take(RATE, 1, now + Duration::from_secs(9)));
        assert!(bucket.take(RATE, 1, now + Duration::from_secs(11)));
    }

    #[test]
    fn zero_rate_allows_nothing() {
        let none = ByteRate { bytes_per_second: 0 };
        let mut bucket = TokenBucket::new(none, Instant::now());
        assert!(!bucket.take(none, 1, Instant::now()));
    }
}
