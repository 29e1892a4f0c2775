//! Operations on schedules for users: list, run now, pause and resume.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

use crate::live::Live;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use manifest_schema::manifest::Schedule;
use store::{
    Actor, AppId, AuditAction, AuditEvent, Claim, ClaimAction, DueRange, Paused, RunOutcome, ScheduleRun,
    StoreError, UnrunDueTimes,
};

use crate::page::{Page, PageRequest};

use super::due_queue::branch_key;
use super::misfire::{clamp_future, due_times};
use super::{Scheduler, run_key, schedule_id};

/// How many of the next due times are listed.
const DUE_TIMES_LISTED: usize = 3;

/// Rows further in the future are from before the clock was set back.
const FUTURE_MAX: TimeDelta = TimeDelta::minutes(1);

/// How often a manual run is retried after a collision within a microsecond.
const ATTEMPTS_MAX: usize = 5;

/// A schedule with its status.
#[derive(Clone, Debug)]
pub struct ScheduleStatus {
    /// The declaration.
    pub schedule: Schedule,
    /// Since when and by whom it is paused, if it is.
    pub paused: Option<Paused>,
    /// The next due times; empty while it is paused or disabled in a preview.
    pub next: Vec<DateTime<Utc>>,
    /// The latest run.
    pub last: Option<ScheduleRun>,
}

