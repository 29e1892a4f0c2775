//! One scheduled run from its claim to its record, with a lease while it is running.

use std::sync::Arc;
use std::time::Duration;

use crate::live::Live;
use chrono::{DateTime, Utc};
use manifest_schema::manifest::Schedule;
use manifest_schema::sdk::SdkVersion;
use runtime::{Invocation, ScheduledRun, Trigger};
use store::{RunHistory, RunKey, RunOutcome, StoreError};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{LEASE, Scheduler};
use crate::execution::execute;
use crate::recording::Recorder;

/// The renewal interval of a lease. Two renewals can fail before it expires.
pub(super) const LEASE_RENEWAL_INTERVAL: Duration = Duration::from_secs(5);

/// How long recording an outcome is retried while the database is down.
const RECORD_TIMEOUT: Duration = Duration::from_secs(300);

/// The delay between attempts.
const RECORD_RETRY_DELAY: Duration = Duration::from_secs(1);

impl Scheduler {
    /// Runs the script of a claimed run and records the outcome. If its lease is lost, the run is stopped
    /// without recording.
    pub(super) async fn execute_claimed(&self, live: Arc<Live>, schedule: &Schedule, run: RunKey) {
        let app = live.revision.app().clone();
        let (name, due) = (&run.schedule.name, run.due_at);
        tokio::select! {
            (outcome, detail) = self.execute_with_history(live, schedule, &run) => {
                self.0.metrics.count_outcome(outcome);
                if !self.record(&run, outcome, detail.as_deref()).await {
                    tracing::error!(%app, schedule = %name, %due, outcome = outcome.as_str(), "cannot record the outcome");
                }
            }
            () = self.renew_lease(&run) => {
                self.0.metrics.count_outcome(RunOutcome::Lost);
                tracing::error!(%app, schedule = %name, %due, "stopped: the lease expired and the run was recorded as lost");
            }
        }
    }

    async fn execute_with_history(
        &self,
        live: Arc<Live>,
        schedule: &Schedule,
        run: &RunKey,
    ) -> (RunOutcome, Option<String>) {
        match self.history(&live, run).await {
            Ok(history) => {
                let trigger = scheduled_run(schedule, run.due_at, &history);
                execute_run(&self.0.recorder, live, schedule, run.execution, trigger).await
            }
            Err(error) => (RunOutcome::Failed, Some(format!("cannot read its earlier runs: {error}"))),
        }
    }

    /// What was before a run. Waits for the database while the run has its lease.
    async fn history(&self, live: &Live, run: &RunKey) -> Result<RunHistory, StoreError> {
        // Older scripts cannot see it.
        if live.revision.manifest().sdk < SdkVersion::V1_3 {
            return Ok(RunHistory::default());
        }
        loop {
            match self.0.store.run_history(run).await {
                Err(error) if error.is_unavailable() => sleep(RECORD_RETRY_DELAY).await,
                found => return found,
            }
        }
    }

    /// Renews the lease of a run until it is lost.
    async fn renew_lease(&self, run: &RunKey) {
        loop {
            sleep(LEASE_RENEWAL_INTERVAL).await;
            match self.0.store.renew_run(run, LEASE, self.now()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(schedule = %run.schedule.name, due = %run.due_at, %error, "cannot renew the lease, will retry")
                }
            }
        }
    }

    /// Records the outcome. `false`: it could not be recorded.
    async fn record(&self, run: &RunKey, outcome: RunOutcome, detail: Option<&str>) -> bool {
        let deadline = Instant::now() + RECORD_TIMEOUT;
        loop {
            match self.0.store.finish_run(run, outcome, detail, self.now()).await {
                Ok(recorded) => return recorded,
                Err(error) if error.is_unavailable() && Instant::now() < deadline => {
                    sleep(RECORD_RETRY_DELAY).await
                }
                Err(error) => {
                    tracing::error!(schedule = %run.schedule.name, due = %run.due_at, %error, "cannot record the outcome");
                    return false;
                }
            }
        }
    }
}

/// A run of a schedule, as its script sees it.
pub(crate) fn scheduled_run(schedule: &Schedule, due: DateTime<Utc>, history: &RunHistory) -> ScheduledRun {
    ScheduledRun {
        name: schedule.name.clone(),
        due_at_ms: due.timestamp_millis(),
        last_success_ms: history.last_success.map(|at| at.timestamp_millis()),
        missed: history.missed,
    }
}

/// Executes a schedule for a due time. Returns the outcome with the reason of a failure.
pub(crate) async fn execute_run(
    recorder: &Recorder,
    live: Arc<Live>,
    schedule: &Schedule,
    execution_id: Uuid,
    run: ScheduledRun,
) -> (RunOutcome, Option<String>) {
    let request_id = Uuid::new_v4();
    let trigger = Trigger::Scheduled(run);
    let limits = live.revision.schedule_limits(schedule).map(Arc::new);
    let invocation = Invocation::new(schedule.script.clone(), execution_id, request_id, trigger);
    let invocation = Invocation { limits, ..invocation };
    match execute(recorder, live, invocation).await {
        Ok(execution) => match execution.outcome {
            Ok(_) => (RunOutcome::Succeeded, None),
            Err(failure) => (RunOutcome::Failed, Some(failure.to_string())),
        },
        Err(busy) => (RunOutcome::Skipped, Some(busy.to_string())),
    }
}
