//! `picloud apps limits`: what an app is granted, shown and changed.

use std::time::Duration;

use manifest_schema::units::{show_duration, show_size};

use super::error::CommandError;
use super::output::show;
use crate::cli::{AppLimitsOption, OrDefault};
use crate::client::{AppOption, Client};
use crate::rest::{AppLimits, LimitChanges, Limits};
use crate::words::size;
use crate::words::table::table;

pub(crate) fn limits(option: &AppLimitsOption) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&AppOption { app: option.app.clone() })?;
    let path = format!("apps/{}/limits", app.as_str());
    let changes = changes(option);
    let limits: AppLimits = match changes == LimitChanges::default() {
        true => client.get(&path)?,
        false => client.send("PATCH", &path, Some(&changes))?,
    };
    show(&limits, option.client.json, words)
}

fn changes(option: &AppLimitsOption) -> LimitChanges {
    LimitChanges {
        memory_share_bytes: value(option.memory_share, |size| size.0),
        disk_bytes: value(option.disk, |size| size.0),
        previews: value(option.previews, |number| number.0),
        schedule_runs_per_minute: value(option.schedule_runs, |number| number.0),
        timeout_ms: value(option.timeout, |time| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX)),
        operations: value(option.operations, |number| number.0),
        script_memory_bytes: value(option.script_memory, |size| size.0),
        body_bytes: value(option.body, |size| size.0),
        concurrency: value(option.concurrency, |number| number.0),
        schedules: value(option.schedules, |number| number.0),
    }
}

/// What is asked of one limit, as the API has it: `None` to leave it, `Some(None)` for the default.
fn value<T>(asked: Option<OrDefault<T>>, number: impl Fn(T) -> u64) -> Option<Option<u64>> {
    asked.map(|OrDefault(value)| value.map(number))
}

/// A limit as it is shown: its name, its value in a document, and how that is written.
type Row = (&'static str, fn(&Limits) -> Option<u64>, fn(u64) -> String);

const ROWS: [Row; 10] = [
    ("memory-share", |limits| limits.memory_share_bytes, bytes),
    ("disk", |limits| limits.disk_bytes, bytes),
    ("previews", |limits| limits.previews, count),
    ("schedule-runs", |limits| limits.schedule_runs_per_minute, a_minute),
    ("timeout", |limits| limits.timeout_ms, milliseconds),
    ("operations", |limits| limits.operations, count),
    ("script-memory", |limits| limits.script_memory_bytes, bytes),
    ("body", |limits| limits.body_bytes, bytes),
    ("concurrency", |limits| limits.concurrency, count),
    ("schedules", |limits| limits.schedules, count),
];

/// As it can be written again, where that is short.
fn bytes(number: u64) -> String {
    if number.is_multiple_of(1024) { show_size(number) } else { size(number) }
}

fn count(number: u64) -> String {
    number.to_string()
}

fn a_minute(number: u64) -> String {
    format!("{number}/min")
}

fn milliseconds(number: u64) -> String {
    show_duration(Duration::from_millis(number))
}

fn words(limits: &AppLimits) -> String {
    let rows = ROWS.map(|(name, value, shown)| {
        let column = |of: &Limits| value(of).map_or_else(|| "-".to_owned(), shown);
        let used = match name {
            "disk" => size(limits.used.disk_bytes),
            "previews" => limits.used.previews.to_string(),
            _ => String::new(),
        };
        vec![name.to_owned(), column(&limits.granted), column(&limits.own), column(&limits.default), used]
    });
    table(&["LIMIT", "GRANTED", "OWN", "DEFAULT", "USED"], &rows)
}
