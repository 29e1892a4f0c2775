//! What people ask of schedules: what there is, run it now, pause it, resume it.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

use crate::live::Live;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use manifest_schema::manifest::Schedule;
use store::{
    Act, Action, Actor, AppId, AuditAction, Claim, DueTimes, Left, Paused, RunOutcome, ScheduleRun,
    StoreError,
};

use crate::page::{Page, PageRequest};

use super::agenda::place;
use super::owed::{believed, due_times};
use super::{Scheduler, run_key, schedule_id};

/// How many of the next due times are told.
const NEXT: usize = 3;

/// A row that is due later than this from now on is of before the clock was set back.
const LATEST_AHEAD: TimeDelta = TimeDelta::minutes(1);

/// How often a run by hand is tried anew where another one was asked for in the same microsecond.
const TRIES: usize = 5;

/// A schedule and where it stands.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// As it is declared.
    pub schedule: Schedule,
    /// Since when and by whom it is paused, if it is.
    pub paused: Option<Paused>,
    /// When it is due next; never while it is paused, or in a preview whose schedules do not run.
    pub next: Vec<DateTime<Utc>>,
    /// Its latest row.
    pub last: Option<ScheduleRun>,
}

/// The place of a row in the list of a schedule's rows: later ones have higher numbers. When a run by hand and one by the clock
/// are due at the same microsecond, the former is the later.
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

/// Why a run that was asked for was not run.
#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    /// Another run goes on. That is recorded as a run that was skipped.
    #[error("{0}")]
    Overlaps(String),
    /// Something else has become live.
    #[error("another deploy has become live meanwhile")]
    NotLive,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Scheduler {
    /// The schedules of a live deploy, in its order.
    ///
    /// # Errors
    /// The store failed.
    pub async fn scheduled(&self, live: &Live) -> Result<Vec<Scheduled>, StoreError> {
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
            let next = next.take(if paused.is_none() && live.branch.scheduled { NEXT } else { 0 }).collect();
            // What was run while the clock was far ahead is not the latest for years.
            let up_to = Some(now + LATEST_AHEAD);
            let last = self.0.store.runs(&schedule_id(live, &schedule.name), up_to, 1).await?.pop();
            all.push(Scheduled { schedule: schedule.clone(), paused, next, last });
        }
        Ok(all)
    }

    /// The rows of a schedule that are due up to `up_to`, the latest first.
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
        // Of those that are due when the page before has ended, it may have had two.
        let most = page.limit.saturating_add(2);
        let mut rows = self.0.store.runs(&schedule_id(live, &schedule.name), up_to, most).await?;
        rows.retain(|row| page.cursor.is_none_or(|cursor| RunCursor::of(row) < cursor));
        rows.truncate(page.limit as usize);
        Ok(Page::of(rows, page.limit, |rows| Some(RunCursor::of(rows.last()?))))
    }

    /// Runs a schedule now, paused or not, and waits for its end. It goes on to its end where nobody waits any more.
    ///
    /// # Errors
    /// See [`NotRun`].
    pub async fn run_now(
        &self,
        live: Arc<Live>,
        schedule: Schedule,
        by: &Actor,
    ) -> Result<Option<ScheduleRun>, NotRun> {
        self.0.store.record(&act(AuditAction::ScheduleRun, &live, &schedule, by)).await?;
        let scheduler = self.clone();
        // Whoever asked may leave at any moment; what was claimed is carried out.
        let running = self.0.tasks.spawn(async move { scheduler.claim_and_run(&live, &schedule).await });
        running.await.unwrap_or(Ok(None))
    }

    async fn claim_and_run(
        &self,
        live: &Arc<Live>,
        schedule: &Schedule,
    ) -> Result<Option<ScheduleRun>, NotRun> {
        self.states(live).await?;
        let mut now = self.now().trunc_subsecs(6);
        for _ in 0..TRIES {
            let run = self.claim(live, schedule, true, now);
            match self.0.store.claim_run(&run).await? {
                Claim::Granted => {
                    let Action::Run { execution, .. } = run.action else { return Ok(None) };
                    self.carry_out(Arc::clone(live), schedule, run_key(&run, execution)).await;
                    let rows = self.0.store.runs(&run.schedule, Some(run.due.last), 1).await?;
                    return Ok(rows.into_iter().find(|row| row.manual && row.due == run.due));
                }
                Claim::Overlaps(reason) => return Err(NotRun::Overlaps(reason)),
                Claim::Taken => now += TimeDelta::microseconds(1),
                Claim::Reckoned(_) | Claim::Limited(_) | Claim::Paused => break,
                Claim::Held | Claim::Early(_) | Claim::NotLive => break,
            }
        }
        Err(NotRun::NotLive)
    }

    /// Pauses a schedule on all nodes, until it is resumed. `false`: it was paused already.
    ///
    /// # Errors
    /// The store failed.
    pub async fn pause(&self, live: &Live, schedule: &Schedule, by: &Actor) -> Result<bool, StoreError> {
        self.states(live).await?;
        let act = act(AuditAction::SchedulePause, live, schedule, by);
        self.0.store.pause_schedule(&schedule_id(live, &schedule.name), &act).await
    }

    /// Resumes a paused schedule: one row says what was skipped, and it is due next from now on. `false`: it was not paused.
    ///
    /// # Errors
    /// The store failed.
    pub async fn resume(&self, live: &Live, schedule: &Schedule, by: &Actor) -> Result<bool, StoreError> {
        let now = self.now();
        let states = self.states(live).await?;
        let state = states.into_iter().find(|state| state.name == schedule.name);
        let Some((since, Some(paused))) = state.map(|state| (state.reckoned_until, state.paused)) else {
            return Ok(false);
        };
        let skipped = due_times(&schedule.cron, believed(&schedule.cron, since, now), now)
            .map(|due| paused_meanwhile(due, &paused));
        let act = Act { at: now, ..act(AuditAction::ScheduleResume, live, schedule, by) };
        let id = schedule_id(live, &schedule.name);
        let resumed = self.0.store.resume_schedule(&id, skipped, &self.0.node, &act).await?;
        self.give_back(&place(live), &schedule.name, now, None);
        Ok(resumed)
    }
}

fn act(action: AuditAction, live: &Live, schedule: &Schedule, by: &Actor) -> Act {
    let subject = match live.branch.production {
        true => schedule.name.to_string(),
        false => format!("{} of {}", schedule.name, live.branch.name),
    };
    Act::new(by, action, Some(live.revision.app()), &subject)
}

/// What is recorded of due times that came while a schedule was paused.
pub(super) fn paused_meanwhile(due: DueTimes, paused: &Paused) -> Left {
    let reason = format!("paused by {} at {}", paused.by, paused.at.format("%Y-%m-%dT%H:%M:%SZ"));
    Left { due, outcome: RunOutcome::Skipped, reason }
}
