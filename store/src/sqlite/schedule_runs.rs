//! The table `schedule_runs`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::apps::{id, key};
use super::{Connections, schedule_hold};
use crate::error::StoreError;
use crate::row::{deploy_number, job_name, key as commit_name, node, outcome, signed, uuid};
use crate::schedule::{
    AHEAD_MAX, Action, Claim, DueTimes, LEASE_MAX, LOST, LostRun, NewRun, PRUNED_AT_ONCE, RunKey, RunOutcome,
    ScheduleId, ScheduleRun, overlaps,
};

pub(crate) async fn claim_run(connections: &Connections, run: &NewRun) -> Result<Claim, StoreError> {
    let mut transaction = connections.write.begin().await?;
    let claim = claim(&mut transaction, run).await?;
    transaction.commit().await?;
    Ok(claim)
}

/// The schedule's row is held from here on, so that claims come one after the other.
async fn claim(tx: &mut SqliteConnection, run: &NewRun) -> Result<Claim, StoreError> {
    let held: Option<(DateTime<Utc>, bool)> = sqlx::query_as(
        "SELECT reckoned_until, paused_at IS NOT NULL FROM schedules WHERE app = ?1 AND branch = ?2 AND name = ?3",
    )
    .bind(key(run.schedule.app))
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let Some((reckoned, paused)) = held else { return Ok(Claim::NotLive) };
    let now = run.now;
    if !run.manual {
        if schedule_hold::is_held(&mut *tx).await? {
            return Ok(Claim::Held);
        }
        if paused {
            return Ok(Claim::Paused);
        }
        if reckoned >= run.due.first && reckoned <= now + run.reckoned_ahead_max {
            return Ok(Claim::Reckoned(reckoned));
        }
        if run.due.last > now + AHEAD_MAX {
            return Ok(Claim::Early(now));
        }
    }
    let other = if run.alone { in_progress(tx, run, now).await? } else { None };
    let row = match (&run.action, other) {
        (Action::Run { execution, lease }, None) => Row {
            execution: Some(*execution),
            lease_until: Some(now + *lease),
            finished_at: None,
            left: None,
        },
        (Action::Run { .. }, Some(reason)) => Row::left(RunOutcome::Skipped, reason, now),
        (Action::Leave { outcome, reason }, _) => Row::left(*outcome, reason.clone(), now),
    };
    let inserted = insert(tx, run, &row, now).await?;
    if !inserted {
        return Ok(if exists(tx, run).await? { Claim::Taken } else { Claim::NotLive });
    }
    if !run.manual {
        sqlx::query("UPDATE schedules SET reckoned_until = ?4 WHERE app = ?1 AND branch = ?2 AND name = ?3")
            .bind(key(run.schedule.app))
            .bind(&run.schedule.branch)
            .bind(run.schedule.name.as_str())
            .bind(run.due.last)
            .execute(&mut *tx)
            .await?;
    }
    Ok(match (&run.action, row.left) {
        (Action::Run { .. }, Some((_, reason))) => Claim::Overlaps(reason),
        _ => Claim::Granted,
    })
}

/// What a claim writes.
struct Row {
    execution: Option<Uuid>,
    lease_until: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    left: Option<(RunOutcome, String)>,
}

impl Row {
    fn left(outcome: RunOutcome, reason: String, now: DateTime<Utc>) -> Self {
        Self { execution: None, lease_until: None, finished_at: Some(now), left: Some((outcome, reason)) }
    }
}

/// The reason not to run beside another run. One whose lease is over stands in nobody's way.
async fn in_progress(
    tx: &mut SqliteConnection,
    run: &NewRun,
    now: DateTime<Utc>,
) -> Result<Option<String>, StoreError> {
    let row: Option<(Option<String>,)> = sqlx::query_as(
        "SELECT node_name FROM schedule_runs
         WHERE app = ?1 AND branch = ?2 AND schedule = ?3 AND finished_at IS NULL AND lease_until > ?4 LIMIT 1",
    )
    .bind(key(run.schedule.app))
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(now)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|(node,)| overlaps(node.as_deref())))
}

