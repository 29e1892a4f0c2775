//! The `[[checks]]` of a manifest: requests that a candidate must answer as expected before it goes live.
//!
//! They run one after the other and have some seconds in all. They see no data of production: secrets are those for
//! previews, or values in the check itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Severity};
use manifest_schema::manifest::{self, Check, Expect};
use manifest_schema::parse::check_span;
use runtime::{Failure, KvKey, KvValue, Response, Secrets};
use serde_json::Value;

use crate::executor::worker_pool::{self, Priority};

use super::json::{Comparison, Difference, difference};
use super::{Answer, DryRequest, DryRun, DryState, RunOptions, ScriptRun};

/// The time that all checks of a commit have together.
pub const CHECKS_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum length of a body that is compared as JSON, in bytes: parsed, it can take thirty times its text.
const JSON_BYTES_MAX: usize = 1024 * 1024;

/// The maximum length of shown texts of an answer, in characters.
const SHOWN_MAX: usize = 200;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The result of the checks.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// The number of checks that passed.
    pub passed: usize,
    /// Those that failed, in the order of the manifest.
    pub failed: Vec<FailedCheck>,
    /// How long all took.
    pub took: Duration,
}

/// A check that failed.
#[derive(Clone, Debug)]
pub struct FailedCheck {
    /// The check.
    pub check: Check,
    /// Why.
    pub failure: CheckFailure,
    /// A required secret without a value for the check, which can be the reason.
    pub missing_secret: Option<String>,
}

/// Why a check failed. Values of secrets are redacted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckFailure {
    /// The answer has another status.
    #[error("answers {found}, not {expected}{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Status {
        /// The expected status.
        expected: u16,
        /// The status of the answer.
        found: u16,
        /// Why the script failed, or why none ran.
        reason: Option<String>,
    },
    /// A header is missing or has another value.
    #[error("header `{name}` is {found}, not `{expected}`")]
    Header {
        /// The name.
        name: String,
        /// The expected value.
        expected: String,
        /// The found value in back quotes, or `missing`.
        found: String,
    },
    /// The body is too large to be compared as JSON.
    #[error("the body has {0} bytes; checks compare at most {JSON_BYTES_MAX} as JSON")]
    TooLarge(usize),
    /// The body is no JSON.
    #[error("the body is no JSON: {0}")]
    NoJson(String),
    /// The body differs.
    #[error("{} is {}, not {}", if .0.pointer.is_empty() { "the body" } else { &.0.pointer }, .0.found, .0.expected)]
    Json(Difference),
    /// The body lacks a text.
    #[error("the body does not contain `{0}`")]
    Contains(String),
    /// Its state does not fit.
    #[error("cannot begin with its `kv`: {0}")]
    State(String),
    /// The time was over while it ran.
    #[error("was stopped: all checks together took longer than {CHECKS_TIMEOUT:?}")]
    Stopped,
    /// The checks before took all the time.
    #[error("did not run: all checks together took longer than {CHECKS_TIMEOUT:?}")]
    Late,
}

impl CheckReport {
    /// The failures as diagnostics of this severity, at the requests of the checks if the text of the manifest is given.
    pub fn diagnostics(&self, severity: Severity, text: Option<&[u8]>) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        self.failed.iter().for_each(|failed| diagnostics.add(failed.diagnostic(severity, text)));
        diagnostics
    }
}

impl FailedCheck {
    /// The failure as a diagnostic of this severity, at the request if the text of the manifest is given.
    pub fn diagnostic(&self, severity: Severity, text: Option<&[u8]>) -> Diagnostic {
        let Check { name, request, .. } = &self.check;
        let message = format!("check `{name}` failed: `{request}` {}", self.failure);
        let span = text.and_then(|text| check_span(text, name));
        let diagnostic = Diagnostic { severity, ..Diagnostic::error(manifest::FILE_NAME, span, message) };
        match &self.missing_secret {
            Some(secret) => diagnostic.with_help(format!(
                "secret {secret} has no value for the check; write `secrets = {{ {secret} = \"…\" }}` in it, or set one with  \
                 picloud secrets set {secret} --preview"
            )),
            None => diagnostic,
        }
    }
}

/// Runs the checks of a revision, each with `secrets` and its own, until their time is over.
pub fn run_checks(app: &DryRun, secrets: &Secrets) -> CheckReport {
    let started = Instant::now();
    let checks = &app.revision().manifest().checks;
    let mut report = CheckReport { passed: 0, failed: Vec::new(), took: Duration::ZERO };
    for check in checks {
        match run_check(app, secrets, check, started + CHECKS_TIMEOUT) {
            Ok(()) => report.passed += 1,
            Err(failure) => {
                let (check, missing_secret) = (check.clone(), missing_secret(app, secrets, check));
                report.failed.push(FailedCheck { check, failure, missing_secret });
            }
        }
    }
    report.took = started.elapsed();
    report
}

