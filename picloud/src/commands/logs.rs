//! `picloud logs`: prints and follows the logs of an app.

use chrono::{TimeDelta, Utc};
use serde::de::DeserializeOwned;

use super::error::{CommandError, IoError};
use super::executions::resolve_id;
use super::output::{next_page_hint, print, show};
use crate::api_types::{DroppedRecords, LogLine, Logs};
use crate::cli::LogsArgs;
use crate::client::{Client, Event, StreamEvent, percent_encode};
use crate::render::logs::{dropped, line};
use crate::render::printable;

/// Prints the latest lines; with `--follow`, new lines until interrupted.
pub(crate) fn logs(options: &LogsArgs) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let mut query = Vec::new();
    query.extend(options.script.as_ref().map(|script| format!("script={}", percent_encode(script))));
    query.extend(options.level.map(|level| format!("level={}", level.as_str())));
    if let Some(execution) = &options.execution {
        query.push(format!("execution={}", resolve_id(&client, &app, execution)?));
    }
    if let Some(period) = options.since {
        let since =
            TimeDelta::from_std(period.0).ok().and_then(|period| Utc::now().checked_sub_signed(period));
        query.extend(since.map(|since| format!("since={}", percent_encode(&since.to_rfc3339()))));
    }
    if options.follow {
        query.push(format!("before={}", options.limit));
        let path = format!("apps/{}/logs/stream?{}", app.as_str(), query.join("&"));
        return client.follow(&path, |event| handle(event, options.client.json));
    }
    query.push(format!("limit={}", options.limit));
    query.extend(options.before.as_ref().map(|before| format!("cursor={}", percent_encode(before))));
    let found: Logs = client.get(&format!("apps/{}/logs?{}", app.as_str(), query.join("&")))?;
    show(&found, options.client.json, |found| {
        if found.lines.is_empty() {
            return "no log lines; scripts log with  log::info(\"...\")\n".to_owned();
        }
        // The hint follows only earlier pages, so that the output of the latest page ends with the latest line.
        let earlier = options.before.as_ref().and(found.next_cursor.as_deref());
        found.lines.iter().map(line).collect::<String>() + next_page_hint(earlier).as_str()
    })
}

/// Prints a log line. Notifications about the stream go to standard error.
fn handle(event: StreamEvent<'_>, json: bool) -> Result<(), CommandError> {
    match event {
        StreamEvent::Event(event) if json => print(format!("{}\n", event.data)),
        StreamEvent::Event(event) if event.name == "line" => print(line(&parse::<LogLine>(event)?)),
        StreamEvent::Event(event) if event.name == "dropped" => {
            eprintln!("-- {}", dropped(&parse::<DroppedRecords>(event)?));
            Ok(())
        }
        StreamEvent::Event(_) => Ok(()),
        StreamEvent::Disconnected(reason) => {
            eprintln!("-- {}; reconnecting", printable(reason));
            Ok(())
        }
        StreamEvent::Reconnected => {
            eprintln!("-- reconnected; no lines were lost");
            Ok(())
        }
    }
}

fn parse<T: DeserializeOwned>(event: &Event) -> Result<T, CommandError> {
    Ok(serde_json::from_str(&event.data).map_err(IoError::Event)?)
}
