//! Runs what is due.
//!
//! tokio-cron-scheduler drives the clock: one job that ticks every second, and only while something is scheduled. What
//! must be right is kept here: due times come from the schedule's own cron in its own zone, a unique row decides who
//! runs one, and the schedules are those of the revision that is live at the tick, so that they change together with
//! its routes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::manifest::{CatchUp, Overlap, Schedule};
use manifest_schema::name::{AppName, JobName};
use runtime::{Invocation, Live, LiveTable, Trigger};
use store::{AppId, DeployNumber, NewRun, RunOutcome, Store, StoreError};
use tokio::sync::{Mutex, watch};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use uuid::Uuid;

use crate::execution::{Busy, execute};

/// A run that is later than this was missed, and is only made up for where the schedule says so.
const MISSED_AFTER: TimeDelta = TimeDelta::seconds(60);

/// How often a claim is tried while the database is away.
const CLAIM_TRIES: u32 = 30;

/// Runs the schedules of all live production branches.
#[derive(Clone, Debug)]
pub struct Scheduler {
    store: Store,
    table: Arc<LiveTable>,
    agenda: Arc<Mutex<HashMap<Key, Entry>>>,
    running: Arc<std::sync::Mutex<HashSet<Key>>>,
}

type Key = (AppName, JobName);

/// When a schedule is due next.
#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    next: Option<DateTime<Utc>>,
}

/// A run that is due.
struct Due {
    live: Arc<Live>,
    schedule: Schedule,
    at: DateTime<Utc>,
}

impl Scheduler {
    /// A scheduler of what is in `table`, claiming runs in `store`.
    pub fn new(store: Store, table: Arc<LiveTable>) -> Self {
        Self { store, table, agenda: Arc::default(), running: Arc::default() }
    }

    /// Keeps the clock running while anything is scheduled, until the task is dropped.
    ///
    /// # Errors
    /// The clock cannot be started.
    pub async fn run(self, mut changes: watch::Receiver<()>) -> Result<(), JobSchedulerError> {
        let mut clock: Option<JobScheduler> = None;
        loop {
            let wanted =
                self.table.production().iter().any(|live| !live.revision.manifest().schedules.is_empty());
            match (&mut clock, wanted) {
                (None, true) => clock = Some(self.start_clock().await?),
                (Some(running), false) => {
                    running.shutdown().await?;
                    clock = None;
                    self.agenda.lock().await.clear();
                }
                _ => {}
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn start_clock(&self) -> Result<JobScheduler, JobSchedulerError> {
        let clock = JobScheduler::new().await?;
        let scheduler = self.clone();
        let tick = Job::new_async("* * * * * *", move |_, _| {
            let scheduler = scheduler.clone();
            Box::pin(async move { scheduler.tick(Utc::now()).await })
        })?;
        clock.add(tick).await?;
        clock.start().await?;
        Ok(clock)
    }

    /// Starts every run that is due at `now`.
    async fn tick(&self, now: DateTime<Utc>) {
        // A tick that finds the one before still reading the store leaves the work to the next.
        let Ok(mut agenda) = self.agenda.try_lock() else { return };
        let mut seen = HashSet::new();
        for live in self.table.production() {
            for schedule in &live.revision.manifest().schedules {
                let key = (live.revision.app().clone(), schedule.name.clone());
                if agenda.get(&key).is_none_or(|entry| entry.schedule.cron != schedule.cron) {
                    match self.first_due(&live, schedule).await {
                        Ok(next) => {
                            drop(agenda.insert(key.clone(), Entry { schedule: schedule.clone(), next }))
                        }
                        Err(error) => {
                            tracing::warn!(app = %key.0, schedule = %key.1, %error, "cannot read when it ran last");
                            continue;
                        }
                    }
                }
                if let Some(entry) = agenda.get_mut(&key)
                    && let Some(at) = entry.take_due(now)
                {
                    let due = Due { live: Arc::clone(&live), schedule: schedule.clone(), at };
                    tokio::spawn(self.clone().carry_out(due));
                }
                seen.insert(key);
            }
        }
        agenda.retain(|key, _| seen.contains(key));
    }

    /// The first time a schedule is due that has neither run nor was declared too late.
    async fn first_due(&self, live: &Live, schedule: &Schedule) -> Result<Option<DateTime<Utc>>, StoreError> {
        let app = AppId::from_uuid(live.revision.app_id());
        let since = self.store.deployed_at(app, deploy_of(live)).await?;
        let last = self.store.last_run(app, &schedule.name).await?.map(|run| run.due);
        Ok(since.max(last).and_then(|since| schedule.cron.next_after(since)))
    }

    /// Claims a due run and carries it out; whoever loses the claim does nothing.
    async fn carry_out(self, due: Due) {
        let revision = &due.live.revision;
        let app = AppId::from_uuid(revision.app_id());
        let execution = Uuid::now_v7();
        let name = &due.schedule.name;
        match self.claim(&due, app, execution).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(app = %revision.app(), schedule = %name, due = %due.at, %error, "run lost: no claim");
                return;
            }
        }
        let key = (revision.app().clone(), name.clone());
        let alone = lock(&self.running).insert(key.clone());
        let (outcome, detail) = if !alone && due.schedule.overlap == Overlap::Skip {
            (RunOutcome::Skipped, Some("the previous run is still going".to_owned()))
        } else {
            let outcome = run(&due, execution).await;
            if alone {
                lock(&self.running).remove(&key);
            }
            outcome
        };
        if let Err(error) = self.store.finish_run(app, name, due.at, outcome, detail, Utc::now()).await {
            tracing::error!(app = %revision.app(), schedule = %name, due = %due.at, %error, "outcome not recorded");
        }
    }

    async fn claim(&self, due: &Due, app: AppId, execution: Uuid) -> Result<bool, StoreError> {
        let revision = &due.live.revision;
        let run = NewRun {
            app,
            schedule: due.schedule.name.clone(),
            due: due.at,
            deploy: deploy_of(&due.live),
            execution,
            claimed_at: Utc::now(),
        };
        let mut tries = 1;
        loop {
            match self.store.claim_run(&run).await {
                Err(error) if error.is_unavailable() && tries < CLAIM_TRIES => {
                    tracing::warn!(app = %revision.app(), schedule = %run.schedule, %error, "claim is tried again");
                    tries += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                claimed => return claimed,
            }
        }
    }
}

impl Entry {
    /// The latest due time that has come and is to be run, and the step to the next one. Several that have come at
    /// once are one run.
    fn take_due(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next.filter(|next| *next <= now)?;
        let latest = self.schedule.cron.prev_or_at(now)?;
        self.next = self.schedule.cron.next_after(now.max(latest));
        let missed = now - latest > MISSED_AFTER;
        (!missed || self.schedule.catch_up == CatchUp::Once).then_some(latest)
    }
}

async fn run(due: &Due, execution_id: Uuid) -> (RunOutcome, Option<String>) {
    let trigger = Trigger::Scheduled { name: due.schedule.name.clone(), due: due.at.to_rfc3339() };
    let invocation = Invocation { execution_id, request_id: Uuid::new_v4(), trigger };
    match execute(Arc::clone(&due.live), due.schedule.script.clone(), invocation).await {
        Ok(execution) => match execution.outcome {
            Ok(_) => (RunOutcome::Succeeded, None),
            Err(failure) => (RunOutcome::Failed, Some(failure.to_string())),
        },
        Err(busy @ Busy) => (RunOutcome::Skipped, Some(busy.to_string())),
    }
}

fn deploy_of(live: &Live) -> DeployNumber {
    DeployNumber::new(live.deploy).expect("what is live was numbered by the store, from 1 on")
}

/// The set of running schedules. It is only touched whole, so a panic elsewhere leaves it true.
fn lock(running: &std::sync::Mutex<HashSet<Key>>) -> std::sync::MutexGuard<'_, HashSet<Key>> {
    running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use manifest_schema::cron::Cron;
    use manifest_schema::name::ScriptPath;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-05-01T{text}Z").parse().unwrap()
    }

