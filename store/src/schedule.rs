//! Schedules and their runs.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::name::JobName;
use uuid::Uuid;

use crate::audit::{Actor, AuditEvent};
use crate::error::StoreError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::model::App;
use crate::sql_types::Named;
use crate::{Store, dispatch};

/// How far the clock of the claiming node may be ahead of the database clock.
pub(crate) const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::seconds(1);

/// The longest lease. One that ends later is from before the clock was set back, and has expired.
pub(crate) const LEASE_MAX: TimeDelta = TimeDelta::minutes(2);

/// How many rows [`Store::prune_runs`](crate::Store::prune_runs) deletes at once.
pub const RUN_PRUNE_BATCH: u32 = 1000;

/// A node that holds the lease of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its id, which changes with every start of the process.
    pub id: Uuid,
    /// Its name.
    pub name: String,
}

/// A schedule that a branch of an app declares or declared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, sqlx::FromRow)]
pub struct ScheduleId {
    /// The app.
    pub app: AppId,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// Its name.
    #[sqlx(try_from = "Named<JobName>")]
    pub name: JobName,
}

/// A schedule in the manifest of a deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredSchedule {
    /// Its name.
    pub name: JobName,
    /// The cron expression.
    pub cron: String,
    /// The IANA time zone.
    pub timezone: String,
}

/// The state of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ScheduleState {
    /// Its name.
    #[sqlx(try_from = "Named<JobName>")]
    pub name: JobName,
    /// The cron expression; empty if an earlier version wrote the row.
    pub cron: String,
    /// The IANA time zone.
    pub timezone: String,
    /// Every due time up to this one was run or has a row.
    pub evaluated_until: DateTime<Utc>,
    /// When and by whom it was paused, if it is.
    #[sqlx(flatten, try_from = "PausedColumns")]
    pub paused: Option<Paused>,
}

/// When and by whom a schedule was paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// When.
    pub at: DateTime<Utc>,
    /// By whom.
    pub by: String,
}

#[derive(sqlx::FromRow)]
struct PausedColumns {
    paused_at: Option<DateTime<Utc>>,
    paused_by: Option<String>,
}

impl From<PausedColumns> for Option<Paused> {
    fn from(PausedColumns { paused_at, paused_by }: PausedColumns) -> Self {
        Some(Paused { at: paused_at?, by: paused_by.unwrap_or_default() })
    }
}

/// The due times of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRange {
    /// The first one.
    pub first: DateTime<Utc>,
    /// The last one, which is part of the primary key.
    pub last: DateTime<Utc>,
    /// How many there are, counted up to a limit.
    pub count: u32,
}

impl DueRange {
    /// A single due time.
    pub fn one(due: DateTime<Utc>) -> Self {
        Self { first: due, last: due, count: 1 }
    }

    /// Moves the last due time, and the first one if it is the same.
    pub fn later_by(self, time: TimeDelta) -> Self {
        let last = self.last + time;
        Self { first: if self.first == self.last { last } else { self.first }, last, ..self }
    }

    /// The first one, if there are several.
    pub(crate) fn first_of_several(&self) -> Option<DateTime<Utc>> {
        (self.first < self.last).then_some(self.first)
    }
}

/// Due times that are not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnrunDueTimes {
    /// The due times.
    pub due: DueRange,
    /// [`RunOutcome::Skipped`] or [`RunOutcome::Missed`].
    pub outcome: RunOutcome,
    /// The reason.
    pub reason: String,
}

/// A claim: to run a schedule, or to record that due times are not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The due times.
    pub due: DueRange,
    /// Manual run: not a due time; ordering and pauses do not apply.
    pub manual: bool,
    /// Whether it is skipped while another run of the schedule is in progress.
    pub forbid_overlap: bool,
    /// The rate limit of the app. Manual runs do not count.
    pub runs_per_minute: u32,
    /// The deploy that would run.
    pub deploy: DeployNumber,
    /// What to do about the due times.
    pub action: ClaimAction,
    /// The claiming node.
    pub node: NodeIdentity,
    /// The clock of the claiming node. PostgreSQL uses its own instead.
    pub now: DateTime<Utc>,
    /// If a schedule was evaluated further ahead than this, the clock was set back since, and the value is ignored.
    pub evaluated_ahead_max: TimeDelta,
}

/// What to do about due times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimAction {
    /// Runs the last one.
    Run {
        /// The id of the execution.
        execution: Uuid,
        /// How long the lease is valid unless it is renewed.
        lease: Duration,
    },
    /// Runs none of them.
    Skip {
        /// [`RunOutcome::Skipped`] or [`RunOutcome::Missed`].
        outcome: RunOutcome,
        /// The reason.
        reason: String,
    },
}

