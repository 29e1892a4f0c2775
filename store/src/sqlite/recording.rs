//! Writing and deleting records: the tables `executions`, `logs`, `losses`, `record_count` and `record_portions`.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, QueryBuilder, SqliteConnection};

use super::Connections;
use super::apps::key;
use crate::error::StoreError;
use crate::execution::row::{microseconds, small};
use crate::execution::{DELETED_AT_ONCE, ExecutionRecord, LineRecord, Loss, NewRecords, RecordKind, portion};
use crate::row::signed;

/// How many rows are written by one statement. Where there is one processor, requests wait while a statement is carried out,
/// so it is a short one; and one of full length is prepared once.
const ROWS_AT_ONCE: usize = 32;

pub(crate) async fn record(
    connections: &Connections,
    records: &NewRecords,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut transaction = connections.records.begin().await?;
    let count = signed(records.count() as u64);
    // The row is held until the transaction ends, so that numbers are seen in their order.
    let last: i64 = sqlx::query_scalar(
        "INSERT INTO record_count (one, last) VALUES (true, ?1)
         ON CONFLICT (one) DO UPDATE SET last = last + ?1 RETURNING last",
    )
    .bind(count)
    .fetch_one(&mut *transaction)
    .await?;
    let executions_from = last - count + 1;
    let lines_from = executions_from + signed(records.executions.len() as u64);
    for (executions, from) in
        records.executions.chunks(ROWS_AT_ONCE).zip((executions_from..).step_by(ROWS_AT_ONCE))
    {
        insert_executions(&mut transaction, from, executions).await?;
    }
    for (lines, from) in records.lines.chunks(ROWS_AT_ONCE).zip((lines_from..).step_by(ROWS_AT_ONCE)) {
        insert_lines(&mut transaction, from, lines).await?;
    }
    if let Some(loss) = &records.loss {
        insert_loss(&mut transaction, last, loss).await?;
    }
    for (kind, bytes) in records.bytes() {
        sqlx::query(
            "INSERT INTO record_portions (kind, since, last, bytes) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (kind, since) DO UPDATE SET
                 last = max(last, excluded.last),
                 bytes = bytes + excluded.bytes",
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

/// One that is there already came in before its writer heard so.
async fn insert_executions(
    connection: &mut SqliteConnection,
    from: i64,
    executions: &[ExecutionRecord],
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(
        "INSERT INTO executions (
             number, id, request, app, deploy, commit_id, script, trigger, target, node, started_at, duration_us,
             operations, memory, status, failure, failure_message, failure_script, failure_line, failure_column, lines,
             lines_dropped
         ) ",
    );
    query.push_values(executions.iter().zip(from..), |mut row, (new, number)| {
        let failure = new.failure.as_ref();
        let place = failure.and_then(|failure| failure.place.as_ref());
        row.push_bind(number)
            .push_bind(new.id.to_string())
            .push_bind(new.request.to_string())
            .push_bind(key(new.app))
            .push_bind(signed(new.deploy.get()))
            .push_bind(new.commit.as_bytes().as_slice())
            .push_bind(&new.script)
            .push_bind(new.trigger.as_str())
            .push_bind(&new.target)
            .push_bind(&new.node)
            .push_bind(new.started_at)
            .push_bind(microseconds(new.duration))
            .push_bind(signed(new.operations))
            .push_bind(signed(new.memory))
            .push_bind(new.status.map(i32::from))
            .push_bind(failure.map(|failure| &failure.kind))
            .push_bind(failure.map(|failure| &failure.message))
            .push_bind(place.map(|place| &place.script))
            .push_bind(place.map(|place| small(place.line)))
            .push_bind(place.map(|place| small(place.column)))
            .push_bind(small(new.lines))
            .push_bind(signed(new.lines_dropped));
    });
    query.push(" ON CONFLICT (id) DO NOTHING");
    query.build().persistent(executions.len() == ROWS_AT_ONCE).execute(connection).await?;
    Ok(())
}

async fn insert_lines(
    connection: &mut SqliteConnection,
    from: i64,
    lines: &[LineRecord],
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(
        "INSERT INTO logs (number, execution, app, script, at, level, message, data, line, failure) ",
    );
    query.push_values(lines.iter().zip(from..), |mut row, (new, number)| {
        row.push_bind(number)
            .push_bind(new.execution.to_string())
            .push_bind(key(new.app))
            .push_bind(&new.script)
            .push_bind(new.at)
            .push_bind(new.level.as_str())
            .push_bind(&new.message)
            .push_bind(&new.data)
            .push_bind(new.line.map(small))
            .push_bind(new.failure);
    });
    query.build().persistent(lines.len() == ROWS_AT_ONCE).execute(connection).await?;
    Ok(())
}

async fn insert_loss(connection: &mut SqliteConnection, number: i64, loss: &Loss) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO losses (number, node, since, until, executions, lines) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
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
             FROM record_portions WHERE kind = ?1
         ) AS portion
         WHERE since < ?2 OR later > ?3",
    )
    .bind(kind.table())
    .bind(before)
    .bind(signed(bytes_max))
    .fetch_one(&connections.read)
    .await?;
    let Some(up_to) = up_to else { return Ok(0) };
    let table = kind.table();
    let change = sqlx::query(AssertSqlSafe(format!(
        "DELETE FROM {table} WHERE number IN (
             SELECT number FROM {table} WHERE number <= ?1 ORDER BY number LIMIT ?2
         )"
    )))
    .bind(up_to)
    .bind(i64::from(DELETED_AT_ONCE));
    let deleted = connections.records.execute(change).await?;
    if deleted < u64::from(DELETED_AT_ONCE) {
        let change =
            sqlx::query("DELETE FROM record_portions WHERE kind = ?1 AND last <= ?2").bind(table).bind(up_to);
        connections.records.execute(change).await?;
        let change = sqlx::query("DELETE FROM losses WHERE until < ?1").bind(before);
        connections.records.execute(change).await?;
    }
    Ok(deleted)
}

pub(crate) async fn last_record(connections: &Connections) -> Result<u64, StoreError> {
    let last: Option<i64> =
        sqlx::query_scalar("SELECT last FROM record_count").fetch_optional(&connections.read).await?;
    Ok(last.and_then(|last| u64::try_from(last).ok()).unwrap_or_default())
}
