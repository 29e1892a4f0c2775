//! Runs schedules where nobody remembers them: what is due while this goes on, once, and nothing that was missed before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::live::Live;
use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::manifest::{Overlap, Schedule};
use manifest_schema::name::JobName;
use runtime::{Invocation, Trigger};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::execution::execute;
use crate::recording::Recorder;
use crate::schedules::{RunOutcome, execute_run};

/// The clock is looked at so often at the least: it may be set, and a machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A clock that is set back by no more than this is waited for.
const SET_BACK_MIN: TimeDelta = TimeDelta::seconds(15);

/// Runs what is due of what `live` holds, until the task is dropped.
pub async fn keep_time(recorder: Recorder, mut live: watch::Receiver<Option<Arc<Live>>>) {
    let mut running: HashMap<JobName, JoinHandle<()>> = HashMap::new();
    let mut since = Utc::now();
    loop {
        let now = Utc::now();
        if since > now + SET_BACK_MIN {
            since = now;
        }
        let now = now.max(since);
        let current = live.borrow_and_update().clone();
        let schedules =
            current.as_ref().map(|live| live.revision.manifest().schedules.as_slice()).unwrap_or_default();
        for schedule in schedules {
            let Some(due) = due(schedule, since).filter(|due| *due <= now) else { continue };
            let goes_on = running.get(&schedule.name).is_some_and(|run| !run.is_finished());
            if goes_on && schedule.overlap == Overlap::Skip {
                tracing::warn!(target: "schedule", schedule = %schedule.name, "skipped: the run before it goes on");
            } else if let Some(live) = &current {
                let run = tokio::spawn(run(recorder.clone(), Arc::clone(live), schedule.clone(), due));
                running.insert(schedule.name.clone(), run);
            }
        }
        since = now;
        let next = schedules.iter().filter_map(|schedule| due(schedule, since)).min();
        let wait = next.and_then(|next| (next - Utc::now()).to_std().ok().or(Some(Duration::ZERO)));
        let wait = wait.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        if let Ok(Err(_)) = tokio::time::timeout(wait, live.changed()).await {
            return;
        }
    }
}

fn due(schedule: &Schedule, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    schedule.cron.next_after(since)
}

/// Runs a schedule by hand: what it is, how it ended and why it failed, or `None` where nothing of that name is scheduled.
pub async fn run_by_hand(recorder: &Recorder, live: Arc<Live>, schedule: &str) -> Option<HandRun> {
    let schedules = &live.revision.manifest().schedules;
    let schedule = schedules.iter().find(|declared| declared.name.as_str() == schedule)?.clone();
    let began = Utc::now();
    let (outcome, detail) = execute_run(recorder, live, &schedule, (Uuid::now_v7(), began)).await;
    Some(HandRun { began, ended: Utc::now(), outcome, detail })
}

/// A run by hand that has ended.
#[derive(Clone, Debug)]
pub struct HandRun {
    /// When it began.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it failed or was not run.
    pub detail: Option<String>,
}

/// How it fails is told by the execution.
async fn run(recorder: Recorder, live: Arc<Live>, schedule: Schedule, due: DateTime<Utc>) {
    let trigger = Trigger::Scheduled { name: schedule.name.clone(), due_at: due.to_rfc3339() };
    let (execution_id, request_id) = (Uuid::now_v7(), Uuid::new_v4());
    let invocation = Invocation { script: schedule.script.clone(), execution_id, request_id, trigger };
    match execute(&recorder, live, invocation).await {
        Ok(run) if run.outcome.is_ok() => {
            tracing::info!(target: "schedule", schedule = %schedule.name, "ran in {:.1} ms", run.duration.as_secs_f64() * 1000.0);
        }
        Ok(_) => tracing::warn!(target: "schedule", schedule = %schedule.name, "failed"),
        Err(busy) => tracing::warn!(target: "schedule", schedule = %schedule.name, "not run: {busy}"),
    }
}