/// The result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The row is written; the node runs the schedule if it claimed a run.
    Granted,
    /// The run was recorded as skipped, for this reason: another run is in progress.
    Overlaps(String),
    /// The schedule was already evaluated up to this time.
    AlreadyEvaluated(DateTime<Utc>),
    /// A row for this time exists beyond `evaluated_until`: of a manual run in the same microsecond, or from before
    /// the clock was set back. The claim can be repeated one microsecond later.
    Duplicate,
    /// The rate limit of the app is reached until this time. Nothing was written.
    RateLimited(DateTime<Utc>),
    /// The schedule is paused.
    Paused,
    /// The schedules of all apps are on hold.
    Held,
    /// Not due yet: the database clock shows this time.
    Early(DateTime<Utc>),
    /// The deploy is not live or not registered.
    NotLive,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// The script succeeded.
    Succeeded,
    /// The script failed.
    Failed,
    /// Not run on purpose.
    Skipped,
    /// Not run, because no node could run it in time.
    Missed,
    /// The lease expired during the run. The script may have run up to any point.
    Lost,
}

impl RunOutcome {
    /// All outcomes in order.
    pub const ALL: [Self; 5] = [Self::Succeeded, Self::Failed, Self::Skipped, Self::Missed, Self::Lost];

    /// The name in rows and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Lost => "lost",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// The row of a claimed run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunKey {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The due time.
    pub due_at: DateTime<Utc>,
    /// Whether it is a manual run.
    pub manual: bool,
    /// The execution. A row with another one belongs to another run.
    pub execution: Uuid,
}

/// A row of `schedule_runs`: a run, or due times that were not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRun {
    /// The due times.
    pub due: DueRange,
    /// Whether it is a manual run.
    pub manual: bool,
    /// The deploy.
    pub deploy: DeployNumber,
    /// The commit of the deploy.
    pub commit: Option<Oid>,
    /// The execution, if it was run.
    pub execution: Option<Uuid>,
    /// The node that claimed it; `None` in rows of earlier versions.
    pub node: Option<NodeIdentity>,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// When the lease expires, while it is in progress.
    pub lease_until: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: Option<RunOutcome>,
    /// Why it failed or was not run.
    pub detail: Option<String>,
}

impl ScheduleRun {
    /// The delay between due time and claim, negative by clock skew.
    pub fn lateness(&self) -> TimeDelta {
        self.claimed_at - self.due.last
    }
}

/// What the rows of a schedule before a run show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunHistory {
    /// The due time of the last successful run, manual ones included; `None` if no row of one is kept.
    pub last_success: Option<DateTime<Utc>>,
    /// The number of due times since then that no run served, as far as rows are kept and count: those that failed, were
    /// lost, skipped or missed, and those that the run itself stands for besides its own.
    pub missed: u64,
}

/// A run whose node did not record its outcome before the lease expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRun {
    /// The run.
    pub run: RunKey,
    /// The name of the node that held the lease.
    pub node: String,
    /// Lost, or succeeded if what it changed is stored.
    pub outcome: RunOutcome,
}

/// Why a run was skipped because of another run.
pub(crate) fn overlap_reason(node: Option<&str>) -> String {
    match node {
        Some(node) => format!("the previous run is still in progress on node {node}"),
        None => "the previous run is still in progress".to_owned(),
    }
}

impl LostRun {
    /// The detail of the row.
    pub(crate) fn detail(&self) -> String {
        let node = if self.node.is_empty() { "?" } else { &self.node };
        match self.outcome {
            RunOutcome::Succeeded => {
                format!("what it changed is stored; the lease of node {node} expired after that")
            }
            _ => format!("the lease of node {node} expired during the run"),
        }
    }
}

impl Store {
    /// Registers the schedules of a live deploy. A schedule that the previous deploy of the branch declared alike
    /// continues where it was; otherwise it starts with the deploy, or when preview schedules were enabled. Does
    /// nothing if the deploy is not live.
    ///
    /// # Errors
    /// The database failed.
    pub async fn register_schedules(
        &self,
        app: AppId,
        deploy: DeployNumber,
        declared: &[DeclaredSchedule],
    ) -> Result<(), StoreError> {
        dispatch!(self, schedules::register_schedules(app, deploy, declared))
    }

