//! Reads the table `executions`.

use manifest_schema::execution::TriggerKind;
use uuid::Uuid;

use super::{Connections, sql};
use crate::error::StoreError;
use crate::execution::{ExecutionFilter, ExecutionRecord, Sequenced};
use crate::id::AppId;
use crate::sql_types::{Id, signed};

/// The columns of [`ExecutionRecord`].
pub(in super::super) const EXECUTION: &str = "id, request_id, app, deploy, commit_id, script, trigger, target, node, started_at, duration_us, operations,
     memory_peak_bytes, status, failure, failure_message, failure_script, failure_line, failure_column, log_lines, log_lines_dropped";

pub(crate) async fn executions(
    connections: &Connections,
    app: AppId,
    filter: &ExecutionFilter,
    limit: u32,
) -> Result<Vec<Sequenced<ExecutionRecord>>, StoreError> {
    // Separate conditions, so that the index on failed executions is used.
    let failed = if filter.failed { "failure IS NOT NULL" } else { "true" };
    let executions = sqlx::query_as(sql!(
        "SELECT sequence, {EXECUTION} FROM executions
         WHERE app = $1 AND sequence < $2 AND {failed} AND ($3 IS NULL OR script = $3) AND ($4 IS NULL OR trigger = $4)
           AND ($6 IS NULL OR deploy IN (
               SELECT deploys.number FROM deploys
               WHERE repository = (SELECT repository FROM apps WHERE apps.id = $1) AND branch = $6
           ))
         ORDER BY sequence DESC LIMIT $5"
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
