//! `picloud logs`: what an app logged, and what it logs.

use chrono::{TimeDelta, Utc};
use serde::de::DeserializeOwned;

use super::error::{CommandError, VerbError};
use super::executions::id_of;
use super::output::{more, print, show};
use crate::cli::LogsOptions;
use crate::client::{Client, Event, Heard, escaped};
use crate::rest::{Gap, LogLine, Logs};
use crate::words::logs::{gap, line};
use crate::words::printable;

/// Prints the latest lines, and with `--follow` those that come in, until it is stopped.
pub(crate) fn logs(options: &LogsOptions) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let mut query = Vec::new();
    query.extend(options.script.as_ref().map(|script| format!("script={}", escaped(script))));
    query.extend(options.level.map(|level| format!("level={}", level.as_str())));
    if let Some(execution) = &options.execution {
        query.push(format!("execution={}", id_of(&client, &app, execution)?));
    }
    if let Some(ago) = options.since {
        let since = TimeDelta::from_std(ago.0).ok().and_then(|ago| Utc::now().checked_sub_signed(ago));
        query.extend(since.map(|since| format!("since={}", escaped(&since.to_rfc3339()))));
    }
    if options.follow {
        query.push(format!("before={}", options.limit));
        let path = format!("apps/{}/logs/stream?{}", app.as_str(), query.join("&"));
        return client.follow(&path, |heard| hear(heard, options.client.json));
    }
    query.push(format!("limit={}", options.limit));
    query.extend(options.before.as_ref().map(|before| format!("cursor={}", escaped(before))));
    let found: Logs = client.get(&format!("apps/{}/logs?{}", app.as_str(), query.join("&")))?;
    show(&found, options.client.json, |found| {
        if found.lines.is_empty() {
            return "Nothing was logged; scripts log with  log::info(\"...\")\n".to_owned();
        }
        // The page of those before is asked for by who has asked for one: the latest lines end with the latest.
        let earlier = options.before.as_ref().and(found.next_cursor.as_deref());
        found.lines.iter().map(line).collect::<String>() + more(earlier).as_str()
    })
}

/// Prints one line, as one JSON object a line for programs. What people should know about the stream goes to standard error.
fn hear(heard: Heard<'_>, json: bool) -> Result<(), CommandError> {
    match heard {
        Heard::Event(event) if json => print(format!("{}\n", event.data)),
        Heard::Event(event) if event.name == "line" => print(line(&read::<LogLine>(event)?)),
        Heard::Event(event) if event.name == "gap" => {
            eprintln!("-- {}", gap(&read::<Gap>(event)?));
            Ok(())
        }
        Heard::Event(_) => Ok(()),
        Heard::BrokenOff(why) => {
            eprintln!("-- {}; trying again", printable(why));
            Ok(())
        }
        Heard::GoesOn => {
            eprintln!("-- connected again; nothing is missing");
            Ok(())
        }
    }
}

fn read<T: DeserializeOwned>(event: &Event) -> Result<T, CommandError> {
    Ok(serde_json::from_str(&event.data).map_err(VerbError::Event)?)
}
