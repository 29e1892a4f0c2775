//! Inserts into `executions` and `logs`, several rows with one statement.

use sqlx::QueryBuilder;

use super::Connection;
use super::executions::EXECUTION;
use super::logs::LOG;
use crate::error::StoreError;
use crate::execution::{ExecutionRecord, LogRecord};
use crate::sql_types::{Id, Microseconds, signed, signed_small};

/// How many rows one statement inserts. On a single CPU, requests wait for a statement, so it is short. Statements of
/// full length are prepared once.
const BATCH_ROWS: usize = 32;

/// An execution that exists was written before its writer received the response.
pub(super) async fn insert_executions(
    tx: &mut Connection,
    from: i64,
    executions: &[ExecutionRecord],
) -> Result<(), StoreError> {
    for (executions, from) in executions.chunks(BATCH_ROWS).zip((from..).step_by(BATCH_ROWS)) {
        insert_execution_batch(tx, from, executions).await?;
    }
    Ok(())
}

async fn insert_execution_batch(
    tx: &mut Connection,
    from: i64,
    executions: &[ExecutionRecord],
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(format!("INSERT INTO executions (sequence, {EXECUTION}) "));
    query.push_values(executions.iter().zip(from..), |mut row, (new, sequence)| {
        let failure = new.failure.as_ref();
        let location = failure.and_then(|failure| failure.location.as_ref());
        row.push_bind(sequence)
            .push_bind(Id(new.id))
            .push_bind(Id(new.request_id))
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
            .push_bind(signed(new.memory_peak_bytes))
            .push_bind(new.status.map(i32::from))
            .push_bind(failure.map(|failure| &failure.kind))
            .push_bind(failure.map(|failure| &failure.message))
            .push_bind(location.map(|location| &location.script))
            .push_bind(location.map(|location| signed_small(location.line)))
            .push_bind(location.map(|location| signed_small(location.column)))
            .push_bind(signed_small(new.log_lines))
            .push_bind(signed(new.log_lines_dropped));
    });
    query.push(" ON CONFLICT (id) DO NOTHING");
    query.build().persistent(executions.len() == BATCH_ROWS).execute(tx).await?;
    Ok(())
}

pub(super) async fn insert_logs(
    tx: &mut Connection,
    from: i64,
    logs: &[LogRecord],
) -> Result<(), StoreError> {
    for (logs, from) in logs.chunks(BATCH_ROWS).zip((from..).step_by(BATCH_ROWS)) {
        insert_log_batch(tx, from, logs).await?;
    }
    Ok(())
}

async fn insert_log_batch(tx: &mut Connection, from: i64, logs: &[LogRecord]) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(format!("INSERT INTO logs (sequence, {LOG}) "));
    query.push_values(logs.iter().zip(from..), |mut row, (new, sequence)| {
        row.push_bind(sequence)
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
    query.build().persistent(logs.len() == BATCH_ROWS).execute(tx).await?;
    Ok(())
}
