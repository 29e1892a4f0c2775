//! The metrics of a node, for Prometheus.
//!
//! The platform counts requests, executions and schedule runs; [`edge_metrics`] has the counters of the edge. [`endpoint`]
//! collects all of them, [`exposition`] writes the text format, and [`process`] reads the resource usage of the process.

mod edge_metrics;
mod endpoint;
mod exposition;
mod process;

pub(crate) use edge_metrics::{CloseReason, EdgeMetrics, Handler};
pub(crate) use endpoint::MetricsEndpoint;
