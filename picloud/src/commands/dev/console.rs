//! The console of `picloud dev`: requests, log lines of scripts, and failures with their source lines.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::Arc;

use chrono::Utc;
use manifest_schema::diagnostic::{Diagnostic, Span};
use manifest_schema::name::{AppName, ScriptPath};
use platform::live::LiveTable;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::commands::output::print_styled;
use crate::edge::DEV_REQUEST;
use crate::render::dev;

/// A tracing layer that prints events to the terminal.
pub(super) struct Console {
    table: Arc<LiveTable>,
    app: AppName,
}

impl Console {
    /// Installs the console as the global subscriber.
    pub(super) fn start(table: Arc<LiveTable>, app: AppName) {
        let targets = Targets::new()
            .with_default(Level::WARN)
            .with_target("script", Level::TRACE)
            .with_target("schedule", Level::INFO)
            .with_target(DEV_REQUEST, Level::INFO);
        tracing_subscriber::registry().with(Self { table, app }.with_filter(targets)).init();
        crate::log::set_panic_hook();
    }

    fn render(&self, target: &str, level: &Level, fields: &Fields) -> String {
        let at = Utc::now();
        let level_name = level.as_str().to_ascii_lowercase();
        let text = |name: &str| fields.0.get(name).map(String::as_str).unwrap_or_default();
        let message = text("message");
        match target {
            DEV_REQUEST => {
                let number = |name| text(name).parse().unwrap_or_default();
                dev::request(at, text("method"), text("path"), number("status"), number("micros"))
            }
            "script" => {
                let mut location = text("script").to_owned();
                for part in ["line", "column"] {
                    if let Some(number) = fields.0.get(part) {
                        let _ = write!(location, ":{number}");
                    }
                }
                dev::line(at, &level_name, &location, message, fields.0.get("data").map(String::as_str))
            }
            "schedule" => dev::schedule(at, text("schedule"), message),
            _ if fields.0.contains_key("kind") && fields.0.contains_key("script") => {
                dev::failure(at, self.failure(fields))
            }
            _ => {
                let cause = fields.0.get("error").map(|error| format!(": {error}")).unwrap_or_default();
                dev::event(at, &level_name, &format!("{message}{cause}"))
            }
        }
    }

    /// The diagnostic of a failed execution, with the source line if the script is unchanged.
    fn failure(&self, fields: &Fields) -> Diagnostic {
        let text = |name: &str| fields.0.get(name).map(String::as_str).unwrap_or_default();
        let script = text("script");
        let message = text("message").strip_prefix("failed: ").unwrap_or(text("message"));
        let message = format!("{message} ({})", text("kind"));
        let mut numbers = text("location").rsplitn(3, ':').map(str::parse::<usize>);
        let span = match (numbers.next(), numbers.next()) {
            (Some(Ok(column)), Some(Ok(line))) => self.source(script, text("revision")).map(|source| {
                let rest = source.lines().nth(line - 1).into_iter().flat_map(str::chars).skip(column - 1);
                let width = rest.take_while(|c| c.is_alphanumeric() || *c == '_').count();
                Span::from_position(&source, line, column, width.max(1))
            }),
            _ => None,
        };
        let file = if span.is_none() && !text("location").is_empty() { text("location") } else { script };
        Diagnostic::error(file, span, message)
    }

    fn source(&self, script: &str, revision: &str) -> Option<String> {
        let live = self.table.get_production(self.app.as_str())?;
        let script = ScriptPath::new(script).ok()?;
        let source = live.revision.sources().get(&script)?;
        (live.revision.commit() == revision).then(|| source.text().to_owned())
    }
}

impl<S: Subscriber> Layer<S> for Console {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // Standard output can be closed.
        let _ = print_styled(self.render(event.metadata().target(), event.metadata().level(), &fields));
    }
}

/// The fields of an event as text.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
