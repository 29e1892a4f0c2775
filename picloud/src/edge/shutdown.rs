//! The phases of a graceful shutdown, for everything that has to react to it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// A graceful shutdown in three phases: readiness fails, so that load balancers stop sending requests; then the next response on each
/// connection is its last (`Connection: close`, GOAWAY); then idle connections are closed and running requests are drained.
#[derive(Debug, Default)]
pub(crate) struct Shutdown {
    not_ready: AtomicBool,
    draining: Phase,
    closing: Phase,
}

/// A phase of the shutdown, which begins once.
#[derive(Debug, Default)]
pub(super) struct Phase {
    begun: AtomicBool,
    notify: Notify,
}

impl Phase {
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Completes when the phase begins. To not miss it, check [`Phase::has_begun`] after creating the future.
    pub(super) fn notified(&self) -> Notified<'_> {
        self.notify.notified()
    }

    fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }
}

impl Shutdown {
    /// Whether the readiness check fails.
    pub(crate) fn is_not_ready(&self) -> bool {
        self.not_ready.load(Ordering::Relaxed)
    }

    /// Completes when connections are being drained, at once if they are already.
    pub(crate) async fn drain_begun(&self) {
        let notified = self.draining.notified();
        if !self.draining.has_begun() {
            notified.await;
        }
    }

    /// Whether the next response on a connection is its last.
    pub(super) fn draining(&self) -> &Phase {
        &self.draining
    }

    /// Whether idle connections are closed.
    pub(super) fn closing(&self) -> &Phase {
        &self.closing
    }

    pub(super) fn fail_readiness(&self) {
        self.not_ready.store(true, Ordering::Relaxed);
    }

    pub(super) fn begin_drain(&self) {
        self.fail_readiness();
        self.draining.begin();
    }

    pub(super) fn begin_close(&self) {
        self.begin_drain();
        self.closing.begin();
    }
}
