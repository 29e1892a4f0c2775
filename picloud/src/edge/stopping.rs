//! Whether the node is stopping, for everything that has to know.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The three steps of a stop: the node says that it is not ready, so that balancers turn away from it; then each connection is
/// given one more answer, which says that it is the last; then idle connections are closed and what runs is finished.
#[derive(Debug, Default)]
pub(crate) struct Stopping {
    turned_away: AtomicBool,
    last_answers: Step,
    closing: Step,
}

/// A step of a stop, which is taken once.
#[derive(Debug, Default)]
pub(super) struct Step {
    taken: AtomicBool,
    told: Notify,
}

impl Step {
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// Done when the step is taken. To miss nothing, ask [`Step::is_taken`] after this was made.
    pub(super) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }

    fn take(&self) {
        self.taken.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }
}

impl Stopping {
    /// Whether the node wants no more requests.
    pub(crate) fn is_turning_away(&self) -> bool {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Done when open connections are to be finished, also where that has begun already.
    pub(crate) async fn begun(&self) {
        let told = self.last_answers.told();
        if !self.last_answers.is_taken() {
            told.await;
        }
    }

    /// Whether the next answer on a connection is its last.
    pub(super) fn last_answers(&self) -> &Step {
        &self.last_answers
    }

    /// Whether connections without a request are closed.
    pub(super) fn closing(&self) -> &Step {
        &self.closing
    }

    pub(super) fn turn_away(&self) {
        self.turned_away.store(true, Ordering::Relaxed);
    }

    pub(super) fn begin_last_answers(&self) {
        self.turn_away();
        self.last_answers.take();
    }

    pub(super) fn begin_closing(&self) {
        self.begin_last_answers();
        self.closing.take();
    }
}
