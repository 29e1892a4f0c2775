//! Schedules without a store: runs what becomes due while it is running, and nothing that was missed before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::live::Live;
use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::manifest::{Overlap, Schedule};
use manifest_schema::name::JobName;
use runtime::ScheduledRun;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::recording::Recorder;
use crate::schedules::{RunHistory, RunOutcome, execute_run, scheduled_run};

/// The maximum sleep: the clock can be set, and the machine can be suspended.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// Up to this backward jump of the clock, schedules wait for it.
const BACKWARD_JUMP_WAIT_MAX: TimeDelta = TimeDelta::seconds(15);

/// The number of due times without a successful run that are remembered for a schedule, as in the rows of a store.
const UNSERVED_MAX: usize = 1000;

/// The runs since the start, by schedule.
#[derive(Clone, Debug, Default)]
pub struct ScheduleHistories(Arc<Mutex<HashMap<JobName, History>>>);

#[derive(Debug, Default)]
struct History {
    last_success: Option<DateTime<Utc>>,
    /// The due times since then that no run served.
    unserved: Vec<DateTime<Utc>>,
}

impl ScheduleHistories {
    /// A run for this due time, as its script sees it.
    fn scheduled_run(&self, schedule: &Schedule, due: DateTime<Utc>) -> ScheduledRun {
        let histories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let history = histories.get(&schedule.name).map(|history| RunHistory {
            last_success: history.last_success,
            missed: history.unserved.len() as u64,
        });
        scheduled_run(schedule, due, &history.unwrap_or_default())
    }

    /// Records the outcome of a due time, or of a manual run, whose failure is no missed due time.
    fn note(&self, schedule: &Schedule, due: DateTime<Utc>, manual: bool, outcome: RunOutcome) {
        let mut histories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let history = histories.entry(schedule.name.clone()).or_default();
        if outcome == RunOutcome::Succeeded {
            history.last_success = history.last_success.max(Some(due));
            history.unserved.retain(|unserved| *unserved > due);
        } else if !manual && history.unserved.len() < UNSERVED_MAX {
            history.unserved.push(due);
        }
    }
}

/// Runs the due schedules of `live` until the task is dropped.
pub async fn run_schedules(
    recorder: Recorder,
    histories: ScheduleHistories,
    mut live: watch::Receiver<Option<Arc<Live>>>,
) {
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
                histories.note(schedule, due, false, RunOutcome::Skipped);
                tracing::warn!(target: "schedule", schedule = %schedule.name, "skipped: the previous run is still running");
            } else if let Some(live) = &current {
                let task = run(recorder.clone(), histories.clone(), Arc::clone(live), schedule.clone(), due);
                running.insert(schedule.name.clone(), tokio::spawn(task));
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
pub async fn run_schedule(
    recorder: &Recorder,
    histories: &ScheduleHistories,
    live: Arc<Live>,
    schedule: &str,
) -> Option<ManualRun> {
    let schedules = &live.revision.manifest().schedules;
    let schedule = schedules.iter().find(|declared| declared.name.as_str() == schedule)?.clone();
    let started_at = Utc::now();
    let run = histories.scheduled_run(&schedule, started_at);
    let (outcome, detail) = execute_run(recorder, live, &schedule, Uuid::now_v7(), run).await;
    histories.note(&schedule, started_at, true, outcome);
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
async fn run(
    recorder: Recorder,
    histories: ScheduleHistories,
    live: Arc<Live>,
    schedule: Schedule,
    due: DateTime<Utc>,
) {
    let run = histories.scheduled_run(&schedule, due);
    let started = Instant::now();
    let (outcome, detail) = execute_run(&recorder, live, &schedule, Uuid::now_v7(), run).await;
    histories.note(&schedule, due, false, outcome);
    let detail = detail.unwrap_or_default();
    match outcome {
        RunOutcome::Succeeded => {
            let took = started.elapsed().as_secs_f64() * 1000.0;
            tracing::info!(target: "schedule", schedule = %schedule.name, "ran in {took:.1} ms");
        }
        RunOutcome::Skipped => {
            tracing::warn!(target: "schedule", schedule = %schedule.name, "not run: {detail}")
        }
        _ => tracing::warn!(target: "schedule", schedule = %schedule.name, "failed"),
    }
}

#[cfg(test)]
mod tests {
    use manifest_schema::cron::Cron;
    use manifest_schema::manifest::CatchUp;
    use manifest_schema::name::ScriptPath;
    use manifest_schema::zone::Zone;

    use super::*;

    #[test]
    fn history_counts_due_times_since_last_success() {
        let schedule = Schedule {
            name: JobName::new("tick").unwrap(),
            cron: Cron::parse("* * * * *", Zone::utc()).unwrap(),
            script: ScriptPath::new("tick.rhai").unwrap(),
            overlap: Overlap::Skip,
            catch_up: CatchUp::Once,
            timeout: None,
        };
        let at = |minute: i64| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let histories = ScheduleHistories::default();
        let seen = |minute: i64| {
            let run = histories.scheduled_run(&schedule, at(minute));
            (run.last_success_ms.map(|ms| ms / 60_000), run.missed)
        };
        assert_eq!(seen(1), (None, 0));
        histories.note(&schedule, at(1), false, RunOutcome::Failed);
        histories.note(&schedule, at(3), false, RunOutcome::Skipped);
        histories.note(&schedule, at(4), true, RunOutcome::Failed);
        assert_eq!(seen(5), (None, 2));
        histories.note(&schedule, at(2), false, RunOutcome::Succeeded);
        assert_eq!(seen(5), (Some(2), 1), "skipped while it ran");
        histories.note(&schedule, at(6), true, RunOutcome::Succeeded);
        assert_eq!(seen(7), (Some(6), 0));
    }
}
