//! A line of a script's log.

use std::time::Duration;

use manifest_schema::execution::LogLevel;

/// One line that a script wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// The message, as the script has it: it may hold any character.
    pub message: String,
    /// The data as JSON, where there is any.
    pub data: Option<String>,
    /// The line of the script that wrote it, counted from 1.
    pub line: Option<usize>,
    /// The column in characters, counted from 1.
    pub column: Option<usize>,
    /// How long the run had gone on.
    pub after: Duration,
}
