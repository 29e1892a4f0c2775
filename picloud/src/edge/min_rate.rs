//! The minimum data rate of clients, against slow requests and slow readers.

use std::time::Duration;

use tokio::time::Instant;

/// The minimum average rate at which a client sends a body or reads a response; 0 is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinRate {
    /// The rate in bytes per second.
    pub(crate) bytes_per_second: u64,
}

impl Default for MinRate {
    /// Slower than any line in use, and 30 KiB within the default body timeout.
    fn default() -> Self {
        Self { bytes_per_second: 1024 }
    }
}

impl MinRate {
    /// The bytes transferred at this rate in `time`.
    pub(super) fn bytes_in(self, time: Duration) -> u64 {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.bytes_per_second.saturating_mul(millis) / 1000
    }

    /// The time for `bytes` at this rate; zero where the rate is unlimited.
    pub(super) fn time_of(self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000).checked_div(self.bytes_per_second).unwrap_or(0))
    }
}

/// Compares the rate of a client with the minimum, window by window.
#[derive(Debug)]
pub(super) struct RateMeter {
    /// The minimum number of bytes in a window.
    bytes_min: u64,
    window: Duration,
    window_end: Instant,
    /// Whether the current window is exempt.
    is_grace: bool,
    bytes: u64,
}

impl RateMeter {
    /// Requires `rate` in each `window` except the first, so that a client can begin slowly.
    pub(super) fn with_grace_window(rate: MinRate, window: Duration) -> Self {
        Self {
            bytes_min: rate.bytes_in(window),
            window,
            window_end: Instant::now() + window,
            is_grace: true,
            bytes: 0,
        }
    }

    /// Requires `rate` from the first window, for progress that is seen in chunks only. Even with rate 0 the client has to make progress.
    pub(super) fn starting_now(rate: MinRate, window: Duration, chunk: usize) -> Self {
        let bytes_min = rate.bytes_in(window).saturating_sub(chunk as u64).max(1);
        Self { bytes_min, is_grace: false, ..Self::with_grace_window(rate, window) }
    }

    /// When the window ends, and [`RateMeter::is_met`] compares.
    pub(super) fn window_end(&self) -> Instant {
        self.window_end
    }

    /// Counts transferred bytes.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether the windows that have ended met the minimum.
    pub(super) fn is_met(&mut self) -> bool {
        let now = Instant::now();
        if now < self.window_end {
            return true;
        }
        let enough = std::mem::take(&mut self.is_grace) || self.bytes >= self.bytes_min;
        (self.bytes, self.window_end) = (0, now + self.window);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn every_window_but_the_first_must_meet_the_minimum() {
        let mut meter = RateMeter::with_grace_window(MinRate { bytes_per_second: 10 }, SECOND);
        assert!(meter.is_met());
        tokio::time::advance(SECOND).await;
        assert!(meter.is_met(), "the first window is exempt");
        // Surplus bytes do not count for the next window.
        meter.add(1_000_000);
        tokio::time::advance(SECOND).await;
        assert!(meter.is_met());
        meter.add(9);
        tokio::time::advance(SECOND - Duration::from_millis(1)).await;
        assert!(meter.is_met(), "the window has not ended");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!meter.is_met());
    }

    #[tokio::test(start_paused = true)]
    async fn client_without_progress_fails_even_at_rate_zero() {
        let mut meter = RateMeter::starting_now(MinRate { bytes_per_second: 0 }, SECOND, 100);
        meter.add(1);
        tokio::time::advance(SECOND).await;
        assert!(meter.is_met());
        tokio::time::advance(SECOND).await;
        assert!(!meter.is_met());
        let mut meter = RateMeter::starting_now(MinRate { bytes_per_second: 250 }, SECOND, 100);
        for (bytes, is_met) in [(200, true), (100, false)] {
            meter.add(bytes);
            tokio::time::advance(SECOND).await;
            assert_eq!(meter.is_met(), is_met);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rate_zero_is_always_met() {
        let mut meter = RateMeter::with_grace_window(MinRate { bytes_per_second: 0 }, SECOND);
        for _ in 0..3 {
            tokio::time::advance(SECOND).await;
            assert!(meter.is_met());
        }
    }
}
