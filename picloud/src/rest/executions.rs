//! Executions and logs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What is answered where there is no record of an execution.
pub(crate) const NO_EXECUTION: &str =
    "there is no such execution; it may still run, or be too old to be remembered";

/// Executions of an app, the latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Executions {
    pub(crate) executions: Vec<Execution>,
    /// Where the next page begins, where there is one: its `cursor`.
    pub(crate) next_cursor: Option<String>,
}

/// One run of a script.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Execution {
    pub(crate) id: Uuid,
    /// The request that it is part of.
    pub(crate) request_id: Uuid,
    pub(crate) deploy: u64,
    pub(crate) commit: String,
    pub(crate) script: String,
    /// `http`, `function` or `scheduled`.
    pub(crate) trigger: String,
    /// Method and path, or the name of the function or the schedule.
    pub(crate) target: String,
    pub(crate) node: String,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) duration_us: u64,
    pub(crate) operations: u64,
    /// The most bytes that it held at once.
    pub(crate) memory_bytes: u64,
    /// What HTTP was answered with.
    pub(crate) status: Option<u16>,
    pub(crate) failure: Option<Failure>,
    /// How many lines it logged.
    pub(crate) lines: u32,
    /// How many more it would have.
    pub(crate) lines_dropped: u64,
}

/// Why an execution failed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Failure {
    /// The kind: `script_error`, `timeout` and so on.
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
}

/// A place in a script. Line and column are counted from 1.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Place {
    pub(crate) script: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// The line itself, as the commit has it; only where one execution is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

/// One execution whole.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct WholeExecution {
    pub(crate) execution: Execution,
    pub(crate) log: Vec<LogLine>,
}

/// What an app logged, the oldest line first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Logs {
    pub(crate) lines: Vec<LogLine>,
    /// Where the page of older lines begins, where there is one: its `cursor`.
    pub(crate) next_cursor: Option<String>,
}

/// One line.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LogLine {
    pub(crate) at: DateTime<Utc>,
    /// `trace`, `info`, `warn` or `error`.
    pub(crate) level: String,
    pub(crate) script: String,
    /// The line of the script that wrote it, counted from 1.
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
    /// What the script gave with it.
    pub(crate) data: Option<serde_json::Value>,
    pub(crate) execution: Uuid,
    /// It tells the failure of the execution, and is none of the script's own.
    pub(crate) failure: bool,
}

/// Something that is missing in a stream of lines.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Gap {
    /// `lost`: there was no room for records; `away`: the database is away, and what comes in meanwhile is told later.
    pub(crate) reason: String,
    pub(crate) node: Option<String>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) executions: u64,
    pub(crate) lines: u64,
}
