//! From a run to its record.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use manifest_schema::execution::{LogLevel, TriggerKind};
use runtime::{Failure, FailureKind, LogLine};
use store::{AppId, DeployNumber, ExecutionRecord, FailureRecord, LineRecord, Oid, PlaceRecord};
use uuid::Uuid;

use super::recorder::{CapturedLogs, FinishedRun, Line};
use crate::live::Live;

/// The longest path that is kept of a request, in bytes.
const PATH_MAX: usize = 512;

/// The record of a run, and its lines that were not recorded yet, the one among them that tells its failure.
pub(super) fn records(ran: FinishedRun, node: &str) -> Option<(ExecutionRecord, Vec<LineRecord>)> {
    let started_at: DateTime<Utc> = ran.ended.checked_sub(ran.duration).unwrap_or(ran.ended).into();
    let app = app(&ran.live);
    let trigger = ran.trigger;
    let target = match ran.method {
        Some(method) => {
            let path = &ran.target[..ran.target.floor_char_boundary(PATH_MAX)];
            format!("{} {path}", method.as_str())
        }
        None => ran.target,
    };
    let failure = ran.outcome.as_ref().err();
    let status = match (&ran.outcome, trigger) {
        (_, TriggerKind::Function | TriggerKind::Scheduled) => None,
        (Ok(status), _) => Some(*status),
        (Err(failure), _) => Some(failure.kind.http_status()),
    };
    let logged = match &ran.logs {
        CapturedLogs::Buffered(lines) => u32::try_from(lines.len()).unwrap_or(u32::MAX),
        CapturedLogs::Streamed(lines) => *lines,
    };
    let execution = ExecutionRecord {
        id: ran.id,
        request: ran.request,
        app,
        deploy: DeployNumber::new(ran.live.deploy)?,
        commit: Oid::from_hex(ran.live.revision.commit())?,
        script: ran.script.as_str().to_owned(),
        trigger,
        target,
        node: node.to_owned(),
        started_at,
        duration: ran.duration,
        operations: ran.operations,
        memory: ran.memory,
        status,
        failure: failure.map(recorded),
        lines: logged,
        lines_dropped: ran.lines_dropped,
    };
    let held = match ran.logs {
        CapturedLogs::Buffered(lines) => lines,
        CapturedLogs::Streamed(_) => Vec::new(),
    };
    let mut lines: Vec<LineRecord> = held
        .into_iter()
        .map(|line| line_record(app, ran.script.as_str(), ran.id, started_at + line.elapsed, line))
        .collect();
    lines.extend(failure.map(|failure| LineRecord {
        execution: ran.id,
        app,
        script: ran.script.as_str().to_owned(),
        at: ran.ended.into(),
        level: severity(failure.kind),
        message: storable(failure.to_string()),
        data: None,
        line: failure.location.as_ref().and_then(|place| number(place.line)),
        failure: true,
    }));
    Some((execution, lines))
}

/// The record of a line.
pub(super) fn line(line: Line) -> LineRecord {
    line_record(app(&line.live), line.script.as_str(), line.execution, line.at.into(), line.line)
}

fn line_record(app: AppId, script: &str, execution: Uuid, at: DateTime<Utc>, line: LogLine) -> LineRecord {
    LineRecord {
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

fn recorded(failure: &Failure) -> FailureRecord {
    let place = failure.location.as_ref().and_then(|place| {
        let (line, column) = (number(place.line)?, number(place.column)?);
        Some(PlaceRecord { script: place.script.as_str().to_owned(), line, column })
    });
    FailureRecord {
        kind: failure.kind.as_str().to_owned(),
        message: storable(failure.message.clone()),
        place,
    }
}

/// What the client caused, or other apps, is no fault of the script.
fn severity(kind: FailureKind) -> LogLevel {
    match kind {
        FailureKind::InvalidJson | FailureKind::Stopped | FailureKind::NodeMemory => LogLevel::Warn,
        _ => LogLevel::Error,
    }
}

/// PostgreSQL stores every character but NUL.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn number(number: usize) -> Option<u32> {
    u32::try_from(number).ok()
}

fn app(live: &Live) -> AppId {
    AppId::from_uuid(live.revision.app_id())
}

/// Now, as records have it.
pub(super) fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}
