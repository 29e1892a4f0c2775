//! Inserting into `executions` and `logs`: some rows by one statement.

use sqlx::QueryBuilder;

use super::Connection;
use super::executions::EXECUTION;
use super::logs::LINE;
use crate::column::{Id, Microseconds, signed, signed_small};
use crate::error::StoreError;
use crate::execution::{ExecutionRecord, LineRecord};

/// How many rows are written by one statement. Where there is one processor, requests wait while a statement is carried out,
/// so it is a short one; and one of full length is prepared once.
const ROWS_AT_ONCE: usize = 32;

/// One that is there already came in before its writer heard so.
pub(super) async fn insert_executions(
    tx: &mut Connection,
    from: i64,
    executions: &[ExecutionRecord],
) -> Result<(), StoreError> {
    for (executions, from) in executions.chunks(ROWS_AT_ONCE).zip((from..).step_by(ROWS_AT_ONCE)) {
        insert_some_executions(tx, from, executions).await?;
    }
    Ok(())
}

async fn insert_some_executions(
    tx: &mut Connection,
    from: i64,
    executions: &[ExecutionRecord],
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(format!("INSERT INTO executions (number, {EXECUTION}) "));
    query.push_values(executions.iter().zip(from..), |mut row, (new, number)| {
        let failure = new.failure.as_ref();
        let place = failure.and_then(|failure| failure.place.as_ref());
        row.push_bind(number)
            .push_bind(Id(new.id))
            .push_bind(Id(new.request))
            .push_bind(new.app)
            .push_bind(new.deploy)
            .push_bind(new.commit)
            .push_bind(&new.script)
            .push_bind(new.trigger.as_str())
            .push_bind(&new.target)
            .push_bind(&new.node)
            .push_bind(new.started_at)
            .push_bind(Microseconds::from(new.duration))
            .push_bind(signed(new.operations))
            .push_bind(signed(new.memory))
            .push_bind(new.status.map(i32::from))
            .push_bind(failure.map(|failure| &failure.kind))
            .push_bind(failure.map(|failure| &failure.message))
            .push_bind(place.map(|place| &place.script))
            .push_bind(place.map(|place| signed_small(place.line)))
            .push_bind(place.map(|place| signed_small(place.column)))
            .push_bind(signed_small(new.lines))
            .push_bind(signed(new.lines_dropped));
    });
    query.push(" ON CONFLICT (id) DO NOTHING");
    query.build().persistent(executions.len() == ROWS_AT_ONCE).execute(tx).await?;
    Ok(())
}

pub(super) async fn insert_lines(
    tx: &mut Connection,
    from: i64,
    lines: &[LineRecord],
) -> Result<(), StoreError> {
    for (lines, from) in lines.chunks(ROWS_AT_ONCE).zip((from..).step_by(ROWS_AT_ONCE)) {
        insert_some_lines(tx, from, lines).await?;
    }
    Ok(())
}

async fn insert_some_lines(tx: &mut Connection, from: i64, lines: &[LineRecord]) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(format!("INSERT INTO logs (number, {LINE}) "));
    query.push_values(lines.iter().zip(from..), |mut row, (new, number)| {
        row.push_bind(number)
            .push_bind(Id(new.execution))
            .push_bind(new.app)
            .push_bind(&new.script)
            .push_bind(new.at)
            .push_bind(new.level.as_str())
            .push_bind(&new.message)
            .push_bind(&new.data)
            .push_bind(new.line.map(signed_small))
            .push_bind(new.failure);
    });
    query.build().persistent(lines.len() == ROWS_AT_ONCE).execute(tx).await?;
    Ok(())
}
