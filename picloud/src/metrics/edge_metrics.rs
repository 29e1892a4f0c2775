//! Metrics of the edge: requests that no app served, connections and pushes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use platform::deploy::{Outcome, RefReport};
use platform::histogram::Histogram;

/// The upper bounds of the histogram buckets for push durations.
const PUSH_BUCKETS: [Duration; 8] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
];

/// The handler of a request that no app served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    /// The control plane: API, health checks, metrics.
    Control,
    /// A git repository.
    Git,
    /// No handler: the target does not exist, or the request was invalid.
    None,
}

impl Handler {
    pub(super) const ALL: [Self; 3] = [Self::Control, Self::Git, Self::None];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Git => "git",
            Self::None => "none",
        }
    }
}

/// Why a connection was evicted at the connection limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The connection was idle.
    Idle,
    /// Headers or a body were slow.
    Slow,
}

impl CloseReason {
    pub(super) const ALL: [Self; 2] = [Self::Idle, Self::Slow];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Slow => "slow",
        }
    }
}

/// The `verdict` labels of pushed refs.
pub(super) const VERDICTS: [&str; 5] = ["live", "preview", "stored", "checked", "rejected"];

/// Metrics of the edge.
#[derive(Debug)]
pub(crate) struct EdgeMetrics {
    /// Responses by handler and status class.
    pub(super) responses: [[AtomicU64; 5]; Handler::ALL.len()],
    pub(super) verdicts: [AtomicU64; VERDICTS.len()],
    pub(super) pushes: Histogram,
    /// Evicted connections by [`CloseReason`].
    pub(super) closed: [AtomicU64; CloseReason::ALL.len()],
}

impl Default for EdgeMetrics {
    fn default() -> Self {
        let (responses, verdicts, closed) = Default::default();
        Self { responses, verdicts, pushes: Histogram::new(&PUSH_BUCKETS), closed }
    }
}

impl EdgeMetrics {
    /// Counts the response to a request that no app served.
    pub(crate) fn observe_response(&self, handler: Handler, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.responses[handler as usize][class].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts evicted connections.
    pub(crate) fn observe_closed(&self, reason: CloseReason, connections: usize) {
        self.closed[reason as usize].fetch_add(connections as u64, Ordering::Relaxed);
    }

    /// Counts a finished push.
    pub(crate) fn observe_push(&self, reports: &[RefReport], took: Duration) {
        self.pushes.observe(took);
        for report in reports {
            let name = match &report.outcome {
                Outcome::Live(_) => 0,
                Outcome::Preview(_) => 1,
                Outcome::Checked => 3,
                Outcome::Rejected(_) => 4,
                _ => 2,
            };
            self.verdicts[name].fetch_add(1, Ordering::Relaxed);
        }
    }
}
