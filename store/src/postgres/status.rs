//! What an operator has to look at.

use chrono::{DateTime, Utc};

use super::connections::Connections;
use crate::error::StoreError;
use crate::row::counted;
use crate::status::{
    BACKUPS_KNOWN_SINCE, DroppedRecords, DroppedRecordsRow, EXECUTIONS_COUNTED_MAX, FAILURES_COUNTED_MAX,
    FailingApp, FailingSchedule, FailingScheduleRow, LastBackup, RUNS_LOOKED_AT,
};

pub(crate) async fn failing_schedules(
    connections: &Connections,
    limit: u32,
) -> Result<Vec<FailingSchedule>, StoreError> {
    let rows: Vec<FailingScheduleRow> = sqlx::query_as(
        "SELECT apps.name, schedules.branch, schedules.name, run.due, run.outcome, run.detail
         FROM schedules JOIN apps ON apps.id = schedules.app, LATERAL (
             SELECT due, outcome, detail FROM (
                 SELECT due, outcome, detail FROM schedule_runs
                 WHERE app = schedules.app AND branch = schedules.branch AND schedule = schedules.name
                 ORDER BY due DESC LIMIT $1
             ) AS latest
             WHERE outcome IN ('succeeded', 'failed', 'lost') ORDER BY due DESC LIMIT 1
         ) AS run
         WHERE paused_at IS NULL AND run.outcome IN ('failed', 'lost')
         ORDER BY apps.name COLLATE \"C\", 2, 3 LIMIT $2",
    )
    .bind(RUNS_LOOKED_AT)
    .bind(i64::from(limit))
    .fetch_all(connections)
    .await?;
    rows.into_iter().map(FailingSchedule::read).collect()
}

pub(crate) async fn failing_apps(
    connections: &Connections,
    since: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<FailingApp>, StoreError> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT * FROM (
             SELECT apps.name,
                 (SELECT count(*) FROM (
                      SELECT failure FROM executions
                      WHERE app = apps.id AND number > $1 AND failure IS NOT NULL
                      ORDER BY number DESC LIMIT $2
                  ) AS failure WHERE failure NOT IN ('stopped', 'invalid_json')) AS failed,
                 (SELECT count(*) FROM (
                      SELECT 1 FROM executions WHERE app = apps.id AND number > $1 ORDER BY number DESC LIMIT $3
                  ) AS execution) AS executions
             FROM apps
             WHERE EXISTS (
                 SELECT 1 FROM executions WHERE app = apps.id AND number > $1 AND failure IS NOT NULL
             )
         ) AS app
         WHERE failed > 0 ORDER BY name COLLATE \"C\" LIMIT $4",
    )
    .bind(number_before(connections, since).await?)
    .bind(i64::from(FAILURES_COUNTED_MAX))
    .bind(i64::from(EXECUTIONS_COUNTED_MAX))
    .bind(i64::from(limit))
    .fetch_all(connections)
    .await?;
    let read = |(app, failed, executions)| FailingApp {
        app,
        failed: counted(failed),
        executions: counted(executions),
    };
    Ok(rows.into_iter().map(read).collect())
}

pub(crate) async fn dropped_records(
    connections: &Connections,
    since: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<DroppedRecords>, StoreError> {
    let rows: Vec<DroppedRecordsRow> = sqlx::query_as(
        "SELECT node, sum(executions)::bigint, sum(lines)::bigint, min(since), max(until)
         FROM losses WHERE number > $1 AND until >= $2 GROUP BY node ORDER BY node COLLATE \"C\" LIMIT $3",
    )
    .bind(number_before(connections, since).await?)
    .bind(since)
    .bind(i64::from(limit))
    .fetch_all(connections)
    .await?;
    Ok(rows.into_iter().map(DroppedRecords::read).collect())
}

/// The number of a record before which nothing came in after `since`, to the ten seconds.
async fn number_before(connections: &Connections, since: DateTime<Utc>) -> Result<i64, StoreError> {
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT last FROM record_portions WHERE kind = 'executions' AND since < $1 ORDER BY since DESC LIMIT 1",
    )
    .bind(since)
    .fetch_optional(connections)
    .await?;
    Ok(last.unwrap_or_default())
}

pub(crate) async fn last_backup(connections: &Connections) -> Result<LastBackup, StoreError> {
    let (known_since, made_at) = sqlx::query_as(
        "SELECT installed_on, (SELECT made_at FROM last_backup) FROM _sqlx_migrations WHERE version = $1",
    )
    .bind(BACKUPS_KNOWN_SINCE)
    .fetch_one(connections)
    .await?;
    Ok(LastBackup { known_since, made_at })
}

/// Notes that a backup was made.
pub(crate) async fn note_backup(
    connection: &mut sqlx::PgConnection,
    made_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO last_backup (one, made_at) VALUES (true, $1)
         ON CONFLICT (one) DO UPDATE SET made_at = excluded.made_at",
    )
    .bind(made_at)
    .execute(connection)
    .await?;
    Ok(())
}