async fn insert(
    tx: &mut SqliteConnection,
    run: &NewRun,
    row: &Row,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    // The commit of the claimer's deploy must still be what its branch points to, and the branch be on the clock.
    let inserted = sqlx::query(
        "INSERT INTO schedule_runs (app, branch, schedule, due, manual, first_due, due_times, deploy, execution, node, node_name,
             claimed_at, lease_until, finished_at, outcome, detail)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16
         FROM apps
         JOIN deploys ON deploys.repository = apps.repository AND deploys.number = ?8 AND deploys.branch = ?2
         JOIN refs ON refs.app = apps.id AND refs.name = 'refs/heads/' || ?2
             AND unhex(refs.target) = deploys.commit_id
         WHERE apps.id = ?1 AND (?5 OR ?2 = apps.production_branch OR refs.scheduled_since IS NOT NULL)
         ON CONFLICT DO NOTHING",
    )
    .bind(key(run.schedule.app))
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due.last)
    .bind(run.manual)
    .bind(run.due.first_of_several())
    .bind(i32::try_from(run.due.count).unwrap_or(i32::MAX))
    .bind(signed(run.deploy.get()))
    .bind(row.execution.map(|id| id.to_string()))
    .bind(run.node.id.to_string())
    .bind(&run.node.name)
    .bind(now)
    .bind(row.lease_until)
    .bind(row.finished_at)
    .bind(row.left.as_ref().map(|(outcome, _)| outcome.as_str()))
    .bind(row.left.as_ref().map(|(_, reason)| reason))
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn exists(tx: &mut SqliteConnection, run: &NewRun) -> Result<bool, StoreError> {
    let row: Option<(i32,)> = sqlx::query_as(
        "SELECT 1 FROM schedule_runs WHERE app = ?1 AND branch = ?2 AND schedule = ?3 AND due = ?4 AND manual = ?5",
    )
    .bind(key(run.schedule.app))
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due.last)
    .bind(run.manual)
    .fetch_optional(tx)
    .await?;
    Ok(row.is_some())
}

pub(crate) async fn renew_run(
    connections: &Connections,
    run: &RunKey,
    lease: Duration,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let change = sqlx::query(
        "UPDATE schedule_runs SET lease_until = ?7
         WHERE app = ?1 AND branch = ?2 AND schedule = ?3 AND due = ?4 AND manual = ?5 AND execution = ?6 AND finished_at IS NULL",
    )
    .bind(key(run.schedule.app))
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due)
    .bind(run.manual)
    .bind(run.execution.to_string())
    .bind(now + lease);
    let renewed = connections.write.execute(change).await?;
    Ok(renewed == 1)
}

pub(crate) async fn finish_run(
    connections: &Connections,
    run: &RunKey,
    outcome: RunOutcome,
    detail: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let change = sqlx::query(
        "UPDATE schedule_runs SET outcome = ?7, detail = ?8, finished_at = ?9, lease_until = NULL
         WHERE app = ?1 AND branch = ?2 AND schedule = ?3 AND due = ?4 AND manual = ?5 AND execution = ?6 AND finished_at IS NULL",
    )
    .bind(key(run.schedule.app))
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due)
    .bind(run.manual)
    .bind(run.execution.to_string())
    .bind(outcome.as_str())
    .bind(detail)
    .bind(now);
    let finished = connections.write.execute(change).await?;
    Ok(finished == 1)
}

/// A run whose lease is over: app, branch, schedule, due time, and the node's name.
type Held = (String, String, String, DateTime<Utc>, Option<String>);

