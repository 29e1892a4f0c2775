//! Explains parse errors: the position, the cause and the fix.
//!
//! Rhai stops at the first token that does not fit, which is often not the wrong one. So the text is split into
//! [`tokens`], its [`mod@brackets`] are matched and its [`statements`] found, and the code around the error is
//! recognized: [`characters`] that resemble others, and [`foreign_statements`], [`foreign_operators`] and
//! [`literals`] of other languages. Other errors are reported with Rhai's own message. [`recovery`] continues after
//! the error.

mod brackets;
mod characters;
mod error_site;
mod foreign_operators;
mod foreign_statements;
mod literals;
mod patched;
mod recovery;
mod reference;
mod statements;
mod tokens;

use rhai::{LexError, ParseError, ParseErrorType, Position};

use super::Findings;
use super::help::Help;
use super::names::rejected_help;
use crate::sandbox::{EXPRESSION_DEPTH_MAX, FUNCTIONS_MAX};
use crate::token_mapper::{ParseLog, is_timeout};
use brackets::{Brackets, Problem, closing_of};
use error_site::{Brace, ErrorSite, Skip, SyntaxError};
pub(super) use patched::PatchedSource;
pub(super) use recovery::{Recovered, recover};
pub(super) use reference::Reference;
use tokens::{Lines, OpenComment, Tokens};

/// Words and operators of other languages that Rhai reserves, with the help.
const RESERVED: [(&str, &str); 16] = [
    ("this", "it only exists in functions and closures, as the value before the dot"),
    ("new", "use a map: `#{ name: value }`"),
    ("async", "scripts run synchronously; remove it"),
    ("await", "scripts run synchronously; remove it"),
    ("case", "write `switch value { 1 => ..., _ => ... }`"),
    ("default", "the last case of a `switch` is `_ => ...`"),
    ("++", "write `x += 1`"),
    ("--", "write `x -= 1`"),
    ("?", "use the expression `if a { b } else { c }`"),
    ("...", "write ranges as `0..10` or `0..=9`"),
    ("|>", "write `value.function()`"),
    ("public", "every function is public; remove it"),
    ("static", "remove it"),
    ("~", "write `x ^ -1`"),
    ("#", "write maps as `#{ ... }` without a space, and comments as `// ...`"),
    ("#!", "remove it: the server runs the script"),
];

/// The byte offset of a position of Rhai.
pub(super) fn offset(text: &str, position: Position) -> usize {
    Lines::of(text).offset(text, position)
}

/// Reports the replaced tokens of other languages.
pub(super) fn foreign_tokens(log: &ParseLog, findings: &mut Findings<'_>) {
    for (token, position) in &log.foreign_tokens {
        let width = token.written.chars().count();
        let message = format!("`{}` is not valid Rhai", token.written);
        let start = findings.offset(*position);
        let is_method = findings.source.get(..start).is_some_and(|before| before.ends_with('.'));
        let help = match is_method {
            true => Help::text(
                "Rhai has no regular expressions; pass a text to `contains`, `index_of` or `split`",
            ),
            false => Help::write(token.meant, start..start + token.written.len()),
        };
        findings.add_help(*position, width, message, Some(help));
    }
}

/// Reports an unclosed comment in a script that parses without it.
pub(super) fn open_comment(findings: &mut Findings<'_>) {
    if !findings.source.contains("/*") {
        return;
    }
    let tokens = Tokens::of(findings.source);
    if let Some(open) = tokens.open_comment {
        let (message, help) = comment_message(open, &tokens);
        findings.add_since_1_3(tokens.position(open.start), 2, message, Some(help));
    }
}

fn comment_message(open: OpenComment, tokens: &Tokens<'_>) -> (String, String) {
    let help = match open.nested {
        Some(nested) => {
            let line = tokens.line(nested);
            format!("comments nest: the inner `/*` of line {line} needs its own `*/`")
        }
        None => "the rest of the script is a comment; add `*/` where it ends".to_owned(),
    };
    ("`/*` is never closed".to_owned(), help)
}

