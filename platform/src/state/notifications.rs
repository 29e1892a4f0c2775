//! Notifies other nodes of changed namespaces, so that they drop what has changed before an execution needs it. They find
//! it out without a notification, too.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::shared_state::NOTIFIED_MAX;
use store::{NamespaceId, SharedState};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Shared;

/// The pause between two notifications: each takes a lock of the whole database server when it commits.
const INTERVAL: Duration = Duration::from_millis(50);

/// The namespaces that other nodes are not notified of yet.
#[derive(Debug, Default)]
pub(super) struct Notifications {
    changed: Mutex<BTreeSet<NamespaceId>>,
    work: Notify,
}

impl Notifications {
    fn changed(&self) -> MutexGuard<'_, BTreeSet<NamespaceId>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this node has changed a namespace.
    pub(super) fn note(&self, id: NamespaceId) {
        if self.changed().insert(id) {
            self.work.notify_one();
        }
    }

    fn take(&self) -> Vec<NamespaceId> {
        let mut changed = self.changed();
        let taken: Vec<NamespaceId> = changed.iter().take(NOTIFIED_MAX).copied().collect();
        changed.retain(|id| !taken.contains(id));
        taken
    }
}

/// Notifies for as long as the node runs. Sleeps while nothing changes.
pub(super) async fn run(shared: Arc<Shared>, store: SharedState) {
    loop {
        let changed = shared.notifications.take();
        if changed.is_empty() {
            shared.notifications.work.notified().await;
            continue;
        }
        if let Err(error) = store.notify(&changed).await {
            tracing::debug!(%error, "cannot notify other nodes of changed state");
        }
        sleep(INTERVAL).await;
    }
}
