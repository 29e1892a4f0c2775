//! The log of a node, on standard error.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use clap::ValueEnum;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format, layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, registry};

use crate::render::printable;
use crate::traces;

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text lines; for the systemd journal with priority prefixes and without times.
    Text,
    /// One JSON object per line.
    Json,
}

/// Installs the global subscriber. `default` is the filter if `PICLOUD_LOG` is not set.
pub(crate) fn start(default: &str, log_format: LogFormat, traces: Option<traces::Layer>) {
    let filter = filter(default);
    match traces {
        None => registry().with(filter).with(log_layer(log_format)).init(),
        Some(traces) => {
            let traces = traces.with_filter(filter_fn(traces::is_traced));
            registry().with(log_layer(log_format).with_filter(filter)).with(traces).init();
        }
    }
    set_panic_hook();
}

/// The log filter. An invalid one is reported to standard error, since there is no log yet.
fn filter(default: &str) -> EnvFilter {
    let directives = std::env::var("PICLOUD_LOG").unwrap_or_default();
    if directives.is_empty() {
        return EnvFilter::new(default);
    }
    EnvFilter::try_new(&directives).unwrap_or_else(|error| {
        let error = printable(&error.to_string());
        eprintln!("warning: invalid log filter in PICLOUD_LOG, ignored: {error}\nhint: use a level such as debug, or  info,script=trace");
        EnvFilter::new(default)
    })
}

/// The layer that writes the log.
fn log_layer<S>(log_format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let log = layer().with_writer(io::stderr);
    match log_format {
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
        LogFormat::Text if is_journal() => {
            let line = WithPriority(format().without_time().with_ansi(false));
            log.with_ansi(false).fmt_fields(OneLine).event_format(line).boxed()
        }
        LogFormat::Text => {
            let colors = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.with_ansi(colors).fmt_fields(OneLine).boxed()
        }
    }
}

/// Logs panics.
pub(crate) fn set_panic_hook() {
    // Without a backtrace, which is expensive to collect.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(location, "panic: {message}");
    }));
}

/// Whether standard error is connected to the systemd journal (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr().as_fd())
        .is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Formats fields in one line, with escaped control characters.
struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        writer: Writer<'w>,
        fields: R,
    ) -> fmt::Result {
        let first = Cell::new(true);
        let formatter = debug_fn(move |writer: &mut Writer<'_>, field, value| {
            let space = if first.replace(false) { "" } else { " " };
            let value = printable(&format!("{value:?}"));
            if field.name() == "message" {
                write!(writer, "{space}{value}")
            } else {
                write!(writer, "{space}{field}={value}")
            }
        });
        formatter.format_fields(writer, fields)
    }
}

/// Adds the priority prefix of the journal (sd-daemon(3)).
struct WithPriority<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{level}>")?;
        self.0.format_event(context, writer, event)
    }
}
