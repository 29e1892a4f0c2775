//! What people read of logs.

use super::printable;
use super::when::to_the_millisecond;
use crate::rest::{Gap, LogLine};

/// One line of a log, as one line whatever it holds.
pub(crate) fn line(line: &LogLine) -> String {
    let place = match line.line {
        Some(number) => format!("{}:{number}", line.script),
        None => line.script.clone(),
    };
    let data = line.data.as_ref().map(|data| format!("  {data}")).unwrap_or_default();
    let execution = if line.failure { format!("  (execution {})", line.execution) } else { String::new() };
    let said = printable(&format!("{}{data}{execution}", line.message));
    format!(
        "{}  {:<5}  {}  {said}\n",
        to_the_millisecond(line.at),
        line.level.to_uppercase(),
        printable(&place)
    )
}

/// What is missing in a stream of lines.
pub(crate) fn gap(gap: &Gap) -> String {
    match gap.reason.as_str() {
        "away" => "the database is away; what is logged meanwhile follows later".to_owned(),
        "back" => "the database is back".to_owned(),
        "set back" => {
            "the database was set back to an earlier time; some of what was shown is lost".to_owned()
        }
        _ => format!(
            "{} lines and {} executions of the app are lost: node {} had no room for them from {} to {}",
            gap.lines,
            gap.executions,
            printable(gap.node.as_deref().unwrap_or("-")),
            gap.since.map(to_the_millisecond).unwrap_or_default(),
            gap.until.map(to_the_millisecond).unwrap_or_default(),
        ),
    }
}
