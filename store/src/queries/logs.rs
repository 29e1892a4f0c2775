//! Reads the tables `logs` and `dropped_records`.

use manifest_schema::execution::LogLevel;

use super::dialect::in_query;
use super::{Connections, sql};
use crate::error::StoreError;
use crate::execution::{DroppedRecords, LogFilter, LogRange, LogRecord, RecordKind, Sequenced};
use crate::id::AppId;
use crate::sql_types::{Id, signed};

/// The columns of [`LogRecord`].
pub(in super::super) const LOG: &str = "execution, app, script, at, level, message, data, line, failure";

pub(crate) async fn logs(
    connections: &Connections,
    app: AppId,
    filter: &LogFilter,
    part: LogRange,
    limit: u32,
    bytes_max: u64,
) -> Result<Vec<Sequenced<LogRecord>>, StoreError> {
    let (after, before, order) = match part {
        LogRange::Latest => (0, i64::MAX, "DESC"),
        LogRange::After(number) => (signed(number), i64::MAX, "ASC"),
        LogRange::Before(number) => (0, signed(number), "DESC"),
    };
    // Separate conditions, so that the best index is used.
    let of = if filter.execution.is_some() { "execution = $4" } else { "$4 IS NULL" };
    let least = filter.level.unwrap_or(LogLevel::Trace);
    let levels: Vec<&str> =
        LogLevel::ALL.into_iter().filter(|level| *level >= least).map(LogLevel::as_str).collect();
    let levels = levels.join("', '");
    // The running sum uses lengths only, so that lines beyond the limit are not read.
    let bytes = RecordKind::Logs.row_bytes();
    let within_limit = in_query(&format!(
        "SELECT sequence FROM (
             SELECT sequence, sum(bytes) OVER (ORDER BY sequence {order}) - bytes AS before FROM (
                 SELECT sequence, {bytes} AS bytes FROM logs
                 WHERE sequence > $1 AND sequence < $2 AND app = $3 AND {of}
                     AND ($5 IS NULL OR script = $5) AND level IN ('{levels}') AND ($6 IS NULL OR at >= $6)
                 ORDER BY sequence {order} LIMIT $7
             ) AS found
         ) AS counted WHERE before < $8"
    ));
    let mut logs: Vec<Sequenced<LogRecord>> =
        sqlx::query_as(sql!("SELECT sequence, {LOG} FROM logs WHERE sequence {within_limit}"))
            .bind(after)
            .bind(before)
            .bind(app)
            .bind(filter.execution.map(Id))
            .bind(&filter.script)
            .bind(filter.since)
            .bind(i64::from(limit))
            .bind(signed(bytes_max))
            .fetch_all(connections.reader())
            .await?;
    logs.sort_unstable_by_key(|line| line.sequence);
    Ok(logs)
}

pub(crate) async fn dropped_records(
    connections: &Connections,
    app: AppId,
    after: u64,
    limit: u32,
) -> Result<Vec<Sequenced<DroppedRecords>>, StoreError> {
    let dropped = sqlx::query_as(
        "SELECT sequence, app, node, since, until, executions, log_lines FROM dropped_records
         WHERE sequence > $1 AND (app = $2 OR app IS NULL) ORDER BY sequence LIMIT $3",
    );
    Ok(dropped.bind(signed(after)).bind(app).bind(i64::from(limit)).fetch_all(connections.reader()).await?)
}
