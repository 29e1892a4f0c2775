//! The scheduler: runs the schedules of live deploys.
//!
//! Correctness depends on the store, not on timers:
//!
//! - A schedule's row has the time up to which it was evaluated. What is due since then follows from the
//!   clock and the expression ([`mod@misfire`]), never from when something ran.
//! - A run is claimed by inserting its row (app, schedule, due time): one node runs it, and only for the live
//!   deploy.
//! - A running node renews the [`lease`] of the run. If it expires, any node records the run as lost
//!   ([`maintenance`]), and it is not run again.
//!
//! - The schedules of an app share a [`rate`] limit of runs per minute.
//!
//! [`timer`] fires at the next due time of all schedules and sleeps until then. Schedules are those of the
//! live revisions, so that they change together with the routes. [`operations`] serves users: list, run now,
//! pause, resume.

mod due_queue;
mod hold;
mod lease;
mod maintenance;
mod metrics;
mod misfire;
mod operations;
mod rate;
mod timer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::live::{Live, LiveTable};
use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::cron::Cron;
use manifest_schema::manifest::{Overlap, Schedule};
use manifest_schema::name::JobName;
use manifest_schema::zone::zone_data;
use store::{
    AppId, Claim, ClaimAction, DeclaredSchedule, DeployNumber, NewRun, NodeIdentity, RunKey, ScheduleId,
    ScheduleState, Store, StoreError, UnrunDueTimes,
};
use tokio::sync::watch;
use tokio_cron_scheduler::JobSchedulerError;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use due_queue::{BranchKey, DueQueue, branch_key};
use misfire::{clamp_future, due_run, due_times, future_max};
use rate::LimitedApps;
use timer::Alarm;

pub use hold::hold_message;
pub(crate) use lease::{execute_run, scheduled_run};
pub use metrics::RunMetrics;
pub use operations::{RunCursor, RunNowError, ScheduleStatus};
pub use store::{RunHistory, RunOutcome, ScheduleHold, ScheduleRun};

use crate::clock::Clock;
use crate::recording::Recorder;

/// The duration of a lease. A dead node is detected after this time, at most twice.
const LEASE: Duration = Duration::from_secs(15);

/// The delay of a retry after an error.
const RETRY_DELAY: TimeDelta = TimeDelta::seconds(1);

/// The delay of a retry when the deploy is not live: usually the live one is about to arrive.
const NOT_LIVE_RETRY_DELAY: TimeDelta = TimeDelta::seconds(10);

/// A due time that repeats after the clock was set back already has rows; up to this many are distinguished,
/// a microsecond each.
const REPEATS_MAX: TimeDelta = TimeDelta::microseconds(1000);

/// The server's settings of schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleLimits {
    /// The maximum lateness of a run that is caught up.
    pub catch_up_window: Duration,
    /// The retention of run rows, …
    pub keep_for: Duration,
    /// … and their maximum number per schedule.
    pub keep: u32,
}

impl Default for ScheduleLimits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { catch_up_window: DAY, keep_for: DAY * 30, keep: 10_000 }
    }
}

/// Runs the schedules of all live branches where they are enabled: production, and previews on request. Cheap
/// to clone; clones share their state.
#[derive(Clone, Debug)]
pub struct Scheduler(Arc<State>);

#[derive(Debug)]
struct State {
    store: Store,
    table: Arc<LiveTable>,
    recorder: Recorder,
    node: NodeIdentity,
    limits: ScheduleLimits,
    clock: Clock,
    queue: Mutex<DueQueue>,
    maintenance: maintenance::Maintenance,
    alarm: Alarm,
    metrics: RunMetrics,
    /// Whether it was logged that all schedules are held.
    hold_logged: AtomicBool,
    limited_apps: LimitedApps,
    /// Claims and their runs. Closed at shutdown: nothing is claimed any more.
    tasks: TaskTracker,
}

/// A due schedule taken from the queue.
struct DueSchedule {
    live: Arc<Live>,
    schedule: Schedule,
    evaluated_until: DateTime<Utc>,
    /// Up to when its runs are skipped because of the rate limit.
    limited_until: Option<DateTime<Utc>>,
    /// The number of clock jumps when it was taken.
    jumps: u64,
}

