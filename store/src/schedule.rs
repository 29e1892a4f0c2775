//! What is remembered of schedules and of their runs.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::name::JobName;
use uuid::Uuid;

use crate::audit::{Act, Actor};
use crate::column::Named;
use crate::error::StoreError;
use crate::id::{AppId, DeployNumber, Oid};
use crate::record::App;
use crate::{Store, either};

/// How far the clock of whoever claims a run may be ahead of the database's.
pub(crate) const AHEAD_MAX: TimeDelta = TimeDelta::seconds(1);

/// No lease is longer than this: one that ends later is of before the clock was set back, and over.
pub(crate) const LEASE_MAX: TimeDelta = TimeDelta::minutes(2);

/// The rows that [`Store::prune_runs`](crate::Store::prune_runs) deletes at once.
pub const PRUNED_AT_ONCE: u32 = 1000;

/// A node, as the runs that it holds name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its id: another one for each process, so that what an earlier process held is not taken for this one's.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
}

/// A schedule: one that a branch of an app declares, or has declared.
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

/// A schedule as a deploy declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredSchedule {
    /// Its name.
    pub name: JobName,
    /// The cron expression.
    pub cron: String,
    /// The IANA name of the time zone.
    pub timezone: String,
}

/// How far a schedule has come.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ScheduleState {
    /// Its name.
    #[sqlx(try_from = "Named<JobName>")]
    pub name: JobName,
    /// The cron expression by which it is reckoned; empty where an earlier version left it.
    pub cron: String,
    /// The IANA name of the time zone.
    pub timezone: String,
    /// Every due time up to this one has been run or has its row.
    pub reckoned_until: DateTime<Utc>,
    /// Since when and by whom it is paused, if it is.
    #[sqlx(flatten, try_from = "PausedColumns")]
    pub paused: Option<Paused>,
}

/// That a schedule is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Since when.
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

/// Due times that one row stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTimes {
    /// The first of them.
    pub first: DateTime<Utc>,
    /// The last of them: with app and schedule, the row's identity.
    pub last: DateTime<Utc>,
    /// How many there are, counted up to a bound.
    pub count: u32,
}

impl DueTimes {
    /// A single one.
    pub fn one(due: DateTime<Utc>) -> Self {
        Self { first: due, last: due, count: 1 }
    }

    /// The same with the last a little later. Where that is the only one, it stays so.
    pub fn later_by(self, time: TimeDelta) -> Self {
        let last = self.last + time;
        Self { first: if self.first == self.last { last } else { self.first }, last, ..self }
    }

    /// The first, where it is not the only one.
    pub(crate) fn first_of_several(&self) -> Option<DateTime<Utc>> {
        (self.first < self.last).then_some(self.first)
    }
}

/// Due times that are not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Which.
    pub due: DueTimes,
    /// [`RunOutcome::Skipped`] or [`RunOutcome::Missed`].
    pub outcome: RunOutcome,
    /// Why.
    pub reason: String,
}

/// A run of a schedule to be claimed, or due times to be recorded as not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// The schedule.
    pub schedule: ScheduleId,
    /// What the row stands for.
    pub due: DueTimes,
    /// Whether somebody asked for it; then it is no due time, and neither order nor pauses matter.
    pub manual: bool,
    /// Whether it is only run while no other run of the schedule goes on.
    pub alone: bool,
    /// How many runs the schedules of the app can begin within a minute. Those that somebody asked for do not count.
    pub runs_per_minute: u32,
    /// The deploy that the claimer would run.
    pub deploy: DeployNumber,
    /// What is done about the due times.
    pub action: Action,
    /// Who claims.
    pub node: NodeIdentity,
    /// The claimer's clock. SQLite has no other; PostgreSQL goes by its own.
    pub now: DateTime<Utc>,
    /// A schedule that is reckoned further ahead than this was reckoned before the clock was set back, and is not believed.
    pub reckoned_ahead_max: TimeDelta,
}

