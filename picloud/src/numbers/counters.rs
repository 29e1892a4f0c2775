//! What only the edge sees: answers that no app gave, and pushes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use platform::deploy::{Outcome, RefReport};
use platform::histogram::Histogram;

/// The ends of the classes that durations of pushes are counted in.
const PUSH_BOUNDS: [Duration; 8] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
];

/// What a request was for that no app answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    /// The control plane: API, health, metrics.
    Control,
    /// A repository.
    Git,
    /// Nothing: no app has the address, or the request broke a rule.
    Nothing,
}

impl Handler {
    pub(super) const ALL: [Self; 3] = [Self::Control, Self::Git, Self::Nothing];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Git => "git",
            Self::Nothing => "nothing",
        }
    }
}

/// Why a connection was closed to make room for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It had no request.
    Idle,
    /// A head or a body was slow on it.
    Slow,
}

impl Closed {
    pub(super) const ALL: [Self; 2] = [Self::Idle, Self::Slow];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Slow => "slow",
        }
    }
}

/// The reports on refs of pushes, by name.
pub(super) const VERDICTS: [&str; 5] = ["live", "preview", "stored", "checked", "rejected"];

/// What the edge counts beside what apps do.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Answers by plane, and by class of status.
    pub(super) answers: [[AtomicU64; 5]; Handler::ALL.len()],
    pub(super) reports: [AtomicU64; VERDICTS.len()],
    pub(super) pushes: Histogram,
    /// Connections that were closed to make room, by [`Closed`].
    pub(super) closed: [AtomicU64; Closed::ALL.len()],
}

impl Default for Numbers {
    fn default() -> Self {
        let (answers, reports, closed) = Default::default();
        Self { answers, reports, pushes: Histogram::new(&PUSH_BOUNDS), closed }
    }
}

impl Numbers {
    /// A request was answered, and by no app.
    pub(crate) fn answered(&self, plane: Handler, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.answers[plane as usize][class].fetch_add(1, Ordering::Relaxed);
    }

    /// Connections were closed to make room for others.
    pub(crate) fn closed(&self, why: Closed, connections: usize) {
        self.closed[why as usize].fetch_add(connections as u64, Ordering::Relaxed);
    }

    /// A push came to its end.
    pub(crate) fn pushed(&self, reports: &[RefReport], took: Duration) {
        self.pushes.observe(took);
        for verdict in reports {
            let name = match &verdict.outcome {
                Outcome::Live(_) => 0,
                Outcome::Preview(_) => 1,
                Outcome::Checked => 3,
                Outcome::Rejected(_) => 4,
                _ => 2,
            };
            self.reports[name].fetch_add(1, Ordering::Relaxed);
        }
    }
}
