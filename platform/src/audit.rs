//! The list of who did what, kept within bounds. What is done is added to it by the store, together with the act itself.

use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use store::{AUDIT_PRUNED_AT_ONCE, Store, StoreError};
use tokio::time::sleep;

use crate::clock::Clock;

/// How often old acts are deleted; the first time so long after the start.
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);

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
