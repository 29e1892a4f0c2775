//! The table `schedule_runs`. Claims and leases use the database clock, if it has one, because clocks of nodes can
//! differ.

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use uuid::Uuid;

use super::dialect::{self, FOR_UPDATE, FROM_NOW, GREATEST, NOW, REF_TARGET};
use super::{Connection, Connections, schedule_hold, sql, transaction};
use crate::error::StoreError;
use crate::id::{DeployNumber, Oid};
use crate::schedule::{
    CLOCK_SKEW_MAX, Claim, ClaimAction, DueRange, LEASE_MAX, LostRun, NewRun, NodeIdentity, RUN_PRUNE_BATCH,
    RunHistory, RunKey, RunOutcome, ScheduleId, ScheduleRun, overlap_reason,
};
use crate::sql_types::{Id, Unsigned, signed_small};

/// The window of the rate limit.
const MINUTE: TimeDelta = TimeDelta::minutes(1);

pub(crate) async fn claim_run(connections: &Connections, run: &NewRun) -> Result<Claim, StoreError> {
    let mut transaction = transaction::begin(connections).await?;
    let claim = claim(&mut transaction, run).await?;
    match claim {
        Claim::Granted | Claim::Overlaps(_) => transaction.commit().await?,
        _ => transaction.rollback().await,
    }
    Ok(claim)
}

/// The state of a schedule during a claim.
#[derive(sqlx::FromRow)]
struct Schedule {
    evaluated_until: DateTime<Utc>,
    paused: bool,
    now: DateTime<Utc>,
}

/// Locks the row of the schedule, so that claims are serialized.
async fn claim(tx: &mut Connection, run: &NewRun) -> Result<Claim, StoreError> {
    let schedule: Option<Schedule> = sqlx::query_as(sql!(
        "SELECT evaluated_until, paused_at IS NOT NULL AS paused, {NOW} AS now FROM schedules
         WHERE app = $2 AND branch = $3 AND name = $4 {FOR_UPDATE}"
    ))
    .bind(run.now)
    .bind(run.schedule.app)
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(Schedule { evaluated_until, paused, now }) = schedule else { return Ok(Claim::NotLive) };
    if !run.manual {
        if schedule_hold::is_held(&mut *tx).await? {
            return Ok(Claim::Held);
        }
        if paused {
            return Ok(Claim::Paused);
        }
        if evaluated_until >= run.due.first && evaluated_until <= now + run.evaluated_ahead_max {
            return Ok(Claim::AlreadyEvaluated(evaluated_until));
        }
        if run.due.last > now + CLOCK_SKEW_MAX {
            return Ok(Claim::Early(now));
        }
    }
    let other = if run.forbid_overlap { in_progress(tx, run, now).await? } else { None };
    let row = match (&run.action, other) {
        (ClaimAction::Run { execution, lease }, None) => Row {
            execution: Some(*execution),
            lease_until: Some(now + *lease),
            finished_at: None,
            unrun: None,
        },
        (ClaimAction::Run { .. }, Some(reason)) => Row::unrun(RunOutcome::Skipped, reason, now),
        (ClaimAction::Skip { outcome, reason }, _) => Row::unrun(*outcome, reason.clone(), now),
    };
    if row.unrun.is_none() && !run.manual {
        let minute = now.duration_trunc(MINUTE).unwrap_or(now);
        if !count_run(tx, run, minute).await? {
            return Ok(Claim::RateLimited(minute + MINUTE));
        }
    }
    let inserted = insert(tx, run, &row, now).await?;
    if !inserted {
        return Ok(if row_exists(tx, run).await? { Claim::Duplicate } else { Claim::NotLive });
    }
    if !run.manual {
        sqlx::query("UPDATE schedules SET evaluated_until = $4 WHERE app = $1 AND branch = $2 AND name = $3")
            .bind(run.schedule.app)
            .bind(&run.schedule.branch)
            .bind(run.schedule.name.as_str())
            .bind(run.due.last)
            .execute(&mut *tx)
            .await?;
    }
    Ok(match (&run.action, row.unrun) {
        (ClaimAction::Run { .. }, Some((_, reason))) => Claim::Overlaps(reason),
        _ => Claim::Granted,
    })
}

