//! A rate limit for log messages that clients can trigger at will.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Allows an event once per interval.
#[derive(Debug)]
pub struct RateLimit {
    created: Instant,
    interval: Duration,
    /// Milliseconds since `created` at which it allows the next event.
    closed_until: AtomicU64,
}

impl RateLimit {
    /// Creates a limit of one event per `interval`.
    pub fn new(interval: Duration) -> Self {
        Self { created: Instant::now(), interval, closed_until: AtomicU64::new(0) }
    }

    /// Whether this event is allowed.
    pub fn allow(&self) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.created.elapsed());
        let until = self.closed_until.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(self.interval));
        now >= until
            && self.closed_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_allowed_once_per_interval() {
        let limit = RateLimit::new(Duration::from_secs(3600));
        assert_eq!((0..10).filter(|_| limit.allow()).count(), 1);
        let always = RateLimit::new(Duration::ZERO);
        assert!((0..10).all(|_| always.allow()));
    }
}
