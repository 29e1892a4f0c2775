//! Inserting into `executions` and `logs`: a column of all rows is one array.

use super::connections::Connection;
use super::executions::EXECUTION;
use super::logs::LINE;
use super::sql;
use crate::column::{Id, Microseconds, signed, signed_small};
use crate::error::StoreError;
use crate::execution::{ExecutionRecord, LineRecord};

/// One that is there already came in before its writer lost the connection.
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
    let place = |execution: &ExecutionRecord| failures(execution).and_then(|failure| failure.place);
    sqlx::query(sql!(
        "INSERT INTO executions (number, {EXECUTION}) SELECT $1 + ordinality - 1, {EXECUTION} FROM unnest(
             $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bytea[], $7::text[], $8::text[], $9::text[],
             $10::text[], $11::timestamptz[], $12::bigint[], $13::bigint[], $14::bigint[], $15::integer[], $16::text[],
             $17::text[], $18::text[], $19::integer[], $20::integer[], $21::integer[], $22::bigint[]
         ) WITH ORDINALITY AS new ({EXECUTION})
         ON CONFLICT (id) DO NOTHING"
    ))
    .bind(from)
    .bind(each(executions, |new| Id(new.id)))
    .bind(each(executions, |new| Id(new.request)))
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
    .bind(each(executions, |new| signed(new.memory)))
    .bind(each(executions, |new| new.status.map(i32::from)))
    .bind(each(executions, |new| failures(new).map(|failure| failure.kind)))
    .bind(each(executions, |new| failures(new).map(|failure| failure.message)))
    .bind(each(executions, |new| place(new).map(|place| place.script)))
    .bind(each(executions, |new| place(new).map(|place| signed_small(place.line))))
    .bind(each(executions, |new| place(new).map(|place| signed_small(place.column))))
    .bind(each(executions, |new| signed_small(new.lines)))
    .bind(each(executions, |new| signed(new.lines_dropped)))
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn insert_lines(
    tx: &mut Connection,
    from: i64,
    lines: &[LineRecord],
) -> Result<(), StoreError> {
    fn each<'a, T>(lines: &'a [LineRecord], read: impl Fn(&'a LineRecord) -> T + 'a) -> Vec<T> {
        lines.iter().map(read).collect()
    }
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(sql!(
        "INSERT INTO logs (number, {LINE}) SELECT $1 + ordinality - 1, {LINE} FROM unnest(
             $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::integer[],
             $10::boolean[]
         ) WITH ORDINALITY AS new ({LINE})"
    ))
    .bind(from)
    .bind(each(lines, |new| Id(new.execution)))
    .bind(each(lines, |new| Id(new.app.as_uuid())))
    .bind(each(lines, |new| new.script.as_str()))
    .bind(each(lines, |new| new.at))
    .bind(each(lines, |new| new.level.as_str()))
    .bind(each(lines, |new| new.message.as_str()))
    .bind(each(lines, |new| new.data.as_deref()))
    .bind(each(lines, |new| new.line.map(signed_small)))
    .bind(each(lines, |new| new.failure))
    .execute(tx)
    .await?;
    Ok(())
}