/// Counts a run towards the rate limit of this minute. `false`: the limit is reached. Locks the row of the app.
async fn count_run(tx: &mut Connection, run: &NewRun, minute: DateTime<Utc>) -> Result<bool, StoreError> {
    if run.runs_per_minute == 0 {
        return Ok(false);
    }
    let counted = sqlx::query(
        "INSERT INTO schedule_usage (app, minute, runs) SELECT id, $2, 1 FROM apps WHERE id = $1
         ON CONFLICT (app) DO UPDATE SET minute = excluded.minute,
             runs = CASE WHEN schedule_usage.minute = excluded.minute THEN schedule_usage.runs + 1 ELSE 1 END
         WHERE schedule_usage.minute <> excluded.minute OR schedule_usage.runs < $3",
    )
    .bind(run.schedule.app)
    .bind(minute)
    .bind(signed_small(run.runs_per_minute))
    .execute(tx)
    .await?;
    Ok(counted.rows_affected() == 1)
}

/// The row that a claim inserts.
struct Row {
    execution: Option<Uuid>,
    lease_until: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    unrun: Option<(RunOutcome, String)>,
}

impl Row {
    fn unrun(outcome: RunOutcome, reason: String, now: DateTime<Utc>) -> Self {
        Self { execution: None, lease_until: None, finished_at: Some(now), unrun: Some((outcome, reason)) }
    }
}

/// Why the run is skipped because of another run with a valid lease.
async fn in_progress(
    tx: &mut Connection,
    run: &NewRun,
    now: DateTime<Utc>,
) -> Result<Option<String>, StoreError> {
    let node: Option<Option<String>> = sqlx::query_scalar(
        "SELECT node_name FROM schedule_runs
         WHERE app = $1 AND branch = $2 AND schedule = $3 AND finished_at IS NULL AND lease_until > $4 LIMIT 1",
    )
    .bind(run.schedule.app)
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(now)
    .fetch_optional(tx)
    .await?;
    Ok(node.map(|node| overlap_reason(node.as_deref())))
}

async fn insert(
    tx: &mut Connection,
    run: &NewRun,
    row: &Row,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    // The branch must still point to the commit of the deploy and have schedules enabled, and the app must be
    // running.
    let inserted = sqlx::query(sql!(
        "INSERT INTO schedule_runs (app, branch, schedule, due_at, manual, first_due_at, due_times, deploy, execution, node, node_name,
             claimed_at, lease_until, finished_at, outcome, detail)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16
         FROM apps
         JOIN deploys ON deploys.repository = apps.repository AND deploys.number = $8 AND deploys.branch = $2
         JOIN refs ON refs.app = apps.id AND refs.name = 'refs/heads/' || $2 AND {REF_TARGET} = deploys.commit_id
         WHERE apps.id = $1 AND apps.stopped_at IS NULL AND apps.deleted_at IS NULL
             AND ($5 OR $2 = apps.production_branch OR refs.scheduled_since IS NOT NULL)
         ON CONFLICT DO NOTHING"
    ))
    .bind(run.schedule.app)
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due.last)
    .bind(run.manual)
    .bind(run.due.first_of_several())
    .bind(signed_small(run.due.count))
    .bind(run.deploy)
    .bind(row.execution.map(Id))
    .bind(Id(run.node.id))
    .bind(&run.node.name)
    .bind(now)
    .bind(row.lease_until)
    .bind(row.finished_at)
    .bind(row.unrun.as_ref().map(|(outcome, _)| *outcome))
    .bind(row.unrun.as_ref().map(|(_, reason)| reason))
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn row_exists(tx: &mut Connection, run: &NewRun) -> Result<bool, StoreError> {
    let row_exists = sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1 FROM schedule_runs WHERE app = $1 AND branch = $2 AND schedule = $3 AND due_at = $4 AND manual = $5
         )",
    )
    .bind(run.schedule.app)
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due.last)
    .bind(run.manual)
    .fetch_one(tx)
    .await?;
    Ok(row_exists)
}

#[derive(sqlx::FromRow)]
struct HistoryRow {
    last_success: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Unsigned<u64>")]
    missed: u64,
}

