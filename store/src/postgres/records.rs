//! Inserts into `executions` and `logs`, each column as one array.

use super::connections::Connection;
use super::executions::EXECUTION;
use super::logs::LOG;
use super::sql;
use crate::error::StoreError;
use crate::execution::{ExecutionRecord, LogRecord};
use crate::sql_types::{Id, Microseconds, signed, signed_small};

/// An execution that exists was written before its writer lost the connection.
pub(super) async fn insert_executions(
    tx: &mut Connection,
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
    let location = |execution: &ExecutionRecord| failures(execution).and_then(|failure| failure.location);
    sqlx::query(sql!(
        "INSERT INTO executions (sequence, {EXECUTION}) SELECT $1 + ordinality - 1, {EXECUTION} FROM unnest(
             $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bytea[], $7::text[], $8::text[], $9::text[],
             $10::text[], $11::timestamptz[], $12::bigint[], $13::bigint[], $14::bigint[], $15::integer[], $16::text[],
             $17::text[], $18::text[], $19::integer[], $20::integer[], $21::integer[], $22::bigint[]
         ) WITH ORDINALITY AS new ({EXECUTION})
         ON CONFLICT (id) DO NOTHING"
    ))
    .bind(from)
    .bind(each(executions, |new| Id(new.id)))
    .bind(each(executions, |new| Id(new.request_id)))
    .bind(each(executions, |new| Id(new.app.as_uuid())))
    .bind(each(executions, |new| signed(new.deploy.get())))
    .bind(each(executions, |new| new.commit.as_bytes().as_slice()))
    .bind(each(executions, |new| new.script.as_str()))
    .bind(each(executions, |new| new.trigger.as_str()))
    .bind(each(executions, |new| new.target.as_str()))
    .bind(each(executions, |new| new.node.as_str()))
    .bind(each(executions, |new| new.started_at))
    .bind(each(executions, |new| Microseconds::from(new.duration)))
    .bind(each(executions, |new| signed(new.operations)))
    .bind(each(executions, |new| signed(new.memory_peak_bytes)))
    .bind(each(executions, |new| new.status.map(i32::from)))
    .bind(each(executions, |new| failures(new).map(|failure| failure.kind)))
    .bind(each(executions, |new| failures(new).map(|failure| failure.message)))
    .bind(each(executions, |new| location(new).map(|location| location.script)))
    .bind(each(executions, |new| location(new).map(|location| signed_small(location.line))))
    .bind(each(executions, |new| location(new).map(|location| signed_small(location.column))))
    .bind(each(executions, |new| signed_small(new.log_lines)))
    .bind(each(executions, |new| signed(new.log_lines_dropped)))
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn insert_logs(
    tx: &mut Connection,
    from: i64,
    logs: &[LogRecord],
) -> Result<(), StoreError> {
    fn each<'a, T>(logs: &'a [LogRecord], read: impl Fn(&'a LogRecord) -> T + 'a) -> Vec<T> {
        logs.iter().map(read).collect()
    }
    if logs.is_empty() {
        return Ok(());
    }
    sqlx::query(sql!(
        "INSERT INTO logs (sequence, {LOG}) SELECT $1 + ordinality - 1, {LOG} FROM unnest(
             $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::integer[],
             $10::boolean[]
         ) WITH ORDINALITY AS new ({LOG})"
    ))
    .bind(from)
    .bind(each(logs, |new| Id(new.execution)))
    .bind(each(logs, |new| Id(new.app.as_uuid())))
    .bind(each(logs, |new| new.script.as_str()))
    .bind(each(logs, |new| new.at))
    .bind(each(logs, |new| new.level.as_str()))
    .bind(each(logs, |new| new.message.as_str()))
    .bind(each(logs, |new| new.data.as_deref()))
    .bind(each(logs, |new| new.line.map(signed_small)))
    .bind(each(logs, |new| new.failure))
    .execute(tx)
    .await?;
    Ok(())
}
