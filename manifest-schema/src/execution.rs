//! What starts an execution and how much its log lines matter: the names that scripts, records and the REST API share.

/// What starts a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TriggerKind {
    /// A request to a route.
    Http,
    /// A call of a function.
    Function,
    /// A schedule, by its clock or by hand.
    Scheduled,
}

impl TriggerKind {
    /// Every kind, in order.
    pub const ALL: [Self; 3] = [Self::Http, Self::Function, Self::Scheduled];

    /// The kind's name: what scripts see in `ctx.invocation_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Function => "function",
            Self::Scheduled => "scheduled",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// For who follows the script's steps.
    Trace,
    /// For the record.
    Info,
    /// Something to look at.
    Warn,
    /// Something is broken.
    Error,
}

impl LogLevel {
    /// Every level, from least to most.
    pub const ALL: [Self; 4] = [Self::Trace, Self::Info, Self::Warn, Self::Error];

    /// The level's name: the function in scripts (`log::warn`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}
