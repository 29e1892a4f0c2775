//! Flags for the log, metrics and traces of a node.

use clap::Args;

use crate::edge::MetricsAccess;
use crate::log::LogFormat;
use crate::traces::TraceSettings;

/// Log and metrics.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Telemetry")]
pub(crate) struct TelemetryFlags {
    /// Format of the log on standard error.
    #[arg(long, env = "PICLOUD_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// Who can read /-/metrics.
    #[arg(long, env = "PICLOUD_METRICS", value_enum, value_name = "ACCESS", default_value_t = MetricsAccess::Token)]
    pub(crate) metrics: MetricsAccess,
}

/// Traces.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Telemetry")]
pub(crate) struct TraceFlags {
    /// URL of an OpenTelemetry collector for traces (OTLP over HTTP with JSON), such as http://127.0.0.1:4318. By default, traces
    /// are off.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,

    /// Headers for the collector: name=value,name=value.
    #[arg(env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true, hide = true, long = "otlp-headers")]
    pub(crate) otlp_headers: Option<String>,

    /// Service name in traces.
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME", default_value_t = TraceSettings::default().service)]
    pub(crate) otlp_service: String,
}

impl TraceFlags {
    pub(super) fn resolve(self) -> TraceSettings {
        let Self { otlp_endpoint, otlp_headers, otlp_service } = self;
        TraceSettings { endpoint: otlp_endpoint, headers: otlp_headers, service: otlp_service }
    }
}
