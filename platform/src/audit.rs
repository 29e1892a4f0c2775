//! Reads the audit log and applies its retention. Events are written by the store in the transaction of the
//! action itself.

use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use manifest_schema::name::AppName;
use store::{AUDIT_PRUNE_BATCH, AuditAction, NamespaceName, Store, StoreError};
use tokio::time::sleep;
use uuid::Uuid;

use crate::clock::Clock;
use crate::page::{Page, PageRequest};
use crate::state::{KvAction, StateTarget};

pub use store::{Actor, AuditEvent, AuditRow};

/// How often expired events are pruned; the first time this long after the start.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Reads the audit log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditLog {
    store: Store,
}

impl AuditLog {
    /// The audit log in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The events of one app or of all, the latest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn events(
        &self,
        app: Option<&AppName>,
        page: PageRequest<Uuid>,
    ) -> Result<Page<AuditRow, Uuid>, StoreError> {
        let rows = self.store.audit_events(app, page.cursor, page.limit).await?;
        Ok(Page::of(rows, page.limit, |rows| Some(rows.last()?.id)))
    }

    /// Records a change of the state, before it is made and once it can be accepted: the state can be in another file,
    /// and no change may be without its event. `subject` is the key, never its value.
    ///
    /// # Errors
    /// The store failed.
    pub async fn note_kv(
        &self,
        by: &Actor,
        app: &AppName,
        of: &StateTarget,
        action: KvAction,
        subject: &str,
    ) -> Result<(), StoreError> {
        let action = match action {
            KvAction::Set => AuditAction::KvSet,
            KvAction::Delete => AuditAction::KvDelete,
            KvAction::Import => AuditAction::KvImport,
        };
        let subject = match &of.name {
            NamespaceName::Production => subject.to_owned(),
            NamespaceName::Preview(branch) => format!("{subject} ({branch})"),
        };
        self.store.record_audit(&AuditEvent::new(by, action, Some(app), &subject)).await
    }
}

/// Prunes events older than `retention` periodically, until the future is dropped.
pub async fn run_retention(store: Store, retention: Duration, clock: Clock) -> Infallible {
    loop {
        sleep(PRUNE_INTERVAL).await;
        if let Err(error) = prune(&store, retention, &clock).await {
            tracing::warn!(%error, "cannot prune audit events");
        }
    }
}

/// Prunes in batches, so that no other statement waits for long.
async fn prune(store: &Store, retention: Duration, clock: &Clock) -> Result<(), StoreError> {
    let Some(now) = clock.retention_now(store).await? else { return Ok(()) };
    let before = TimeDelta::from_std(retention).ok().and_then(|age| now.checked_sub_signed(age));
    let before = before.unwrap_or(DateTime::UNIX_EPOCH);
    while store.prune_audit(before).await? >= u64::from(AUDIT_PRUNE_BATCH) {}
    Ok(())
}
