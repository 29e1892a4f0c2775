//! What others see of a node while it runs.

use clap::{Args, ValueEnum};

/// How a node is watched.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logs and metrics")]
pub(crate) struct ObservingSettings {
    /// The form of the log on standard error.
    #[arg(long, env = "PICLOUD_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// Who may read /-/metrics.
    #[arg(long, env = "PICLOUD_METRICS", value_enum, default_value_t = MetricsAccess::Token)]
    pub(crate) metrics: MetricsAccess,
}

impl Default for ObservingSettings {
    fn default() -> Self {
        Self { log_format: LogFormat::Text, metrics: MetricsAccess::Token }
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people; under systemd without the time, which the journal knows, and with the level as it reads it.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who may read the numbers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricsAccess {
    /// Whoever has a token.
    Token,
    /// Whoever reaches the control plane.
    Open,
}
