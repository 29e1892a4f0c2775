//! Writing and deleting records: the tables `executions`, `logs`, `losses`, `record_count` and `record_portions`.

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::connections::{Connection, Connections};
use super::transaction;
use crate::error::StoreError;
use crate::execution::row::{microseconds, small};
use crate::execution::{DELETED_AT_ONCE, ExecutionRecord, LineRecord, Loss, NewRecords, RecordKind, portion};
use crate::row::signed;

pub(crate) async fn record(
    connections: &Connections,
    records: &NewRecords,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *transaction).await?;
    let count = signed(records.count() as u64);
    // The row is held until the transaction ends, so that numbers are seen in their order.
    let last: i64 = sqlx::query_scalar(
        "INSERT INTO record_count (one, last) VALUES (true, $1)
         ON CONFLICT (one) DO UPDATE SET last = record_count.last + $1 RETURNING last",
    )
    .bind(count)
    .fetch_one(&mut *transaction)
    .await?;
    let executions_from = last - count + 1;
    let lines_from = executions_from + signed(records.executions.len() as u64);
    insert_executions(&mut transaction, executions_from, &records.executions).await?;
    insert_lines(&mut transaction, lines_from, &records.lines).await?;
    if let Some(loss) = &records.loss {
        insert_loss(&mut transaction, last, loss).await?;
    }
    for (kind, bytes) in records.bytes() {
        sqlx::query(
            "INSERT INTO record_portions (kind, since, last, bytes) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, since) DO UPDATE SET
                 last = greatest(record_portions.last, excluded.last),
                 bytes = record_portions.bytes + excluded.bytes",
        )
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

/// One that is there already came in before its writer lost the connection.
async fn insert_executions(
    connection: &mut Connection,
    from: i64,
    executions: &[ExecutionRecord],
) -> Result<(), StoreError> {
    fn each<'a, T>(
        executions: &'a [ExecutionRecord],
        read: impl Fn(&'a ExecutionRecord) -> T + 'a,
    ) -> Vec<T> {
        executions.iter().map(read).collect()
    }
    let failures = |execution: &ExecutionRecord| execution.failure.clone();
    let place = |execution: &ExecutionRecord| failures(execution).and_then(|failure| failure.place);
    sqlx::query(
        "INSERT INTO executions (
             number, id, request, app, deploy, commit_id, script, trigger, target, node, started_at, duration_us,
             operations, memory, status, failure, failure_message, failure_script, failure_line, failure_column, lines,
             lines_dropped
         )
         SELECT $1 + ordinality - 1, id, request, app, deploy, commit_id, script, trigger, target, node, started_at,
             duration_us, operations, memory, status, failure, failure_message, failure_script, failure_line,
             failure_column, lines, lines_dropped
         FROM unnest(
             $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bytea[], $7::text[], $8::text[], $9::text[],
             $10::text[], $11::timestamptz[], $12::bigint[], $13::bigint[], $14::bigint[], $15::integer[], $16::text[],
             $17::text[], $18::text[], $19::integer[], $20::integer[], $21::integer[], $22::bigint[]
         ) WITH ORDINALITY AS new (
             id, request, app, deploy, commit_id, script, trigger, target, node, started_at, duration_us, operations,
             memory, status, failure, failure_message, failure_script, failure_line, failure_column, lines, lines_dropped
         )
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(from)
    .bind(each(executions, |new| new.id))
    .bind(each(executions, |new| new.request))
    .bind(each(executions, |new| new.app.as_uuid()))
    .bind(each(executions, |new| signed(new.deploy.get())))
    .bind(each(executions, |new| new.commit.as_bytes().as_slice()))
    .bind(each(executions, |new| new.script.as_str()))
    .bind(each(executions, |new| new.trigger.as_str()))
    .bind(each(executions, |new| new.target.as_str()))
    .bind(each(executions, |new| new.node.as_str()))
    .bind(each(executions, |new| new.started_at))
    .bind(each(executions, |new| microseconds(new.duration)))
    .bind(each(executions, |new| signed(new.operations)))
    .bind(each(executions, |new| signed(new.memory)))
    .bind(each(executions, |new| new.status.map(i32::from)))
    .bind(each(executions, |new| failures(new).map(|failure| failure.kind)))
    .bind(each(executions, |new| failures(new).map(|failure| failure.message)))
    .bind(each(executions, |new| place(new).map(|place| place.script)))
    .bind(each(executions, |new| place(new).map(|place| small(place.line))))
    .bind(each(executions, |new| place(new).map(|place| small(place.column))))
    .bind(each(executions, |new| small(new.lines)))
    .bind(each(executions, |new| signed(new.lines_dropped)))
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_lines(
    connection: &mut Connection,
    from: i64,
    lines: &[LineRecord],
) -> Result<(), StoreError> {
    fn each<'a, T>(lines: &'a [LineRecord], read: impl Fn(&'a LineRecord) -> T + 'a) -> Vec<T> {
        lines.iter().map(read).collect()
    }
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO logs (number, execution, app, script, at, level, message, data, line, failure)
         SELECT $1 + ordinality - 1, execution, app, script, at, level, message, data, line, failure
         FROM unnest(
             $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::integer[],
             $10::boolean[]
         ) WITH ORDINALITY AS new (execution, app, script, at, level, message, data, line, failure)",
    )
    .bind(from)
    .bind(each(lines, |new| new.execution))
    .bind(each(lines, |new| new.app.as_uuid()))
    .bind(each(lines, |new| new.script.as_str()))
    .bind(each(lines, |new| new.at))
    .bind(each(lines, |new| new.level.as_str()))
    .bind(each(lines, |new| new.message.as_str()))
    .bind(each(lines, |new| new.data.as_deref()))
    .bind(each(lines, |new| new.line.map(small)))
    .bind(each(lines, |new| new.failure))
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_loss(connection: &mut Connection, number: i64, loss: &Loss) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO losses (number, node, since, until, executions, lines) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(number)
    .bind(&loss.node)
    .bind(loss.since)
    .bind(loss.until)
    .bind(signed(loss.executions))
    .bind(signed(loss.lines))
    .execute(connection)
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
    .fetch_one(connections)
    .await?;
    let Some(up_to) = up_to else { return Ok(0) };
    let table = kind.table();
    let deleted = sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM {table} WHERE number IN (
             SELECT number FROM {table} WHERE number <= $1 ORDER BY number LIMIT $2
         )"
    )))
    .bind(up_to)
    .bind(i64::from(DELETED_AT_ONCE))
    .execute(connections)
    .await?
    .rows_affected();
    if deleted < u64::from(DELETED_AT_ONCE) {
        sqlx::query("DELETE FROM record_portions WHERE kind = $1 AND last <= $2")
            .bind(table)
            .bind(up_to)
            .execute(connections)
            .await?;
        sqlx::query("DELETE FROM losses WHERE until < $1").bind(before).execute(connections).await?;
    }
    Ok(deleted)
}

pub(crate) async fn last_record(connections: &Connections) -> Result<u64, StoreError> {
    let last: Option<i64> =
        sqlx::query_scalar("SELECT last FROM record_count").fetch_optional(connections).await?;
    Ok(last.and_then(|last| u64::try_from(last).ok()).unwrap_or_default())
}
