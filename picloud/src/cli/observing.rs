//! What others see of a node while it runs.

use clap::{Args, ValueEnum};

use crate::edge;

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

impl From<MetricsAccess> for edge::MetricsAccess {
    fn from(access: MetricsAccess) -> Self {
        match access {
            MetricsAccess::Token => Self::Token,
            MetricsAccess::Open => Self::Open,
        }
    }
}

/// Where traces go.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logs and metrics")]
pub(crate) struct TraceSettings {
    /// The OpenTelemetry collector that traces go to, by OTLP over HTTP as JSON, such as http://127.0.0.1:4318; none without it.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,

    /// Headers for the collector, as name=value,name=value.
    #[arg(env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true, hide = true, long = "otlp-headers")]
    pub(crate) otlp_headers: Option<String>,

    /// What the node is called in traces.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = TraceSettings::SERVICE)]
    pub(crate) otlp_service: String,
}

impl TraceSettings {
    const SERVICE: &str = "picloud";
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { otlp_endpoint: None, otlp_headers: None, otlp_service: Self::SERVICE.to_owned() }
    }
}
