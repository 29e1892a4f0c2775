//! Rows of `executions`, `logs` and `losses`, which both databases have alike but for how they write ids.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    ExecutionRecord, FailureRecord, LineLevel, LineRecord, Loss, Numbered, PlaceRecord, TriggerKind,
};
use crate::error::StoreError;
use crate::id::AppId;
use crate::row::{deploy_number, key};

/// The columns of [`ExecutionRow`].
pub(crate) const EXECUTION: &str =
    "number, id, request, app, deploy, commit_id, script, trigger, target, node, started_at, duration_us, operations,
     memory, status, failure, failure_message, failure_script, failure_line, failure_column, lines, lines_dropped";

/// The columns of [`LineRow`].
pub(crate) const LINE: &str = "number, execution, app, script, at, level, message, data, line, failure";

#[derive(sqlx::FromRow)]
pub(crate) struct ExecutionRow<Id> {
    number: i64,
    id: Id,
    request: Id,
    app: Id,
    deploy: i64,
    commit_id: Vec<u8>,
    script: String,
    trigger: String,
    target: String,
    node: String,
    started_at: DateTime<Utc>,
    duration_us: i64,
    operations: i64,
    memory: i64,
    status: Option<i32>,
    failure: Option<String>,
    failure_message: Option<String>,
    failure_script: Option<String>,
    failure_line: Option<i32>,
    failure_column: Option<i32>,
    lines: i32,
    lines_dropped: i64,
}

impl<Id: Into<Uuid>> ExecutionRow<Id> {
    pub(crate) fn read(self) -> Result<Numbered<ExecutionRecord>, StoreError> {
        let corrupt = |what: String| StoreError::Corrupt { table: "executions", what };
        let trigger = TriggerKind::parse(&self.trigger);
        let place = match (self.failure_script, self.failure_line, self.failure_column) {
            (Some(script), Some(line), Some(column)) => {
                Some(PlaceRecord { script, line: count(line), column: count(column) })
            }
            _ => None,
        };
        let failure = self.failure.map(|kind| {
            let message = self.failure_message.unwrap_or_default();
            FailureRecord { kind, message, place }
        });
        let record = ExecutionRecord {
            id: self.id.into(),
            request: self.request.into(),
            app: AppId::from_uuid(self.app.into()),
            deploy: deploy_number(self.deploy)?,
            commit: key("executions", &self.commit_id)?,
            script: self.script,
            trigger: trigger.ok_or_else(|| corrupt(format!("trigger {}", self.trigger)))?,
            target: self.target,
            node: self.node,
            started_at: self.started_at,
            duration: Duration::from_micros(large(self.duration_us)),
            operations: large(self.operations),
            memory: large(self.memory),
            status: self.status.and_then(|status| u16::try_from(status).ok()),
            failure,
            lines: count(self.lines),
            lines_dropped: large(self.lines_dropped),
        };
        Ok(Numbered { number: large(self.number), record })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct LineRow<Id> {
    number: i64,
    execution: Id,
    app: Id,
    script: String,
    at: DateTime<Utc>,
    level: String,
    message: String,
    data: Option<String>,
    line: Option<i32>,
    failure: bool,
}

impl<Id: Into<Uuid>> LineRow<Id> {
    pub(crate) fn read(self) -> Result<Numbered<LineRecord>, StoreError> {
        let level = LineLevel::parse(&self.level);
        let corrupt = || StoreError::Corrupt { table: "logs", what: format!("level {}", self.level) };
        let record = LineRecord {
            level: level.ok_or_else(corrupt)?,
            execution: self.execution.into(),
            app: AppId::from_uuid(self.app.into()),
            script: self.script,
            at: self.at,
            message: self.message,
            data: self.data,
            line: self.line.map(count),
            failure: self.failure,
        };
        Ok(Numbered { number: large(self.number), record })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct LossRow {
    number: i64,
    node: String,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    executions: i64,
    lines: i64,
}

impl LossRow {
    pub(crate) fn read(self) -> Numbered<Loss> {
        let Self { number, node, since, until, executions, lines } = self;
        let record = Loss { node, since, until, executions: large(executions), lines: large(lines) };
        Numbered { number: large(number), record }
    }
}

/// Numbers are never negative.
fn large(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// A small number as rows have it.
pub(crate) fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A span of time as rows have it.
pub(crate) fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