/// Reports the error of a text that is not recovered.
pub(super) fn error(error: &ParseError, findings: &mut Findings<'_>) {
    let tokens = Tokens::of(findings.source);
    let found = diagnose(error, &tokens, &brackets(error, &tokens));
    add(&found, &tokens, findings);
}

fn add(found: &SyntaxError, tokens: &Tokens<'_>, findings: &mut Findings<'_>) {
    let width = tokens.text.get(found.at.clone()).map_or(1, |text| text.chars().count());
    findings.add_help(tokens.position(found.at.start), width, found.message.clone(), found.help.clone());
}

/// Matches the brackets of a text that does not parse.
fn brackets(error: &ParseError, tokens: &Tokens<'_>) -> Brackets {
    let brackets = Brackets::of(tokens);
    // A function inside a block that starts its line was meant to be outside.
    let is_outside = matches!(error.err_type(), ParseErrorType::WrongFnDefinition)
        && error.position().position() == Some(1)
        && brackets.problems.is_empty();
    if is_outside { Brackets::by_indentation(tokens) } else { brackets }
}

/// Finds the cause of an error of the parser.
fn diagnose(error: &ParseError, tokens: &Tokens<'_>, brackets: &Brackets) -> SyntaxError {
    let kind = error.err_type();
    let offset = tokens.offset(error.position());
    let site = ErrorSite::new(tokens, brackets, kind, offset);
    if let Some(open) = tokens.open_comment.filter(|open| offset >= open.start) {
        let (message, help) = comment_message(open, tokens);
        let found = SyntaxError::known(open.start..open.start + 2, message, Help::text(help));
        return found.skipping(open.start..tokens.text.len(), site.closers(tokens.len()));
    }
    characters::recognize(&site, offset)
        .or_else(|| literals::recognize_strings(&site, offset))
        .or_else(|| bracket(&site))
        .or_else(|| foreign_operators::recognize_words(&site))
        .or_else(|| foreign_statements::recognize(&site))
        .or_else(|| foreign_operators::recognize(&site))
        .or_else(|| literals::recognize_entries(&site))
        .or_else(|| semicolon(&site))
        .unwrap_or_else(|| rhai_message(&site, offset))
}

/// An unmatched or unclosed bracket.
fn bracket(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    // All blocks before a function are meant to be closed.
    let around = matches!(site.kind, ParseErrorType::WrongFnDefinition)
        .then(|| site.brackets.around(site.tokens, site.at, |word| word == "{"))
        .flatten()
        .filter(|open| site.brackets.partner(*open).is_none() && site.tokens.begins_line(site.at))
        .map(|open| Problem::Unclosed { open, before: site.at });
    let problem =
        site.brackets.problems.iter().find(|problem| problem.shows_at() <= site.at).copied().or(around)?;
    let line = |index| site.tokens.line(site.token(index).start());
    let (open, before) = match problem {
        Problem::Unclosed { open, before } => (open, before),
        Problem::Stray { close } => {
            let help = Help::remove("remove it", site.range(close));
            let found =
                SyntaxError::known(site.range(close), format!("unmatched `{}`", site.word(close)), help);
            return Some(SyntaxError { brace: (site.word(close) == "}").then_some(Brace::Stray), ..found });
        }
        Problem::Wrong { open, close } => {
            let message = format!(
                "mismatched `{2}`: it closes the `{0}` of line {1}",
                site.word(open),
                line(open),
                site.word(close)
            );
            let help = Help::write(closing_of(site.word(open)), site.range(close));
            return Some(SyntaxError::known(site.range(close), message, help));
        }
    };
    let opening = site.word(open);
    let closing = closing_of(opening);
    let end = site.range(before - 1).end;
    if opening == "${" && before < site.tokens.len() {
        return Some(literals::open_value(site, open));
    }
    if before == site.tokens.len() {
        // The outer brackets are unclosed too.
        let unclosed = site.brackets.problems.iter().filter_map(|problem| match problem {
            Problem::Unclosed { open, before: at_end } if *at_end == before => match site.word(*open) {
                // The outer text needs its backquote.
                "${" => Some("}`"),
                opening => Some(closing_of(opening)),
            },
            _ => None,
        });
        let code = std::iter::once("\n").chain(unclosed).collect::<String>();
        let help = Help::edit(format!("the script ends without the closing `{closing}`"), code, end..end);
        let found = SyntaxError::known(site.range(open), format!("unclosed `{opening}`"), help);
        return Some(SyntaxError { brace: (closing == "}").then_some(Brace::Missing), ..found });
    }
    if opening == "{" {
        let message =
            format!("unclosed `{{` of line {}: is a `}}` missing before line {}?", line(open), line(before));
        // On its own line, indented like the line with the opening brace.
        let indentation = " ".repeat(site.tokens.indentation(site.token(open).start()));
        let help = Help::edit("add `}` there", format!("\n{indentation}}}"), end..end);
        return Some(SyntaxError {
            brace: Some(Brace::Missing),
            ..SyntaxError::known(site.range(before), message, help)
        });
    }
    // If the next line starts a statement, this one ends here.
    let is_last = !site.brackets.problems.iter().any(|other| {
        matches!(other, Problem::Unclosed { open: outer, before: same } if *same == before && *outer < open)
    });
    let ends = is_last && site.is_name(before) && site.tokens.begins_line(before);
    let code = if ends { format!("{closing};") } else { closing.to_owned() };
    let text = match line(open) == line(before - 1) {
        true => format!("write `{code}`"),
        false => format!("write `{code}` for the `{opening}` of line {}", line(open)),
    };
    Some(SyntaxError::known(end..end, format!("missing `{closing}`"), Help::edit(text, code, end..end)))
}

