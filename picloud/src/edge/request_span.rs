//! The trace span of a request.

use axum::http::Request;
use hyper::body::Incoming;
use platform::live::Live;
use tracing::Span;
use tracing::field::Empty;

use crate::traces::TARGET;

/// Starts the span of a request. Probes and scrapes get none.
pub(super) fn start(request: &Request<Incoming>) -> Span {
    if request.uri().path().starts_with("/-/health/") || request.uri().path() == "/-/metrics" {
        return Span::none();
    }
    tracing::trace_span!(
        target: TARGET,
        "request",
        "otel.name" = %request.method(),
        traceparent = request.headers().get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default(),
        "http.request.method" = %request.method(),
        "url.path" = request.uri().path(),
        "http.response.status_code" = Empty,
        app = Empty,
        deploy = Empty,
    )
}

/// Records the status of the response in the span, and the app that responded.
pub(super) fn finish(span: &Span, status: u16, live: Option<&Live>) {
    span.record("http.response.status_code", status);
    if let Some(live) = live {
        span.record("app", live.revision.app().as_str());
        span.record("deploy", live.deploy);
    }
}
