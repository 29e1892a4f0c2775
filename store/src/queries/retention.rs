//! Deleting old records: the tables `executions`, `logs`, `losses`, `record_bytes` and `record_portions`.
//!
//! Each statement reads and deletes a bounded number of rows through an index, so what it costs does not grow with what is kept.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::dialect::{self, GREATEST, among_few};
use super::{Connection, Connections, sql, transaction};
use crate::column::{Unsigned, signed};
use crate::error::StoreError;
use crate::execution::{DELETED_AT_ONCE, RecordKind, fair_share};
use crate::id::AppId;

/// A row that was deleted.
#[derive(sqlx::FromRow)]
struct Deleted {
    app: AppId,
    bytes: i64,
}

/// What an app keeps.
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
    let up_to: Option<i64> =
        sqlx::query_scalar("SELECT max(last) FROM record_portions WHERE kind = $1 AND since < $2")
            .bind(kind.table())
            .bind(before)
            .fetch_one(connections.reader())
            .await?;
    let Some(up_to) = up_to else { return Ok(0) };
    let (table, bytes) = (kind.table(), kind.row_bytes());
    let mut transaction = transaction::begin_unsynced(connections).await?;
    let oldest =
        among_few(&format!("SELECT number FROM {table} WHERE number <= $1 ORDER BY number LIMIT $2"));
    let deleted: Vec<Deleted> = sqlx::query_as(sql!(
        "DELETE FROM {table} WHERE number {oldest} RETURNING app, CAST({bytes} AS bigint) AS bytes"
    ))
    .bind(up_to)
    .bind(i64::from(DELETED_AT_ONCE))
    .fetch_all(&mut *transaction)
    .await?;
    // In the order of the apps, in which those who write records change these rows too.
    let mut by_app = BTreeMap::new();
    for row in &deleted {
        *by_app.entry(row.app).or_default() += row.bytes;
    }
    for (app, bytes) in by_app {
        subtract(&mut transaction, kind, app, bytes).await?;
    }
    if deleted.len() < DELETED_AT_ONCE as usize {
        sqlx::query("DELETE FROM record_portions WHERE kind = $1 AND last <= $2")
            .bind(table)
            .bind(up_to)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM losses WHERE until < $1").bind(before).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(deleted.len() as u64)
}

pub(crate) async fn delete_surplus(
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
    let Some(most) = kept.first().filter(|kept| kept.bytes > share) else { return Ok(0) };
    let (table, bytes) = (kind.table(), kind.row_bytes());
    let mut transaction = transaction::begin_unsynced(connections).await?;
    dialect::read_in_order(&mut transaction).await?;
    // Said as a range and ordered by the app too, it is read by the index of apps: by the numbers alone, those of all apps that are
    // older would be passed over.
    let surplus = among_few(&format!(
        "SELECT number FROM (
             SELECT number, sum(bytes) OVER (ORDER BY number) - bytes AS before FROM (
                 SELECT number, {bytes} AS bytes FROM {table} WHERE app BETWEEN $1 AND $1 ORDER BY app, number LIMIT $2
             ) AS oldest
         ) AS counted WHERE before < $3"
    ));
    let deleted: Vec<i64> = sqlx::query_scalar(sql!(
        "DELETE FROM {table} WHERE number {surplus} RETURNING CAST({bytes} AS bigint)"
    ))
    .bind(most.app)
    .bind(i64::from(DELETED_AT_ONCE))
    .bind(signed(most.bytes - share))
    .fetch_all(&mut *transaction)
    .await?;
    match deleted.iter().sum() {
        // It keeps nothing: somebody else has deleted its rows.
        0 => forget(&mut transaction, kind, most.app).await?,
        bytes => subtract(&mut transaction, kind, most.app, bytes).await?,
    }
    transaction.commit().await?;
    Ok(deleted.len() as u64)
}

/// Deletes some records of an app, within a transaction. Whether there were any.
pub(super) async fn delete_of_app(
    tx: &mut Connection,
    kind: RecordKind,
    app: AppId,
    most: u32,
) -> Result<bool, StoreError> {
    let (table, bytes) = (kind.table(), kind.row_bytes());
    let some = among_few(&format!(
        "SELECT number FROM {table} WHERE app BETWEEN $1 AND $1 ORDER BY app, number LIMIT $2"
    ));
    let deleted: Vec<i64> =
        sqlx::query_scalar(sql!("DELETE FROM {table} WHERE number {some} RETURNING CAST({bytes} AS bigint)"))
            .bind(app)
            .bind(i64::from(most))
            .fetch_all(&mut *tx)
            .await?;
    match deleted.iter().sum() {
        0 => forget(tx, kind, app).await?,
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

async fn forget(tx: &mut Connection, kind: RecordKind, app: AppId) -> Result<(), StoreError> {
    let forget = sqlx::query("DELETE FROM record_bytes WHERE app = $1 AND kind = $2");
    forget.bind(app).bind(kind.table()).execute(tx).await?;
    Ok(())
}
