//! Reading the table `executions`.

use sqlx::AssertSqlSafe;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::Connections;
use super::apps::key;
use crate::error::StoreError;
use crate::execution::row::{EXECUTION, ExecutionRow};
use crate::execution::{ExecutionFilter, ExecutionRecord, Numbered, TriggerKind};
use crate::id::AppId;
use crate::row::signed;

pub(crate) async fn executions(
    connections: &Connections,
    app: AppId,
    filter: &ExecutionFilter,
    limit: u32,
) -> Result<Vec<Numbered<ExecutionRecord>>, StoreError> {
    // Said apart, so that the index of those that failed is used.
    let failed = if filter.failed { "failure IS NOT NULL" } else { "true" };
    let rows: Vec<ExecutionRow<Hyphenated>> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {EXECUTION} FROM executions
         WHERE app = ?1 AND number < ?2 AND {failed}
             AND (?3 IS NULL OR script = ?3) AND (?4 IS NULL OR trigger = ?4)
         ORDER BY number DESC LIMIT ?5"
    )))
    .bind(key(app))
    .bind(filter.before.map_or(i64::MAX, signed))
    .bind(&filter.script)
    .bind(filter.trigger.map(TriggerKind::as_str))
    .bind(i64::from(limit))
    .fetch_all(&connections.read)
    .await?;
    rows.into_iter().map(ExecutionRow::read).collect()
}

pub(crate) async fn execution(
    connections: &Connections,
    app: AppId,
    id: Uuid,
) -> Result<Option<ExecutionRecord>, StoreError> {
    let row: Option<ExecutionRow<Hyphenated>> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {EXECUTION} FROM executions WHERE id = ?1 AND app = ?2"
    )))
    .bind(id.to_string())
    .bind(key(app))
    .fetch_optional(&connections.read)
    .await?;
    Ok(row.map(ExecutionRow::read).transpose()?.map(|numbered| numbered.record))
}
