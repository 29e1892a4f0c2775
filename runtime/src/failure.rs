//! Why a run has no answer.

use std::fmt;

use manifest_schema::name::ScriptPath;

/// Why a run has no answer: for the execution's record, never for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", kind.as_str(), AtPlace(place.as_ref()))]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What happened, in one line.
    pub message: String,
    /// Where in which script, if it is known.
    pub place: Option<FailurePlace>,
}

/// The kinds of failure, recorded by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The script threw, or did what cannot be done.
    Script,
    /// The script's value is no response.
    InvalidResponse,
    /// The request's body says that it is JSON and is not, and the script wants to read it. The client's mistake.
    InvalidJson,
    /// The script took longer than its time.
    Timeout,
    /// The script ran more operations than it may.
    Operations,
    /// The script held more memory than it may.
    Memory,
    /// The node had no memory for the script: others hold it, or the app has its share.
    NodeMemory,
    /// Functions called one another deeper than they may.
    Depth,
    /// A string, an array or a map grew larger than it may.
    Size,
    /// The run was stopped from outside: the client left, or the server stops.
    Stopped,
    /// The engine itself failed; the run was ended.
    Panic,
    /// The script does not compile, or is not there.
    Compile,
    /// Earlier runs of the script lost so much memory that it is not run any more.
    Quarantined,
}

impl FailureKind {
    /// Every kind, in order.
    pub const ALL: [Self; 13] = [
        Self::Script,
        Self::InvalidResponse,
        Self::InvalidJson,
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
    ];

    /// Whether a limit was reached.
    pub fn is_limit(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::Operations | Self::Memory | Self::Depth | Self::Size | Self::Quarantined
        )
    }

    /// The kind's name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script_error",
            Self::InvalidResponse => "invalid_response",
            Self::InvalidJson => "invalid_json",
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
        }
    }

    /// What a request whose script failed so is answered with.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Timeout => 504,
            Self::InvalidJson => 400,
            Self::NodeMemory => 503,
            _ => 500,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailurePlace {
    /// The script.
    pub script: ScriptPath,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
}

/// `greet.rhai:3:1`
impl fmt::Display for FailurePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.script, self.line, self.column)
    }
}

impl Failure {
    /// A failure without a place.
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: None }
    }
}

struct AtPlace<'a>(Option<&'a FailurePlace>);

impl fmt::Display for AtPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |place| write!(f, " at {place}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_kind_place_and_message() {
        let script = ScriptPath::new("greet.rhai").unwrap();
        let place = Some(FailurePlace { script, line: 3, column: 1 });
        let failure = Failure { place, ..Failure::new(FailureKind::Script, "no such name") };
        assert_eq!(failure.to_string(), "script_error at greet.rhai:3:1: no such name");
        assert_eq!(Failure::new(FailureKind::Timeout, "5s").to_string(), "timeout: 5s");
    }
}
