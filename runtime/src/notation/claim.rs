//! Claims: a trigger, `=>`, and the answer.

use manifest_schema::method::Method;
use manifest_schema::name::JobName;
use serde::de::IgnoredAny;

use super::{Dialect, Kind, Parsed, Problem};

/// What runs a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The script itself: `=> value`.
    Script,
    /// A request: `POST /path {"json":1}`, or `POST /path text/plain words`.
    Request {
        /// The method.
        method: Method,
        /// The path with its query.
        target: String,
        /// The body.
        body: Option<Body>,
    },
    /// A call: `call {"json":1}`, in files of tests `call name {"json":1}`.
    Call {
        /// The function, unless it is the script with the claim.
        name: Option<JobName>,
        /// The payload as JSON; may be empty.
        payload: String,
    },
    /// A schedule: `scheduled`, in files of tests `scheduled name`.
    Scheduled {
        /// The schedule, unless it is the one of the script with the claim.
        name: Option<JobName>,
    },
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The content type.
    pub content_type: String,
    /// The text.
    pub text: String,
}

/// An answer: `[status] [content type] [body]`. What is left out can be anything, but for the status, which is 200.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status, if it is named.
    pub status: Option<u16>,
    /// The content type.
    pub content_type: Option<String>,
    /// The body.
    pub body: Option<String>,
}

/// What separates a trigger and its answer.
const ARROW: &str = "=>";

/// What is often written instead.
const OTHER_ARROWS: [&str; 7] = ["->", "-->", "==>", "=", "==", ":", "returns:"];

/// Advice about requests.
const REQUEST_HELP: &str = "write it as  GET /path => 200 {\"json\":1}";

/// Parses a claim. A line that is none is `None`.
pub(super) fn parse(words: &str, dialect: Dialect) -> Parsed {
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    let rest = rest.trim_start();
    match first {
        ARROW => (dialect != Dialect::Script).then(|| claim(Start::Script, rest)),
        "call" => job(words, dialect, call),
        "scheduled" => job(words, dialect, scheduled),
        _ if rest.starts_with('/') && first.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            request(first, words, dialect)
        }
        _ => {
            let method = Method::parse(first)?;
            let (target, after) = rest.split_once(' ')?;
            after.starts_with(ARROW).then(|| {
                Err(Problem::new(
                    format!("the path `{target}` does not begin with /"),
                    match method {
                        Method::Get => "write it as  GET /path => 200",
                        _ => "write it as  POST /path {\"json\":1} => 200",
                    },
                ))
            })
        }
    }
}

/// The places where a claim can be split: outside of the arrow can be a body that contains `=>` too.
fn splits(words: &str) -> impl Iterator<Item = (&str, &str)> {
    words.match_indices(ARROW).filter_map(move |(at, _)| {
        let (before, after) = (words.get(..at)?, words.get(at + ARROW.len()..)?);
        let is_word = before.ends_with(' ') && (after.is_empty() || after.starts_with(' '));
        is_word.then(|| (before.trim_end(), after.trim_start()))
    })
}

fn claim(start: Start, answer: &str) -> Result<Kind, Problem> {
    Ok(Kind::Claim { start, answer: Answer::parse(answer)? })
}

fn request(method: &str, words: &str, dialect: Dialect) -> Parsed {
    let known = Method::parse(method);
    let mut first_problem = None;
    for (start, answer) in splits(words) {
        let Some(method) = known else {
            let upper = method.to_ascii_uppercase();
            // "see /docs => …" is prose.
            return match Method::parse(&upper) {
                Some(_) => Some(Err(Problem::new(
                    format!("methods are written in capitals, as in {upper}"),
                    REQUEST_HELP,
                ))),
                None if upper == method => Some(Err(Problem::new(
                    format!("`{method}` is not a method that routes can have"),
                    "methods are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS",
                ))),
                None => None,
            };
        };
        let (_, rest) = start.split_once(' ').unwrap_or((start, ""));
        let (target, body) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
        match Body::parse(body.trim()) {
            Ok(body) => {
                return Some(claim(Start::Request { method, target: target.to_owned(), body }, answer));
            }
            Err(problem) => first_problem = first_problem.or(Some(problem)),
        }
    }
    if let Some(problem) = first_problem {
        return Some(Err(problem));
    }
    known?;
    let next = words.split_whitespace().nth(2).unwrap_or_default();
    let is_meant = dialect == Dialect::TestFile
        || OTHER_ARROWS.contains(&next)
        || next.starts_with(ARROW)
        || status(next).is_some()
        || words.ends_with("=>");
    is_meant.then(|| Err(Problem::new("the claim has no ` => ` before the answer", REQUEST_HELP)))
}

