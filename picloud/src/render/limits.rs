//! The table of the limits of an app.

use std::time::Duration;

use manifest_schema::units::{show_duration, show_size};

use super::size;
use super::table::table;
use crate::api_types::{AppLimits, Limits};

/// A row of the table: the limit, its value, and its format.
type Row = (&'static str, fn(&Limits) -> Option<u64>, fn(u64) -> String);

const ROWS: [Row; 11] = [
    ("memory-share", |limits| limits.memory_share_bytes, bytes),
    ("disk", |limits| limits.disk_bytes, bytes),
    ("state", |limits| limits.state_bytes, bytes),
    ("previews", |limits| limits.previews, count),
    ("schedule-runs-per-minute", |limits| limits.schedule_runs_per_minute, per_minute),
    ("timeout", |limits| limits.timeout_ms, milliseconds),
    ("operations", |limits| limits.operations, count),
    ("script-memory", |limits| limits.script_memory_bytes, bytes),
    ("body", |limits| limits.body_bytes, bytes),
    ("concurrency", |limits| limits.concurrency, count),
    ("schedules", |limits| limits.schedules, count),
];

/// The form of the flag, if it is short.
fn bytes(number: u64) -> String {
    if number.is_multiple_of(1024) { show_size(number) } else { size(number) }
}

fn count(number: u64) -> String {
    number.to_string()
}

fn per_minute(number: u64) -> String {
    format!("{number}/min")
}

fn milliseconds(number: u64) -> String {
    show_duration(Duration::from_millis(number))
}

/// The table of the limits of an app.
pub(crate) fn list(limits: &AppLimits) -> String {
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
