//! Whether the node is stopping, for everything that has to know.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The two steps of a stop: the node says that it is not ready, so that balancers turn away from it; then it takes no more
/// connections and lets those that are open finish.
#[derive(Debug, Default)]
pub(crate) struct Stopping {
    turned_away: AtomicBool,
    begun: AtomicBool,
    told: Notify,
}

impl Stopping {
    /// Whether the node wants no more requests.
    pub(crate) fn is_turning_away(&self) -> bool {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Whether open connections are to be finished.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Done when open connections are to be finished, also where that has begun already.
    pub(crate) async fn begun(&self) {
        let told = self.told();
        if !self.has_begun() {
            told.await;
        }
    }

    pub(super) fn turn_away(&self) {
        self.turned_away.store(true, Ordering::Relaxed);
    }

    pub(super) fn begin(&self) {
        self.turn_away();
        self.begun.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Done when open connections are to be finished. To miss nothing, ask [`Stopping::has_begun`] after this was made.
    pub(super) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }
}
