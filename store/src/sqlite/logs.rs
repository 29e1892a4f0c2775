//! Reading the tables `logs` and `losses`.

use sqlx::AssertSqlSafe;
use uuid::fmt::Hyphenated;

use super::Connections;
use super::apps::key;
use crate::error::StoreError;
use crate::execution::row::{LINE, LineRow, LossRow};
use crate::execution::{LineFilter, LineLevel, LineRecord, Loss, Numbered, Part};
use crate::id::AppId;
use crate::row::signed;

pub(crate) async fn lines(
    connections: &Connections,
    app: AppId,
    filter: &LineFilter,
    part: Part,
    limit: u32,
) -> Result<Vec<Numbered<LineRecord>>, StoreError> {
    let (after, before, order) = match part {
        Part::Latest => (0, i64::MAX, "DESC"),
        Part::After(number) => (signed(number), i64::MAX, "ASC"),
        Part::Before(number) => (0, signed(number), "DESC"),
    };
    // Said apart, so that the index that fits best is used.
    let of = if filter.execution.is_some() { "execution = ?4" } else { "?4 IS NULL" };
    // The levels are names of our own.
    let levels = filter.level.unwrap_or(LineLevel::Trace).and_above().join("', '");
    let rows: Vec<LineRow<Hyphenated>> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {LINE} FROM logs
         WHERE number > ?1 AND number < ?2 AND app = ?3 AND {of}
             AND (?5 IS NULL OR script = ?5) AND level IN ('{levels}') AND (?6 IS NULL OR at >= ?6)
         ORDER BY number {order} LIMIT ?7"
    )))
    .bind(after)
    .bind(before)
    .bind(key(app))
    .bind(filter.execution.map(|id| id.to_string()))
    .bind(&filter.script)
    .bind(filter.since)
    .bind(i64::from(limit))
    .fetch_all(&connections.read)
    .await?;
    let mut lines: Vec<_> = rows.into_iter().map(LineRow::read).collect::<Result<_, _>>()?;
    lines.sort_unstable_by_key(|line| line.number);
    Ok(lines)
}

pub(crate) async fn losses(
    connections: &Connections,
    after: u64,
    limit: u32,
) -> Result<Vec<Numbered<Loss>>, StoreError> {
    let rows: Vec<LossRow> = sqlx::query_as(
        "SELECT number, node, since, until, executions, lines FROM losses
         WHERE number > ?1 ORDER BY number LIMIT ?2",
    )
    .bind(signed(after))
    .bind(i64::from(limit))
    .fetch_all(&connections.read)
    .await?;
    Ok(rows.into_iter().map(LossRow::read).collect())
}
