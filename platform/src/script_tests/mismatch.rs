//! The first difference of an answer and its claim.

use runtime::notation;
use runtime::{Failure, LogLine, Response};
use serde_json::Value;

use super::suite::Expectation;
use crate::dry_run::{CHECKS_TIMEOUT, CheckFailure, Comparison, Difference, difference};

/// The maximum length of a shown text, in characters.
const SHOWN_MAX: usize = 200;

/// How many characters of a text are shown before the first difference.
const BEFORE_DIFFERENCE: usize = 20;

/// A difference. Values of secrets are redacted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected}, found {found}{}", reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
pub struct Mismatch {
    /// What differs, such as `status` or a JSON pointer.
    pub what: String,
    /// What the claim says.
    pub expected: String,
    /// What the run did.
    pub found: String,
    /// Why, if it is known.
    pub reason: Option<String>,
}

/// The end of a run as a claim sees it.
pub(super) struct Ended<'r> {
    /// The answer; one without a body after a failure.
    pub(super) response: &'r Response,
    /// The failure, if it failed.
    pub(super) failure: Option<&'r Failure>,
    /// Why there is no other answer.
    pub(super) reason: Option<String>,
    pub(super) log: &'r [LogLine],
}

impl Mismatch {
    pub(super) fn new(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), expected: expected.into(), found: found.into(), reason: None }
    }

    pub(super) fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }

    pub(super) fn redacted(self, redact: &dyn Fn(&str) -> String) -> Self {
        Self {
            what: redact(&self.what),
            expected: self.expected,
            found: redact(&self.found),
            reason: self.reason.map(|reason| redact(&reason)),
        }
    }
}

impl From<&CheckFailure> for Mismatch {
    fn from(failure: &CheckFailure) -> Self {
        match failure {
            CheckFailure::Status { expected, found, reason } => {
                Self::new("status", expected.to_string(), found.to_string()).because(reason.clone())
            }
            CheckFailure::Header { name, expected, found } => {
                Self::new(format!("header {name}"), format!("`{expected}`"), found)
            }
            CheckFailure::NoJson(reason) => {
                Self::new("body", "JSON", "another text").because(Some(reason.clone()))
            }
            CheckFailure::Json(Difference { pointer, expected, found }) => {
                Self::new(if pointer.is_empty() { "body" } else { pointer }, expected, found)
            }
            CheckFailure::TooLarge(bytes) => {
                Self::new("body", "at most 1 MiB of JSON", format!("{bytes} bytes"))
            }
            CheckFailure::Contains(part) => Self::new("body", format!("`{part}` in it"), "none"),
            CheckFailure::State(reason) => {
                Self::new("kv", "values that fit", "others").because(Some(reason.clone()))
            }
            CheckFailure::Stopped | CheckFailure::Late => {
                Self::new("time", format!("at most {CHECKS_TIMEOUT:?} for all checks"), "more")
            }
        }
    }
}

/// The first difference of a run to a claim.
pub(super) fn find(
    answer: &notation::Answer,
    expectations: &[Expectation],
    ended: &Ended<'_>,
) -> Option<Mismatch> {
    let must_fail = expectations.iter().any(|expectation| matches!(expectation, Expectation::Fails(_)));
    let found = ended.response.status;
    let expected = answer.status.or((!must_fail).then_some(200));
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        let reason = ended.reason.clone().or_else(|| body_excerpt(ended.response));
        return Some(Mismatch::new("status", expected.to_string(), found.to_string()).because(reason));
    }
    let content_type = content_type(ended.response);
    if let Some(expected) = &answer.content_type {
        let same = |found: &str| {
            let found = if expected.contains(';') { found } else { found.split(';').next().unwrap_or(found) };
            found.trim().eq_ignore_ascii_case(expected)
        };
        if !content_type.is_some_and(same) {
            return Some(Mismatch::new("content type", expected, content_type.unwrap_or("none")));
        }
    }
    answer
        .body
        .as_deref()
        .and_then(|expected| body(expected, ended.response, content_type))
        .or_else(|| expectations.iter().find_map(|expectation| unmet(expectation, ended)))
}

fn content_type(response: &Response) -> Option<&str> {
    let mut headers = response.headers.iter();
    headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, value)| value.as_str())
}

fn body_excerpt(response: &Response) -> Option<String> {
    (!response.body.is_empty()).then(|| format!("the body is {}", quoted(&body_text(response))))
}

