//! The table and the details of executions.

use std::fmt::Write as _;
use std::time::Duration;

use super::logs::line;
use super::table::table;
use super::when::{when, with_millis};
use super::{printable, short_commit};
use crate::api_types::{Execution, Failure, WholeExecution};

/// The table of executions.
pub(crate) fn listed(executions: &[Execution]) -> String {
    if executions.is_empty() {
        return "no executions\n".to_owned();
    }
    let row = |execution: &Execution| {
        vec![
            when(execution.started_at),
            outcome(execution),
            duration(execution.duration_us),
            execution.target.clone(),
            execution.script.clone(),
            execution.deploy.to_string(),
            execution.id.to_string(),
        ]
    };
    let rows: Vec<_> = executions.iter().map(row).collect();
    table(&["STARTED", "OUTCOME", "DURATION", "TARGET", "SCRIPT", "DEPLOY", "EXECUTION"], &rows)
}

/// An execution with its failure and its log.
pub(crate) fn details(details: &WholeExecution) -> String {
    let execution = &details.execution;
    let mut text = String::new();
    let rows = [
        ("execution", execution.id.to_string()),
        ("request", execution.request_id.to_string()),
        ("trigger", format!("{} {}", execution.trigger, execution.target)),
        ("script", execution.script.clone()),
        ("deploy", format!("{} ({})", execution.deploy, short_commit(&execution.commit))),
        ("node", execution.node.clone()),
        ("started", with_millis(execution.started_at)),
        ("duration", duration(execution.duration_us)),
        ("operations", execution.operations.to_string()),
        ("memory", format!("{} bytes peak", execution.memory_peak_bytes)),
        ("outcome", outcome(execution)),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<10}  {}", printable(&value));
    }
    if let Some(failure) = &execution.failure {
        text.push_str(&self::failure(failure));
    }
    if !details.log.is_empty() {
        text.push('\n');
        details.log.iter().for_each(|logged| text.push_str(&line(logged)));
    }
    if execution.log_lines_dropped > 0 {
        let _ = writeln!(
            text,
            "-- {} log lines were dropped: the execution exceeded its log limit",
            execution.log_lines_dropped
        );
    }
    text
}

/// The failure of an execution with the source line.
pub(crate) fn failure(failure: &Failure) -> String {
    let message = printable(&failure.message);
    let Some(location) = &failure.location else { return format!("\nerror: {message}\n") };
    let mut text = format!(
        "\nerror: {}:{}:{}  {message}\n",
        printable(&location.script),
        location.line,
        location.column
    );
    if let Some(source) = &location.source {
        let (number, source) = (location.line.to_string(), printable(source));
        let margin = " ".repeat(number.len());
        let before = " ".repeat((location.column as usize).saturating_sub(1));
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

/// A duration in a suitable unit.
fn duration(microseconds: u64) -> String {
    let duration = Duration::from_micros(microseconds);
    if duration < Duration::from_secs(1) {
        format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}
