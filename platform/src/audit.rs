//! The list of who did what, read and kept within bounds. What is done is added to it by the store, together with the act itself.

use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use manifest_schema::name::AppName;
use store::{AUDIT_PRUNED_AT_ONCE, Store, StoreError};
use tokio::time::sleep;
use uuid::Uuid;

use crate::clock::Clock;
use crate::page::{Page, PageRequest};

pub use store::{Act, Actor, AuditRow};

/// How often old acts are deleted; the first time so long after the start.
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);

/// Reads the list. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditLog {
    store: Store,
}

impl AuditLog {
    /// The list in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The latest acts, of one app or of all, the latest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn acts(
        &self,
        app: Option<&AppName>,
        page: PageRequest<Uuid>,
    ) -> Result<Page<AuditRow, Uuid>, StoreError> {
        let rows = self.store.audit(app, page.cursor, page.limit).await?;
        Ok(Page::of(rows, page.limit, |rows| Some(rows.last()?.id)))
    }
}

/// Deletes acts that are older than `keep_for`, now and then, until the future is dropped.
pub async fn keep_bounded(store: Store, keep_for: Duration, clock: Clock) -> Infallible {
    loop {
        sleep(PRUNE_EVERY).await;
        if let Err(error) = prune(&store, keep_for, &clock).await {
            tracing::warn!(%error, "old acts of the audit list are not deleted");
        }
    }
}

/// Some at a time, so that nobody waits for long.
async fn prune(store: &Store, keep_for: Duration, clock: &Clock) -> Result<(), StoreError> {
    let Some(now) = clock.retention_now(store).await? else { return Ok(()) };
    let before = TimeDelta::from_std(keep_for).ok().and_then(|age| now.checked_sub_signed(age));
    let before = before.unwrap_or(DateTime::UNIX_EPOCH);
    while store.prune_audit(before).await? >= u64::from(AUDIT_PRUNED_AT_ONCE) {}
    Ok(())
}
