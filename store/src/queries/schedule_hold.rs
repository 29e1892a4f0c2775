//! The table `schedule_hold`.

use chrono::Utc;

use super::dialect::GREATEST;
use super::{Connection, Connections, Database, audit, schedules, sql, transaction};
use crate::audit::AuditEvent;
use crate::error::StoreError;
use crate::schedule::{NodeIdentity, ScheduleId, ScheduleState};
use crate::schedule_hold::{ResumedSchedule, ScheduleHold};

pub(crate) async fn schedule_hold(connections: &Connections) -> Result<Option<ScheduleHold>, StoreError> {
    let hold = sqlx::query_as("SELECT since, cause FROM schedule_hold");
    Ok(hold.fetch_optional(connections.reader()).await?)
}

/// Whether there is a hold.
pub(super) async fn is_held(tx: &mut Connection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM schedule_hold)").fetch_one(tx).await?)
}

/// Sets or clears the hold after a restore.
pub(crate) async fn replace(
    tx: &mut <Database as sqlx::Database>::Connection,
    cause: Option<&str>,
) -> Result<(), sqlx::Error> {
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

#[derive(sqlx::FromRow)]
struct ClockRow {
    #[sqlx(flatten)]
    schedule: ScheduleId,
    #[sqlx(flatten)]
    state: ScheduleState,
}

pub(crate) async fn active_schedules(
    connections: &Connections,
) -> Result<Vec<(ScheduleId, ScheduleState)>, StoreError> {
    let rows: Vec<ClockRow> = sqlx::query_as(
        "SELECT schedules.app, branch, schedules.name, cron, timezone, evaluated_until, paused_at, paused_by FROM schedules
         JOIN apps ON apps.id = schedules.app
         JOIN refs ON refs.app = schedules.app AND refs.name = 'refs/heads/' || branch
         WHERE paused_at IS NULL AND deleted_at IS NULL AND stopped_at IS NULL
             AND (branch = production_branch OR scheduled_since IS NOT NULL)
         ORDER BY schedules.app, branch, schedules.name",
    )
    .fetch_all(connections.reader())
    .await?;
    Ok(rows.into_iter().map(|ClockRow { schedule, state }| (schedule, state)).collect())
}

pub(crate) async fn resume_all_schedules(
    connections: &Connections,
    resumed: &[ResumedSchedule],
    node: &NodeIdentity,
    event: &AuditEvent,
) -> Result<bool, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let ended = sqlx::query("DELETE FROM schedule_hold").execute(&mut *transaction).await?;
    if ended.rows_affected() == 0 {
        transaction.rollback().await;
        return Ok(false);
    }
    for ResumedSchedule { schedule, skipped } in resumed {
        // A schedule that was paused meanwhile continues from where it was when it is resumed.
        let went_on = sqlx::query(sql!(
            "UPDATE schedules SET evaluated_until = {GREATEST}(evaluated_until, $4)
             WHERE app = $1 AND branch = $2 AND name = $3 AND paused_at IS NULL"
        ))
        .bind(schedule.app)
        .bind(&schedule.branch)
        .bind(schedule.name.as_str())
        .bind(event.at)
        .execute(&mut *transaction)
        .await?;
        if let (1, Some(unrun)) = (went_on.rows_affected(), skipped) {
            schedules::insert_unrun(&mut transaction, schedule, unrun, node, event.at).await?;
        }
    }
    audit::insert(&mut transaction, event).await?;
    transaction.commit().await?;
    Ok(true)
}