/// A missing `;` at the end of a line.
fn semicolon(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let is_missing = matches!(site.kind, ParseErrorType::MissingToken(token, _) if token == ";");
    if !is_missing
        || site.at == 0
        || !site.tokens.begins_line(site.at)
        || !statements::begins_next(site.tokens, site.at)
    {
        return None;
    }
    let end = site.range(site.at - 1).end;
    Some(SyntaxError::known(end..end, "missing `;`", Help::write(";", end..end)))
}

/// Rhai's own message for an unrecognized error.
fn rhai_message(site: &ErrorSite<'_>, offset: usize) -> SyntaxError {
    let rest = &site.tokens.text[offset..];
    let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
    let word = &rest[..length];
    let (message, help) = match site.kind {
        ParseErrorType::MissingToken(token, _) if token == ";" => stray(word, rest),
        ParseErrorType::VariableExpected if word == "let" => (
            "the name of a variable is missing".to_owned(),
            Some("write loops as `for i in 0..3 { ... }`".to_owned()),
        ),
        kind => message_for(kind, site),
    };
    let help = help.map(Help::text);
    let first = rest.chars().next().map_or(0, char::len_utf8);
    let at = offset..offset + length.max(first);
    SyntaxError { at, message, help, skip: Skip::Statement, is_known: false, brace: None }
}

