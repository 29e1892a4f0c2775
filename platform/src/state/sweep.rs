//! Deletes what has expired.
//!
//! A key with a TTL does not exist from its moment on, whether it is deleted or not. It counts for the quota until
//! then.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use store::{ExpiredEntry, NamespaceId, NamespaceRow, StateStore};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Shared;
use super::freshness::ReadError;

/// The pause between two sweeps, and after one that failed.
const INTERVAL: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The clock of this node may be ahead of that of the database, by which executions on several nodes judge keys.
const CLOCK_MARGIN_MS: i64 = 2_000;

/// How many keys are deleted at once.
const BATCH: u32 = 500;

/// When the next key expires.
#[derive(Debug)]
pub(super) struct Schedule {
    next_ms: AtomicI64,
    earlier: Notify,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { next_ms: AtomicI64::new(i64::MAX), earlier: Notify::new() }
    }
}

impl Schedule {
    fn next_ms(&self) -> i64 {
        self.next_ms.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Notes that a key expires at this time.
    pub(super) fn note_expiry(&self, at_ms: i64) {
        if self.sweep.next_ms.fetch_min(at_ms, Ordering::SeqCst) > at_ms {
            self.sweep.earlier.notify_one();
        }
    }

    /// What has expired at this time has expired on every node.
    fn sweep_time_ms(&self) -> i64 {
        self.clock.now_ms() - if self.is_shared() { CLOCK_MARGIN_MS } else { 0 }
    }
}

/// Sweeps for as long as the node runs. Sleeps until the next key expires.
pub(super) async fn run(shared: Arc<Shared>, store: StateStore) {
    loop {
        match store.next_expiry().await {
            Ok(next) => {
                shared.sweep.next_ms.fetch_min(next.unwrap_or(i64::MAX), Ordering::SeqCst);
            }
            Err(error) => {
                tracing::debug!(%error, "cannot read when state expires");
                sleep(RETRY_INTERVAL).await;
                continue;
            }
        }
        loop {
            let left = shared.sweep.next_ms().saturating_sub(shared.sweep_time_ms());
            if left <= 0 {
                break;
            }
            // A clock that is set forward is noticed within an hour.
            let wait = Duration::from_millis(left.unsigned_abs()).min(Duration::from_secs(60 * 60));
            match shared.sweep.next_ms() {
                i64::MAX => shared.sweep.earlier.notified().await,
                _ => {
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = shared.sweep.earlier.notified() => {}
                    }
                }
            }
        }
        // Later keys are noted from here on; what is there is found by the next look at the database.
        shared.sweep.next_ms.store(i64::MAX, Ordering::SeqCst);
        match sweep(&shared, &store).await {
            Ok(()) => sleep(INTERVAL).await,
            Err(error) => {
                tracing::warn!(%error, "cannot delete expired state");
                sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

/// Deletes everything that has expired. What cannot be deleted in one namespace does not stop the others.
async fn sweep(shared: &Arc<Shared>, store: &StateStore) -> Result<(), ReadError> {
    let rows: HashMap<NamespaceId, NamespaceRow> =
        store.namespaces(None).await?.into_iter().map(|row| (row.id, row)).collect();
    loop {
        let read = || store.expired_entries(shared.sweep_time_ms(), BATCH);
        let expired = read().await?;
        let is_last = expired.len() < BATCH as usize;
        let mut found: HashMap<NamespaceId, Vec<ExpiredEntry>> = HashMap::new();
        for entry in expired {
            found.entry(entry.namespace).or_default().push(entry);
        }
        let mut has_deleted = false;
        for (id, found) in found {
            // One that is created meanwhile is for the next sweep.
            let Some(row) = rows.get(&id) else { continue };
            let namespace = shared.namespace(row.app, &row.name);
            has_deleted |= namespace.delete_expired(&found, read).await?;
        }
        if is_last || !has_deleted {
            return Ok(());
        }
    }
}
