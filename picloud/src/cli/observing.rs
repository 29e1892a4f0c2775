//! Flags for what others see of a node while it runs.

use clap::Args;

use crate::edge::MetricsAccess;
use crate::log::LogFormat;
use crate::traces::TraceSettings;

/// How a node is watched.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logs and metrics")]
pub(crate) struct ObservingFlags {
    /// The form of the log on standard error.
    #[arg(long, env = "PICLOUD_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// Who may read /-/metrics.
    #[arg(long, env = "PICLOUD_METRICS", value_enum, default_value_t = MetricsAccess::Token)]
    pub(crate) metrics: MetricsAccess,
}

/// Where traces go.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logs and metrics")]
pub(crate) struct TraceFlags {
    /// The OpenTelemetry collector that traces go to, by OTLP over HTTP as JSON, such as http://127.0.0.1:4318; none without it.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,

    /// Headers for the collector, as name=value,name=value.
    #[arg(env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true, hide = true, long = "otlp-headers")]
    pub(crate) otlp_headers: Option<String>,

    /// What the node is called in traces.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value_t = TraceSettings::default().service)]
    pub(crate) otlp_service: String,
}

impl TraceFlags {
    pub(super) fn resolve(self) -> TraceSettings {
        let Self { otlp_endpoint, otlp_headers, otlp_service } = self;
        TraceSettings { endpoint: otlp_endpoint, headers: otlp_headers, service: otlp_service }
    }
}
