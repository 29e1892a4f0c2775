//! A line of a script's log.

use std::time::Duration;

use manifest_schema::execution::LogLevel;
use manifest_schema::name::ScriptPath;

/// One log line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its number among those of the execution, from 0. A pass that runs again gives its lines the same numbers.
    pub number: u64,
    /// The level.
    pub level: LogLevel,
    /// The message as the script wrote it; it can contain any character.
    pub message: String,
    /// The data as JSON, if any.
    pub data: Option<String>,
    /// The library or the function that wrote it; `None` for the script of the execution.
    pub library: Option<ScriptPath>,
    /// The line of the call in its file, from 1.
    pub line: Option<usize>,
    /// The column of the call in characters, from 1.
    pub column: Option<usize>,
    /// The time since the start of the execution.
    pub elapsed: Duration,
}
