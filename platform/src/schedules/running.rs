//! One run, from its claim to its record: held by a lease as long as it goes on.

use std::sync::Arc;
use std::time::Duration;

use crate::live::Live;
use chrono::{DateTime, Utc};
use manifest_schema::manifest::Schedule;
use runtime::{Invocation, Trigger};
use store::{RunKey, RunOutcome};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{LEASE, Scheduler};
use crate::execution::execute;
use crate::recording::Recorder;

/// How often a lease is renewed. Two renewals may fail before it is over.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long recording an outcome is tried while the database is away.
const RECORD_TIME_MAX: Duration = Duration::from_secs(300);

/// The time between two tries.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Runs the script of a claimed run and records how it ended. A run that is lost meanwhile is stopped, and its record
    /// left as it is.
    pub(super) async fn carry_out(&self, live: Arc<Live>, schedule: &Schedule, run: RunKey) {
        let app = live.revision.app().clone();
        let (name, due) = (&run.schedule.name, run.due);
        tokio::select! {
            (outcome, detail) = execute_run(&self.0.recorder, live, schedule, (run.execution, run.due)) => {
                self.0.numbers.ended(outcome);
                if !self.record(&run, outcome, detail.as_deref()).await {
                    tracing::error!(%app, schedule = %name, %due, outcome = outcome.as_str(), "the outcome is not recorded");
                }
            }
            () = self.hold(&run) => {
                self.0.numbers.ended(RunOutcome::Lost);
                tracing::error!(%app, schedule = %name, %due, "stopped: it was recorded as lost, since its lease was over");
            }
        }
    }

    /// Renews the lease of a run until it is lost.
    async fn hold(&self, run: &RunKey) {
        loop {
            sleep(HEARTBEAT).await;
            match self.0.store.renew_run(run, LEASE, self.now()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(schedule = %run.schedule.name, due = %run.due, %error, "the lease is not renewed")
                }
            }
        }
    }

    /// Whether the outcome stands in the record now.
    async fn record(&self, run: &RunKey, outcome: RunOutcome, detail: Option<&str>) -> bool {
        let give_up = Instant::now() + RECORD_TIME_MAX;
        loop {
            match self.0.store.finish_run(run, outcome, detail, self.now()).await {
                Ok(recorded) => return recorded,
                Err(error) if error.is_unavailable() && Instant::now() < give_up => sleep(RECORD_AGAIN).await,
                Err(error) => {
                    tracing::error!(schedule = %run.schedule.name, due = %run.due, %error, "cannot record an outcome");
                    return false;
                }
            }
        }
    }
}

/// Executes what is scheduled, for a due time. Returns how it ended, and why it failed.
pub(crate) async fn execute_run(
    recorder: &Recorder,
    live: Arc<Live>,
    schedule: &Schedule,
    (execution_id, due): (Uuid, DateTime<Utc>),
) -> (RunOutcome, Option<String>) {
    let trigger = Trigger::Scheduled { name: schedule.name.clone(), due_at: due.to_rfc3339() };
    let request_id = Uuid::new_v4();
    let invocation = Invocation { script: schedule.script.clone(), execution_id, request_id, trigger };
    match execute(recorder, live, invocation).await {
        Ok(execution) => match execution.outcome {
            Ok(_) => (RunOutcome::Succeeded, None),
            Err(failure) => (RunOutcome::Failed, Some(failure.to_string())),
        },
        Err(busy) => (RunOutcome::Skipped, Some(busy.to_string())),
    }
}
