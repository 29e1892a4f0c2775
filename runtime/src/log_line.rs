//! A line of a script's log.

use std::time::Duration;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For whoever follows the script's steps.
    Trace,
    /// For the record.
    Info,
    /// Something to look at.
    Warn,
    /// Something is broken.
    Error,
}

impl Level {
    /// Every level, from least to most.
    pub const ALL: [Self; 4] = [Self::Trace, Self::Info, Self::Warn, Self::Error];

    /// The level's name: the function in scripts, and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line that a script wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
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
