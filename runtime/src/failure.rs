//! Why an execution has no response.

use std::fmt;

use manifest_schema::name::ScriptPath;

/// Why an execution has no response. It is recorded, and never sent to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", kind.as_str(), AtLocation(location.as_ref()))]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The message, in one line.
    pub message: String,
    /// The location in the script, if known.
    pub location: Option<SourceLocation>,
}

/// The kinds of failure, recorded by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The script threw, or an operation failed.
    Script,
    /// The script's value is not a valid response.
    InvalidResponse,
    /// The body is declared as JSON but is not valid JSON, and the script reads it. The client's error.
    InvalidJson,
    /// The body is declared as a form but is not a valid form, and the script reads it. The client's error.
    InvalidForm,
    /// The script exceeded its time limit.
    Timeout,
    /// The script exceeded its operation limit.
    Operations,
    /// The script exceeded its memory limit.
    Memory,
    /// The node had no memory for the script, or the app reached its share.
    NodeMemory,
    /// Function calls were nested too deep.
    Depth,
    /// A string, an array or a map exceeded its maximum size.
    Size,
    /// The execution was cancelled: the client disconnected or the server shut down.
    Stopped,
    /// The engine panicked.
    Panic,
    /// The script does not compile, or does not exist.
    Compile,
    /// Earlier executions of the script leaked too much memory, so it is no longer executed.
    Quarantined,
    /// A change of the state does not fit what is stored, or the quota of the app.
    State,
    /// The state cannot be read or stored now.
    Storage,
}

impl FailureKind {
    /// Every kind, in order.
    pub const ALL: [Self; 16] = [
        Self::Script,
        Self::InvalidResponse,
        Self::InvalidJson,
        Self::InvalidForm,
        Self::Timeout,
        Self::Operations,
        Self::Memory,
        Self::NodeMemory,
        Self::Depth,
        Self::Size,
        Self::Stopped,
        Self::Panic,
        Self::Compile,
        Self::Quarantined,
        Self::State,
        Self::Storage,
    ];

    /// Whether the failure is a reached limit.
    pub fn is_limit(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::Operations | Self::Memory | Self::Depth | Self::Size | Self::Quarantined
        )
    }

    /// The name of the kind in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script_error",
            Self::InvalidResponse => "invalid_response",
            Self::InvalidJson => "invalid_json",
            Self::InvalidForm => "invalid_form",
            Self::Timeout => "timeout",
            Self::Operations => "operations",
            Self::Memory => "memory",
            Self::NodeMemory => "node_memory",
            Self::Depth => "depth",
            Self::Size => "size",
            Self::Stopped => "stopped",
            Self::Panic => "panic",
            Self::Compile => "compile",
            Self::Quarantined => "quarantined",
            Self::State => "state",
            Self::Storage => "storage",
        }
    }

    /// The HTTP status of a response for this failure.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Timeout => 504,
            Self::InvalidJson | Self::InvalidForm => 400,
            Self::NodeMemory | Self::Storage => 503,
            _ => 500,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A location in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    /// The script.
    pub script: ScriptPath,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// `greet.rhai:3:1`
impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.script, self.line, self.column)
    }
}

impl Failure {
    /// A failure without a location.
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), location: None }
    }
}

struct AtLocation<'a>(Option<&'a SourceLocation>);

impl fmt::Display for AtLocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |location| write!(f, " at {location}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_displays_kind_location_and_message() {
        let script = ScriptPath::new("greet.rhai").unwrap();
        let location = Some(SourceLocation { script, line: 3, column: 1 });
        let failure = Failure { location, ..Failure::new(FailureKind::Script, "no such name") };
        assert_eq!(failure.to_string(), "script_error at greet.rhai:3:1: no such name");
        assert_eq!(Failure::new(FailureKind::Timeout, "5s").to_string(), "timeout: 5s");
    }
}
