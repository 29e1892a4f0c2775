//! Reading the tables `logs` and `losses`.

use manifest_schema::execution::LogLevel;

use super::dialect::among_few;
use super::{Connections, sql};
use crate::column::{Id, signed};
use crate::error::StoreError;
use crate::execution::{LineFilter, LineRecord, Loss, Numbered, Part, RecordKind};
use crate::id::AppId;

/// The columns of [`LineRecord`].
pub(in super::super) const LINE: &str = "execution, app, script, at, level, message, data, line, failure";

pub(crate) async fn lines(
    connections: &Connections,
    app: AppId,
    filter: &LineFilter,
    part: Part,
    limit: u32,
    bytes_max: u64,
) -> Result<Vec<Numbered<LineRecord>>, StoreError> {
    let (after, before, order) = match part {
        Part::Latest => (0, i64::MAX, "DESC"),
        Part::After(number) => (signed(number), i64::MAX, "ASC"),
        Part::Before(number) => (0, signed(number), "DESC"),
    };
    // Said apart, so that the index that fits best is used.
    let of = if filter.execution.is_some() { "execution = $4" } else { "$4 IS NULL" };
    let least = filter.level.unwrap_or(LogLevel::Trace);
    let levels: Vec<&str> =
        LogLevel::ALL.into_iter().filter(|level| *level >= least).map(LogLevel::as_str).collect();
    let levels = levels.join("', '");
    // Which lines fit is found out by their lengths: what does not fit is not read.
    let bytes = RecordKind::Logs.row_bytes();
    let those_that_fit = among_few(&format!(
        "SELECT number FROM (
             SELECT number, sum(bytes) OVER (ORDER BY number {order}) - bytes AS before FROM (
                 SELECT number, {bytes} AS bytes FROM logs
                 WHERE number > $1 AND number < $2 AND app = $3 AND {of}
                     AND ($5 IS NULL OR script = $5) AND level IN ('{levels}') AND ($6 IS NULL OR at >= $6)
                 ORDER BY number {order} LIMIT $7
             ) AS found
         ) AS counted WHERE before < $8"
    ));
    let mut lines: Vec<Numbered<LineRecord>> =
        sqlx::query_as(sql!("SELECT number, {LINE} FROM logs WHERE number {those_that_fit}"))
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
    lines.sort_unstable_by_key(|line| line.number);
    Ok(lines)
}

pub(crate) async fn losses(
    connections: &Connections,
    app: AppId,
    after: u64,
    limit: u32,
) -> Result<Vec<Numbered<Loss>>, StoreError> {
    let losses = sqlx::query_as(
        "SELECT number, app, node, since, until, executions, lines FROM losses
         WHERE number > $1 AND (app = $2 OR app IS NULL) ORDER BY number LIMIT $3",
    );
    Ok(losses.bind(signed(after)).bind(app).bind(i64::from(limit)).fetch_all(connections.reader()).await?)
}
