//! What needs attention of the operator.

use chrono::{DateTime, Utc};

use super::dialect::BY_BYTES;
use super::{Connections, Database, sql};
use crate::error::StoreError;
use crate::status::{
    BACKUP_MIGRATION, DroppedRecordsSummary, EXECUTIONS_COUNTED_MAX, FAILURES_COUNTED_MAX, FailingApp,
    FailingSchedule, LastBackup, RUNS_SEARCHED_MAX,
};

pub(crate) async fn failing_schedules(
    connections: &Connections,
    limit: u32,
) -> Result<Vec<FailingSchedule>, StoreError> {
    // CROSS JOIN makes SQLite start with the schedules.
    let failing = sqlx::query_as(sql!(
        "SELECT apps.name AS app, run.branch, run.schedule AS name, run.due_at, run.outcome, run.detail
         FROM schedules CROSS JOIN apps CROSS JOIN schedule_runs AS run
         WHERE apps.id = schedules.app AND apps.deleted_at IS NULL AND apps.stopped_at IS NULL
             AND run.app = schedules.app AND run.branch = schedules.branch AND run.schedule = schedules.name
             AND run.due_at = (
                 SELECT due_at FROM (
                     SELECT due_at, outcome FROM schedule_runs
                     WHERE app = schedules.app AND branch = schedules.branch AND schedule = schedules.name
                     ORDER BY due_at DESC LIMIT $1
                 ) AS latest
                 WHERE outcome IN ('succeeded', 'failed', 'lost') ORDER BY due_at DESC LIMIT 1
             )
             AND paused_at IS NULL AND run.outcome IN ('failed', 'lost')
         ORDER BY apps.name {BY_BYTES}, 2, 3 LIMIT $2"
    ))
    .bind(RUNS_SEARCHED_MAX)
    .bind(i64::from(limit))
    .fetch_all(connections.reader())
    .await?;
    Ok(failing)
}

pub(crate) async fn failing_apps(
    connections: &Connections,
    since: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<FailingApp>, StoreError> {
    let failing = sqlx::query_as(sql!(
        "SELECT app, failed, executions FROM (
             SELECT apps.name AS app,
                 (SELECT count(*) FROM (
                      SELECT failure FROM executions
                      WHERE app = apps.id AND sequence > $1 AND failure IS NOT NULL
                      ORDER BY sequence DESC LIMIT $2
                  ) AS failure WHERE failure NOT IN ('stopped', 'invalid_json', 'invalid_form')) AS failed,
                 (SELECT count(*) FROM (
                      SELECT 1 FROM executions WHERE app = apps.id AND sequence > $1 ORDER BY sequence DESC LIMIT $3
                  ) AS execution) AS executions
             FROM apps
             WHERE deleted_at IS NULL AND EXISTS (
                 SELECT 1 FROM executions WHERE app = apps.id AND sequence > $1 AND failure IS NOT NULL
             )
         ) AS counted
         WHERE failed > 0 ORDER BY app {BY_BYTES} LIMIT $4"
    ))
    .bind(sequence_before(connections, since).await?)
    .bind(i64::from(FAILURES_COUNTED_MAX))
    .bind(i64::from(EXECUTIONS_COUNTED_MAX))
    .bind(i64::from(limit))
    .fetch_all(connections.reader())
    .await?;
    Ok(failing)
}

pub(crate) async fn dropped_records_summary(
    connections: &Connections,
    since: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<DroppedRecordsSummary>, StoreError> {
    let dropped = sqlx::query_as(sql!(
        "SELECT node, apps.name AS app, CAST(sum(executions) AS bigint) AS executions, CAST(sum(log_lines) AS bigint) AS log_lines,
             min(since) AS since, max(until) AS until
         FROM dropped_records LEFT JOIN apps ON apps.id = dropped_records.app AND apps.deleted_at IS NULL WHERE sequence > $1 AND until >= $2
         GROUP BY node, apps.name ORDER BY node {BY_BYTES}, coalesce(apps.name, '') {BY_BYTES} LIMIT $3"
    ))
    .bind(sequence_before(connections, since).await?)
    .bind(since)
    .bind(i64::from(limit))
    .fetch_all(connections.reader())
    .await?;
    Ok(dropped)
}

/// The latest sequence number before `since`, rounded to a retention bucket.
async fn sequence_before(connections: &Connections, since: DateTime<Utc>) -> Result<i64, StoreError> {
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT last_sequence FROM retention_buckets WHERE kind = 'executions' AND since < $1 ORDER BY since DESC LIMIT 1",
    )
    .bind(since)
    .fetch_optional(connections.reader())
    .await?;
    Ok(last.unwrap_or_default())
}

pub(crate) async fn last_backup(connections: &Connections) -> Result<LastBackup, StoreError> {
    let backup = sqlx::query_as(
        "SELECT installed_on AS recorded_since, (SELECT made_at FROM last_backup) AS made_at
         FROM _sqlx_migrations WHERE version = $1",
    );
    Ok(backup.bind(BACKUP_MIGRATION).fetch_one(connections.reader()).await?)
}

/// Records that a backup was made.
pub(crate) async fn note_backup(
    connection: &mut <Database as sqlx::Database>::Connection,
    made_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO last_backup (singleton, made_at) VALUES (true, $1)
         ON CONFLICT (singleton) DO UPDATE SET made_at = excluded.made_at",
    )
    .bind(made_at)
    .execute(connection)
    .await?;
    Ok(())
}
