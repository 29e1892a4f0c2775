//! The table `schedules`.

use chrono::{DateTime, Utc};
use manifest_schema::name::JobName;
use sqlx::SqliteConnection;

use super::apps::{id, key};
use super::{Connections, audit};
use crate::audit::Act;
use crate::error::StoreError;
use crate::id::{AppId, DeployNumber};
use crate::row::{job_name, paused, signed};
use crate::schedule::{DeclaredSchedule, Left, NodeIdentity, ScheduleState};

/// A schedule goes on from where it was when the deploy before declared it too, in the same words. Otherwise it begins with
/// the deploy.
pub(crate) async fn register_schedules(
    connections: &Connections,
    app: AppId,
    deploy: DeployNumber,
    declared: &[DeclaredSchedule],
) -> Result<(), StoreError> {
    let mut transaction = connections.write.begin_with("BEGIN IMMEDIATE").await?;
    for schedule in declared {
        sqlx::query(
            "INSERT INTO schedules (app, name, cron, timezone, deploy, reckoned_until)
             SELECT ?1, ?2, ?3, ?4, ?5, deploys.deployed_at
             FROM apps
             JOIN refs ON refs.app = apps.id AND refs.name = 'refs/heads/' || apps.production_branch
             JOIN deploys ON deploys.repository = apps.repository AND deploys.number = ?5
                 AND deploys.commit_id = unhex(refs.target)
             WHERE apps.id = ?1
             ON CONFLICT (app, name) DO UPDATE SET
                 cron = excluded.cron, timezone = excluded.timezone, deploy = excluded.deploy,
                 reckoned_until = CASE
                     WHEN schedules.cron = excluded.cron AND schedules.timezone = excluded.timezone
                         AND schedules.deploy >= (
                             SELECT max(number) FROM deploys JOIN apps USING (repository)
                             WHERE apps.id = ?1 AND branch = production_branch AND number < ?5
                         )
                     THEN schedules.reckoned_until
                     ELSE max(schedules.reckoned_until, excluded.reckoned_until)
                 END
             WHERE schedules.deploy < excluded.deploy",
        )
        .bind(key(app))
        .bind(schedule.name.as_str())
        .bind(&schedule.cron)
        .bind(&schedule.timezone)
        .bind(signed(deploy.get()))
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

type Row = (String, String, String, DateTime<Utc>, Option<DateTime<Utc>>, Option<String>);

pub(crate) async fn schedule_states(
    connections: &Connections,
    app: AppId,
) -> Result<Vec<ScheduleState>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT name, cron, timezone, reckoned_until, paused_at, paused_by FROM schedules WHERE app = ?1 ORDER BY name",
    )
    .bind(key(app))
    .fetch_all(&connections.read)
    .await?;
    let state = |(name, cron, timezone, reckoned_until, at, by): Row| {
        Ok(ScheduleState { name: job_name(&name)?, cron, timezone, reckoned_until, paused: paused(at, by) })
    };
    rows.into_iter().map(state).collect()
}

pub(crate) async fn all_schedules(connections: &Connections) -> Result<Vec<(AppId, JobName)>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT app, name FROM schedules ORDER BY app, name")
        .fetch_all(&connections.read)
        .await?;
    rows.into_iter().map(|(app, name)| Ok((id("schedule_runs", &app)?, job_name(&name)?))).collect()
}

pub(crate) async fn pause_schedule(
    connections: &Connections,
    app: AppId,
    schedule: &JobName,
    act: &Act,
) -> Result<bool, StoreError> {
    let mut transaction = connections.write.begin_with("BEGIN IMMEDIATE").await?;
    let paused = sqlx::query(
        "UPDATE schedules SET paused_at = ?3, paused_by = ?4 WHERE app = ?1 AND name = ?2 AND paused_at IS NULL",
    )
    .bind(key(app))
    .bind(schedule.as_str())
    .bind(act.at)
    .bind(&act.by.name)
    .execute(&mut *transaction)
    .await?;
    if paused.rows_affected() == 0 {
        return Ok(false);
    }
    audit::insert(&mut transaction, act).await?;
    transaction.commit().await?;
    Ok(true)
}

/// What was due meanwhile becomes one row.
pub(crate) async fn resume_schedule(
    connections: &Connections,
    app: AppId,
    schedule: &JobName,
    skipped: Option<&Left>,
    node: &NodeIdentity,
    act: &Act,
) -> Result<bool, StoreError> {
    let mut transaction = connections.write.begin_with("BEGIN IMMEDIATE").await?;
    let resumed = sqlx::query(
        "UPDATE schedules SET paused_at = NULL, paused_by = NULL, reckoned_until = max(reckoned_until, ?3)
         WHERE app = ?1 AND name = ?2 AND paused_at IS NOT NULL",
    )
    .bind(key(app))
    .bind(schedule.as_str())
    .bind(act.at)
    .execute(&mut *transaction)
    .await?;
    if resumed.rows_affected() == 0 {
        return Ok(false);
    }
    if let Some(left) = skipped {
        leave(&mut transaction, app, schedule, left, node, act.at).await?;
    }
    audit::insert(&mut transaction, act).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn leave_due_times(
    connections: &Connections,
    app: AppId,
    schedule: &JobName,
    left: &Left,
    node: &NodeIdentity,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    leave(&mut *connections.write.acquire().await?, app, schedule, left, node, now).await
}

/// One row for due times that are not run.
async fn leave(
    connection: &mut SqliteConnection,
    app: AppId,
    schedule: &JobName,
    left: &Left,
    node: &NodeIdentity,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO schedule_runs
             (app, schedule, due, first_due, due_times, deploy, node, node_name, claimed_at, finished_at, outcome, detail)
         SELECT ?1, ?2, ?3, ?4, ?5, deploy, ?6, ?7, ?8, ?8, ?9, ?10 FROM schedules WHERE app = ?1 AND name = ?2
         ON CONFLICT DO NOTHING",
    )
    .bind(key(app))
    .bind(schedule.as_str())
    .bind(left.due.last)
    .bind(left.due.first_of_several())
    .bind(i32::try_from(left.due.count).unwrap_or(i32::MAX))
    .bind(node.id.to_string())
    .bind(&node.name)
    .bind(now)
    .bind(left.outcome.as_str())
    .bind(&left.reason)
    .execute(connection)
    .await?;
    Ok(())
}