/// What is done about due times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The last of them is run.
    Run {
        /// The execution that it will be.
        execution: Uuid,
        /// For how long it is held, unless it is renewed.
        lease: Duration,
    },
    /// None of them is run.
    Leave {
        /// [`RunOutcome::Skipped`] or [`RunOutcome::Missed`].
        outcome: RunOutcome,
        /// Why.
        reason: String,
    },
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The row is the claimer's: it runs, or has recorded what it had to.
    Granted,
    /// The row is there and says that nothing was run, since another run goes on; the words say whose.
    Overlaps(String),
    /// The schedule is reckoned up to this due time already; only what is due later is left.
    Reckoned(DateTime<Utc>),
    /// There is a row of this very time, which is not reckoned: somebody asked for a run in the same microsecond, or the due
    /// time has come a second time, since the clock was set back. A microsecond later is as good.
    Taken,
    /// The schedules of the app have begun as many runs within this minute as they can. Nothing was written; the next minute begins
    /// then.
    Limited(DateTime<Utc>),
    /// The schedule is paused.
    Paused,
    /// The schedules of all apps are held.
    Held,
    /// It is not due yet by the database's clock, which shows this.
    Early(DateTime<Utc>),
    /// The deploy is not what is live, or has not been registered.
    NotLive,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// The script ran to its end.
    Succeeded,
    /// The script failed.
    Failed,
    /// Nothing was run, on purpose.
    Skipped,
    /// Nothing was run, since no node could in time.
    Missed,
    /// The node that ran it was not heard of any more. It may have run to any point.
    Lost,
}

impl RunOutcome {
    /// Every outcome, in order.
    pub const ALL: [Self; 5] = [Self::Succeeded, Self::Failed, Self::Skipped, Self::Missed, Self::Lost];

    /// The outcome as rows have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Lost => "lost",
        }
    }

    /// The outcome of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// A claimed run, by its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunKey {
    /// The schedule.
    pub schedule: ScheduleId,
    /// When it was due.
    pub due: DateTime<Utc>,
    /// Whether somebody asked for it.
    pub manual: bool,
    /// The execution. A row that holds another one is not this run's.
    pub execution: Uuid,
}

/// A row of `schedule_runs`: a run, or due times that were not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRun {
    /// What it stands for.
    pub due: DueTimes,
    /// Whether somebody asked for it.
    pub manual: bool,
    /// The deploy that was live.
    pub deploy: DeployNumber,
    /// The deploy's commit.
    pub commit: Option<Oid>,
    /// The execution, where something was run.
    pub execution: Option<Uuid>,
    /// The node that claimed it; rows of earlier versions have none.
    pub node: Option<NodeIdentity>,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// Until when its node holds it, while it goes on.
    pub lease_until: Option<DateTime<Utc>>,
    /// When it ended, if it has.
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended, if it has.
    pub outcome: Option<RunOutcome>,
    /// Why it failed or was not run.
    pub detail: Option<String>,
}

impl ScheduleRun {
    /// How much later than due it was claimed. Clocks may differ a little, so that it can be negative.
    pub fn lateness(&self) -> TimeDelta {
        self.claimed_at - self.due.last
    }
}

/// A run that was recorded as lost.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LostRun {
    /// The schedule.
    #[sqlx(flatten)]
    pub schedule: ScheduleId,
    /// When it was due.
    pub due: DateTime<Utc>,
    /// The name of the node that held it.
    #[sqlx(rename = "node_name")]
    pub node: String,
}

/// The reason of a run that is not run because of another one.
pub(crate) fn overlaps(node: Option<&str>) -> String {
    match node {
        Some(node) => format!("the previous run is still going, on node {node}"),
        None => "the previous run is still going".to_owned(),
    }
}

/// The detail of a lost run, `$` standing for the node's name.
pub(crate) const LOST: [&str; 2] = ["node ", " was not heard of any more while it ran"];

impl Store {
    /// Remembers the schedules that a live deploy declares, and how far each has come: where the deploy of the branch before
    /// it declared the same, up to where it was, else up to the deploy, or to when they were put on the clock. Nothing is
    /// changed for a deploy that is not live.
    ///
    /// # Errors
    /// The database failed.
    pub async fn register_schedules(
        &self,
        app: AppId,
        deploy: DeployNumber,
        declared: &[DeclaredSchedule],
    ) -> Result<(), StoreError> {
        either!(self, schedules::register_schedules(app, deploy, declared))
    }

