//! The table `schedules`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::dialect::{self, GREATEST, NOW, REF_TARGET};
use super::{Connection, Connections, apps, audit, sql, transaction};
use crate::audit::{Actor, AuditEvent};
use crate::error::{PushError, StoreError};
use crate::id::{AppId, DeployNumber};
use crate::model::App;
use crate::schedule::{DeclaredSchedule, NodeIdentity, ScheduleId, ScheduleState, UnrunDueTimes};
use crate::sql_types::{Id, signed_small};

/// A schedule continues where it was if the previous deploy of the branch declared it alike. Otherwise it starts with
/// the deploy, or when preview schedules were enabled.
pub(crate) async fn register_schedules(
    connections: &Connections,
    app: AppId,
    deploy: DeployNumber,
    declared: &[DeclaredSchedule],
) -> Result<(), StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    for schedule in declared {
        sqlx::query(sql!(
            "INSERT INTO schedules (app, branch, name, cron, timezone, deploy, evaluated_until)
             SELECT $1, branch, $2, $3, $4, $5, {GREATEST}(deployed_at, coalesce(scheduled_since, deployed_at))
             FROM apps
             JOIN deploys ON deploys.repository = apps.repository AND number = $5
             JOIN refs ON refs.app = apps.id AND refs.name = 'refs/heads/' || branch AND {REF_TARGET} = commit_id
             WHERE apps.id = $1
             ON CONFLICT (app, branch, name) DO UPDATE SET
                 cron = excluded.cron, timezone = excluded.timezone, deploy = excluded.deploy,
                 evaluated_until = CASE
                     WHEN schedules.cron = excluded.cron AND schedules.timezone = excluded.timezone
                         AND schedules.deploy >= (
                             SELECT max(number) FROM deploys JOIN apps USING (repository)
                             WHERE apps.id = $1 AND branch = excluded.branch AND number < $5
                         )
                     THEN schedules.evaluated_until
                     ELSE {GREATEST}(schedules.evaluated_until, excluded.evaluated_until)
                 END
             WHERE schedules.deploy < excluded.deploy"
        ))
        .bind(app)
        .bind(schedule.name.as_str())
        .bind(&schedule.cron)
        .bind(&schedule.timezone)
        .bind(deploy)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

pub(crate) async fn schedule_states(
    connections: &Connections,
    app: AppId,
    branch: &str,
) -> Result<Vec<ScheduleState>, StoreError> {
    let states = sqlx::query_as(
        "SELECT name, cron, timezone, evaluated_until, paused_at, paused_by FROM schedules WHERE app = $1 AND branch = $2 ORDER BY name",
    );
    Ok(states.bind(app).bind(branch).fetch_all(connections.reader()).await?)
}

pub(crate) async fn all_schedules(connections: &Connections) -> Result<Vec<ScheduleId>, StoreError> {
    let schedules = sqlx::query_as("SELECT app, branch, name FROM schedules ORDER BY app, branch, name");
    Ok(schedules.fetch_all(connections.reader()).await?)
}

pub(crate) async fn pause_schedule(
    connections: &Connections,
    schedule: &ScheduleId,
    event: &AuditEvent,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let paused = sqlx::query(
        "UPDATE schedules SET paused_at = $4, paused_by = $5 WHERE app = $1 AND branch = $2 AND name = $3 AND paused_at IS NULL",
    )
    .bind(schedule.app)
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(event.at)
    .bind(&event.by.name)
    .execute(&mut *transaction)
    .await?;
    if paused.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    audit::insert(&mut transaction, event).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Records due times of the pause in one row.
pub(crate) async fn resume_schedule(
    connections: &Connections,
    schedule: &ScheduleId,
    skipped: Option<&UnrunDueTimes>,
    node: &NodeIdentity,
    event: &AuditEvent,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let resumed = sqlx::query(sql!(
        "UPDATE schedules SET paused_at = NULL, paused_by = NULL, evaluated_until = {GREATEST}(evaluated_until, $4)
         WHERE app = $1 AND branch = $2 AND name = $3 AND paused_at IS NOT NULL"
    ))
    .bind(schedule.app)
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(event.at)
    .execute(&mut *transaction)
    .await?;
    if resumed.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    if let Some(unrun) = skipped {
        insert_unrun(&mut transaction, schedule, unrun, node, event.at).await?;
    }
    audit::insert(&mut transaction, event).await?;
    transaction.commit().await?;
    Ok(true)
}

pub(crate) async fn record_unrun_due_times(
    connections: &Connections,
    schedule: &ScheduleId,
    unrun: &UnrunDueTimes,
    node: &NodeIdentity,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    insert_unrun(&mut transaction, schedule, unrun, node, now).await?;
    transaction.commit().await
}

/// Inserts one row for due times that are not run.
pub(super) async fn insert_unrun(
    tx: &mut Connection,
    schedule: &ScheduleId,
    unrun: &UnrunDueTimes,
    node: &NodeIdentity,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO schedule_runs
             (app, branch, schedule, due_at, first_due_at, due_times, deploy, node, node_name, claimed_at, finished_at, outcome, detail)
         SELECT $1, $2, $3, $4, $5, $6, deploy, $7, $8, $9, $9, $10, $11 FROM schedules WHERE app = $1 AND branch = $2 AND name = $3
         ON CONFLICT DO NOTHING",
    )
    .bind(schedule.app)
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(unrun.due.last)
    .bind(unrun.due.first_of_several())
    .bind(signed_small(unrun.due.count))
    .bind(Id(node.id))
    .bind(&node.name)
    .bind(now)
    .bind(unrun.outcome)
    .bind(&unrun.reason)
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn delete_stale_schedules(connections: &Connections) -> Result<u64, StoreError> {
    let change = sqlx::query(
        "DELETE FROM schedules WHERE
             NOT EXISTS (SELECT 1 FROM refs WHERE refs.app = schedules.app AND refs.name = 'refs/heads/' || branch)
             AND NOT EXISTS (
                 SELECT 1 FROM schedule_runs AS run
                 WHERE run.app = schedules.app AND run.branch = schedules.branch AND schedule = schedules.name
             )",
    );
    transaction::execute(connections, change).await
}

/// Skips due times before now.
pub(crate) async fn set_preview_schedules(
    connections: &Connections,
    app: &App,
    branch: &str,
    on: bool,
    node: Option<Uuid>,
    by: &Actor,
) -> Result<Option<App>, StoreError> {
    let event = AuditEvent::preview_schedules_changed(&app.name, branch, on, by);
    let mut transaction = transaction::begin(connections).await?;
    let tx = &mut *transaction;
    let locked = apps::lock(&mut *tx, &app.name).await.map_err(PushError::into_store)?;
    let Some(mut app) = locked else {
        transaction.rollback().await;
        return Ok(None);
    };
    let found: Option<(bool, DateTime<Utc>)> = sqlx::query_as(sql!(
        "SELECT scheduled_since IS NOT NULL, {NOW} FROM refs WHERE app = $2 AND name = 'refs/heads/' || $3"
    ))
    .bind(event.at)
    .bind(app.id)
    .bind(branch)
    .fetch_optional(&mut *tx)
    .await?;
    let now = match found {
        Some((is_on, now)) if is_on != on => now,
        found => {
            transaction.rollback().await;
            return Ok(found.map(|_| app));
        }
    };
    sqlx::query("UPDATE refs SET scheduled_since = $3 WHERE app = $1 AND name = 'refs/heads/' || $2")
        .bind(app.id)
        .bind(branch)
        .bind(on.then_some(now))
        .execute(&mut *tx)
        .await?;
    sqlx::query(sql!(
        "UPDATE schedules SET evaluated_until = {GREATEST}(evaluated_until, $3) WHERE app = $1 AND branch = $2"
    ))
    .bind(app.id)
    .bind(branch)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    audit::insert(&mut *tx, &event).await?;
    app.generation = dialect::increment_generation(&mut *tx, app.id, node).await?;
    transaction.commit().await?;
    Ok(Some(app))
}
