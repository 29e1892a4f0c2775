//! Triggers and log levels of executions, as scripts, records and the REST API name them.

/// The trigger of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TriggerKind {
    /// A request to a route.
    Http,
    /// A call of a function.
    Function,
    /// A due schedule, or a manual run of it.
    Scheduled,
}

impl TriggerKind {
    /// Every trigger.
    pub const ALL: [Self; 3] = [Self::Http, Self::Function, Self::Scheduled];

    /// The name that scripts read in `ctx.invocation_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Function => "function",
            Self::Scheduled => "scheduled",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Steps of the script.
    Trace,
    /// Normal operation.
    Info,
    /// A potential problem.
    Warn,
    /// A failure.
    Error,
}

impl LogLevel {
    /// Every level, in ascending order.
    pub const ALL: [Self; 4] = [Self::Trace, Self::Info, Self::Warn, Self::Error];

    /// The name, as in the script function `log::warn`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}
