//! The time limit for examining a push: all of its commits together, and only while the client is connected.

use std::time::{Duration, Instant};

use super::report::{EventSender, Rejection};

/// The time limit for the commits of one push, or the scripts of a folder. The remainder is not examined.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// The deadline of one push.
#[derive(Clone, Debug)]
pub(crate) struct PushDeadline {
    limit: Duration,
    at: Instant,
    events: EventSender,
}

impl PushDeadline {
    /// Starts the time limit.
    pub(crate) fn start(events: &EventSender) -> Self {
        Self::with_limit(CHECK_TIMEOUT, events)
    }

    pub(super) fn with_limit(limit: Duration, events: &EventSender) -> Self {
        Self { limit, at: Instant::now() + limit, events: events.clone() }
    }

    /// The time limit.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Fails once the deadline has passed or the client has disconnected.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        if !self.events.is_open() {
            return Err(Rejection::ClientDisconnected);
        }
        if Instant::now() >= self.at { Err(Rejection::CheckTimeout) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_ends_with_time_limit_or_disconnect() {
        let (sender, receiver) = EventSender::channel();
        let deadline = PushDeadline::start(&sender);
        assert!(deadline.check().is_ok());
        assert!(matches!(
            PushDeadline::with_limit(Duration::ZERO, &sender).check(),
            Err(Rejection::CheckTimeout)
        ));
        drop(receiver);
        assert!(matches!(deadline.check(), Err(Rejection::ClientDisconnected)));
        assert!(PushDeadline::start(&EventSender::sink()).check().is_ok());
    }
}