/// A token after a complete statement.
fn stray(word: &str, rest: &str) -> (String, Option<String>) {
    if !word.is_empty() {
        return (format!("missing `;` before `{word}`"), None);
    }
    let sign: String = rest.chars().take_while(|c| c.is_ascii_punctuation()).take(2).collect();
    let help = sign.starts_with(':').then(|| "Rhai has no type annotations; remove it".to_owned());
    let sign = sign.get(..if sign == "=>" { 2 } else { 1 }).unwrap_or_default();
    (format!("missing `;` before `{sign}`"), help)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn help_on(table: &[(&str, &str)], word: &str) -> Option<String> {
    table.iter().find(|(known, _)| *known == word).map(|(_, help)| (*help).to_owned())
}

fn message_for(kind: &ParseErrorType, site: &ErrorSite<'_>) -> (String, Option<String>) {
    match kind {
        ParseErrorType::Reserved(word) => reserved(word),
        ParseErrorType::BadInput(error) if is_timeout(error) => (
            "the script takes too long to compile".to_owned(),
            Some("split it into several scripts, or move its data elsewhere".to_owned()),
        ),
        ParseErrorType::BadInput(LexError::MalformedChar(written)) => (
            format!("`'{}'` is not a single character", written.trim_matches('\'').escape_debug()),
            Some("strings need double quotes or backquotes".to_owned()),
        ),
        ParseErrorType::BadInput(LexError::UnterminatedString) => {
            ("unterminated string".to_owned(), Some("multi-line strings need backquotes".to_owned()))
        }
        ParseErrorType::UnknownOperator(sign) => reserved(sign),
        ParseErrorType::BadInput(LexError::ImproperSymbol(symbol, text)) => {
            let (message, help) = reserved(symbol);
            // Rhai's own suggestion for a foreign operator follows its first sentence.
            let own = text.rsplit_once("hould it be ").or_else(|| text.rsplit_once("typo of "));
            let own =
                own.map(|(_, meant)| meant.trim_end_matches('?').replace("simply ", "").replace('\'', "`"));
            (message, help.or(own.map(|meant| format!("write {meant}"))))
        }
        ParseErrorType::ExprTooDeep => (
            format!("the expression is nested deeper than {EXPRESSION_DEPTH_MAX} levels"),
            Some("assign its parts to variables; replace a long `else if` chain by a `switch`".to_owned()),
        ),
        ParseErrorType::TooManyFunctions => (
            format!("the script has more than {FUNCTIONS_MAX} functions, including closures"),
            Some("split it into several scripts".to_owned()),
        ),
        ParseErrorType::BadInput(LexError::MalformedNumber(_)) => {
            ("the number is malformed".to_owned(), None)
        }
        ParseErrorType::MissingToken(token, purpose) => {
            (format!("`{token}` is missing {}", purpose.replace('\'', "`")), still_open(token, site))
        }
        ParseErrorType::DuplicatedProperty(key) => (format!("duplicate key `{key}` in the map"), None),
        ParseErrorType::AssignmentToConstant(name) if name.is_empty() => (
            "cannot assign to a value".to_owned(),
            Some("use `==` to compare, or assign to a variable".to_owned()),
        ),
        ParseErrorType::AssignmentToConstant(name) => {
            (format!("`{name}` is a constant"), Some("declare it with `let` to change it".to_owned()))
        }
        ParseErrorType::FnDuplicatedDefinition(name, parameters) => (
            format!(
                "function `{name}` with {parameters} parameter{} is defined twice",
                if *parameters == 1 { "" } else { "s" }
            ),
            Some("overloads must differ in the number of parameters".to_owned()),
        ),
        ParseErrorType::FnDuplicatedParam(name, parameter) => {
            (format!("duplicate parameter `{parameter}` of function `{name}`"), None)
        }
        ParseErrorType::WrongFnDefinition => (
            "functions cannot be defined inside a block or another function".to_owned(),
            Some("define it at the top level, or use a closure: `let f = |x| x + 1;`".to_owned()),
        ),
        ParseErrorType::UnexpectedEOF => ("unexpected end of the script".to_owned(), None),
        other => {
            let mut message = other.to_string().replace('\'', "`");
            if let Some(first) = message.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            (message, None)
        }
    }
}

fn reserved(word: &str) -> (String, Option<String>) {
    if let Some(help) = help_on(&RESERVED, word) {
        let message = match word {
            "this" => "`this` is not allowed here".to_owned(),
            word => format!("`{word}` is not valid Rhai"),
        };
        return (message, Some(help));
    }
    if let Some(help) = rejected_help(word) {
        return (format!("`{word}` is disabled"), Some(help.to_owned()));
    }
    if word.starts_with(is_of_word) {
        return (format!("`{word}` is a reserved word"), Some("choose another name".to_owned()));
    }
    (format!("unexpected `{}`", word.escape_debug()), None)
}

/// The bracket that needs the `missing` one.
fn still_open(missing: &str, site: &ErrorSite<'_>) -> Option<String> {
    let open = site.bracket_around(site.at)?;
    let (opening, line) = (site.word(open), site.tokens.line(site.token(open).start()));
    (closing_of(opening) == missing).then(|| format!("the `{opening}` of line {line} is still open"))
}
