//! Writes records: the tables `executions`, `logs`, `dropped_records`, `record_sequence`, `record_bytes` and
//! `retention_buckets`.

use chrono::{DateTime, Utc};

use super::dialect::GREATEST;
use super::{Connection, Connections, records, sql, transaction};
use crate::error::StoreError;
use crate::execution::{DroppedRecords, NewRecords, RecordKind, bucket};
use crate::sql_types::{Unsigned, signed};

pub(crate) async fn write(
    connections: &Connections,
    new: &NewRecords,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut transaction = transaction::begin_unsynced(connections).await?;
    let count = signed(new.count() as u64);
    // Locks the row until the transaction ends, so that sequence numbers become visible in order.
    let last: i64 = sqlx::query_scalar(
        "INSERT INTO record_sequence (singleton, last_value) VALUES (true, $1)
         ON CONFLICT (singleton) DO UPDATE SET last_value = record_sequence.last_value + $1 RETURNING last_value",
    )
    .bind(count)
    .fetch_one(&mut *transaction)
    .await?;
    let executions_from = last - count + 1;
    let logs_from = executions_from + signed(new.executions.len() as u64);
    records::insert_executions(&mut transaction, executions_from, &new.executions).await?;
    records::insert_logs(&mut transaction, logs_from, &new.logs).await?;
    let dropped_from = logs_from + signed(new.logs.len() as u64);
    for (dropped, sequence) in new.dropped.iter().zip(dropped_from..) {
        insert_dropped(&mut transaction, sequence, dropped).await?;
    }
    for (kind, bytes) in new.bytes() {
        count_bytes(&mut transaction, kind, executions_from, last).await?;
        sqlx::query(sql!(
            "INSERT INTO retention_buckets (kind, since, last_sequence, bytes) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, since) DO UPDATE SET
                 last_sequence = {GREATEST}(retention_buckets.last_sequence, excluded.last_sequence),
                 bytes = retention_buckets.bytes + excluded.bytes"
        ))
        .bind(kind.table())
        .bind(bucket(now))
        .bind(last)
        .bind(signed(bytes))
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Adds the sizes of the inserted records to those of their apps. Reads them from the table, because executions that
/// existed were not inserted.
async fn count_bytes(tx: &mut Connection, kind: RecordKind, from: i64, to: i64) -> Result<(), StoreError> {
    let (table, bytes) = (kind.table(), kind.row_bytes());
    sqlx::query(sql!(
        "INSERT INTO record_bytes (app, kind, bytes)
         SELECT app, $1, sum({bytes}) FROM {table} WHERE sequence BETWEEN $2 AND $3 GROUP BY app ORDER BY app
         ON CONFLICT (app, kind) DO UPDATE SET bytes = record_bytes.bytes + excluded.bytes"
    ))
    .bind(table)
    .bind(from)
    .bind(to)
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_dropped(
    tx: &mut Connection,
    sequence: i64,
    dropped: &DroppedRecords,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO dropped_records (sequence, app, node, since, until, executions, log_lines) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(sequence)
    .bind(dropped.app)
    .bind(&dropped.node)
    .bind(dropped.since)
    .bind(dropped.until)
    .bind(signed(dropped.executions))
    .bind(signed(dropped.log_lines))
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn last_record_sequence(connections: &Connections) -> Result<u64, StoreError> {
    let last: Option<Unsigned<u64>> = sqlx::query_scalar("SELECT last_value FROM record_sequence")
        .fetch_optional(connections.reader())
        .await?;
    Ok(last.map_or(0, u64::from))
}