/// The cursor in the list of a schedule's runs: later ones have higher numbers. A manual run sorts after a
/// scheduled one due in the same microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunCursor(u64);

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunCursor {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl RunCursor {
    fn of(run: &ScheduleRun) -> Self {
        let due = u64::try_from(run.due.last.timestamp_micros()).unwrap_or(0);
        Self(due.saturating_mul(2).saturating_add(u64::from(run.manual)))
    }

    fn due(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(i64::try_from(self.0 / 2).ok()?)
    }
}

/// Why a manual run did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunNowError {
    /// Another run is active. It is recorded as skipped.
    #[error("{0}")]
    Overlaps(String),
    /// Another deploy has become live.
    #[error("another deploy has become live")]
    NotLive,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Scheduler {
    /// The schedules of a live deploy in declaration order.
    ///
    /// # Errors
    /// The store failed.
    pub async fn scheduled(&self, live: &Live) -> Result<Vec<ScheduleStatus>, StoreError> {
        let app = AppId::from_uuid(live.revision.app_id());
        let states = self.0.store.schedule_states(app, &live.branch.name).await?;
        let now = self.now();
        let mut all = Vec::new();
        for schedule in &live.revision.manifest().schedules {
            let paused = states
                .iter()
                .find(|state| state.name == schedule.name)
                .and_then(|state| state.paused.clone());
            let next =
                std::iter::successors(schedule.cron.next_after(now), |due| schedule.cron.next_after(*due));
            let next = next
                .take(if paused.is_none() && live.branch.scheduled { DUE_TIMES_LISTED } else { 0 })
                .collect();
            // Ignore runs from a time when the clock was far ahead.
            let up_to = Some(now + FUTURE_MAX);
            let last = self.0.store.runs(&schedule_id(live, &schedule.name), up_to, 1).await?.pop();
            all.push(ScheduleStatus { schedule: schedule.clone(), paused, next, last });
        }
        Ok(all)
    }

    /// The runs of a schedule due up to `up_to`, the latest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn runs(
        &self,
        live: &Live,
        schedule: &Schedule,
        up_to: Option<DateTime<Utc>>,
        page: PageRequest<RunCursor>,
    ) -> Result<Page<ScheduleRun, RunCursor>, StoreError> {
        let begin = page.cursor.and_then(RunCursor::due);
        let up_to = [begin, up_to].into_iter().flatten().min();
        // The previous page can have had two runs due at its end.
        let most = page.limit.saturating_add(2);
        let mut rows = self.0.store.runs(&schedule_id(live, &schedule.name), up_to, most).await?;
        rows.retain(|row| page.cursor.is_none_or(|cursor| RunCursor::of(row) < cursor));
        rows.truncate(page.limit as usize);
        Ok(Page::of(rows, page.limit, |rows| Some(RunCursor::of(rows.last()?))))
    }

    /// Runs a schedule now, paused or not, and waits for its end. The run continues if the caller is dropped.
    ///
    /// # Errors
    /// See [`RunNowError`].
    pub async fn run_now(
        &self,
        live: Arc<Live>,
        schedule: Schedule,
        by: &Actor,
    ) -> Result<Option<ScheduleRun>, RunNowError> {
        self.0.store.record_audit(&audit_event(AuditAction::ScheduleRun, &live, &schedule, by)).await?;
        let scheduler = self.clone();
        // The caller can be dropped at any moment; a claimed run continues.
        let running = self.0.tasks.spawn(async move { scheduler.claim_and_run(&live, &schedule).await });
        running.await.unwrap_or(Ok(None))
    }

    async fn claim_and_run(
        &self,
        live: &Arc<Live>,
        schedule: &Schedule,
    ) -> Result<Option<ScheduleRun>, RunNowError> {
        self.states(live).await?;
        let mut now = self.now().trunc_subsecs(6);
        for _ in 0..ATTEMPTS_MAX {
            let run = self.claim(live, schedule, true, now);
            match self.0.store.claim_run(&run).await? {
                Claim::Granted => {
                    let ClaimAction::Run { execution, .. } = run.action else { return Ok(None) };
                    self.execute_claimed(Arc::clone(live), schedule, run_key(&run, execution)).await;
                    let rows = self.0.store.runs(&run.schedule, Some(run.due.last), 1).await?;
                    return Ok(rows.into_iter().find(|row| row.manual && row.due == run.due));
                }
                Claim::Overlaps(reason) => return Err(RunNowError::Overlaps(reason)),
                Claim::Duplicate => now += TimeDelta::microseconds(1),
                Claim::AlreadyEvaluated(_) | Claim::RateLimited(_) | Claim::Paused => break,
                Claim::Held | Claim::Early(_) | Claim::NotLive => break,
            }
        }
        Err(RunNowError::NotLive)
    }

    /// Pauses a schedule on all nodes. `false`: it was already paused.
    ///
    /// # Errors
    /// The store failed.
    pub async fn pause(&self, live: &Live, schedule: &Schedule, by: &Actor) -> Result<bool, StoreError> {
        self.states(live).await?;
        let event = audit_event(AuditAction::SchedulePause, live, schedule, by);
        self.0.store.pause_schedule(&schedule_id(live, &schedule.name), &event).await
    }

    /// Resumes a paused schedule: one row records the skipped due times, and later ones run. `false`: it was
    /// not paused.
    ///
    /// # Errors
    /// The store failed.
    pub async fn resume(&self, live: &Live, schedule: &Schedule, by: &Actor) -> Result<bool, StoreError> {
        let now = self.now();
        let states = self.states(live).await?;
        let state = states.into_iter().find(|state| state.name == schedule.name);
        let Some((since, Some(paused))) = state.map(|state| (state.evaluated_until, state.paused)) else {
            return Ok(false);
        };
        let skipped = due_times(&schedule.cron, clamp_future(&schedule.cron, since, now), now)
            .map(|due| skipped_while_paused(due, &paused));
        let event = AuditEvent { at: now, ..audit_event(AuditAction::ScheduleResume, live, schedule, by) };
        let id = schedule_id(live, &schedule.name);
        let resumed = self.0.store.resume_schedule(&id, skipped, &self.0.node, &event).await?;
        self.reschedule(&branch_key(live), &schedule.name, now, None);
        Ok(resumed)
    }
}

fn audit_event(action: AuditAction, live: &Live, schedule: &Schedule, by: &Actor) -> AuditEvent {
    let subject = match live.branch.production {
        true => schedule.name.to_string(),
        false => format!("{} of {}", schedule.name, live.branch.name),
    };
    AuditEvent::new(by, action, Some(live.revision.app()), &subject)
}

/// The record of due times skipped while a schedule was paused.
pub(super) fn skipped_while_paused(due: DueRange, paused: &Paused) -> UnrunDueTimes {
    let reason = format!("paused by {} at {}", paused.by, paused.at.format("%Y-%m-%dT%H:%M:%SZ"));
    UnrunDueTimes { due, outcome: RunOutcome::Skipped, reason }
}
