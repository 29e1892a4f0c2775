//! Runs what is due.
//!
//! What must be right is kept here and in the store, and not in timers:
//!
//! - A schedule's row says up to when it was reckoned. What is due since then follows from the clock and the expression
//!   ([`mod@owed`]), never from when something ran.
//! - Whoever inserts the row of (app, schedule, due time) runs it, of however many nodes; only for the deploy that is live.
//! - A run is held by a lease that its node renews ([`running`]). Where it is not renewed, any node records the run as lost
//!   ([`upkeep`]), and nobody runs it again.
//!
//! - An app's schedules begin so many runs a minute together and no more ([`rate`]).
//!
//! [`timer`] fires at the next due time of all schedules and sleeps until then. The schedules are those of the revisions
//! that are live, so that they change together with the routes. [`desk`] is where people ask: what is scheduled, run it now,
//! pause it.

mod agenda;
mod desk;
mod hold;
mod numbers;
mod owed;
mod rate;
mod running;
mod timer;
mod upkeep;

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
    Action, AppId, Claim, DeclaredSchedule, DeployNumber, Left, NewRun, NodeIdentity, RunKey, ScheduleId,
    ScheduleState, Store, StoreError,
};
use tokio::sync::watch;
use tokio_cron_scheduler::JobSchedulerError;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use agenda::{Agenda, Place, place};
use owed::{believed, due_times, owed, reckoned_ahead_max};
use rate::LimitedApps;
use timer::Alarm;

pub use desk::{NotRun, RunCursor, Scheduled};
pub use hold::held;
pub use numbers::RunNumbers;
pub(crate) use running::execute_run;
pub use store::{RunOutcome, ScheduleHold, ScheduleRun};

use crate::clock::Clock;
use crate::recording::Recorder;

/// For how long a run is held. A node that dies is noticed after this, and at most as long again.
const LEASE: Duration = Duration::from_secs(15);

/// When the next attempt is made where the database or the deploy was not ready for one.
const AGAIN: TimeDelta = TimeDelta::seconds(1);

/// The same where the deploy is not what is live: most often the live one is about to come.
const AGAIN_WHEN_LIVE: TimeDelta = TimeDelta::seconds(10);

/// A due time that comes again since the clock was set back has rows already; so many can be told apart, a microsecond each.
const REPEATS_MAX: TimeDelta = TimeDelta::microseconds(1000);

/// What a server decides about schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleLimits {
    /// A missed run is not caught up when it would be later than this.
    pub catch_up_window: Duration,
    /// Rows of runs are kept for so long …
    pub keep_for: Duration,
    /// … and so many of each schedule.
    pub keep: u32,
}

impl Default for ScheduleLimits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { catch_up_window: DAY, keep_for: DAY * 30, keep: 10_000 }
    }
}

/// Runs the schedules of all live branches that are on the clock: production, and previews where it was asked for. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Scheduler(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Store,
    table: Arc<LiveTable>,
    recorder: Recorder,
    node: NodeIdentity,
    limits: ScheduleLimits,
    clock: Clock,
    agenda: Mutex<Agenda>,
    upkeep: upkeep::Upkeep,
    alarm: Alarm,
    numbers: RunNumbers,
    /// Whether the log says already that all schedules are held.
    said_held: AtomicBool,
    limited: LimitedApps,
    /// Claims and the runs that they are for. Closed: nothing is claimed any more.
    tasks: TaskTracker,
}

/// A due time that an entry of the agenda hands out.
struct Turn {
    live: Arc<Live>,
    schedule: Schedule,
    since: DateTime<Utc>,
    /// Up to when nothing of it is run.
    limited_until: Option<DateTime<Utc>>,
    /// How often the clock had jumped by then.
    jumps: u64,
}

impl Scheduler {
    /// A scheduler of what is in `table`, claiming runs in `store` for `node`, by `clock`. What runs is handed in to `recorder`.
    pub fn new(
        store: Store,
        table: Arc<LiveTable>,
        recorder: Recorder,
        node: NodeIdentity,
        limits: ScheduleLimits,
        clock: Clock,
    ) -> Self {
        let (agenda, upkeep, numbers, said_held, limited, tasks) = Default::default();
        let alarm = Alarm::new(clock.clone());
        Self(Arc::new(Parts {
            store,
            table,
            recorder,
            node,
            limits,
            clock,
            agenda,
            upkeep,
            alarm,
            numbers,
            said_held,
            limited,
            tasks,
        }))
    }

    /// What was counted of the runs that this node has claimed.
    pub fn numbers(&self) -> &RunNumbers {
        &self.0.numbers
    }