impl Scheduler {
    /// Creates a scheduler of the revisions in `table` that claims runs in `store` for `node` by `clock`, and
    /// records executions with `recorder`.
    pub fn new(
        store: Store,
        table: Arc<LiveTable>,
        recorder: Recorder,
        node: NodeIdentity,
        limits: ScheduleLimits,
        clock: Clock,
    ) -> Self {
        let (queue, maintenance, metrics, hold_logged, limited_apps, tasks) = Default::default();
        let alarm = Alarm::new(clock.clone());
        Self(Arc::new(State {
            store,
            table,
            recorder,
            node,
            limits,
            clock,
            queue,
            maintenance,
            alarm,
            metrics,
            hold_logged,
            limited_apps,
            tasks,
        }))
    }

    /// The metrics of runs claimed by this node.
    pub fn metrics(&self) -> &RunMetrics {
        &self.0.metrics
    }

    /// Stops claiming runs.
    pub fn close(&self) {
        self.0.tasks.close();
    }

    /// Stops claiming runs, and waits for active ones.
    pub async fn drain(&self) {
        self.close();
        self.0.tasks.wait().await;
    }

    /// Runs due schedules until the future is dropped. `changes` notifies of changes to the live table.
    ///
    /// # Errors
    /// The timer cannot be started.
    pub async fn run(self, mut changes: watch::Receiver<()>) -> Result<(), JobSchedulerError> {
        let scheduler = self.clone();
        let mut timer = timer::start(&self.0.alarm, move || {
            let scheduler = scheduler.clone();
            Box::pin(async move { scheduler.tick(scheduler.now()) })
        })
        .await?;
        loop {
            self.tick(self.now());
            if changes.changed().await.is_err() {
                return timer.shutdown().await;
            }
        }
    }

    /// Starts everything due at `now`, and sets the alarm.
    fn tick(&self, now: DateTime<Utc>) {
        if self.0.tasks.is_closed() {
            return self.0.alarm.set(None);
        }
        let live: Vec<_> = self
            .0
            .table
            .scheduled()
            .into_iter()
            .filter(|live| !live.revision.manifest().schedules.is_empty())
            .collect();
        let jumps = self.0.clock.poll();
        let (unregistered, due) = {
            let mut queue = self.queue();
            queue.replan(jumps, now);
            (queue.sync(&live, now), queue.due(now))
        };
        for live in unregistered {
            tokio::spawn(self.clone().register(live, now));
        }
        for due in due {
            self.0.tasks.spawn(self.clone().claim_due(due, now));
        }
        self.run_maintenance(now, !live.is_empty());
        self.arm();
    }

    /// Sets the alarm for the next due time.
    fn arm(&self) {
        let (next, jumps) = {
            let queue = self.queue();
            (queue.next(), queue.jumps())
        };
        // Without schedules and active runs, maintenance does not wake the node.
        let first = next.into_iter().chain(self.0.maintenance.next(next.is_some())).min();
        self.0.alarm.set(first.map(|first| (first, jumps)));
    }

    /// Registers the schedules of a deploy and adds them to the queue.
    async fn register(self, live: Arc<Live>, now: DateTime<Utc>) {
        let found = self.states(&live).await;
        if let Err(error) = &found {
            tracing::warn!(app = %live.revision.app(), %error, "cannot load schedules, will retry");
        }
        self.queue().registered(&live, found.ok(), now);
        self.arm();
    }

    /// Registers the schedules of a live deploy in the store, and returns their states.
    async fn states(&self, live: &Live) -> Result<Vec<ScheduleState>, StoreError> {
        let app = AppId::from_uuid(live.revision.app_id());
        let declared = |schedule: &Schedule| DeclaredSchedule {
            name: schedule.name.clone(),
            cron: schedule.cron.as_str().to_owned(),
            timezone: schedule.cron.zone_name().to_owned(),
        };
        let declared: Vec<_> = live.revision.manifest().schedules.iter().map(declared).collect();
        let (store, branch) = (&self.0.store, live.branch.name.as_str());
        let before = store.schedule_states(app, branch).await?;
        store.register_schedules(app, deploy_of(live), &declared).await?;
        let after = store.schedule_states(app, branch).await?;
        for new in &after {
            let unrun = before.iter().find(|old| old.name == new.name).and_then(|old| replaced(old, new));
            if let Some(unrun) = unrun {
                let schedule = schedule_id(live, &new.name);
                store.record_unrun_due_times(&schedule, &unrun, &self.0.node, self.now()).await?;
            }
        }
        Ok(after)
    }

