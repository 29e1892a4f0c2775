//! The table `schedule_runs`.

use chrono::{DateTime, Utc};
use manifest_schema::name::JobName;

use super::Connections;
use super::apps::key;
use crate::error::StoreError;
use crate::id::AppId;
use crate::record::{NewRun, RunOutcome, ScheduleRun};
use crate::row::{deploy_number, outcome, signed};

pub(crate) async fn claim_run(connections: &Connections, run: &NewRun) -> Result<bool, StoreError> {
    // The commit of the claimer's deploy must still be what production points to.
    let claimed = sqlx::query(
        "INSERT INTO schedule_runs (app, schedule, due, deploy, execution, claimed_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6
         FROM apps
         JOIN refs ON refs.app = apps.id AND refs.name = 'refs/heads/' || apps.production_branch
         JOIN deploys ON deploys.repository = apps.repository AND deploys.number = ?4
             AND deploys.commit_id = unhex(refs.target)
         WHERE apps.id = ?1
         ON CONFLICT DO NOTHING",
    )
    .bind(key(run.app))
    .bind(run.schedule.as_str())
    .bind(run.due)
    .bind(signed(run.deploy.get()))
    .bind(run.execution.to_string())
    .bind(run.claimed_at)
    .execute(&connections.write)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

pub(crate) async fn finish_run(
    connections: &Connections,
    app: AppId,
    schedule: &JobName,
    due: DateTime<Utc>,
    outcome: RunOutcome,
    detail: Option<&str>,
    finished_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE schedule_runs SET outcome = ?4, detail = ?5, finished_at = ?6
         WHERE app = ?1 AND schedule = ?2 AND due = ?3",
    )
    .bind(key(app))
    .bind(schedule.as_str())
    .bind(due)
    .bind(outcome.as_str())
    .bind(detail)
    .bind(finished_at)
    .execute(&connections.write)
    .await?;
    Ok(())
}

type Row = (DateTime<Utc>, i64, DateTime<Utc>, Option<DateTime<Utc>>, Option<String>, Option<String>, String);

pub(crate) async fn last_run(
    connections: &Connections,
    app: AppId,
    schedule: &JobName,
) -> Result<Option<ScheduleRun>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT due, deploy, claimed_at, finished_at, outcome, detail, execution FROM schedule_runs
         WHERE app = ?1 AND schedule = ?2 ORDER BY due DESC LIMIT 1",
    )
    .bind(key(app))
    .bind(schedule.as_str())
    .fetch_optional(&connections.read)
    .await?;
    let Some((due, deploy, claimed_at, finished_at, ended, detail, execution)) = row else { return Ok(None) };
    let deploy = deploy_number(deploy)?;
    let outcome = ended.as_deref().map(outcome).transpose()?;
    let execution = execution.parse().map_err(|_| StoreError::Corrupt {
        table: "schedule_runs",
        what: format!("execution {execution}"),
    })?;
    Ok(Some(ScheduleRun { due, deploy, claimed_at, finished_at, outcome, detail, execution }))
}