    /// Claims nothing any more.
    pub fn close(&self) {
        self.0.tasks.close();
    }

    /// Claims nothing any more, and waits until the runs that go on have ended.
    pub async fn stop(&self) {
        self.close();
        self.0.tasks.wait().await;
    }

    /// Runs what is due until the task is dropped. `changes` tells when something else may be live.
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

    /// Starts whatever has to be done at `now`, and sets the alarm for what comes next.
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
        let jumps = self.0.clock.look();
        let (unknown, turns) = {
            let mut agenda = self.agenda();
            agenda.plan_anew(jumps, now);
            (agenda.follow(&live, now), agenda.due(now))
        };
        for live in unknown {
            tokio::spawn(self.clone().register(live, now));
        }
        for turn in turns {
            self.0.tasks.spawn(self.clone().take(turn, now));
        }
        self.keep_up(now, !live.is_empty());
        self.arm();
    }

    /// Sets the alarm to what comes next.
    fn arm(&self) {
        let (next, jumps) = {
            let agenda = self.agenda();
            (agenda.next(), agenda.jumps())
        };
        // Upkeep alone wakes nobody where nothing is scheduled and no run goes on.
        let first = next.into_iter().chain(self.0.upkeep.next(next.is_some())).min();
        self.0.alarm.set(first.map(|first| (first, jumps)));
    }

    /// Puts the schedules of a deploy on the agenda, as far as they have come.
    async fn register(self, live: Arc<Live>, now: DateTime<Utc>) {
        let found = self.states(&live).await;
        if let Err(error) = &found {
            tracing::warn!(app = %live.revision.app(), %error, "its schedules wait for the database");
        }
        self.agenda().registered(&live, found.ok(), now);
        self.arm();
    }

    /// Makes the schedules of a live deploy known to the store, and reads how far they have come.
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
            let left = before.iter().find(|old| old.name == new.name).and_then(|old| replaced(old, new));
            if let Some(left) = left {
                let schedule = schedule_id(live, &new.name);
                store.leave_due_times(&schedule, &left, &self.0.node, self.now()).await?;
            }
        }
        Ok(after)
    }

    /// Claims what a schedule owes, and carries it out where the claim is granted.
    async fn take(self, turn: Turn, mut now: DateTime<Utc>) {
        let Turn { live, schedule, mut since, limited_until, jumps } = turn;
        let (place, name) = (place(&live), &schedule.name);
        let give_back =
            |since, again: Option<_>| self.give_back(&place, name, since, again.map(|again| (jumps, again)));
        let mut repeats = TimeDelta::zero();
        let began = now;
        loop {
            since = believed(&schedule.cron, since, now);
            let runs_per_minute = live.limits().schedule_runs;
            let (cron, app) = (&schedule.cron, &place.0);
            let skipped =
                limited_until.and_then(|until| rate::skipped(cron, since, until, now, app, runs_per_minute));
            let is_skipped = skipped.is_some();
            let Some(mut owed) =
                skipped.or_else(|| owed(cron, schedule.catch_up, since, now, self.0.limits.catch_up_window))
            else {
                // By the database's clock it is not due yet: as long as that takes, by this one.
                let early =
                    schedule.cron.next_after(since).map(|next| began + (next - now).min(AGAIN_WHEN_LIVE * 6));
                return give_back(since, early.filter(|_| now < began));
            };
            let execution = Uuid::now_v7();
            let action = match &owed.left {
                None => Action::Run { execution, lease: LEASE },
                Some((outcome, reason)) => Action::Leave { outcome: *outcome, reason: reason.clone() },
            };
            owed.due = owed.due.later_by(repeats);
            let last = owed.due.last;
            let run = NewRun { due: owed.due, action, ..self.claim(&live, &schedule, false, now) };
            let (app, branch) = &place;
            match self.0.store.claim_run(&run).await {
                // What is due since then is claimed now.
                Ok(Claim::Granted) if is_skipped => {
                    self.0.numbers.ended(RunOutcome::Skipped);
                    since = last;
                }
                Ok(Claim::Granted) => {
                    self.0.said_held.store(false, Ordering::Relaxed);
                    give_back(last, None);
                    match owed.left {
                        None => {
                            self.0.numbers.began(now - last);
                            self.carry_out(live, &schedule, run_key(&run, execution)).await;
                        }
                        Some((outcome, reason)) => {
                            self.0.numbers.ended(outcome);
                            tracing::warn!(%app, branch, schedule = %name, due = %last, "{}: {reason}", outcome.as_str())
                        }
                    }
                    return;
                }
                Ok(Claim::Limited(until)) => {
                    if self.0.limited.is_news(app, until) {
                        tracing::warn!(%app, "schedules are skipped until {until}: {}", rate::limited(app, runs_per_minute));
                    }
                    self.agenda().give_back_limited(&place, name, since, (jumps, until), until);
                    return self.arm();
                }
                Ok(Claim::Overlaps(reason)) => {
                    self.0.numbers.ended(RunOutcome::Skipped);
                    tracing::info!(%app, branch, schedule = %name, due = %last, "skipped: {reason}");
                    return give_back(last, None);
                }
                Ok(Claim::Reckoned(until)) if until > since => since = until,
                Ok(Claim::Reckoned(_)) => return give_back(last, None),
                Ok(Claim::Taken) if repeats < REPEATS_MAX => repeats += TimeDelta::microseconds(1),
                Ok(Claim::Taken) => return give_back(last, None),
                Ok(Claim::Paused) => return give_back(since, schedule.cron.next_after(now)),
                Ok(Claim::Held) => {
                    self.say_held();
                    return give_back(since, schedule.cron.next_after(now));
                }
                Ok(Claim::Early(shown)) => {
                    tracing::warn!(%app, branch, schedule = %name, "this node's clock is ahead of the database's: {now}, {shown}");
                    now = shown;
                }
                Ok(Claim::NotLive) => {
                    let again = now + AGAIN_WHEN_LIVE;
                    give_back(since, Some(again));
                    // The store may know the schedule no more: it was set back to a time before it was registered.
                    self.agenda().register_again(&place, again);
                    return self.arm();
                }
                Err(error) => {
                    tracing::warn!(%app, branch, schedule = %name, due = %last, %error, "the claim is tried again");
                    let again = self.now().max(now) + AGAIN;
                    match limited_until {
                        None => give_back(since, Some(again)),
                        Some(until) => {
                            self.agenda().give_back_limited(&place, name, since, (jumps, again), until);
                            self.arm();
                        }
                    }
                    return;
                }
            }
        }
    }

    /// A claim of this node, for a single due time that is now.
    fn claim(&self, live: &Live, schedule: &Schedule, manual: bool, now: DateTime<Utc>) -> NewRun {
        NewRun {
            schedule: schedule_id(live, &schedule.name),
            due: store::DueTimes::one(now),
            manual,
            alone: schedule.overlap == Overlap::Skip,
            runs_per_minute: live.limits().schedule_runs,
            deploy: deploy_of(live),
            action: Action::Run { execution: Uuid::now_v7(), lease: LEASE },
            node: self.0.node.clone(),
            now,
            reckoned_ahead_max: reckoned_ahead_max(&schedule.cron, now),
        }
    }

    /// The schedule is reckoned up to `since`, and looked at again when it is due next, or at `again`.
    fn give_back(
        &self,
        place: &Place,
        name: &JobName,
        since: DateTime<Utc>,
        again: Option<(u64, DateTime<Utc>)>,
    ) {
        self.agenda().give_back(place, name, since, again);
        self.arm();
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    /// The agenda. It is changed in steps that cannot panic halfway.
    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.0.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was due by an expression that a deploy has replaced, and was not run before that.
fn replaced(old: &ScheduleState, new: &ScheduleState) -> Option<Left> {
    if (&old.cron, &old.timezone) == (&new.cron, &new.timezone) {
        return None;
    }
    let cron = Cron::parse(&old.cron, zone_data().find(&old.timezone).0?).ok()?;
    let due = due_times(&cron, old.reckoned_until, new.reckoned_until)?;
    Some(match &old.paused {
        Some(paused) => desk::paused_meanwhile(due, paused),
        None => {
            let reason = "a deploy replaced the expression before it was run".to_owned();
            Left { due, outcome: RunOutcome::Missed, reason }
        }
    })
}

fn run_key(run: &NewRun, execution: Uuid) -> RunKey {
    RunKey { schedule: run.schedule.clone(), due: run.due.last, manual: run.manual, execution }
}

/// A schedule that a live deploy declares.
fn schedule_id(live: &Live, name: &JobName) -> ScheduleId {
    ScheduleId {
        app: AppId::from_uuid(live.revision.app_id()),
        branch: live.branch.name.clone(),
        name: name.clone(),
    }
}

fn deploy_of(live: &Live) -> DeployNumber {
    DeployNumber::new(live.deploy).expect("what is live was numbered by the store, from 1 on")
}

#[cfg(test)]
mod tests;
