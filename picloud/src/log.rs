//! The node's log: to standard error, so that standard output stays for what is said to people once.

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

use crate::traces;
use crate::words::printable;

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people; under systemd without the time, which the journal knows, and with the level as it reads it.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins the log. `default` says what is in it where `PICLOUD_LOG` does not. `traces` hears of what is traced, where anything is.
pub(crate) fn start(default: &str, form: LogFormat, traces: Option<traces::Layer>) {
    let filter = filter(default);
    match traces {
        None => registry().with(filter).with(lines(form)).init(),
        Some(traces) => {
            let traces = traces.with_filter(filter_fn(traces::is_traced));
            registry().with(lines(form).with_filter(filter)).with(traces).init();
        }
    }
    panics();
}

/// What is in the log. What is no filter is said, before there is a log that could say it.
fn filter(default: &str) -> EnvFilter {
    let asked = std::env::var("PICLOUD_LOG").unwrap_or_default();
    if asked.is_empty() {
        return EnvFilter::new(default);
    }
    EnvFilter::try_new(&asked).unwrap_or_else(|error| {
        let error = printable(&error.to_string());
        eprintln!("warning: PICLOUD_LOG is no filter, and is left out: {error}\nhint: write a level such as debug, or  info,script=trace");
        EnvFilter::new(default)
    })
}

/// What writes the lines.
fn lines<S>(form: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let log = layer().with_writer(io::stderr);
    match form {
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
        LogFormat::Text if is_journal() => {
            let line = Leveled(format().without_time().with_ansi(false));
            log.with_ansi(false).fmt_fields(OneLine).event_format(line).boxed()
        }
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.with_ansi(colours).fmt_fields(OneLine).boxed()
        }
    }
}

/// Panics go to the log.
pub(crate) fn panics() {
    // A panic is one log line; collecting a backtrace costs more than a request may.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, "panic: {message}");
    }));
}

/// Whether standard error goes to systemd's journal (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr().as_fd())
        .is_ok_and(|file| named == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Fields in which nothing ends the line or moves a cursor, whoever wrote it.
struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        writer: Writer<'w>,
        fields: R,
    ) -> fmt::Result {
        let first = Cell::new(true);
        let fields_alone = debug_fn(move |writer: &mut Writer<'_>, field, value| {
            let space = if first.replace(false) { "" } else { " " };
            let value = printable(&format!("{value:?}"));
            if field.name() == "message" {
                write!(writer, "{space}{value}")
            } else {
                write!(writer, "{space}{field}={value}")
            }
        });
        fields_alone.format_fields(writer, fields)
    }
}

/// Lines that begin with their level as the journal reads it (sd-daemon(3)).
struct Leveled<F>(F);

impl<S, N, F> FormatEvent<S, N> for Leveled<F>
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