/// Reads a range of the primary key.
pub(crate) async fn run_history(connections: &Connections, run: &RunKey) -> Result<RunHistory, StoreError> {
    let HistoryRow { last_success, missed } = sqlx::query_as(
        "SELECT last_success, CAST(coalesce((
                 SELECT sum(due_times) FROM schedule_runs
                 WHERE app = $1 AND branch = $2 AND schedule = $3 AND due_at > coalesce(last_success, $6) AND due_at < $4
                     AND NOT manual AND outcome <> 'succeeded'
             ), 0) + coalesce((
                 SELECT due_times - 1 FROM schedule_runs
                 WHERE app = $1 AND branch = $2 AND schedule = $3 AND due_at = $4 AND manual = $5
             ), 0) AS bigint) AS missed
         FROM (SELECT (
             SELECT due_at FROM schedule_runs
             WHERE app = $1 AND branch = $2 AND schedule = $3 AND due_at < $4 AND outcome = 'succeeded'
             ORDER BY due_at DESC LIMIT 1
         ) AS last_success) AS success",
    )
    .bind(run.schedule.app)
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due_at)
    .bind(run.manual)
    .bind(DateTime::UNIX_EPOCH)
    .fetch_one(connections.reader())
    .await?;
    Ok(RunHistory { last_success, missed })
}

pub(crate) async fn renew_run(
    connections: &Connections,
    run: &RunKey,
    lease: Duration,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let change = sqlx::query(sql!(
        "UPDATE schedule_runs SET lease_until = {FROM_NOW} $7
         WHERE app = $1 AND branch = $2 AND schedule = $3 AND due_at = $4 AND manual = $5 AND execution = $6 AND finished_at IS NULL"
    ))
    .bind(run.schedule.app)
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due_at)
    .bind(run.manual)
    .bind(Id(run.execution))
    .bind(dialect::from_now(now, lease));
    Ok(transaction::execute(connections, change).await? == 1)
}

pub(crate) async fn finish_run(
    connections: &Connections,
    run: &RunKey,
    outcome: RunOutcome,
    detail: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let change = sqlx::query(sql!(
        "UPDATE schedule_runs SET finished_at = {NOW}, outcome = $2, detail = $3, lease_until = NULL
         WHERE app = $4 AND branch = $5 AND schedule = $6 AND due_at = $7 AND manual = $8 AND execution = $9 AND finished_at IS NULL"
    ))
    .bind(now)
    .bind(outcome)
    .bind(detail)
    .bind(run.schedule.app)
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due_at)
    .bind(run.manual)
    .bind(Id(run.execution));
    Ok(transaction::execute_confirmed(connections, change).await? == 1)
}

#[derive(sqlx::FromRow)]
struct ExpiredRow {
    #[sqlx(flatten)]
    schedule: ScheduleId,
    due_at: DateTime<Utc>,
    manual: bool,
    execution: Id,
    node_name: Option<String>,
}

/// The runs whose lease has expired, or is longer than possible, as lost ones.
pub(crate) async fn expired_runs(
    connections: &Connections,
    now: DateTime<Utc>,
) -> Result<Vec<LostRun>, StoreError> {
    let rows: Vec<ExpiredRow> = sqlx::query_as(sql!(
        "SELECT app, branch, schedule AS name, due_at, manual, execution, node_name FROM schedule_runs
         WHERE finished_at IS NULL AND (lease_until < {NOW} OR lease_until > {FROM_NOW} $2)"
    ))
    .bind(now)
    .bind(dialect::from_now(now, LEASE_MAX))
    .fetch_all(connections.reader())
    .await?;
    let lost = rows.into_iter().map(|row| {
        let (schedule, due_at, manual) = (row.schedule, row.due_at, row.manual);
        let run = RunKey { schedule, due_at, manual, execution: row.execution.into() };
        LostRun { run, node: row.node_name.unwrap_or_default(), outcome: RunOutcome::Lost }
    });
    Ok(lost.collect())
}

/// Records the outcome of a run, unless it was recorded or its lease was renewed meanwhile.
pub(crate) async fn finish_lost_run(
    connections: &Connections,
    lost: &LostRun,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let run = &lost.run;
    let change = sqlx::query(sql!(
        "UPDATE schedule_runs SET finished_at = {NOW}, outcome = $3, detail = $4
         WHERE app = $5 AND branch = $6 AND schedule = $7 AND due_at = $8 AND manual = $9 AND execution = $10
             AND finished_at IS NULL AND (lease_until < {NOW} OR lease_until > {FROM_NOW} $2)"
    ))
    .bind(now)
    .bind(dialect::from_now(now, LEASE_MAX))
    .bind(lost.outcome)
    .bind(lost.detail())
    .bind(run.schedule.app)
    .bind(&run.schedule.branch)
    .bind(run.schedule.name.as_str())
    .bind(run.due_at)
    .bind(run.manual)
    .bind(Id(run.execution));
    Ok(transaction::execute(connections, change).await? == 1)
}

