//! Writing and deleting records: the tables `executions`, `logs`, `losses`, `record_count` and `record_portions`.

use chrono::{DateTime, Utc};

use super::dialect::GREATEST;
use super::{Connection, Connections, records, sql, transaction};
use crate::column::{Unsigned, signed};
use crate::error::StoreError;
use crate::execution::{DELETED_AT_ONCE, Loss, NewRecords, RecordKind, portion};

pub(crate) async fn record(
    connections: &Connections,
    new: &NewRecords,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut transaction = transaction::begin_unsynced(connections).await?;
    let count = signed(new.count() as u64);
    // The row is held until the transaction ends, so that numbers are seen in their order.
    let last: i64 = sqlx::query_scalar(
        "INSERT INTO record_count (one, last) VALUES (true, $1)
         ON CONFLICT (one) DO UPDATE SET last = record_count.last + $1 RETURNING last",
    )
    .bind(count)
    .fetch_one(&mut *transaction)
    .await?;
    let executions_from = last - count + 1;
    let lines_from = executions_from + signed(new.executions.len() as u64);
    records::insert_executions(&mut transaction, executions_from, &new.executions).await?;
    records::insert_lines(&mut transaction, lines_from, &new.lines).await?;
    if let Some(loss) = &new.loss {
        insert_loss(&mut transaction, last, loss).await?;
    }
    for (kind, bytes) in new.bytes() {
        sqlx::query(sql!(
            "INSERT INTO record_portions (kind, since, last, bytes) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, since) DO UPDATE SET
                 last = {GREATEST}(record_portions.last, excluded.last),
                 bytes = record_portions.bytes + excluded.bytes"
        ))
        .bind(kind.table())
        .bind(portion(now))
        .bind(last)
        .bind(signed(bytes))
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn insert_loss(tx: &mut Connection, number: i64, loss: &Loss) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO losses (number, node, since, until, executions, lines) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(number)
    .bind(&loss.node)
    .bind(loss.since)
    .bind(loss.until)
    .bind(signed(loss.executions))
    .bind(signed(loss.lines))
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn delete_old(
    connections: &Connections,
    kind: RecordKind,
    before: DateTime<Utc>,
    bytes_max: u64,
) -> Result<u64, StoreError> {
    // The portion in which the bound is passed is kept.
    let up_to: Option<i64> = sqlx::query_scalar(
        "SELECT max(last) FROM (
             SELECT since, last, sum(bytes) OVER (ORDER BY since DESC) - bytes AS later
             FROM record_portions WHERE kind = $1
         ) AS portion
         WHERE since < $2 OR later > $3",
    )
    .bind(kind.table())
    .bind(before)
    .bind(signed(bytes_max))
    .fetch_one(connections.reader())
    .await?;
    let Some(up_to) = up_to else { return Ok(0) };
    let table = kind.table();
    let change = sqlx::query(sql!(
        "DELETE FROM {table} WHERE number IN (SELECT number FROM {table} WHERE number <= $1 ORDER BY number LIMIT $2)"
    ));
    let change = change.bind(up_to).bind(i64::from(DELETED_AT_ONCE));
    let deleted = transaction::execute_unsynced(connections, change).await?;
    if deleted < u64::from(DELETED_AT_ONCE) {
        let change = sqlx::query("DELETE FROM record_portions WHERE kind = $1 AND last <= $2");
        transaction::execute_unsynced(connections, change.bind(table).bind(up_to)).await?;
        let change = sqlx::query("DELETE FROM losses WHERE until < $1");
        transaction::execute_unsynced(connections, change.bind(before)).await?;
    }
    Ok(deleted)
}

pub(crate) async fn last_record(connections: &Connections) -> Result<u64, StoreError> {
    let last: Option<Unsigned<u64>> =
        sqlx::query_scalar("SELECT last FROM record_count").fetch_optional(connections.reader()).await?;
    Ok(last.map_or(0, u64::from))
}
