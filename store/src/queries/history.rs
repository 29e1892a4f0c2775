//! The time span of entries in the database.

use chrono::{DateTime, TimeDelta, Utc};

use super::Connections;
use crate::error::StoreError;

pub(crate) async fn has_continuous_history(
    connections: &Connections,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let continuous = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM audit_events WHERE at BETWEEN $1 AND $2)
             OR EXISTS (SELECT 1 FROM retention_buckets WHERE since BETWEEN $1 AND $2)
             OR NOT (
                 EXISTS (SELECT 1 FROM audit_events WHERE at < $1) OR EXISTS (SELECT 1 FROM retention_buckets WHERE since < $1)
             )",
    )
    .bind(now - TimeDelta::days(14))
    .bind(now - TimeDelta::days(7))
    .fetch_one(connections.reader())
    .await?;
    Ok(continuous)
}
