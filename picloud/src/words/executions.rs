//! What people read of executions.

use std::fmt::Write as _;
use std::time::Duration;

use super::logs::line;
use super::table::table;
use super::when::{to_the_millisecond, when};
use super::{printable, short_commit};
use crate::rest::{Execution, Failure, WholeExecution};

/// Executions as a table.
pub(crate) fn listed(executions: &[Execution]) -> String {
    if executions.is_empty() {
        return "Nothing ran, as far as is remembered.\n".to_owned();
    }
    let row = |execution: &Execution| {
        vec![
            when(execution.started_at),
            outcome(execution),
            took(execution.duration_us),
            execution.target.clone(),
            execution.script.clone(),
            execution.deploy.to_string(),
            execution.id.to_string(),
        ]
    };
    let rows: Vec<_> = executions.iter().map(row).collect();
    table(&["STARTED", "OUTCOME", "TOOK", "WHAT", "SCRIPT", "DEPLOY", "EXECUTION"], &rows)
}

/// One execution with its failure and its log.
pub(crate) fn whole(whole: &WholeExecution) -> String {
    let execution = &whole.execution;
    let mut text = String::new();
    let rows = [
        ("execution", execution.id.to_string()),
        ("request", execution.request_id.to_string()),
        ("what", format!("{} {}", execution.trigger, execution.target)),
        ("script", execution.script.clone()),
        ("deploy", format!("{} ({})", execution.deploy, short_commit(&execution.commit))),
        ("node", execution.node.clone()),
        ("started", to_the_millisecond(execution.started_at)),
        ("took", took(execution.duration_us)),
        ("operations", execution.operations.to_string()),
        ("memory", format!("{} bytes at most", execution.memory_bytes)),
        ("outcome", outcome(execution)),
    ];
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10}  {}", printable(&value));
    }
    if let Some(failure) = &execution.failure {
        text.push_str(&failed(failure));
    }
    if !whole.log.is_empty() {
        text.push('\n');
        whole.log.iter().for_each(|said| text.push_str(&line(said)));
    }
    if execution.lines_dropped > 0 {
        let _ = writeln!(
            text,
            "-- {} more lines were left out: one execution may not log more",
            execution.lines_dropped
        );
    }
    text
}

/// Why an execution failed, with the line of the script where it did.
pub(crate) fn failed(failure: &Failure) -> String {
    let message = printable(&failure.message);
    let Some(place) = &failure.place else { return format!("\nerror: {message}\n") };
    let mut text =
        format!("\nerror: {}:{}:{}  {message}\n", printable(&place.script), place.line, place.column);
    if let Some(source) = &place.source {
        let (number, source) = (place.line.to_string(), printable(source));
        let margin = " ".repeat(number.len());
        let before = " ".repeat((place.column as usize).saturating_sub(1));
        let _ = write!(text, "  {margin} |\n  {number} | {source}\n  {margin} | {before}^\n");
    }
    text
}

fn outcome(execution: &Execution) -> String {
    match (&execution.failure, execution.status) {
        (Some(failure), Some(status)) => format!("{} {status}", failure.kind),
        (Some(failure), None) => failure.kind.clone(),
        (None, Some(status)) => status.to_string(),
        (None, None) => "done".to_owned(),
    }
}

/// A span of time in the unit that suits it.
fn took(microseconds: u64) -> String {
    let took = Duration::from_micros(microseconds);
    if took < Duration::from_secs(1) {
        format!("{:.2} ms", took.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", took.as_secs_f64())
    }
}