    /// The schedules of a branch that were ever registered, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedule_states(&self, app: AppId, branch: &str) -> Result<Vec<ScheduleState>, StoreError> {
        either!(self, schedules::schedule_states(app, branch))
    }

    /// The schedules of all apps that were ever registered, and are remembered.
    ///
    /// # Errors
    /// The database failed.
    pub async fn all_schedules(&self) -> Result<Vec<ScheduleId>, StoreError> {
        either!(self, schedules::all_schedules())
    }

    /// Forgets the schedules of branches that are gone, once they have no row of a run any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_schedules(&self) -> Result<u64, StoreError> {
        either!(self, schedules::forget_schedules())
    }

    /// Puts the schedules of a preview on the clock, from `act` on, or takes them off; `None` where the branch is unknown.
    /// The app's generation is raised, unless it is as it was.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedule_preview(
        &self,
        app: &App,
        branch: &str,
        on: bool,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<Option<App>, StoreError> {
        either!(self, schedules::schedule_preview(app, branch, on, node, by))
    }

    /// Pauses a schedule, as `act` says: its due times are not granted to anybody. `false` where it is paused already, or unknown.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pause_schedule(&self, schedule: &ScheduleId, act: &Act) -> Result<bool, StoreError> {
        either!(self, schedules::pause_schedule(schedule, act))
    }

    /// Resumes a schedule from the time of `act` on, with one row for the due times that were skipped and why. `false` where it is not
    /// paused, or unknown.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resume_schedule(
        &self,
        schedule: &ScheduleId,
        skipped: Option<Left>,
        node: &NodeIdentity,
        act: &Act,
    ) -> Result<bool, StoreError> {
        either!(self, schedules::resume_schedule(schedule, skipped.as_ref(), node, act))
    }

    /// Records due times that are not run any more: of an expression that is no longer that of the schedule.
    ///
    /// # Errors
    /// The database failed.
    pub async fn leave_due_times(
        &self,
        schedule: &ScheduleId,
        left: &Left,
        node: &NodeIdentity,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        either!(self, schedules::leave_due_times(schedule, left, node, now))
    }

    /// Claims due times of a schedule, or a run that somebody asked for. Whoever inserts the row of (app, schedule, due
    /// time) has it, whatever the other nodes do; claims of one schedule come one after the other, so that no due time is
    /// in two rows.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim_run(&self, run: &NewRun) -> Result<Claim, StoreError> {
        either!(self, schedule_runs::claim_run(run))
    }

    /// Holds a claimed run for `lease` from now on. `false`: it was recorded as lost meanwhile, and is not the claimer's
    /// any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn renew_run(
        &self,
        run: &RunKey,
        lease: Duration,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        either!(self, schedule_runs::renew_run(run, lease, now))
    }

    /// Records how a claimed run ended. `false`: it was recorded as lost meanwhile, and stays so.
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
        either!(self, schedule_runs::finish_run(run, outcome, detail, now))
    }

    /// Records every run as lost whose lease is over, or is one that no clock could have given by now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lose_runs(&self, now: DateTime<Utc>) -> Result<Vec<LostRun>, StoreError> {
        either!(self, schedule_runs::lose_runs(now))
    }

    /// When the first of the leases in progress ends, by the database's clock. One that no clock could have given by now has
    /// ended just now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_lease_end(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        either!(self, schedule_runs::next_lease_end(now))
    }

    /// The rows of a schedule with the latest due times up to `up_to`, at most `most`, the latest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn runs(
        &self,
        schedule: &ScheduleId,
        up_to: Option<DateTime<Utc>>,
        most: u32,
    ) -> Result<Vec<ScheduleRun>, StoreError> {
        either!(self, schedule_runs::runs(schedule, up_to, most))
    }

    /// Deletes rows of a schedule that are due before `before`, or beyond the latest `keep`; at most [`PRUNED_AT_ONCE`].
    /// Returns how many it were.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_runs(
        &self,
        schedule: &ScheduleId,
        keep: u32,
        before: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        either!(self, schedule_runs::prune_runs(schedule, keep, before))
    }
}
