//! Reading the tables `logs` and `losses`.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::connections::Connections;
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
    let of = if filter.execution.is_some() { "execution = $4" } else { "$4::uuid IS NULL" };
    let rows: Vec<LineRow<Uuid>> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {LINE} FROM logs
         WHERE number > $1 AND number < $2 AND app = $3 AND {of}
             AND ($5::text IS NULL OR script = $5) AND level = ANY($6) AND ($7::timestamptz IS NULL OR at >= $7)
         ORDER BY number {order} LIMIT $8"
    )))
    .bind(after)
    .bind(before)
    .bind(app.as_uuid())
    .bind(filter.execution)
    .bind(&filter.script)
    .bind(filter.level.unwrap_or(LineLevel::Trace).and_above())
    .bind(filter.since)
    .bind(i64::from(limit))
    .fetch_all(connections)
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
         WHERE number > $1 ORDER BY number LIMIT $2",
    )
    .bind(signed(after))
    .bind(i64::from(limit))
    .fetch_all(connections)
    .await?;
    Ok(rows.into_iter().map(LossRow::read).collect())
}
