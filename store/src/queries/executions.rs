//! Reading the table `executions`.

use manifest_schema::execution::TriggerKind;
use uuid::Uuid;

use super::{Connections, sql};
use crate::column::{Id, signed};
use crate::error::StoreError;
use crate::execution::{ExecutionFilter, ExecutionRecord, Numbered};
use crate::id::AppId;

/// The columns of [`ExecutionRecord`].
pub(in super::super) const EXECUTION: &str = "id, request, app, deploy, commit_id, script, trigger, target, node, started_at, duration_us, operations,
     memory, status, failure, failure_message, failure_script, failure_line, failure_column, lines, lines_dropped";

pub(crate) async fn executions(
    connections: &Connections,
    app: AppId,
    filter: &ExecutionFilter,
    limit: u32,
) -> Result<Vec<Numbered<ExecutionRecord>>, StoreError> {
    // Said apart, so that the index of those that failed is used.
    let failed = if filter.failed { "failure IS NOT NULL" } else { "true" };
    let executions = sqlx::query_as(sql!(
        "SELECT number, {EXECUTION} FROM executions
         WHERE app = $1 AND number < $2 AND {failed} AND ($3 IS NULL OR script = $3) AND ($4 IS NULL OR trigger = $4)
           AND ($6 IS NULL OR deploy IN (
               SELECT deploys.number FROM deploys
               WHERE repository = (SELECT repository FROM apps WHERE apps.id = $1) AND branch = $6
           ))
         ORDER BY number DESC LIMIT $5"
    ))
    .bind(app)
    .bind(filter.before.map_or(i64::MAX, signed))
    .bind(&filter.script)
    .bind(filter.trigger.map(TriggerKind::as_str))
    .bind(i64::from(limit))
    .bind(&filter.branch)
    .fetch_all(connections.reader())
    .await?;
    Ok(executions)
}

pub(crate) async fn execution(
    connections: &Connections,
    app: AppId,
    id: Uuid,
) -> Result<Option<ExecutionRecord>, StoreError> {
    let execution = sqlx::query_as(sql!("SELECT {EXECUTION} FROM executions WHERE id = $1 AND app = $2"));
    Ok(execution.bind(Id(id)).bind(app).fetch_optional(connections.reader()).await?)
}
