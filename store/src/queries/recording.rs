//! Writing records: the tables `executions`, `logs`, `losses`, `record_count`, `record_bytes` and `record_portions`.

use chrono::{DateTime, Utc};

use super::dialect::GREATEST;
use super::{Connection, Connections, records, sql, transaction};
use crate::column::{Unsigned, signed};
use crate::error::StoreError;
use crate::execution::{Loss, NewRecords, RecordKind, portion};

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
    let losses_from = lines_from + signed(new.lines.len() as u64);
    for (loss, number) in new.losses.iter().zip(losses_from..) {
        insert_loss(&mut transaction, number, loss).await?;
    }
    for (kind, bytes) in new.bytes() {
        count_bytes(&mut transaction, kind, executions_from, last).await?;
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

/// Counts the records of these numbers for their apps: what is there, and not what was sent, since executions that were there
/// before are not written again.
async fn count_bytes(tx: &mut Connection, kind: RecordKind, from: i64, to: i64) -> Result<(), StoreError> {
    let (table, bytes) = (kind.table(), kind.row_bytes());
    sqlx::query(sql!(
        "INSERT INTO record_bytes (app, kind, bytes)
         SELECT app, $1, sum({bytes}) FROM {table} WHERE number BETWEEN $2 AND $3 GROUP BY app ORDER BY app
         ON CONFLICT (app, kind) DO UPDATE SET bytes = record_bytes.bytes + excluded.bytes"
    ))
    .bind(table)
    .bind(from)
    .bind(to)
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_loss(tx: &mut Connection, number: i64, loss: &Loss) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO losses (number, app, node, since, until, executions, lines) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(number)
    .bind(loss.app)
    .bind(&loss.node)
    .bind(loss.since)
    .bind(loss.until)
    .bind(signed(loss.executions))
    .bind(signed(loss.lines))
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn last_record(connections: &Connections) -> Result<u64, StoreError> {
    let last: Option<Unsigned<u64>> =
        sqlx::query_scalar("SELECT last FROM record_count").fetch_optional(connections.reader()).await?;
    Ok(last.map_or(0, u64::from))
}