pub(crate) async fn next_lease_end(
    connections: &Connections,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let end = sqlx::query_scalar(sql!(
        "SELECT min(CASE WHEN lease_until > {FROM_NOW} $2 THEN {NOW} ELSE lease_until END)
         FROM schedule_runs WHERE finished_at IS NULL"
    ))
    .bind(now)
    .bind(dialect::from_now(now, LEASE_MAX))
    .fetch_one(connections.reader())
    .await?;
    Ok(end)
}

#[derive(sqlx::FromRow)]
struct RunRow {
    due_at: DateTime<Utc>,
    first_due_at: Option<DateTime<Utc>>,
    #[sqlx(try_from = "Unsigned<u32>")]
    due_times: u32,
    manual: bool,
    deploy: DeployNumber,
    commit_id: Option<Oid>,
    execution: Option<Id>,
    node: Option<Id>,
    node_name: Option<String>,
    claimed_at: DateTime<Utc>,
    lease_until: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    outcome: Option<RunOutcome>,
    detail: Option<String>,
}

impl From<RunRow> for ScheduleRun {
    fn from(row: RunRow) -> Self {
        let first = row.first_due_at.unwrap_or(row.due_at);
        let node = row.node.zip(row.node_name);
        Self {
            due: DueRange { first, last: row.due_at, count: row.due_times },
            manual: row.manual,
            deploy: row.deploy,
            commit: row.commit_id,
            execution: row.execution.map(Uuid::from),
            node: node.map(|(id, name)| NodeIdentity { id: id.into(), name }),
            claimed_at: row.claimed_at,
            lease_until: row.lease_until,
            finished_at: row.finished_at,
            outcome: row.outcome,
            detail: row.detail,
        }
    }
}

pub(crate) async fn runs(
    connections: &Connections,
    schedule: &ScheduleId,
    up_to: Option<DateTime<Utc>>,
    limit: u32,
) -> Result<Vec<ScheduleRun>, StoreError> {
    let rows: Vec<RunRow> = sqlx::query_as(
        "SELECT due_at, first_due_at, due_times, manual, run.deploy, commit_id, execution, node, node_name, claimed_at, lease_until,
             finished_at, outcome, detail
         FROM schedule_runs AS run
         LEFT JOIN deploys ON number = run.deploy AND repository = (SELECT repository FROM apps WHERE id = $1)
         WHERE app = $1 AND run.branch = $2 AND schedule = $3 AND ($4 IS NULL OR due_at <= $4)
         ORDER BY due_at DESC, manual DESC LIMIT $5",
    )
    .bind(schedule.app)
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(up_to)
    .bind(i64::from(limit))
    .fetch_all(connections.reader())
    .await?;
    Ok(rows.into_iter().map(ScheduleRun::from).collect())
}

pub(crate) async fn prune_runs(
    connections: &Connections,
    schedule: &ScheduleId,
    keep: u32,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let change = sqlx::query(sql!(
        "DELETE FROM schedule_runs WHERE app = $1 AND branch = $2 AND schedule = $3 AND (due_at, manual) IN (
             SELECT due_at, manual FROM schedule_runs
             WHERE app = $1 AND branch = $2 AND schedule = $3 AND finished_at IS NOT NULL AND due_at <= {GREATEST}($4, coalesce((
                 SELECT due_at FROM schedule_runs WHERE app = $1 AND branch = $2 AND schedule = $3 ORDER BY due_at DESC LIMIT 1 OFFSET $5
             ), $4))
             ORDER BY due_at LIMIT $6
         )"
    ))
    .bind(schedule.app)
    .bind(&schedule.branch)
    .bind(schedule.name.as_str())
    .bind(before)
    .bind(i64::from(keep))
    .bind(i64::from(RUN_PRUNE_BATCH));
    transaction::execute(connections, change).await
}