    /// Claims the due run of a schedule, and executes it if the claim is granted.
    async fn claim_due(self, due: DueSchedule, mut now: DateTime<Utc>) {
        let DueSchedule { live, schedule, mut evaluated_until, limited_until, jumps } = due;
        let (key, name) = (branch_key(&live), &schedule.name);
        let reschedule = |evaluated_until, retry_at: Option<_>| {
            self.reschedule(&key, name, evaluated_until, retry_at.map(|retry_at| (jumps, retry_at)))
        };
        let mut repeats = TimeDelta::zero();
        let began = now;
        loop {
            evaluated_until = clamp_future(&schedule.cron, evaluated_until, now);
            let runs_per_minute = live.limits().schedule_runs;
            let (cron, app) = (&schedule.cron, &key.0);
            let skipped = limited_until
                .and_then(|until| rate::skipped(cron, evaluated_until, until, now, app, runs_per_minute));
            let is_rate_limited = skipped.is_some();
            let Some(mut due_run) = skipped.or_else(|| {
                due_run(cron, schedule.catch_up, evaluated_until, now, self.0.limits.catch_up_window)
            }) else {
                // Not due yet by the database clock: retry after the difference.
                let early = schedule
                    .cron
                    .next_after(evaluated_until)
                    .map(|next| began + (next - now).min(NOT_LIVE_RETRY_DELAY * 6));
                return reschedule(evaluated_until, early.filter(|_| now < began));
            };
            let execution = Uuid::now_v7();
            let action = match &due_run.unrun {
                None => ClaimAction::Run { execution, lease: LEASE },
                Some((outcome, reason)) => ClaimAction::Skip { outcome: *outcome, reason: reason.clone() },
            };
            due_run.due = due_run.due.later_by(repeats);
            let last = due_run.due.last;
            let run = NewRun { due: due_run.due, action, ..self.claim(&live, &schedule, false, now) };
            let (app, branch) = &key;
            match self.0.store.claim_run(&run).await {
                // Claim what is due since then.
                Ok(Claim::Granted) if is_rate_limited => {
                    self.0.metrics.count_outcome(RunOutcome::Skipped);
                    evaluated_until = last;
                }
                Ok(Claim::Granted) => {
                    self.0.hold_logged.store(false, Ordering::Relaxed);
                    reschedule(last, None);
                    match due_run.unrun {
                        None => {
                            self.0.metrics.observe_start(now - last);
                            self.execute_claimed(live, &schedule, run_key(&run, execution)).await;
                        }
                        Some((outcome, reason)) => {
                            self.0.metrics.count_outcome(outcome);
                            tracing::warn!(%app, branch, schedule = %name, due = %last, "{}: {reason}", outcome.as_str())
                        }
                    }
                    return;
                }
                Ok(Claim::RateLimited(until)) => {
                    if self.0.limited_apps.is_new(app, until) {
                        tracing::warn!(%app, "skipping scheduled runs until {until}: {}", rate::limit_reason(app, runs_per_minute));
                    }
                    self.queue().reschedule_limited(&key, name, evaluated_until, (jumps, until), until);
                    return self.arm();
                }
                Ok(Claim::Overlaps(reason)) => {
                    self.0.metrics.count_outcome(RunOutcome::Skipped);
                    tracing::info!(%app, branch, schedule = %name, due = %last, "skipped: {reason}");
                    return reschedule(last, None);
                }
                Ok(Claim::AlreadyEvaluated(until)) if until > evaluated_until => evaluated_until = until,
                Ok(Claim::AlreadyEvaluated(_)) => return reschedule(last, None),
                Ok(Claim::Duplicate) if repeats < REPEATS_MAX => repeats += TimeDelta::microseconds(1),
                Ok(Claim::Duplicate) => return reschedule(last, None),
                Ok(Claim::Paused) => return reschedule(evaluated_until, schedule.cron.next_after(now)),
                Ok(Claim::Held) => {
                    self.log_hold();
                    return reschedule(evaluated_until, schedule.cron.next_after(now));
                }
                Ok(Claim::Early(shown)) => {
                    tracing::warn!(%app, branch, schedule = %name, "the clock of this node is ahead of the database clock: {now}, {shown}");
                    now = shown;
                }
                Ok(Claim::NotLive) => {
                    let retry_at = now + NOT_LIVE_RETRY_DELAY;
                    reschedule(evaluated_until, Some(retry_at));
                    // A restored store can lack the schedule: register it again.
                    self.queue().reregister(&key, retry_at);
                    return self.arm();
                }
                Err(error) => {
                    tracing::warn!(%app, branch, schedule = %name, due = %last, %error, "cannot claim run, will retry");
                    let retry_at = self.now().max(now) + RETRY_DELAY;
                    match limited_until {
                        None => reschedule(evaluated_until, Some(retry_at)),
                        Some(until) => {
                            self.queue().reschedule_limited(
                                &key,
                                name,
                                evaluated_until,
                                (jumps, retry_at),
                                until,
                            );
                            self.arm();
                        }
                    }
                    return;
                }
            }
        }
    }

