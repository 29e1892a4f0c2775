//! The JSON form of OTLP: ids are hexadecimal, times and integers are strings.

use std::time::SystemTime;

use serde_json::{Value as Json, json};

use super::span::{Span, Value};

/// Span kinds.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;

/// The status code of a failed span.
const ERROR: u8 = 2;

/// An `ExportTraceServiceRequest`.
pub(super) fn export_request(service: &str, spans: &[Span]) -> Json {
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", service), text("service.version", version)]},
        "scopeSpans": [{
            "scope": {"name": "picloud", "version": version},
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }]})
}

fn span(span: &Span) -> Json {
    let mut json = json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.id),
        "name": span.name,
        "kind": if span.is_server { SERVER } else { INTERNAL },
        "startTimeUnixNano": nanoseconds(span.started_at),
        "endTimeUnixNano": nanoseconds(span.ended_at),
        "attributes": span.attributes.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
        "status": {},
    });
    if span.parent != 0 {
        json["parentSpanId"] = format!("{:016x}", span.parent).into();
    }
    if span.attributes.iter().any(|(name, value)| is_failure(name, value)) {
        json["status"] = json!({"code": ERROR});
    }
    json
}

/// Whether an attribute marks a failed span.
fn is_failure(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("http.response.status_code", Value::Number(status)) => *status >= 500,
        ("error.type", _) => true,
        _ => false,
    }
}

fn attribute(name: &str, value: &Value) -> Json {
    match value {
        Value::Text(value) => text(name, value),
        Value::Number(value) => json!({"key": name, "value": {"intValue": value.to_string()}}),
        Value::Bool(value) => json!({"key": name, "value": {"boolValue": value}}),
    }
}

fn text(name: &str, value: &str) -> Json {
    json!({"key": name, "value": {"stringValue": value}})
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
