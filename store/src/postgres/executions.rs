//! Reading the table `executions`.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::connections::Connections;
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
    let rows: Vec<ExecutionRow<Uuid>> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {EXECUTION} FROM executions
         WHERE app = $1 AND number < $2 AND {failed}
             AND ($3::text IS NULL OR script = $3) AND ($4::text IS NULL OR trigger = $4)
         ORDER BY number DESC LIMIT $5"
    )))
    .bind(app.as_uuid())
    .bind(filter.before.map_or(i64::MAX, signed))
    .bind(&filter.script)
    .bind(filter.trigger.map(TriggerKind::as_str))
    .bind(i64::from(limit))
    .fetch_all(connections)
    .await?;
    rows.into_iter().map(ExecutionRow::read).collect()
}

pub(crate) async fn execution(
    connections: &Connections,
    app: AppId,
    id: Uuid,
) -> Result<Option<ExecutionRecord>, StoreError> {
    let row: Option<ExecutionRow<Uuid>> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT {EXECUTION} FROM executions WHERE id = $1 AND app = $2"
    )))
    .bind(id)
    .bind(app.as_uuid())
    .fetch_optional(connections)
    .await?;
    Ok(row.map(ExecutionRow::read).transpose()?.map(|numbered| numbered.record))
}
