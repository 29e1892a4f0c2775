//! One run of a script: admitted, run where it keeps nobody waiting, recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use manifest_schema::name::ScriptPath;
use runtime::{Capabilities, Execution, Failure, FailureKind, Invocation, Level, Live, Log, LogLine};
use uuid::Uuid;

use crate::patient;

/// The app already runs as many executions as its manifest allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the app already runs as many executions as it may")]
pub struct Busy;

/// The longest that a run waits for a place and for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Runs `script` of a live revision to its end, or until the returned future is dropped: then the script is stopped.
///
/// The revision was taken once by the caller and is kept to the end, whatever is deployed meanwhile. Most scripts are over
/// within microseconds and run right here. Those that take longer run on a [`patient`] thread, since a run cannot be
/// suspended, and as many of them at once as there are processors.
///
/// # Errors
/// [`Busy`] when the app's concurrency is used up and as many runs wait, or waited for too long; nothing was run then.
pub async fn execute(live: Arc<Live>, script: ScriptPath, invocation: Invocation) -> Result<Execution, Busy> {
    let permit = match live.enter_now() {
        Some(permit) => permit,
        None => in_time(live.enter()).await?.ok_or(Busy)?,
    };
    let id = invocation.execution_id;
    if let Some((execution, lines)) = runtime::run_briefly(&live.revision, &script, &invocation) {
        lines.into_iter().for_each(|line| write(&live, &script, id, &line));
        record(&live, &script, id, &execution);
        return Ok(execution);
    }
    let stop = StopOnDrop::new();
    let stopped = stop.flag();
    let turn = in_time(live.turn()).await?;
    let running = patient::run(move || {
        let log = ExecutionLog { live: Arc::clone(&live), script: script.clone(), execution: id };
        let capabilities = Capabilities { log: Arc::new(log) };
        let execution = runtime::run(&live.revision, &script, &invocation, &capabilities, &stopped);
        record(&live, &script, id, &execution);
        drop((turn, permit));
        execution
    });
    Ok(running.await.unwrap_or_else(died))
}

/// Waits for what comes, but not for ever.
async fn in_time<T>(coming: impl Future<Output = T>) -> Result<T, Busy> {
    tokio::time::timeout(WAIT_MAX, coming).await.map_err(|_| Busy)
}

/// A thread that died under a script; the runtime catches panics itself, so this is the last net.
fn died() -> Execution {
    let failure =
        Failure { kind: FailureKind::Panic, message: "the run ended early".to_owned(), place: None };
    Execution::failed(failure)
}

/// Tells a running script to stop when nobody waits for its answer any more.
struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes a script's log lines to the node's log, each with its execution.
struct ExecutionLog {
    live: Arc<Live>,
    script: ScriptPath,
    execution: Uuid,
}

impl Log for ExecutionLog {
    fn write(&self, line: LogLine) {
        write(&self.live, &self.script, self.execution, &line);
    }
}

fn write(live: &Live, script: &ScriptPath, execution: Uuid, line: &LogLine) {
    let app = live.revision.app();
    let (message, data) = (&line.message, line.data.as_deref().unwrap_or_default());
    match line.level {
        Level::Trace => tracing::trace!(target: "script", %app, %script, %execution, data, "{message}"),
        Level::Info => tracing::info!(target: "script", %app, %script, %execution, data, "{message}"),
        Level::Warn => tracing::warn!(target: "script", %app, %script, %execution, data, "{message}"),
        Level::Error => tracing::error!(target: "script", %app, %script, %execution, data, "{message}"),
    }
}

fn record(live: &Live, script: &ScriptPath, execution: Uuid, run: &Execution) {
    let app = live.revision.app();
    let revision = live.revision.commit();
    match &run.outcome {
        Ok(answer) => {
            tracing::debug!(%app, %script, %execution, revision, status = answer.status, took = ?run.duration, "ran");
        }
        Err(failure) => {
            let place = failure.place.as_ref().map(|place| place.to_string()).unwrap_or_default();
            let kind = failure.kind.as_str();
            let message = failure.message.escape_debug();
            tracing::warn!(%app, %script, %execution, revision, kind, place, took = ?run.duration, "failed: {message}");
        }
    }
}
