//! The table `schedules`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::dialect::{self, GREATEST, NOW, REF_TARGET};
use super::{Connection, Connections, apps, audit, sql, transaction};
use crate::audit::{Act, Actor};
use crate::column::{Id, signed_small};
use crate::error::{PushError, StoreError};
use crate::id::{AppId, DeployNumber};
use crate::record::App;
use crate::schedule::{DeclaredSchedule, Left, NodeIdentity, ScheduleId, ScheduleState};

/// A schedule goes on from where it was when the deploy of the branch before declared it too, in the same words.
/// Otherwise it begins with the deploy, or with when the branch was put on the clock.
pub(crate) async fn register_schedules(
    connections: &Connections,
    app: AppId,
    deploy: DeployNumber,
    declared: &[DeclaredSchedule],
) -> Result<(), StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    for schedule in declared {
        sqlx::query(sql!(
            "INSERT INTO schedules (app, branch, name, cron, timezone, deploy, reckoned_until)
             SELECT $1, branch, $2, $3, $4, $5, {GREATEST}(deployed_at, coalesce(scheduled_since, deployed_at))
             FROM apps
             JOIN deploys ON deploys.repository = apps.repository AND number = $5
             JOIN refs ON refs.app = apps.id AND refs.name = 'refs/heads/' || branch AND {REF_TARGET} = commit_id
             WHERE apps.id = $1
             ON CONFLICT (app, branch, name) DO UPDATE SET
                 cron = excluded.cron, timezone = excluded.timezone, deploy = excluded.deploy,
                 reckoned_until = CASE
                     WHEN schedules.cron = excluded.cron AND schedules.timezone = excluded.timezone
                         AND schedules.deploy >= (
                             SELECT max(number) FROM deploys JOIN apps USING (repository)
                             WHERE apps.id = $1 AND branch = excluded.branch AND number < $5
                         )
                     THEN schedules.reckoned_until
                     ELSE {GREATEST}(schedules.reckoned_until, excluded.reckoned_until)
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
        "SELECT name, cron, timezone, reckoned_until, paused_at, paused_by FROM schedules WHERE app = $1 AND branch = $2 ORDER BY name",
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
    act: &Act,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let paused = sqlx::query(
        "UPDATE schedules SET paused_at = $4, paused_by = $5 WHERE app = $1 AND branch = $2 AND name = $3 AND paused_at IS NULL",
    )
    .bind(schedule.app)
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
    let mut transaction = transaction::begin(connections).await?;
    let resumed = sqlx::query(sql!(
        "UPDATE schedules SET paused_at = NULL, paused_by = NULL, reckoned_until = {GREATEST}(reckoned_until, $4)
         WHERE app = $1 AND branch = $2 AND name = $3 AND paused_at IS NOT NULL"
    ))
    .bind(schedule.app)
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
    let mut transaction = transaction::begin(connections).await?;
    leave(&mut transaction, schedule, left, node, now).await?;
    transaction.commit().await
}

/// One row for due times that are not run.
pub(super) async fn leave(
    tx: &mut Connection,
    schedule: &ScheduleId,
    left: &Left,
    node: &NodeIdentity,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO schedule_runs
             (app, branch, schedule, due, first_due, due_times, deploy, node, node_name, claimed_at, finished_at, outcome, detail)
         SELECT $1, $2, $3, $4, $5, $6, deploy, $7, $8, $9, $9, $10, $11 FROM schedules WHERE app = $1 AND branch = $2 AND name = $3
         ON CONFLICT DO NOTHING",
    )
    .bind(schedule.app)
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(left.due.last)
    .bind(left.due.first_of_several())
    .bind(signed_small(left.due.count))
    .bind(Id(node.id))
    .bind(&node.name)
    .bind(now)
    .bind(left.outcome)
    .bind(&left.reason)
    .execute(tx)
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
    transaction::execute(connections, change).await
}

/// What was due before is not run any more.
pub(crate) async fn schedule_preview(
    connections: &Connections,
    app: &App,
    branch: &str,
    on: bool,
    node: Option<Uuid>,
    by: &Actor,
) -> Result<Option<App>, StoreError> {
    let act = Act::of_preview_schedules(&app.name, branch, on, by);
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
    .bind(act.at)
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
        "UPDATE schedules SET reckoned_until = {GREATEST}(reckoned_until, $3) WHERE app = $1 AND branch = $2"
    ))
    .bind(app.id)
    .bind(branch)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    audit::insert(&mut *tx, &act).await?;
    app.generation = dialect::raise_generation(&mut *tx, app.id, node).await?;
    transaction.commit().await?;
    Ok(Some(app))
}
