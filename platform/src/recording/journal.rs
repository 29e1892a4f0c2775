//! The node's own log of what runs.

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

/// What a line has besides what the script says: its time, level, app, script, place and execution.
const LINE_BYTES: usize = 200;

/// How often it is said what was left out.
const LEFT_OUT_EVERY: Duration = Duration::from_secs(10);

/// Says what runs, where nothing is recorded.
#[derive(Debug)]
pub struct Journal(Arc<Inbox>);

impl Journal {
    /// A journal, and where what runs is handed in.
    pub fn new() -> (Recorder, Self) {
        let (recorder, inbox) = Recorder::new();
        (recorder, Self(inbox))
    }

    /// Says everything as it comes.
    pub async fn run(self) {
        loop {
            self.0.arrived().await;
            let mut taken = self.0.take(usize::MAX);
            while let Some((_, entry)) = taken.next() {
                say(&entry, &mut |_| true);
            }
        }
    }
}

/// What an app has of the node's log: so many bytes a second. What is beyond that is left out, and counted.
#[derive(Debug)]
pub(super) struct JournalShare {
    bucket: TokenBucket,
    left_out: u64,
    since: Instant,
}

impl JournalShare {
    pub(super) fn new(rate: ByteRate, now: Instant) -> Self {
        Self { bucket: TokenBucket::new(rate, now), left_out: 0, since: now }
    }

    /// Says one entry of the app, as far as there is room.
    pub(super) fn say(&mut self, entry: &Entry, rate: ByteRate, now: Instant) {
        say(entry, &mut |bytes| {
            let admitted = self.bucket.take(rate, bytes, now);
            if !admitted {
                if self.left_out == 0 {
                    self.since = now;
                }
                self.left_out += 1;
            }
            admitted
        });
    }

    /// Whether something was left out, and nobody knows yet.
    pub(super) fn owes(&self) -> bool {
        self.left_out > 0
    }

    /// Says what was left out, if it is time to.
    pub(super) fn say_left_out(&mut self, app: &AppName, rate: ByteRate, now: Instant, at_once: bool) {
        if self.owes() && (at_once || now.duration_since(self.since) >= LEFT_OUT_EVERY) {
            let (lines, rate) = (self.left_out, rate.bytes_per_second);
            tracing::warn!(
                %app,
                lines,
                "lines of the app were left out of this log, which takes {rate} bytes a second of each app; what is recorded of \
                 them is in  picloud logs --app {app}"
            );
            self.left_out = 0;
        }
    }

    /// Whether it is as if the app had said nothing.
    pub(super) fn is_over(&mut self, rate: ByteRate, now: Instant) -> bool {
        !self.owes() && self.bucket.is_full(rate, now)
    }
}

/// Says one entry. `admits` is asked about each line, with its bytes.
fn say(entry: &Entry, admits: &mut dyn FnMut(usize) -> bool) {
    match entry {
        Entry::Run(run) => ended(run, admits),
        Entry::Line(Line { live, script, execution, line, .. }) => {
            logged(live, script.as_str(), *execution, line, admits);
        }
    }
}

fn ended(run: &FinishedRun, admits: &mut dyn FnMut(usize) -> bool) {
    let app = run.live.revision.app();
    let (script, execution, revision) = (&run.script, run.id, run.live.revision.commit());
    if let CapturedLogs::Buffered(lines) = &run.logs {
        lines.iter().for_each(|line| logged(&run.live, script.as_str(), execution, line, admits));
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
                let place = failure.location.as_ref().map(ToString::to_string).unwrap_or_default();
                let kind = failure.kind.as_str();
                tracing::warn!(%app, %script, %execution, revision, kind, place, took = ?run.duration, "failed: {message}");
            }
        }
    }
}

fn logged(live: &Live, script: &str, execution: Uuid, line: &LogLine, admits: &mut dyn FnMut(usize) -> bool) {
    let app = live.revision.app();
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

/// About how many bytes a text is in the log, where quotes and control characters are escaped.
fn printed_bytes(text: &str) -> usize {
    let printed = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        byte if byte.is_ascii_control() => 6,
        _ => 1,
    };
    text.bytes().map(printed).sum()
}
