//! The node's own log of what runs.

use manifest_schema::execution::LogLevel;
use runtime::LogLine;
use uuid::Uuid;

use super::recorder::{CapturedLogs, Entry, FinishedRun, Line, Queued, Recorder};
use crate::live::Live;

/// Says what runs, where nothing is recorded.
#[derive(Debug)]
pub struct Journal(Queued);

impl Journal {
    /// A journal, and where what runs is handed in.
    pub fn new() -> (Recorder, Self) {
        let (recorder, queued) = Recorder::new();
        (recorder, Self(queued))
    }

    /// Says everything as it comes, until nobody hands in anything any more.
    pub async fn run(mut self) {
        loop {
            let entry = tokio::select! {
                Some(ran) = self.0.plain.recv() => Entry::Run(ran),
                Some(entry) = self.0.telling.recv() => {
                    self.0.stats.free(entry.bytes());
                    entry
                }
                else => return,
            };
            say(&entry);
        }
    }
}

/// Says one entry.
pub(super) fn say(entry: &Entry) {
    match entry {
        Entry::Run(ran) => ended(ran),
        Entry::Line(Line { live, script, execution, line, .. }) => {
            logged(live, script.as_str(), *execution, line)
        }
    }
}

fn ended(ran: &FinishedRun) {
    let app = ran.live.revision.app();
    let (script, execution, revision) = (&ran.script, ran.id, ran.live.revision.commit());
    if let CapturedLogs::Buffered(lines) = &ran.logs {
        lines.iter().for_each(|line| logged(&ran.live, script.as_str(), execution, line));
    }
    match &ran.outcome {
        Ok(status) => {
            tracing::debug!(%app, %script, %execution, revision, status, took = ?ran.duration, "ran");
        }
        Err(failure) => {
            let place = failure.place.as_ref().map(ToString::to_string).unwrap_or_default();
            let kind = failure.kind.as_str();
            let message = &failure.message;
            tracing::warn!(%app, %script, %execution, revision, kind, place, took = ?ran.duration, "failed: {message}");
        }
    }
}

fn logged(live: &Live, script: &str, execution: Uuid, line: &LogLine) {
    let app = live.revision.app();
    let LogLine { level, message, data, line, column, .. } = line;
    macro_rules! event {
        ($level:ident) => {
            tracing::$level!(target: "script", %app, %script, line, column, %execution, data, "{message}")
        };
    }
    match level {
        LogLevel::Trace => event!(trace),
        LogLevel::Info => event!(info),
        LogLevel::Warn => event!(warn),
        LogLevel::Error => event!(error),
    }
}
