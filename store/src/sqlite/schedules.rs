//! The table `schedules`.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::apps::{id, key};
use super::{Connections, audit, push};
use crate::audit::{Act, Actor};
use crate::error::{PushError, StoreError};
use crate::id::{AppId, DeployNumber};
use crate::record::App;
use crate::row::{job_name, paused, preview_schedules, signed};
use crate::schedule::{DeclaredSchedule, Left, NodeIdentity, ScheduleId, ScheduleState};

/// A schedule goes on from where it was when the deploy of the branch before declared it too, in the same words.
/// Otherwise it begins with the deploy, or with when the branch was put on the clock.
pub(crate) async fn register_schedules(
    connections: &Connections,
    app: AppId,
    deploy: DeployNumber,
    declared: &[DeclaredSchedule],
) -> Result<(), StoreError> {
    let mut transaction = connections.write.begin().await?;
    for schedule in declared {
        sqlx::query(
            "INSERT INTO schedules (app, branch, name, cron, timezone, deploy, reckoned_until)
             SELECT ?1, branch, ?2, ?3, ?4, ?5, max(deployed_at, coalesce(scheduled_since, deployed_at))
             FROM apps
             JOIN deploys ON deploys.repository = apps.repository AND number = ?5
             JOIN refs ON refs.app = apps.id AND refs.name = 'refs/heads/' || branch AND unhex(refs.target) = commit_id
             WHERE apps.id = ?1
             ON CONFLICT (app, branch, name) DO UPDATE SET
                 cron = excluded.cron, timezone = excluded.timezone, deploy = excluded.deploy,
                 reckoned_until = CASE
                     WHEN schedules.cron = excluded.cron AND schedules.timezone = excluded.timezone
                         AND schedules.deploy >= (
                             SELECT max(number) FROM deploys JOIN apps USING (repository)
                             WHERE apps.id = ?1 AND branch = excluded.branch AND number < ?5
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
    branch: &str,
) -> Result<Vec<ScheduleState>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT name, cron, timezone, reckoned_until, paused_at, paused_by FROM schedules WHERE app = ?1 AND branch = ?2 ORDER BY name",
    )
    .bind(key(app))
    .bind(branch)
    .fetch_all(&connections.read)
    .await?;
    let state = |(name, cron, timezone, reckoned_until, at, by): Row| {
        Ok(ScheduleState { name: job_name(&name)?, cron, timezone, reckoned_until, paused: paused(at, by) })
    };
    rows.into_iter().map(state).collect()
}

pub(crate) async fn all_schedules(connections: &Connections) -> Result<Vec<ScheduleId>, StoreError> {
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT app, branch, name FROM schedules ORDER BY app, branch, name")
            .fetch_all(&connections.read)
            .await?;
    rows.into_iter()
        .map(|(app, branch, name)| {
            Ok(ScheduleId { app: id("schedules", &app)?, branch, name: job_name(&name)? })
        })
        .collect()
}

pub(crate) async fn pause_schedule(
    connections: &Connections,
    schedule: &ScheduleId,
    act: &Act,
) -> Result<bool, StoreError> {
    let mut transaction = connections.write.begin().await?;
    let paused = sqlx::query(
        "UPDATE schedules SET paused_at = ?4, paused_by = ?5 WHERE app = ?1 AND branch = ?2 AND name = ?3 AND paused_at IS NULL",
    )
    .bind(key(schedule.app))
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(act.at)
    .bind(&act.by.name)
    .execute(&mut *transaction)
    .await?;
    if paused.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    audit::insert(&mut transaction, act).await?;
    transaction.commit().await?;
    Ok(true)
}

/// What was due meanwhile becomes one row.
pub(crate) async fn resume_schedule(
    connections: &Connections,
    schedule: &ScheduleId,
    skipped: Option<&Left>,
    node: &NodeIdentity,
    act: &Act,
) -> Result<bool, StoreError> {
    let mut transaction = connections.write.begin().await?;
    let resumed = sqlx::query(
        "UPDATE schedules SET paused_at = NULL, paused_by = NULL, reckoned_until = max(reckoned_until, ?4)
         WHERE app = ?1 AND branch = ?2 AND name = ?3 AND paused_at IS NOT NULL",
    )
    .bind(key(schedule.app))
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(act.at)
    .execute(&mut *transaction)
    .await?;
    if resumed.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    if let Some(left) = skipped {
        leave(&mut transaction, schedule, left, node, act.at).await?;
    }
    audit::insert(&mut transaction, act).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn leave_due_times(
    connections: &Connections,
    schedule: &ScheduleId,
    left: &Left,
    node: &NodeIdentity,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut transaction = connections.write.begin().await?;
    leave(&mut transaction, schedule, left, node, now).await?;
    transaction.commit().await
}

/// One row for due times that are not run.
pub(super) async fn leave(
    connection: &mut SqliteConnection,
    schedule: &ScheduleId,
    left: &Left,
    node: &NodeIdentity,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO schedule_runs
             (app, branch, schedule, due, first_due, due_times, deploy, node, node_name, claimed_at, finished_at, outcome, detail)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, deploy, ?7, ?8, ?9, ?9, ?10, ?11 FROM schedules WHERE app = ?1 AND branch = ?2 AND name = ?3
         ON CONFLICT DO NOTHING",
    )
    .bind(key(schedule.app))
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
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

pub(crate) async fn forget_schedules(connections: &Connections) -> Result<u64, StoreError> {
    let change = sqlx::query(
        "DELETE FROM schedules WHERE
             NOT EXISTS (SELECT 1 FROM refs WHERE refs.app = schedules.app AND refs.name = 'refs/heads/' || branch)
             AND NOT EXISTS (
                 SELECT 1 FROM schedule_runs AS run
                 WHERE run.app = schedules.app AND run.branch = schedules.branch AND schedule = schedules.name
             )",
    );
    let gone = connections.write.execute(change).await?;
    Ok(gone)
}

/// What was due before is not run any more.
pub(crate) async fn schedule_preview(
    connections: &Connections,
    app: &App,
    branch: &str,
    on: bool,
    _node: Option<Uuid>,
    by: &Actor,
) -> Result<Option<App>, StoreError> {
    let act = preview_schedules(&app.name, branch, on, by);
    let mut transaction = connections.write.begin().await?;
    let tx = &mut *transaction;
    let locked = push::lock_app(&mut *tx, &app.name).await.map_err(PushError::into_store)?;
    let Some(mut app) = locked else {
        transaction.rollback().await;
        return Ok(None);
    };
    let found: Option<(bool,)> = sqlx::query_as(
        "SELECT scheduled_since IS NOT NULL FROM refs WHERE app = ?1 AND name = 'refs/heads/' || ?2",
    )
    .bind(key(app.id))
    .bind(branch)
    .fetch_optional(&mut *tx)
    .await?;
    match found {
        Some((is_on,)) if is_on != on => {}
        found => {
            transaction.rollback().await;
            return Ok(found.map(|_| app));
        }
    }
    sqlx::query("UPDATE refs SET scheduled_since = ?3 WHERE app = ?1 AND name = 'refs/heads/' || ?2")
        .bind(key(app.id))
        .bind(branch)
        .bind(on.then_some(act.at))
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "UPDATE schedules SET reckoned_until = max(reckoned_until, ?3) WHERE app = ?1 AND branch = ?2",
    )
    .bind(key(app.id))
    .bind(branch)
    .bind(act.at)
    .execute(&mut *tx)
    .await?;
    audit::insert(&mut *tx, &act).await?;
    app.generation = push::raise_generation(&mut *tx, app.id).await.map_err(PushError::into_store)?;
    transaction.commit().await?;
    Ok(Some(app))
}