    fn entry(catch_up: CatchUp, next: &str) -> Entry {
        let schedule = Schedule {
            name: JobName::new("tick").unwrap(),
            cron: Cron::parse("*/5 * * * *", "UTC".parse().unwrap()).unwrap(),
            script: ScriptPath::new("tick.rhai").unwrap(),
            overlap: Overlap::Skip,
            catch_up,
        };
        Entry { schedule, next: Some(at(next)) }
    }

    #[test]
    fn what_is_not_due_yet_waits() {
        let mut entry = entry(CatchUp::Once, "12:05:00");
        assert_eq!(entry.take_due(at("12:04:59")), None);
        assert_eq!(entry.next, Some(at("12:05:00")));
    }

    #[test]
    fn what_is_due_runs_once() {
        let mut entry = entry(CatchUp::None, "12:05:00");
        assert_eq!(entry.take_due(at("12:05:00")), Some(at("12:05:00")));
        assert_eq!(entry.take_due(at("12:05:01")), None);
        assert_eq!(entry.next, Some(at("12:10:00")));
    }

    #[test]
    fn of_several_that_came_at_once_the_latest_runs() {
        let mut entry = entry(CatchUp::None, "11:00:00");
        assert_eq!(entry.take_due(at("12:05:30")), Some(at("12:05:00")));
        assert_eq!(entry.next, Some(at("12:10:00")));
    }

    #[test]
    fn what_was_missed_is_made_up_for_only_where_it_is_wanted() {
        let mut once = entry(CatchUp::Once, "11:00:00");
        assert_eq!(once.take_due(at("12:08:00")), Some(at("12:05:00")));
        let mut none = entry(CatchUp::None, "11:00:00");
        assert_eq!(none.take_due(at("12:08:00")), None);
        assert_eq!(none.next, Some(at("12:10:00")));
    }
}
