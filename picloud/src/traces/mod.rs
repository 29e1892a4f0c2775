//! Traces for an OpenTelemetry collector (OTLP over HTTP with JSON).
//!
//! Spans of the target [`TARGET`] are traced; without a collector, they are disabled. [`Layer`] records them, [`context`] parses
//! the parent from the request, [`document`] serializes them, and [`exporter`] sends them on its own thread. Requests never wait
//! for the collector: spans that it does not accept are dropped.

mod context;
mod document;
mod exporter;
mod span;

use std::fmt::Debug;
use std::time::SystemTime;

use platform::executor::threads::ThreadsError;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use context::Parent;
pub(crate) use exporter::FlushGuard;
use exporter::Queue;
use span::{Span, Value};

pub(crate) use platform::TRACE_TARGET as TARGET;

/// The field with the W3C `traceparent` of a request.
const PARENT_FIELD: &str = "traceparent";

/// The field that overrides the name of a span.
const NAME_FIELD: &str = "otel.name";

/// Whether a span is traced.
pub(crate) fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}

/// The settings of the exporter.
#[derive(Clone, Debug)]
pub(crate) struct TraceSettings {
    /// The URL of the collector; `None` disables traces.
    pub(crate) endpoint: Option<String>,
    /// Headers for the collector, as `name=value,name=value`.
    pub(crate) headers: Option<String>,
    /// The service name.
    pub(crate) service: String,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { endpoint: None, headers: None, service: "picloud".to_owned() }
    }
}

/// Starts the exporter, if a collector is set. Dropping the guard sends the remaining spans.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(settings: &TraceSettings) -> Result<Option<(Layer, FlushGuard)>, ThreadsError> {
    let Some(endpoint) = settings.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) else {
        return Ok(None);
    };
    let started = exporter::start(endpoint, settings.headers.as_deref(), &settings.service);
    let (queue, guard) = started.map_err(ThreadsError)?;
    Ok(Some((Layer { queue }, guard)))
}

/// Records spans and queues them when they end.
pub(crate) struct Layer {
    queue: Queue,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Layer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span_ref) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let local = span_ref.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Span>().map(|span| Parent {
                trace: span.trace,
                span: span.id,
                sampled: span.sampled,
            })
        });
        let remote = fields.parent.as_deref().and_then(Parent::parse);
        let Parent { trace, span, sampled } = local.or(remote).unwrap_or_else(Parent::root);
        let now = SystemTime::now();
        span_ref.extensions_mut().insert(Span {
            trace,
            id: context::new_id(),
            parent: span,
            sampled,
            is_server: fields.parent.is_some(),
            name: fields.name.unwrap_or_else(|| attributes.metadata().name().to_owned()),
            started_at: now,
            ended_at: now,
            attributes: fields.others,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(span) = context.span(id)
            && let Some(span) = span.extensions_mut().get_mut::<Span>()
        {
            span.attributes.append(&mut fields.others);
            if let Some(name) = fields.name {
                span.name = name;
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).and_then(|span| span.extensions_mut().remove::<Span>());
        if let Some(mut span) = span.filter(|span| span.sampled) {
            span.ended_at = SystemTime::now();
            self.queue.push(span);
        }
    }
}

/// The fields of a span.
#[derive(Default)]
struct Fields {
    parent: Option<String>,
    name: Option<String>,
    others: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            PARENT_FIELD => self.parent = Some(value.to_owned()),
            NAME_FIELD => self.name = Some(value.to_owned()),
            name => self.others.push((name, Value::Text(value.to_owned()))),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), Value::Number(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i64(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), Value::Bool(value)));
    }
}
