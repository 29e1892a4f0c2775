//! The results of `picloud test`.

use platform::dry_run::ScriptRun;
use platform::script_tests::{TestOutcome, TestReport, show_log_line};
use runtime::LogLine;
use serde_json::{Value, json};

use super::style::{bold, dim, green, red};
use super::{count, printable};

/// A line for each test that failed, with the log of its run, and a summary.
pub(crate) fn report(report: &TestReport) -> String {
    let mut text = String::new();
    for (test, mismatch) in report.failed() {
        let TestOutcome { file, line, column, claim, log, .. } = test;
        let place = bold(&printable(&format!("{file}:{line}:{column}")));
        let (claim, mismatch) = (printable(claim), printable(&mismatch.to_string()));
        text += &format!("{place}: {} {claim}: {mismatch}\n", red("failed"));
        text += &log_lines(log);
    }
    let failed = report.failed().count();
    let passed = green(&format!("{} passed", report.outcomes.len() - failed));
    let failed = if failed == 0 { String::new() } else { format!(", {}", red(&format!("{failed} failed"))) };
    text + format!("{passed}{failed}, in {} ms\n", report.took.as_millis()).as_str()
}

/// No tests were found.
pub(crate) fn none(found: usize, filter: Option<&str>) -> String {
    match filter.filter(|_| found > 0) {
        Some(filter) => {
            format!("no tests contain `{}`; the app has {}\n", printable(filter), count(found, "test"))
        }
        None => "no tests found: write one as a comment of a script, such as\n  // GET /greet/Ann => {\"message\":\"Hello, Ann\"}\n\
                 or in a file such as greet.test.rhai; docs/testing.md describes both\n"
            .to_owned(),
    }
}

fn log_lines(log: &[LogLine]) -> String {
    log.iter().map(|line| format!("  {}\n", log_line(line))).collect()
}

/// A log line with its place, as far as it is known.
fn log_line(line: &LogLine) -> String {
    let library = line.library.as_ref().map(|library| format!("{library}:"));
    let place =
        line.line.map(|number| dim(&format!("  {}{number}", library.unwrap_or_else(|| "line ".to_owned()))));
    format!("log {}{}", printable(&show_log_line(line)), place.unwrap_or_default())
}

/// The results as JSON.
pub(crate) fn to_json(report: &TestReport) -> Value {
    let failed = report.failed().count();
    json!({
        "ok": failed == 0,
        "passed": report.outcomes.len() - failed,
        "failed": failed,
        "duration_ms": report.took.as_millis() as u64,
        "tests": report.outcomes.iter().map(test_to_json).collect::<Vec<_>>(),
    })
}

fn test_to_json(test: &TestOutcome) -> Value {
    let mismatch = test.mismatch.as_ref().map(|mismatch| {
        json!({
            "what": mismatch.what,
            "expected": mismatch.expected,
            "found": mismatch.found,
            "reason": mismatch.reason,
        })
    });
    json!({
        "file": test.file,
        "line": test.line,
        "column": test.column,
        "claim": test.claim,
        "ok": test.mismatch.is_none(),
        "mismatch": mismatch,
        "log": log_to_json(&test.log),
    })
}

fn log_to_json(log: &[LogLine]) -> Vec<Value> {
    let line = |line: &LogLine| {
        let data = line.data.as_deref().and_then(|data| serde_json::from_str::<Value>(data).ok());
        json!({
            "level": line.level.as_str(),
            "message": line.message,
            "data": data,
            "library": line.library.as_ref().map(|library| library.as_str()),
            "line": line.line,
        })
    };
    log.iter().map(line).collect()
}

/// A single run: its log, and the answer or the failure.
pub(crate) fn run(run: &ScriptRun) -> String {
    let log = log_lines(&run.log);
    match &run.execution.outcome {
        Ok(response) => {
            let headers: String = response
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}\n", printable(value)))
                .collect();
            let body: String = String::from_utf8_lossy(&response.body)
                .lines()
                .map(|line| printable(line).to_string() + "\n")
                .collect();
            let status = response.status.to_string();
            let status = if response.status < 400 { green(&status) } else { red(&status) };
            format!("{log}{status}\n{headers}\n{body}")
        }
        Err(failure) => format!("{log}{}: {}\n", red("failed"), printable(&failure.to_string())),
    }
}

/// The same as JSON.
pub(crate) fn run_to_json(run: &ScriptRun) -> Value {
    let response = run.execution.outcome.as_ref().ok().map(|response| {
        let headers: Vec<Value> = response.headers.iter().map(|(name, value)| json!([name, value])).collect();
        json!({
            "status": response.status,
            "headers": headers,
            "body": String::from_utf8_lossy(&response.body),
        })
    });
    let failure = run.execution.outcome.as_ref().err().map(ToString::to_string);
    json!({
        "ok": failure.is_none(),
        "script": run.script.as_str(),
        "response": response,
        "failure": failure,
        "log": log_to_json(&run.log),
        "duration_ms": run.execution.duration.as_millis() as u64,
    })
}
