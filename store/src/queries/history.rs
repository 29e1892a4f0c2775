//! How far back the database's own entries go.

use chrono::{DateTime, TimeDelta, Utc};

use super::Connections;
use crate::error::StoreError;

pub(crate) async fn has_continuous_history(
    connections: &Connections,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let continuous = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM audit WHERE at BETWEEN $1 AND $2)
             OR EXISTS (SELECT 1 FROM record_portions WHERE since BETWEEN $1 AND $2)
             OR NOT (
                 EXISTS (SELECT 1 FROM audit WHERE at < $1) OR EXISTS (SELECT 1 FROM record_portions WHERE since < $1)
             )",
    )
    .bind(now - TimeDelta::days(14))
    .bind(now - TimeDelta::days(7))
    .fetch_one(connections.reader())
    .await?;
    Ok(continuous)
}
