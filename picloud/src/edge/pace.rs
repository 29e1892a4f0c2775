//! How slowly a client may send or take something.

use std::time::Duration;

use tokio::time::Instant;

/// The fewest bytes a second at which a client sends a body or takes an answer, on average; with 0 it takes the time that it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinRate {
    /// How many.
    pub(crate) bytes_per_second: u64,
}

impl Default for MinRate {
    /// Slower than any line that is still in use, and 30 KiB in the time of a body.
    fn default() -> Self {
        Self { bytes_per_second: 1024 }
    }
}

impl MinRate {
    /// How many bytes come at this rate within `time`.
    pub(super) fn bytes_in(self, time: Duration) -> u64 {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.bytes_per_second.saturating_mul(millis) / 1000
    }

    /// How long so many bytes take at this rate; none where there is no rate.
    pub(super) fn time_of(self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000).checked_div(self.bytes_per_second).unwrap_or(0))
    }
}

/// Compares what a client does with a rate, span by span.
#[derive(Debug)]
pub(super) struct Pace {
    /// The bytes of a span.
    needed: u64,
    span: Duration,
    ends: Instant,
    is_free: bool,
    bytes: u64,
}

impl Pace {
    /// Holds a client to `rate`, averaged over each `span` from the next one on: it may begin slowly.
    pub(super) fn from_next_span(rate: MinRate, span: Duration) -> Self {
        Self { needed: rate.bytes_in(span), span, ends: Instant::now() + span, is_free: true, bytes: 0 }
    }

    /// The same from now on, where what it does is seen only in pieces of so many bytes. It does something at least.
    pub(super) fn from_now(rate: MinRate, span: Duration, piece: usize) -> Self {
        let needed = rate.bytes_in(span).saturating_sub(piece as u64).max(1);
        Self { needed, is_free: false, ..Self::from_next_span(rate, span) }
    }

    /// When this span ends, and [`Pace::is_kept`] has something to say.
    pub(super) fn span_ends(&self) -> Instant {
        self.ends
    }

    /// Bytes came, or were taken.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether enough bytes came in the spans that have ended.
    pub(super) fn is_kept(&mut self) -> bool {
        let now = Instant::now();
        if now < self.ends {
            return true;
        }
        let enough = std::mem::take(&mut self.is_free) || self.bytes >= self.needed;
        (self.bytes, self.ends) = (0, now + self.span);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_span_but_the_first_brings_enough() {
        let mut pace = Pace::from_next_span(MinRate { bytes_per_second: 10 }, SECOND);
        assert!(pace.is_kept());
        tokio::time::advance(SECOND).await;
        assert!(pace.is_kept(), "the first is free");
        // What came early is not saved up for later.
        pace.add(1_000_000);
        tokio::time::advance(SECOND).await;
        assert!(pace.is_kept());
        pace.add(9);
        tokio::time::advance(SECOND - Duration::from_millis(1)).await;
        assert!(pace.is_kept(), "it is not over yet");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!pace.is_kept());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_seen_in_pieces_takes_one_at_least() {
        let mut pace = Pace::from_now(MinRate { bytes_per_second: 0 }, SECOND, 100);
        pace.add(1);
        tokio::time::advance(SECOND).await;
        assert!(pace.is_kept());
        tokio::time::advance(SECOND).await;
        assert!(!pace.is_kept());
        let mut pace = Pace::from_now(MinRate { bytes_per_second: 250 }, SECOND, 100);
        for (bytes, kept) in [(200, true), (100, false)] {
            pace.add(bytes);
            tokio::time::advance(SECOND).await;
            assert_eq!(pace.is_kept(), kept);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_nothing_is_always_kept() {
        let mut pace = Pace::from_next_span(MinRate { bytes_per_second: 0 }, SECOND);
        for _ in 0..3 {
            tokio::time::advance(SECOND).await;
            assert!(pace.is_kept());
        }
    }
}
