//! Types for executions and logs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The error detail for an unknown execution.
pub(crate) const NO_EXECUTION: &str =
    "execution not found; it may still be running, or its record has expired";

/// Executions of an app, latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Executions {
    pub(crate) executions: Vec<Execution>,
    /// Cursor of the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// One execution of a script.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Execution {
    pub(crate) id: Uuid,
    /// The request that the execution belongs to.
    pub(crate) request_id: Uuid,
    pub(crate) deploy: u64,
    pub(crate) commit: String,
    pub(crate) script: String,
    /// `http`, `function` or `scheduled`.
    pub(crate) trigger: String,
    /// The method and path, or the name of the function or schedule.
    pub(crate) target: String,
    pub(crate) node: String,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) duration_us: u64,
    pub(crate) operations: u64,
    /// Peak memory usage.
    pub(crate) memory_peak_bytes: u64,
    /// HTTP status of the response.
    pub(crate) status: Option<u16>,
    pub(crate) failure: Option<Failure>,
    /// Number of log lines.
    pub(crate) log_lines: u32,
    /// Log lines dropped by limits.
    pub(crate) log_lines_dropped: u64,
}

/// Why an execution failed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Failure {
    /// The kind, such as `script_error` or `timeout`.
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) location: Option<SourceLocation>,
}

/// A location in a script. Lines and columns start at 1.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SourceLocation {
    pub(crate) script: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// The source line; only in the response for a single execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

/// An execution with its log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct WholeExecution {
    pub(crate) execution: Execution,
    pub(crate) log: Vec<LogLine>,
}

/// Log lines of an app, oldest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Logs {
    pub(crate) lines: Vec<LogLine>,
    /// Cursor of the page of older lines; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// A log line.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LogLine {
    pub(crate) at: DateTime<Utc>,
    /// `trace`, `info`, `warn` or `error`.
    pub(crate) level: String,
    pub(crate) script: String,
    /// The line of the script that logged it, starting at 1.
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
    /// Structured data of the log call.
    pub(crate) data: Option<serde_json::Value>,
    pub(crate) execution: Uuid,
    /// Whether the line reports the failure of the execution instead of a log call of the script.
    pub(crate) failure: bool,
}

/// A notification in a log stream: dropped records, or a change of the connection to the database.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DroppedRecords {
    /// `lost`: records were dropped; `away`: the database is unavailable, and new lines follow later; `back`: it is available again;
    /// `set back`: it was restored to an earlier state.
    pub(crate) reason: String,
    pub(crate) node: Option<String>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) executions: u64,
    pub(crate) log_lines: u64,
}
