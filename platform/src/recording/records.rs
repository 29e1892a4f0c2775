//! Converts finished runs to records.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use manifest_schema::execution::{LogLevel, TriggerKind};
use runtime::{Failure, FailureKind, LogLine};
use store::{AppId, DeployNumber, ExecutionRecord, FailureRecord, LocationRecord, LogRecord, Oid};
use uuid::Uuid;

use super::recorder::{CapturedLogs, FinishedRun, Line};
use crate::live::Live;

/// The maximum length of a recorded path, in bytes.
const PATH_BYTES_MAX: usize = 512;

/// The record of a run, and its buffered lines with one for its failure.
pub(super) fn records(run: FinishedRun, node: &str) -> Option<(ExecutionRecord, Vec<LogRecord>)> {
    let started_at: DateTime<Utc> = run.ended.checked_sub(run.duration).unwrap_or(run.ended).into();
    let app = app(&run.live);
    let trigger = run.trigger;
    let target = match run.method {
        Some(method) => {
            let path = &run.target[..run.target.floor_char_boundary(PATH_BYTES_MAX)];
            format!("{} {path}", method.as_str())
        }
        None => run.target,
    };
    let failure = run.outcome.as_ref().err();
    let status = match (&run.outcome, trigger) {
        (_, TriggerKind::Function | TriggerKind::Scheduled) => None,
        (Ok(status), _) => Some(*status),
        (Err(failure), _) => Some(failure.kind.http_status()),
    };
    let logged = match &run.logs {
        CapturedLogs::Buffered(lines) => u32::try_from(lines.len()).unwrap_or(u32::MAX),
        CapturedLogs::Streamed(lines) => *lines,
    };
    let execution = ExecutionRecord {
        id: run.id,
        request_id: run.request,
        app,
        deploy: DeployNumber::new(run.live.deploy)?,
        commit: Oid::from_hex(run.live.revision.commit())?,
        script: run.script.as_str().to_owned(),
        trigger,
        target,
        node: node.to_owned(),
        started_at,
        duration: run.duration,
        operations: run.operations,
        memory_peak_bytes: run.memory,
        status,
        failure: failure.map(failure_record),
        log_lines: logged,
        log_lines_dropped: run.lines_dropped,
    };
    let buffered = match run.logs {
        CapturedLogs::Buffered(lines) => lines,
        CapturedLogs::Streamed(_) => Vec::new(),
    };
    let mut lines: Vec<LogRecord> = buffered
        .into_iter()
        .map(|line| line_record(app, run.script.as_str(), run.id, started_at + line.elapsed, line))
        .collect();
    lines.extend(failure.map(|failure| LogRecord {
        execution: run.id,
        app,
        script: run.script.as_str().to_owned(),
        at: run.ended.into(),
        level: severity(failure.kind),
        message: storable(failure.to_string()),
        data: None,
        line: failure.location.as_ref().and_then(|place| number(place.line)),
        failure: true,
    }));
    Some((execution, lines))
}

/// The record of a line.
pub(super) fn line(line: Line) -> LogRecord {
    line_record(app(&line.live), line.script.as_str(), line.execution, line.at.into(), line.line)
}

fn line_record(app: AppId, script: &str, execution: Uuid, at: DateTime<Utc>, line: LogLine) -> LogRecord {
    let script = line.library.as_ref().map_or(script, |library| library.as_str());
    LogRecord {
        execution,
        app,
        script: script.to_owned(),
        at,
        level: line.level,
        message: storable(line.message),
        data: line.data.map(storable),
        line: line.line.and_then(number),
        failure: false,
    }
}

fn failure_record(failure: &Failure) -> FailureRecord {
    let location = failure.location.as_ref().and_then(|place| {
        let (line, column) = (number(place.line)?, number(place.column)?);
        Some(LocationRecord { script: place.script.as_str().to_owned(), line, column })
    });
    FailureRecord {
        kind: failure.kind.as_str().to_owned(),
        message: storable(failure.message.clone()),
        location,
    }
}

/// Failures caused by the client or by other apps are warnings.
fn severity(kind: FailureKind) -> LogLevel {
    match kind {
        FailureKind::InvalidJson
        | FailureKind::InvalidForm
        | FailureKind::Stopped
        | FailureKind::NodeMemory => LogLevel::Warn,
        _ => LogLevel::Error,
    }
}

/// PostgreSQL cannot store NUL.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn number(number: usize) -> Option<u32> {
    u32::try_from(number).ok()
}

fn app(live: &Live) -> AppId {
    AppId::from_uuid(live.revision.app_id())
}

/// The current time of records.
pub(super) fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}