    /// A claim by this node with `now` as the only due time.
    fn claim(&self, live: &Live, schedule: &Schedule, manual: bool, now: DateTime<Utc>) -> NewRun {
        NewRun {
            schedule: schedule_id(live, &schedule.name),
            due: store::DueRange::one(now),
            manual,
            forbid_overlap: schedule.overlap == Overlap::Skip,
            runs_per_minute: live.limits().schedule_runs,
            deploy: deploy_of(live),
            action: ClaimAction::Run { execution: Uuid::now_v7(), lease: LEASE },
            node: self.0.node.clone(),
            now,
            evaluated_ahead_max: future_max(&schedule.cron, now),
        }
    }

    /// Puts a schedule back: it is evaluated up to `evaluated_until`, and due next after that, or at
    /// `retry_at`.
    fn reschedule(
        &self,
        branch_key: &BranchKey,
        name: &JobName,
        evaluated_until: DateTime<Utc>,
        retry_at: Option<(u64, DateTime<Utc>)>,
    ) {
        self.queue().reschedule(branch_key, name, evaluated_until, retry_at);
        self.arm();
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    /// The queue. No code panics while holding the lock.
    fn queue(&self) -> MutexGuard<'_, DueQueue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The due times of a replaced expression that did not run.
fn replaced(old: &ScheduleState, new: &ScheduleState) -> Option<UnrunDueTimes> {
    if (&old.cron, &old.timezone) == (&new.cron, &new.timezone) {
        return None;
    }
    let cron = Cron::parse(&old.cron, zone_data().find(&old.timezone).0?).ok()?;
    let due = due_times(&cron, old.evaluated_until, new.evaluated_until)?;
    Some(match &old.paused {
        Some(paused) => operations::skipped_while_paused(due, paused),
        None => {
            let reason = "a deploy replaced the expression before the run".to_owned();
            UnrunDueTimes { due, outcome: RunOutcome::Missed, reason }
        }
    })
}

fn run_key(run: &NewRun, execution: Uuid) -> RunKey {
    RunKey { schedule: run.schedule.clone(), due_at: run.due.last, manual: run.manual, execution }
}

/// The id of a schedule of a live deploy.
fn schedule_id(live: &Live, name: &JobName) -> ScheduleId {
    ScheduleId {
        app: AppId::from_uuid(live.revision.app_id()),
        branch: live.branch.name.clone(),
        name: name.clone(),
    }
}

fn deploy_of(live: &Live) -> DeployNumber {
    DeployNumber::new(live.deploy).expect("deploy numbers of live revisions start at 1")
}

#[cfg(test)]
mod tests;
