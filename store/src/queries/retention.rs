//! Deletes old records: the tables `executions`, `logs`, `dropped_records`, `record_bytes` and `retention_buckets`.
//!
//! Each statement reads and deletes a limited number of rows through an index, so that its cost does not grow with
//! the table.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::dialect::{self, GREATEST, in_query};
use super::{Connection, Connections, sql, transaction};
use crate::error::StoreError;
use crate::execution::{RECORD_DELETE_BATCH, RecordKind, fair_share};
use crate::id::AppId;
use crate::sql_types::{Unsigned, signed};

/// A deleted row.
#[derive(sqlx::FromRow)]
struct Deleted {
    app: AppId,
    bytes: i64,
}

/// The total size of the records of an app.
#[derive(sqlx::FromRow)]
struct Kept {
    app: AppId,
    #[sqlx(try_from = "Unsigned<u64>")]
    bytes: u64,
}

pub(crate) async fn delete_old(
    connections: &Connections,
    kind: RecordKind,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let last: Option<i64> =
        sqlx::query_scalar("SELECT max(last_sequence) FROM retention_buckets WHERE kind = $1 AND since < $2")
            .bind(kind.table())
            .bind(before)
            .fetch_one(connections.reader())
            .await?;
    let Some(last) = last else { return Ok(0) };
    let (table, bytes) = (kind.table(), kind.row_bytes());
    let mut transaction = transaction::begin_unsynced(connections).await?;
    let oldest =
        in_query(&format!("SELECT sequence FROM {table} WHERE sequence <= $1 ORDER BY sequence LIMIT $2"));
    let deleted: Vec<Deleted> = sqlx::query_as(sql!(
        "DELETE FROM {table} WHERE sequence {oldest} RETURNING app, CAST({bytes} AS bigint) AS bytes"
    ))
    .bind(last)
    .bind(i64::from(RECORD_DELETE_BATCH))
    .fetch_all(&mut *transaction)
    .await?;
    // In the order of apps, like writers of records, to prevent deadlocks.
    let mut by_app = BTreeMap::new();
    for row in &deleted {
        *by_app.entry(row.app).or_default() += row.bytes;
    }
    for (app, bytes) in by_app {
        subtract(&mut transaction, kind, app, bytes).await?;
    }
    if deleted.len() < RECORD_DELETE_BATCH as usize {
        sqlx::query("DELETE FROM retention_buckets WHERE kind = $1 AND last_sequence <= $2")
            .bind(table)
            .bind(last)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM dropped_records WHERE until < $1")
            .bind(before)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(deleted.len() as u64)
}

pub(crate) async fn delete_excess(
    connections: &Connections,
    kind: RecordKind,
    bytes_max: u64,
) -> Result<u64, StoreError> {
    let kept: Vec<Kept> =
        sqlx::query_as("SELECT app, bytes FROM record_bytes WHERE kind = $1 ORDER BY bytes DESC, app")
            .bind(kind.table())
            .fetch_all(connections.reader())
            .await?;
    let share = fair_share(kept.iter().map(|kept| kept.bytes), bytes_max);
    let Some(largest) = kept.first().filter(|kept| kept.bytes > share) else { return Ok(0) };
    let (table, bytes) = (kind.table(), kind.row_bytes());
    let mut transaction = transaction::begin_unsynced(connections).await?;
    dialect::prefer_index_order(&mut transaction).await?;
    // The range condition and the order make the planner use the index on apps, instead of skipping older records of
    // all apps.
    let surplus = in_query(&format!(
        "SELECT sequence FROM (
             SELECT sequence, sum(bytes) OVER (ORDER BY sequence) - bytes AS before FROM (
                 SELECT sequence, {bytes} AS bytes FROM {table} WHERE app BETWEEN $1 AND $1 ORDER BY app, sequence LIMIT $2
             ) AS oldest
         ) AS counted WHERE before < $3"
    ));
    let deleted: Vec<i64> = sqlx::query_scalar(sql!(
        "DELETE FROM {table} WHERE sequence {surplus} RETURNING CAST({bytes} AS bigint)"
    ))
    .bind(largest.app)
    .bind(i64::from(RECORD_DELETE_BATCH))
    .bind(signed(largest.bytes - share))
    .fetch_all(&mut *transaction)
    .await?;
    match deleted.iter().sum() {
        // No rows: another node has deleted them.
        0 => delete_size(&mut transaction, kind, largest.app).await?,
        bytes => subtract(&mut transaction, kind, largest.app, bytes).await?,
    }
    transaction.commit().await?;
    Ok(deleted.len() as u64)
}

/// Deletes a batch of records of an app. Returns whether there were any.
pub(super) async fn delete_of_app(
    tx: &mut Connection,
    kind: RecordKind,
    app: AppId,
    limit: u32,
) -> Result<bool, StoreError> {
    let (table, bytes) = (kind.table(), kind.row_bytes());
    let some = in_query(&format!(
        "SELECT sequence FROM {table} WHERE app BETWEEN $1 AND $1 ORDER BY app, sequence LIMIT $2"
    ));
    let deleted: Vec<i64> = sqlx::query_scalar(sql!(
        "DELETE FROM {table} WHERE sequence {some} RETURNING CAST({bytes} AS bigint)"
    ))
    .bind(app)
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    match deleted.iter().sum() {
        0 => delete_size(tx, kind, app).await?,
        bytes => subtract(tx, kind, app, bytes).await?,
    }
    Ok(!deleted.is_empty())
}

async fn subtract(tx: &mut Connection, kind: RecordKind, app: AppId, bytes: i64) -> Result<(), StoreError> {
    sqlx::query(sql!(
        "UPDATE record_bytes SET bytes = {GREATEST}(bytes - $3, 0) WHERE app = $1 AND kind = $2"
    ))
    .bind(app)
    .bind(kind.table())
    .bind(bytes)
    .execute(tx)
    .await?;
    Ok(())
}

async fn delete_size(tx: &mut Connection, kind: RecordKind, app: AppId) -> Result<(), StoreError> {
    let delete_size = sqlx::query("DELETE FROM record_bytes WHERE app = $1 AND kind = $2");
    delete_size.bind(app).bind(kind.table()).execute(tx).await?;
    Ok(())
}