pub(crate) async fn lose_runs(
    connections: &Connections,
    now: DateTime<Utc>,
) -> Result<Vec<LostRun>, StoreError> {
    let mut transaction = connections.write.begin().await?;
    let rows: Vec<Held> = sqlx::query_as(
        "UPDATE schedule_runs SET outcome = 'lost', detail = ?1 || coalesce(node_name, '?') || ?2, finished_at = ?3
         WHERE finished_at IS NULL AND (lease_until < ?3 OR lease_until > ?4) RETURNING app, branch, schedule, due, node_name",
    )
    .bind(LOST[0])
    .bind(LOST[1])
    .bind(now)
    .bind(now + LEASE_MAX)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let lost = |(app, branch, name, due, node): Held| {
        let schedule = ScheduleId { app: id("schedule_runs", &app)?, branch, name: job_name(&name)? };
        Ok(LostRun { schedule, due, node: node.unwrap_or_default() })
    };
    rows.into_iter().map(lost).collect()
}

pub(crate) async fn next_lease_end(
    connections: &Connections,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let (end,): (Option<DateTime<Utc>>,) = sqlx::query_as(
        "SELECT min(CASE WHEN lease_until > ?1 THEN ?2 ELSE lease_until END) FROM schedule_runs WHERE finished_at IS NULL",
    )
    .bind(now + LEASE_MAX)
    .bind(now)
    .fetch_one(&connections.read)
    .await?;
    Ok(end)
}

type Found = (
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    i32,
    bool,
    i64,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    Option<String>,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<String>,
    Option<String>,
);

pub(crate) async fn runs(
    connections: &Connections,
    schedule: &ScheduleId,
    up_to: Option<DateTime<Utc>>,
    most: u32,
) -> Result<Vec<ScheduleRun>, StoreError> {
    let rows: Vec<Found> = sqlx::query_as(
        "SELECT due, first_due, due_times, manual, run.deploy, commit_id, execution, node, node_name, claimed_at, lease_until,
             finished_at, outcome, detail
         FROM schedule_runs AS run
         LEFT JOIN deploys ON number = run.deploy AND repository = (SELECT repository FROM apps WHERE id = ?1)
         WHERE app = ?1 AND run.branch = ?2 AND schedule = ?3 AND (?4 IS NULL OR due <= ?4)
         ORDER BY due DESC, manual DESC LIMIT ?5",
    )
    .bind(key(schedule.app))
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(up_to)
    .bind(i64::from(most))
    .fetch_all(&connections.read)
    .await?;
    rows.into_iter().map(read).collect()
}

fn read(row: Found) -> Result<ScheduleRun, StoreError> {
    let (
        due,
        first,
        times,
        manual,
        deploy,
        commit,
        execution,
        id,
        name,
        claimed_at,
        lease_until,
        finished_at,
        ended,
        detail,
    ) = row;
    let due =
        DueTimes { first: first.unwrap_or(due), last: due, count: u32::try_from(times).unwrap_or_default() };
    Ok(ScheduleRun {
        due,
        manual,
        deploy: deploy_number(deploy)?,
        commit: commit.map(|commit| commit_name("deploys", &commit)).transpose()?,
        execution: execution.as_deref().map(uuid).transpose()?,
        node: node(id.as_deref().map(uuid).transpose()?, name),
        claimed_at,
        lease_until,
        finished_at,
        outcome: ended.as_deref().map(outcome).transpose()?,
        detail,
    })
}

pub(crate) async fn prune_runs(
    connections: &Connections,
    schedule: &ScheduleId,
    keep: u32,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let change = sqlx::query(
        "DELETE FROM schedule_runs WHERE (app, branch, schedule, due, manual) IN (
             SELECT app, branch, schedule, due, manual FROM schedule_runs
             WHERE app = ?1 AND branch = ?2 AND schedule = ?3 AND finished_at IS NOT NULL AND due <= max(?4, coalesce((
                 SELECT due FROM schedule_runs WHERE app = ?1 AND branch = ?2 AND schedule = ?3 ORDER BY due DESC LIMIT 1 OFFSET ?5
             ), ''))
             ORDER BY due LIMIT ?6
         )",
    )
    .bind(key(schedule.app))
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(before)
    .bind(i64::from(keep))
    .bind(i64::from(PRUNED_AT_ONCE));
    let deleted = connections.write.execute(change).await?;
    Ok(deleted)
}
