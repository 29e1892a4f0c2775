//! The notation of claims: comments that say what a script answers, such as `// GET /greet/Ann => {"message":"Hello, Ann"}`.
//! `docs/testing.md` describes it.
//!
//! A claim is a whole line that begins with `// `. Other comments stay comments: only a line that is clearly meant as a
//! claim, and wrong, is an error.
//!
//! - `comments`: the comments of a script
//! - `claim`: triggers and their answers

mod claim;
mod comments;

use manifest_schema::diagnostic::{Diagnostic, Span};

pub use claim::{Answer, Body, Start};

/// Where claims stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// An example of the reference, which is a whole app: it can also say what a push reports.
    Document,
    /// A script of an app.
    Script,
    /// A file of tests.
    TestFile,
}

/// A line of the notation.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Its place.
    pub span: Span,
    /// The lines of a comment without a line between them are a group.
    pub group: usize,
    /// The line without `// `.
    pub text: String,
    /// What it says.
    pub kind: Kind,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A trigger and the answer.
    Claim {
        /// The trigger.
        start: Start,
        /// The answer.
        answer: Answer,
    },
    /// The run before logs this line: `info "message" {"data":1}`.
    Logs(String),
    /// The run before fails with these words; on its own, the script does.
    Fails(String),
    /// The answer before has this header.
    Header {
        /// The name in lower case.
        name: String,
        /// The value.
        value: String,
    },
    /// The body before contains this text.
    Contains(String),
    /// When runs start, in milliseconds since 1970.
    At(i64),
    /// The seed of random numbers.
    Seed(u64),
    /// A header of requests.
    WithHeader {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// A secret.
    WithSecret {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// The route of an example.
    Route(String),
    /// An error of a push.
    Refused(String),
    /// A warning of a push.
    Warned(String),
}

/// The statements of a file.
#[derive(Debug, Default)]
pub struct Notation {
    /// In the order of the file.
    pub statements: Vec<Statement>,
    /// Lines that are meant as statements, and are wrong.
    pub errors: Vec<Diagnostic>,
    /// Whether there is anything but comments.
    pub has_code: bool,
}

/// What is wrong with a line, and what to do.
struct Problem {
    message: String,
    help: &'static str,
}

impl Problem {
    fn new(message: impl Into<String>, help: &'static str) -> Self {
        Self { message: message.into(), help }
    }
}

/// A line that is no statement is `None`.
type Parsed = Option<Result<Kind, Problem>>;

/// Reads the statements of a script or a file of tests.
pub fn parse(file: &str, text: &str, dialect: Dialect) -> Notation {
    let comments = comments::of(text);
    let mut notation = Notation { has_code: comments.has_code, ..Notation::default() };
    let (mut group, mut last_line, mut follows_claim) = (0, 0, false);
    for comment in comments.lines {
        if comment.line != last_line + 1 {
            group += 1;
            follows_claim = false;
        }
        last_line = comment.line;
        let Some(words) = comment.text.strip_prefix("// ").map(str::trim) else { continue };
        let parsed = match dialect {
            Dialect::Document => of_document(words),
            Dialect::Script | Dialect::TestFile => {
                claim::parse(words, dialect).or_else(|| setting(words)).or_else(|| {
                    let alone = dialect == Dialect::TestFile && comments.has_code;
                    expectation(words, follows_claim, dialect, alone)
                })
            }
        };
        let span = || {
            let end = comment.start + comment.text.trim_end().len();
            Span::from_range(text, comment.start..end)
        };
        match parsed {
            None => {}
            Some(Err(Problem { message, help })) => {
                // What follows is about this line.
                follows_claim = true;
                notation.errors.push(Diagnostic::error(file, Some(span()), message).with_help(help));
            }
            Some(Ok(kind)) => {
                follows_claim |= matches!(kind, Kind::Claim { .. } | Kind::Fails(_));
                notation.statements.push(Statement { span: span(), group, text: words.to_owned(), kind });
            }
        }
    }
    notation
}

/// A line of the reference. Each word at its beginning is a statement.
fn of_document(words: &str) -> Parsed {
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    let rest = rest.to_owned();
    Some(Ok(match first {
        "route" => Kind::Route(rest),
        "logs" => Kind::Logs(rest),
        "fails" => Kind::Fails(rest),
        "refused" => Kind::Refused(rest),
        "warned" => Kind::Warned(rest),
        _ => return claim::parse(words, Dialect::Document),
    }))
}

/// A setting for the runs below it.
fn setting(words: &str) -> Parsed {
    let (first, rest) = words.split_once(' ')?;
    let rest = rest.trim();
    match first {
        "at" => {
            let looks_like_date = rest.len() > 4
                && rest.as_bytes()[..4].iter().all(u8::is_ascii_digit)
                && rest.as_bytes()[4] == b'-';
            looks_like_date.then(|| {
                let time = rest.parse().map(|time: jiff::Timestamp| Kind::At(time.as_millisecond()));
                time.map_err(|_| {
                    Problem::new(
                        format!("`{rest}` is not a time"),
                        "write it with its zone, as in  at 2026-12-01T09:00:00Z",
                    )
                })
            })
        }
        "seed" => rest.bytes().all(|byte| byte.is_ascii_digit()).then(|| {
            let seed = rest.parse().map(Kind::Seed);
            seed.map_err(|_| {
                Problem::new(format!("the seed {rest} is too large"), "write a number such as  seed 7")
            })
        }),
        "with" => {
            let (what, rest) = rest.split_once(' ')?;
            match what {
                "header" => named(rest, ':', '=', "write  with header name: value", |name, value| {
                    Kind::WithHeader { name, value }
                }),
                "secret" => named(rest, '=', ':', "write  with secret NAME=value", |name, value| {
                    Kind::WithSecret { name, value }
                }),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A name and a value, with `separator` after the name; with `other` there, the line is wrong.
fn named(
    text: &str,
    separator: char,
    other: char,
    help: &'static str,
    kind: impl FnOnce(String, String) -> Kind,
) -> Parsed {
    let word = text.split_whitespace().next()?;
    let at = |mark: char| word.find(mark).filter(|at| *at > 0);
    match (at(separator), at(other)) {
        (Some(end), _) => {
            let (name, value) = text.trim().split_at(end);
            let value = value.get(separator.len_utf8()..).unwrap_or_default().trim();
            Some(Ok(kind(name.to_owned(), value.to_owned())))
        }
        (None, Some(_)) => Some(Err(Problem::new(format!("no `{separator}` after the name"), help))),
        (None, None) => None,
    }
}

/// What the claim before also says. `alone`: the script itself is what claims are about.
fn expectation(words: &str, follows_claim: bool, dialect: Dialect, alone: bool) -> Parsed {
    let (first, rest) = words.split_once(' ')?;
    let rest = rest.trim();
    if first == "fails" && alone && !follows_claim {
        return Some(Ok(Kind::Fails(rest.to_owned())));
    }
    let parsed = match first {
        "logs" => {
            let is_line = rest.split_once(' ').is_some_and(|(level, message)| {
                ["trace", "info", "warn", "error"].contains(&level) && message.starts_with('"')
            });
            match is_line {
                true => Ok(Kind::Logs(rest.to_owned())),
                false => Err(Problem::new(
                    "`logs` needs a level and a message",
                    "write  logs info \"message\" , and data after it if there is some; levels are trace, info, warn, error",
                )),
            }
        }
        "header" => {
            let named = named(rest, ':', '=', "write  header name: value", |name, value| Kind::Header {
                name: name.to_ascii_lowercase(),
                value,
            });
            named.unwrap_or_else(|| {
                Err(Problem::new("no `:` after the name of the header", "write  header name: value"))
            })
        }
        "contains" => Ok(Kind::Contains(rest.to_owned())),
        "fails" => Ok(Kind::Fails(rest.to_owned())),
        _ => return None,
    };
    match (follows_claim, dialect) {
        (true, _) => Some(parsed),
        // Without a claim before it, it can only be one by mistake where nothing else is expected.
        (false, Dialect::TestFile) => parsed.is_ok().then(|| {
            Err(Problem::new(
                format!("`{first}` has no claim before it"),
                "write it on the line after a claim such as  GET / => 200",
            ))
        }),
        (false, _) => None,
    }
}

#[cfg(test)]
mod tests;