/// The first required secret without a value in a check.
fn missing_secret(app: &DryRun, secrets: &Secrets, check: &Check) -> Option<String> {
    let required = &app.revision().manifest().secrets.required;
    let has_value = |name: &str| secrets.iter().any(|(set, _)| set == name);
    let missing =
        required.iter().find(|name| !check.secrets.contains_key(*name) && !has_value(name.as_str()))?;
    Some(missing.as_str().to_owned())
}

fn run_check(app: &DryRun, secrets: &Secrets, check: &Check, end: Instant) -> Result<(), CheckFailure> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(CheckFailure::Late);
    }
    let own = check.secrets.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone()));
    let shared = secrets.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let app = app.with_secrets(&Secrets::new(shared.chain(own).collect()));
    let state = DryState::new(None, values(check)).map_err(|error| CheckFailure::State(error.to_string()))?;
    let options = RunOptions { timeout_max: Some(left), state: Some(state), ..RunOptions::default() };
    let answer = app.request(request(check), &options);
    if Instant::now() >= end {
        return Err(CheckFailure::Stopped);
    }
    let redact = |text: &str| app.revision().secrets().redact(text).into_owned();
    compare(&check.expect, &answer, &redact)
}

/// The state that a check begins with. The manifest has keys and JSON only.
fn values(check: &Check) -> impl Iterator<Item = (KvKey, KvValue)> {
    check.kv.iter().filter_map(|(key, value)| {
        Some((KvKey::new(key).ok()?, KvValue::Json(value.to_string().into_bytes().into())))
    })
}

fn request(check: &Check) -> DryRequest {
    let (content_type, body) = match &check.body {
        None => (None, Bytes::new()),
        Some(Value::String(text)) => (Some(TEXT), text.clone().into()),
        Some(json) => (Some(JSON), json.to_string().into()),
    };
    let mut headers: Vec<(String, String)> =
        check.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(content_type) = content_type.filter(|_| !check.headers.contains_key("content-type")) {
        headers.push(("content-type".to_owned(), content_type.to_owned()));
    }
    DryRequest { method: check.request.method, target: check.request.target.clone(), headers, body }
}

fn compare(expect: &Expect, answer: &Answer, redact: &dyn Fn(&str) -> String) -> Result<(), CheckFailure> {
    let found = answer.status();
    if found != expect.status {
        return Err(CheckFailure::Status { expected: expect.status, found, reason: reason(answer) });
    }
    let none = Response { status: found, headers: Vec::new(), body: Bytes::new() };
    let response = match answer {
        Answer::Script(ScriptRun { execution, .. }) => execution.outcome.as_ref().unwrap_or(&none),
        _ => &none,
    };
    for (name, expected) in &expect.headers {
        let values = response.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut values = values.map(|(_, value)| value.as_str()).peekable();
        let first = values.peek().copied();
        if !values.any(|value| value == expected) {
            let found = first.map_or("missing".to_owned(), |value| format!("`{}`", shorten(&redact(value))));
            return Err(CheckFailure::Header { name: name.clone(), expected: expected.clone(), found });
        }
    }
    if let Some(expected) = &expect.json {
        if response.body.len() > JSON_BYTES_MAX {
            return Err(CheckFailure::TooLarge(response.body.len()));
        }
        let found = serde_json::from_slice::<Value>(&response.body)
            .map_err(|error| CheckFailure::NoJson(error.to_string()))?;
        if let Some(difference) = difference(expected, &found, Comparison::Part) {
            let (pointer, found) = (redact(&difference.pointer), redact(&difference.found));
            return Err(CheckFailure::Json(Difference { pointer, found, ..difference }));
        }
    }
    match &expect.contains {
        Some(part) if !String::from_utf8_lossy(&response.body).contains(part.as_str()) => {
            Err(CheckFailure::Contains(shorten(part)))
        }
        _ => Ok(()),
    }
}

/// Why a script failed, or why none ran.
fn reason(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Script(ScriptRun { execution, .. }) => {
            let Failure { message, location, .. } = execution.outcome.as_ref().err()?;
            let at = location.as_ref().map(|at| format!("{}:{}:{}: ", at.script, at.line, at.column));
            Some(at.unwrap_or_default() + shorten(message).as_str())
        }
        Answer::Unrouted { status: 405, allow: Some(allow) } => {
            Some(format!("the path has routes for {allow}"))
        }
        Answer::Unrouted { status: 404, .. } => Some("no route has this path".to_owned()),
        Answer::Unrouted { .. } => None,
        Answer::TooLarge { limit } => Some(format!("the route accepts {limit} bytes")),
    }
}

fn shorten(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Runs the checks on a worker of the node, below the priority of requests.
///
/// `None`: the worker panicked, or no thread could be started.
pub(crate) async fn run_checks_in_background(app: DryRun, secrets: Arc<Secrets>) -> Option<CheckReport> {
    worker_pool::run(Priority::Background, move || (run_checks(&app, &secrets), ())).await
}
