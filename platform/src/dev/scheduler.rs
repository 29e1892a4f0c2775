//! Schedules without a store: runs what becomes due while it is running, and nothing that was missed before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::live::Live;
use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::manifest::{Overlap, Schedule};
use manifest_schema::name::JobName;
use runtime::{Invocation, ScheduledRun, Trigger};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::execution::execute;
use crate::recording::Recorder;
use crate::schedules::{RunOutcome, execute_run};

/// The maximum sleep: the clock can be set, and the machine can be suspended.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// Up to this backward jump of the clock, schedules wait for it.
const BACKWARD_JUMP_WAIT_MAX: TimeDelta = TimeDelta::seconds(15);

/// Runs the due schedules of `live` until the task is dropped.
pub async fn run_schedules(recorder: Recorder, mut live: watch::Receiver<Option<Arc<Live>>>) {
    let mut running: HashMap<JobName, JoinHandle<()>> = HashMap::new();
    let mut evaluated_until = Utc::now();
    loop {
        let now = Utc::now();
        if evaluated_until > now + BACKWARD_JUMP_WAIT_MAX {
            evaluated_until = now;
        }
        let now = now.max(evaluated_until);
        let current = live.borrow_and_update().clone();
        let schedules =
            current.as_ref().map(|live| live.revision.manifest().schedules.as_slice()).unwrap_or_default();
        for schedule in schedules {
            let Some(due) = due(schedule, evaluated_until).filter(|due| *due <= now) else { continue };
            let is_running = running.get(&schedule.name).is_some_and(|run| !run.is_finished());
            if is_running && schedule.overlap == Overlap::Skip {
                tracing::warn!(target: "schedule", schedule = %schedule.name, "skipped: the previous run is still running");
            } else if let Some(live) = &current {
                let run = tokio::spawn(run(recorder.clone(), Arc::clone(live), schedule.clone(), due));
                running.insert(schedule.name.clone(), run);
            }
        }
        evaluated_until = now;
        let next = schedules.iter().filter_map(|schedule| due(schedule, evaluated_until)).min();
        let wait = next.and_then(|next| (next - Utc::now()).to_std().ok().or(Some(Duration::ZERO)));
        let wait = wait.unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        if let Ok(Err(_)) = tokio::time::timeout(wait, live.changed()).await {
            return;
        }
    }
}

fn due(schedule: &Schedule, evaluated_until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    schedule.cron.next_after(evaluated_until)
}

/// Runs a schedule manually. `None`: there is no such schedule.
pub async fn run_schedule(recorder: &Recorder, live: Arc<Live>, schedule: &str) -> Option<ManualRun> {
    let schedules = &live.revision.manifest().schedules;
    let schedule = schedules.iter().find(|declared| declared.name.as_str() == schedule)?.clone();
    let started_at = Utc::now();
    let (outcome, detail) = execute_run(recorder, live, &schedule, (Uuid::now_v7(), started_at)).await;
    Some(ManualRun { started_at, ended_at: Utc::now(), outcome, detail })
}

/// A finished manual run.
#[derive(Clone, Debug)]
pub struct ManualRun {
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it failed or did not run.
    pub detail: Option<String>,
}

/// The reason of a failure is in the log of the execution.
async fn run(recorder: Recorder, live: Arc<Live>, schedule: Schedule, due: DateTime<Utc>) {
    let trigger = Trigger::Scheduled(ScheduledRun {
        name: schedule.name.clone(),
        due_at_ms: due.timestamp_millis(),
        last_success_ms: None,
        missed: 0,
    });
    let (execution_id, request_id) = (Uuid::now_v7(), Uuid::new_v4());
    let invocation = Invocation::new(schedule.script.clone(), execution_id, request_id, trigger);
    match execute(&recorder, live, invocation).await {
        Ok(run) if run.outcome.is_ok() => {
            tracing::info!(target: "schedule", schedule = %schedule.name, "ran in {:.1} ms", run.duration.as_secs_f64() * 1000.0);
        }
        Ok(_) => tracing::warn!(target: "schedule", schedule = %schedule.name, "failed"),
        Err(busy) => tracing::warn!(target: "schedule", schedule = %schedule.name, "not run: {busy}"),
    }
}
