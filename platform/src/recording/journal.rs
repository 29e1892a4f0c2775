//! The node's own log of executions.

use std::sync::Arc;
use std::time::Duration;

use manifest_schema::execution::LogLevel;
use manifest_schema::name::AppName;
use runtime::LogLine;
use tokio::time::Instant;
use tracing::Level;
use uuid::Uuid;

use super::recorder::{CapturedLogs, Entry, FinishedRun, Inbox, Line, Recorder};
use super::token_bucket::{ByteRate, TokenBucket};
use crate::live::Live;

/// The size of the fields of a line other than message and data: time, level, app, script, location and
/// execution.
const LINE_BYTES: usize = 200;

/// How often suppressed lines are reported.
const SUPPRESSED_REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Logs executions without recording them.
#[derive(Debug)]
pub struct Journal(Arc<Inbox>);

impl Journal {
    /// Creates a journal and its recorder.
    pub fn new() -> (Recorder, Self) {
        let (recorder, inbox) = Recorder::new();
        (recorder, Self(inbox))
    }

    /// Logs entries as they arrive.
    pub async fn run(self) {
        loop {
            self.0.arrived().await;
            let mut taken = self.0.take(usize::MAX);
            while let Some((_, entry)) = taken.next() {
                write(&entry, &mut |_| true);
            }
        }
    }
}

/// An app's share of the node's log in bytes per second. Further lines are suppressed and counted.
#[derive(Debug)]
pub(super) struct JournalShare {
    bucket: TokenBucket,
    suppressed: u64,
    since: Instant,
}

impl JournalShare {
    pub(super) fn new(rate: ByteRate, now: Instant) -> Self {
        Self { bucket: TokenBucket::new(rate, now), suppressed: 0, since: now }
    }

    /// Logs an entry of the app within its rate.
    pub(super) fn write(&mut self, entry: &Entry, rate: ByteRate, now: Instant) {
        write(entry, &mut |bytes| {
            let admitted = self.bucket.take(rate, bytes, now);
            if !admitted {
                if self.suppressed == 0 {
                    self.since = now;
                }
                self.suppressed += 1;
            }
            admitted
        });
    }

    /// Whether suppressed lines are not reported yet.
    pub(super) fn has_unreported(&self) -> bool {
        self.suppressed > 0
    }

    /// Reports suppressed lines once per interval.
    pub(super) fn report_suppressed(
        &mut self,
        app: &AppName,
        rate: ByteRate,
        now: Instant,
        immediately: bool,
    ) {
        if self.has_unreported()
            && (immediately || now.duration_since(self.since) >= SUPPRESSED_REPORT_INTERVAL)
        {
            let (lines, rate) = (self.suppressed, rate.bytes_per_second);
            tracing::warn!(
                %app,
                lines,
                "log lines of the app were suppressed, the limit is {rate} bytes per second and app; recorded lines are in \
                 picloud logs --app {app}"
            );
            self.suppressed = 0;
        }
    }

    /// Whether the share is back in its initial state.
    pub(super) fn is_idle(&mut self, rate: ByteRate, now: Instant) -> bool {
        !self.has_unreported() && self.bucket.is_full(rate, now)
    }
}

/// Logs an entry. `admits` decides about each line by its bytes.
fn write(entry: &Entry, admits: &mut dyn FnMut(usize) -> bool) {
    match entry {
        Entry::Run(run) => write_run(run, admits),
        Entry::Line(Line { live, script, execution, line, .. }) => {
            write_line(live, script.as_str(), *execution, line, admits);
        }
    }
}

fn write_run(run: &FinishedRun, admits: &mut dyn FnMut(usize) -> bool) {
    let app = run.live.revision.app();
    let (script, execution, revision) = (&run.script, run.id, run.live.revision.commit());
    if let CapturedLogs::Buffered(lines) = &run.logs {
        lines.iter().for_each(|line| write_line(&run.live, script.as_str(), execution, line, admits));
    }
    match &run.outcome {
        Ok(status) => {
            if tracing::enabled!(Level::DEBUG) && admits(LINE_BYTES) {
                tracing::debug!(%app, %script, %execution, revision, status, took = ?run.duration, "ran");
            }
        }
        Err(failure) => {
            let message = &failure.message;
            if tracing::enabled!(Level::WARN) && admits(LINE_BYTES + printed_bytes(message)) {
                let location = failure.location.as_ref().map(ToString::to_string).unwrap_or_default();
                let kind = failure.kind.as_str();
                tracing::warn!(%app, %script, %execution, revision, kind, location, took = ?run.duration, "failed: {message}");
            }
        }
    }
}

fn write_line(
    live: &Live,
    script: &str,
    execution: Uuid,
    line: &LogLine,
    admits: &mut dyn FnMut(usize) -> bool,
) {
    let app = live.revision.app();
    let script = line.library.as_ref().map_or(script, |library| library.as_str());
    let LogLine { level, message, data, line, column, .. } = line;
    let bytes = LINE_BYTES + printed_bytes(message) + data.as_deref().map_or(0, printed_bytes);
    macro_rules! event {
        ($level:ident) => {
            if tracing::enabled!(target: "script", Level::$level) && admits(bytes) {
                tracing::event!(target: "script", Level::$level, %app, %script, line, column, %execution, data, "{message}");
            }
        };
    }
    match level {
        LogLevel::Trace => event!(TRACE),
        LogLevel::Info => event!(INFO),
        LogLevel::Warn => event!(WARN),
        LogLevel::Error => event!(ERROR),
    }
}

/// The approximate size of a text in the log, where quotes and control characters are escaped.
fn printed_bytes(text: &str) -> usize {
    let printed = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        byte if byte.is_ascii_control() => 6,
        _ => 1,
    };
    text.bytes().map(printed).sum()
}
