//! Log lines.

use super::printable;
use super::when::with_millis;
use crate::api_types::{DroppedRecords, LogLine};

/// A log line, without line breaks in its message.
pub(crate) fn line(line: &LogLine) -> String {
    let location = match line.line {
        Some(number) => format!("{}:{number}", line.script),
        None => line.script.clone(),
    };
    let data = line.data.as_ref().map(|data| format!("  {data}")).unwrap_or_default();
    let execution = if line.failure { format!("  (execution {})", line.execution) } else { String::new() };
    let text = printable(&format!("{}{data}{execution}", line.message));
    format!("{}  {:<5}  {}  {text}\n", with_millis(line.at), line.level.to_uppercase(), printable(&location))
}

/// A notification in a log stream.
pub(crate) fn dropped(dropped: &DroppedRecords) -> String {
    match dropped.reason.as_str() {
        "away" => "the database is unavailable; new lines follow later".to_owned(),
        "back" => "the database is available again".to_owned(),
        "set back" => "the database was restored to an earlier state; some printed lines are lost".to_owned(),
        _ => format!(
            "node {2} dropped {0} lines and {1} executions of the app from {3} to {4}",
            dropped.log_lines,
            dropped.executions,
            printable(dropped.node.as_deref().unwrap_or("-")),
            dropped.since.map(with_millis).unwrap_or_default(),
            dropped.until.map(with_millis).unwrap_or_default(),
        ),
    }
}
