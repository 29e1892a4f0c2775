//! The table `schedule_hold`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::connections::{Connection, Connections};
use super::{audit, schedules, transaction};
use crate::audit::Act;
use crate::error::StoreError;
use crate::id::AppId;
use crate::row::job_name;
use crate::schedule::{NodeIdentity, ScheduleId, ScheduleState};
use crate::schedule_hold::{ResumedSchedule, ScheduleHold};

pub(crate) async fn schedule_hold(connections: &Connections) -> Result<Option<ScheduleHold>, StoreError> {
    let row: Option<(DateTime<Utc>, String)> =
        sqlx::query_as("SELECT since, cause FROM schedule_hold").fetch_optional(connections).await?;
    Ok(row.map(|(since, cause)| ScheduleHold { since, cause }))
}

/// Whether there is a hold, within a transaction.
pub(super) async fn is_held(tx: &mut Connection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM schedule_hold)").fetch_one(tx).await?)
}

/// Sets the hold of a restore, or ends one that is there.
pub(super) async fn restored(tx: &mut PgConnection, cause: Option<&str>) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM schedule_hold").execute(&mut *tx).await?;
    if let Some(cause) = cause {
        sqlx::query("INSERT INTO schedule_hold (since, cause) VALUES ($1, $2)")
            .bind(Utc::now())
            .bind(cause)
            .execute(tx)
            .await?;
    }
    Ok(())
}

pub(crate) async fn schedules_by_the_clock(
    connections: &Connections,
) -> Result<Vec<(ScheduleId, ScheduleState)>, StoreError> {
    let rows: Vec<(Uuid, String, String, String, String, DateTime<Utc>)> = sqlx::query_as(
        "SELECT schedules.app, branch, schedules.name, cron, timezone, reckoned_until FROM schedules
         JOIN apps ON apps.id = schedules.app
         JOIN refs ON refs.app = schedules.app AND refs.name = 'refs/heads/' || branch
         WHERE paused_at IS NULL AND (branch = production_branch OR scheduled_since IS NOT NULL)
         ORDER BY schedules.app, branch, schedules.name",
    )
    .fetch_all(connections)
    .await?;
    rows.into_iter()
        .map(|(app, branch, name, cron, timezone, reckoned_until)| {
            let name = job_name(&name)?;
            let schedule = ScheduleId { app: AppId::from_uuid(app), branch, name: name.clone() };
            Ok((schedule, ScheduleState { name, cron, timezone, reckoned_until, paused: None }))
        })
        .collect()
}

pub(crate) async fn resume_all_schedules(
    connections: &Connections,
    resumed: &[ResumedSchedule],
    node: &NodeIdentity,
    act: &Act,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let ended = sqlx::query("DELETE FROM schedule_hold").execute(&mut *transaction).await?;
    if ended.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    for ResumedSchedule { schedule, skipped } in resumed {
        // One that was paused meanwhile goes on from where it was when it is resumed itself.
        let went_on = sqlx::query(
            "UPDATE schedules SET reckoned_until = greatest(reckoned_until, $4)
             WHERE app = $1 AND branch = $2 AND name = $3 AND paused_at IS NULL",
        )
        .bind(schedule.app.as_uuid())
        .bind(&schedule.branch)
        .bind(schedule.name.as_str())
        .bind(act.at)
        .execute(&mut *transaction)
        .await?;
        if let (1, Some(left)) = (went_on.rows_affected(), skipped) {
            schedules::leave(&mut transaction, schedule, left, node, act.at).await?;
        }
    }
    audit::insert(&mut transaction, act).await?;
    transaction.commit().await?;
    Ok(true)
}