fn body_text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

/// Compares JSON as JSON, and other bodies as texts. A JSON string stands for a text of several lines.
fn body(expected: &str, response: &Response, content_type: Option<&str>) -> Option<Mismatch> {
    let found = body_text(response);
    if found == expected {
        return None;
    }
    let json: Option<Value> = serde_json::from_str(expected).ok();
    let is_json =
        content_type.is_some_and(|name| name.split(';').next().unwrap_or(name).trim().ends_with("json"));
    if is_json && let (Some(expected), Ok(found)) = (&json, serde_json::from_str::<Value>(&found)) {
        let difference = difference(expected, &found, Comparison::Whole)?;
        let what = if difference.pointer.is_empty() { "body".to_owned() } else { difference.pointer };
        return Some(Mismatch::new(what, difference.expected, difference.found));
    }
    let expected = match &json {
        Some(Value::String(text)) if !is_json => text.as_str(),
        _ => expected,
    };
    (found != expected).then(|| text_difference(expected, &found))
}

/// The surroundings of the first difference of two texts.
fn text_difference(expected: &str, found: &str) -> Mismatch {
    let same = expected.chars().zip(found.chars()).take_while(|(left, right)| left == right).count();
    let skipped = same.saturating_sub(BEFORE_DIFFERENCE);
    let excerpt = |text: &str| {
        let rest: String = text.chars().skip(skipped).collect();
        let begins = if skipped > 0 { "…" } else { "" };
        quoted(&format!("{begins}{rest}"))
    };
    let what = if same == 0 { "body".to_owned() } else { format!("body, character {}", same + 1) };
    Mismatch::new(what, excerpt(expected), excerpt(found))
}

/// A log line as claims write it: `info "message" {"data":1}`.
pub fn show_log_line(line: &LogLine) -> String {
    let data = line.data.as_ref().map(|data| format!(" {data}")).unwrap_or_default();
    format!("{} {:?}{data}", line.level.as_str(), line.message)
}

/// The text in quotes in one line, cut off where it is long.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn unmet(expectation: &Expectation, ended: &Ended<'_>) -> Option<Mismatch> {
    match expectation {
        Expectation::Header { name, value } => {
            let headers = ended.response.headers.iter();
            let mut values = headers.filter(|(other, _)| other.eq_ignore_ascii_case(name)).peekable();
            let first = values.peek().map(|(_, value)| value.clone());
            (!values.any(|(_, found)| found == value)).then(|| {
                Mismatch::new(format!("header {name}"), value, first.unwrap_or_else(|| "none".to_owned()))
            })
        }
        Expectation::Contains(part) => {
            let found = body_text(ended.response);
            (!found.contains(part.as_str()))
                .then(|| Mismatch::new("body", format!("a text with {}", quoted(part)), quoted(&found)))
        }
        Expectation::Fails(words) => match ended.failure {
            Some(failure) if failure.message.contains(words.as_str()) => None,
            Some(failure) => Some(Mismatch::new("failure", quoted(words), quoted(&failure.message))),
            None => Some(Mismatch::new(
                "failure",
                quoted(words),
                format!("an answer with status {}", ended.response.status),
            )),
        },
        Expectation::Logs(line) => {
            if ended.log.iter().any(|found| is_logged(line, found)) {
                return None;
            }
            let found = match ended.log {
                [] => "no log lines".to_owned(),
                [only] => show_log_line(only),
                lines => format!("{} other lines", lines.len()),
            };
            Some(Mismatch::new("log", line, found))
        }
    }
}

/// Whether a log line is the one that a claim names: `info "message" {"data":1}`. Without data, it can have any.
fn is_logged(expected: &str, found: &LogLine) -> bool {
    let Some((level, rest)) = expected.split_once(' ') else { return false };
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let (Some(Ok(message)), data) = (values.next(), values.next()) else { return false };
    let has_data = match data {
        None => true,
        Some(Ok(expected)) => {
            let found = found.data.as_deref().and_then(|data| serde_json::from_str::<Value>(data).ok());
            found.is_some_and(|found| difference(&expected, &found, Comparison::Whole).is_none())
        }
        Some(Err(_)) => false,
    };
    level == found.level.as_str() && message.as_str() == Some(found.message.as_str()) && has_data
}