    /// The registered schedules of a branch, sorted by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedule_states(&self, app: AppId, branch: &str) -> Result<Vec<ScheduleState>, StoreError> {
        dispatch!(self, schedules::schedule_states(app, branch))
    }

    /// The registered schedules of all apps.
    ///
    /// # Errors
    /// The database failed.
    pub async fn all_schedules(&self) -> Result<Vec<ScheduleId>, StoreError> {
        dispatch!(self, schedules::all_schedules())
    }

    /// Deletes the schedules of deleted branches that have no rows of runs any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_stale_schedules(&self) -> Result<u64, StoreError> {
        dispatch!(self, schedules::delete_stale_schedules())
    }

    /// Enables or disables the schedules of a preview; `None`: unknown branch. Increments the generation of the app
    /// if that is a change.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_preview_schedules(
        &self,
        app: &App,
        branch: &str,
        on: bool,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<Option<App>, StoreError> {
        dispatch!(self, schedules::set_preview_schedules(app, branch, on, node, by))
    }

    /// Pauses a schedule from the time of `event`. `false`: it is already paused, or unknown.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pause_schedule(
        &self,
        schedule: &ScheduleId,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        dispatch!(self, schedules::pause_schedule(schedule, event))
    }

    /// Resumes a schedule from the time of `event`, with one row for the skipped due times. `false`: it is not
    /// paused, or unknown.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resume_schedule(
        &self,
        schedule: &ScheduleId,
        skipped: Option<UnrunDueTimes>,
        node: &NodeIdentity,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        dispatch!(self, schedules::resume_schedule(schedule, skipped.as_ref(), node, event))
    }

    /// Records due times of a replaced cron expression that are not run any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_unrun_due_times(
        &self,
        schedule: &ScheduleId,
        left: &UnrunDueTimes,
        node: &NodeIdentity,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        dispatch!(self, schedules::record_unrun_due_times(schedule, left, node, now))
    }

    /// Claims due times of a schedule, or a manual run. The primary key decides between nodes; claims of one schedule
    /// are serialized, so that no due time is in two rows.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim_run(&self, run: &NewRun) -> Result<Claim, StoreError> {
        dispatch!(self, schedule_runs::claim_run(run))
    }

    /// What was before a claimed run.
    ///
    /// # Errors
    /// The database failed.
    pub async fn run_history(&self, run: &RunKey) -> Result<RunHistory, StoreError> {
        dispatch!(self, schedule_runs::run_history(run))
    }

    /// Renews the lease of a run for `lease` from now. `false`: it was recorded as lost.
    ///
    /// # Errors
    /// The database failed.
    pub async fn renew_run(
        &self,
        run: &RunKey,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        dispatch!(self, schedule_runs::renew_run(run, lease, now))
    }

    /// Records how a run ended. `false`: it was recorded as lost, which is final.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish_run(
        &self,
        run: &RunKey,
        outcome: RunOutcome,
        detail: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        dispatch!(self, schedule_runs::finish_run(run, outcome, detail, now))
    }

    /// Records runs as lost whose lease has expired, or is longer than possible. Those that committed changes of the
    /// state have succeeded. The others cannot commit any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn mark_lost_runs(&self, now: DateTime<Utc>) -> Result<Vec<LostRun>, StoreError> {
        let mut marked = Vec::new();
        for mut run in dispatch!(self, schedule_runs::expired_runs(now))? {
            // First in the state, which decides: a node that is only slow may be about to commit.
            let is_lost = self.state().lose_run(run.run.execution).await?;
            run.outcome = if is_lost { RunOutcome::Lost } else { RunOutcome::Succeeded };
            if dispatch!(self, schedule_runs::finish_lost_run(&run, now))? {
                marked.push(run);
            }
        }
        Ok(marked)
    }

    /// Deletes what the state knows of commits and scheduled runs from before `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_state(&self, before: DateTime<Utc>) -> Result<(), StoreError> {
        self.state().prune(before.timestamp_millis()).await
    }

    /// When the first lease in progress expires, by the database clock. A lease that is longer than possible has
    /// expired now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_lease_end(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        dispatch!(self, schedule_runs::next_lease_end(now))
    }

    /// The latest rows of a schedule up to `up_to`, at most `limit`, latest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn runs(
        &self,
        schedule: &ScheduleId,
        up_to: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<ScheduleRun>, StoreError> {
        dispatch!(self, schedule_runs::runs(schedule, up_to, limit))
    }

    /// Deletes rows of a schedule that are due before `before`, or beyond the latest `keep`; at most
    /// [`RUN_PRUNE_BATCH`]. Returns how many were deleted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_runs(
        &self,
        schedule: &ScheduleId,
        keep: u32,
        before: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        dispatch!(self, schedule_runs::prune_runs(schedule, keep, before))
    }
}