/// A call or a schedule: `start` parses what stands before the arrow, without the first word.
fn job(words: &str, dialect: Dialect, start: fn(&str, Dialect) -> Parse<Start>) -> Parsed {
    let mut wrong = None;
    for (before, answer) in splits(words) {
        let arguments = before.split_once(' ').map_or("", |(_, arguments)| arguments.trim());
        match start(arguments, dialect) {
            Parse::Is(start) => return Some(claim(start, answer)),
            Parse::Wrong(problem) => wrong = wrong.or(Some(problem)),
            Parse::Prose => {}
        }
    }
    if let Some(problem) = wrong {
        return Some(Err(problem));
    }
    let arguments = words.split_once(' ').map_or("", |(_, arguments)| arguments.trim());
    let is_meant = splits(words).next().is_none() && is_json(arguments);
    is_meant.then(|| {
        Err(Problem::new(
            "the claim has no ` => ` before the answer",
            "write it as  call {\"json\":1} => 200",
        ))
    })
}

enum Parse<T> {
    Is(T),
    Wrong(Problem),
    Prose,
}

fn call(arguments: &str, dialect: Dialect) -> Parse<Start> {
    if arguments.is_empty() || is_json(arguments) {
        return match dialect {
            Dialect::TestFile => Parse::Wrong(Problem::new(
                "a file of tests calls functions by name",
                "write it as  call name {\"json\":1} => 200",
            )),
            _ => Parse::Is(Start::Call { name: None, payload: arguments.to_owned() }),
        };
    }
    if arguments.starts_with(['{', '[', '"']) {
        return Parse::Wrong(Problem::new(
            "the payload is not JSON",
            "names of JSON need quotation marks, as in  call {\"n\":2} => 4",
        ));
    }
    let (name, payload) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let payload = payload.trim();
    match (dialect, JobName::new(name)) {
        (Dialect::TestFile, Ok(name)) if payload.is_empty() || is_json(payload) => {
            Parse::Is(Start::Call { name: Some(name), payload: payload.to_owned() })
        }
        (Dialect::TestFile, _) => Parse::Wrong(Problem::new(
            "this is no call of a function by name with JSON",
            "write it as  call name {\"json\":1} => 200",
        )),
        _ => Parse::Prose,
    }
}

fn scheduled(arguments: &str, dialect: Dialect) -> Parse<Start> {
    match (dialect, JobName::new(arguments)) {
        (Dialect::TestFile, Ok(name)) => Parse::Is(Start::Scheduled { name: Some(name) }),
        (Dialect::TestFile, Err(_)) => Parse::Wrong(Problem::new(
            "a file of tests runs schedules by name",
            "write it as  scheduled name => 200",
        )),
        _ if arguments.is_empty() => Parse::Is(Start::Scheduled { name: None }),
        _ => Parse::Prose,
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

impl Body {
    fn parse(text: &str) -> Result<Option<Self>, Problem> {
        if text.is_empty() {
            return Ok(None);
        }
        if is_json(text) {
            return Ok(Some(Self { content_type: "application/json".to_owned(), text: text.to_owned() }));
        }
        if let Some((content_type, text)) = split_content_type(text) {
            return Ok(Some(Self { content_type: content_type.to_owned(), text: text.to_owned() }));
        }
        Err(match text.starts_with(['{', '[', '"']) {
            true => Problem::new(
                "the body is not JSON",
                "write its content type before it if that is meant, as in  POST / application/json {oops => 400",
            ),
            false => Problem::new(
                "the body has no content type",
                "write it before the body, as in  POST / text/plain hello => 200",
            ),
        })
    }
}

/// Splits `text/html; charset=utf-8 body`.
fn split_content_type(text: &str) -> Option<(&str, &str)> {
    let end = text.find(' ').unwrap_or(text.len());
    let kind = text[..end].trim_end_matches(';').split_once('/')?;
    let families = ["application", "audio", "font", "image", "message", "multipart", "text", "video"];
    let is_token = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
    };
    if !families.contains(&kind.0) || !is_token(kind.1.split(';').next()?) {
        return None;
    }
    let mut end = end;
    while text[..end].ends_with(';') {
        let next = text[end..].trim_start();
        let begins = text.len() - next.len();
        end = next.find(' ').map_or(text.len(), |word| begins + word);
        if begins == text.len() {
            break;
        }
    }
    Some((text[..end].trim_end_matches(';'), text[end..].trim_start()))
}

/// A status of three digits.
fn status(word: &str) -> Option<u16> {
    let is_status = word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| is_status)
}

impl Answer {
    fn parse(text: &str) -> Result<Self, Problem> {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let looks_like_status = first.len() == 3
            && first.as_bytes()[0].is_ascii_digit()
            && first.bytes().skip(1).all(|byte| byte.is_ascii_digit() || byte.eq_ignore_ascii_case(&b'x'));
        let (status, rest) = match status(first) {
            Some(status @ 100..=599) => (Some(status), rest.trim_start()),
            _ if looks_like_status => {
                return Err(Problem::new(
                    format!("`{first}` is not a status"),
                    "a status is a number from 100 to 599; to expect such a body, write the status before it, as in  => 200 600",
                ));
            }
            _ => (None, text),
        };
        let (content_type, body) = match split_content_type(rest) {
            Some((content_type, body)) => (Some(content_type.to_owned()), body),
            None => (None, rest),
        };
        let body = (!body.is_empty()).then(|| body.to_owned());
        Ok(Self { status, content_type, body })
    }
}
