//! What does not parse: where it is wrong, in words that say what to do.
//!
//! Rhai gives up at the first token that does not fit, which is often not the one that is wrong. So the text is cut into
//! [`tokens`], its [`mod@brackets`] are paired and its [`statements`] found, and what stands around the place is recognised:
//! [`characters`] that look like others, [`heads`] of statements, [`operators`] and [`values`] as other languages have
//! them. What none of them knows is reported in Rhai's own words. [`recovery`] goes on from there.

mod brackets;
mod characters;
mod heads;
mod operators;
mod patched;
mod recovery;
mod reference;
mod site;
mod statements;
mod tokens;
mod values;

use rhai::{LexError, ParseError, ParseErrorType, Position};

use super::Findings;
use super::help::Help;
use super::names::refused_help;
use crate::parsing::{Watched, is_too_slow};
use crate::sandbox::{EXPRESSION_DEPTH_MAX, FUNCTIONS_MAX};
use brackets::{Brackets, Problem, closing_of};
pub(super) use patched::Patched;
pub(super) use recovery::{Recovered, recover};
pub(super) use reference::Reference;
use site::{Brace, Diagnosis, Site, Skip};
use tokens::{Lines, OpenComment, Tokens};

/// Words and signs of other languages that Rhai keeps for itself, and what to do instead.
const RESERVED: [(&str, &str); 16] = [
    ("this", "it is there in functions and closures only, as what stands before the dot"),
    ("new", "make a map: `#{ name: value }`"),
    ("async", "a script runs from top to bottom; leave it out"),
    ("await", "a script runs from top to bottom; leave it out"),
    ("case", "write `switch value { 1 => ..., _ => ... }`"),
    ("default", "the last case of a `switch` is `_ => ...`"),
    ("++", "write `x += 1`"),
    ("--", "write `x -= 1`"),
    ("?", "write `if a { b } else { c }`, which has a value"),
    ("...", "a range is written `0..10` or `0..=9`"),
    ("|>", "write `value.function()`"),
    ("public", "every function of a script is; leave it out"),
    ("static", "leave it out"),
    ("~", "write `x ^ -1`"),
    ("#", "a map is written `#{ ... }` without a blank, a comment `// ...`"),
    ("#!", "leave it out: the server runs the script"),
];

/// Where in a text a position of Rhai is, in bytes.
pub(super) fn offset(text: &str, position: Position) -> usize {
    Lines::of(text).offset(text, position)
}

/// What was written as other languages have it.
pub(super) fn slips(watched: &Watched, findings: &mut Findings<'_>) {
    for (slip, position) in &watched.slips {
        let width = slip.written.chars().count();
        let message = format!("`{}` is not Rhai", slip.written);
        let start = findings.offset(*position);
        let is_method = findings.source.get(..start).is_some_and(|before| before.ends_with('.'));
        let help = match is_method {
            true => Help::words(
                "there are no regular expressions: `contains`, `index_of` and `split` take a text",
            ),
            false => Help::write(slip.meant, start..start + slip.written.len()),
        };
        findings.add_help(*position, width, message, Some(help));
    }
}

/// A comment that is never closed, in a script that parses without what stands in it.
pub(super) fn open_comment(findings: &mut Findings<'_>) {
    if !findings.source.contains("/*") {
        return;
    }
    let tokens = Tokens::of(findings.source);
    if let Some(open) = tokens.open_comment {
        let (message, help) = comment_words(open, &tokens);
        findings.add_new(tokens.position(open.start), 2, message, Some(help));
    }
}

fn comment_words(open: OpenComment, tokens: &Tokens<'_>) -> (String, String) {
    let help = match open.nested {
        Some(nested) => {
            let line = tokens.line(nested);
            format!("comments nest: the `/*` of line {line} within it needs a `*/` of its own")
        }
        None => "the rest of the script is a comment; write `*/` where it ends".to_owned(),
    };
    ("`/*` is never closed".to_owned(), help)
}

/// The diagnostic that ended the parse of a text that is not parsed again.
pub(super) fn error(error: &ParseError, findings: &mut Findings<'_>) {
    let tokens = Tokens::of(findings.source);
    let found = diagnose(error, &tokens, &brackets(error, &tokens));
    add(&found, &tokens, findings);
}

fn add(found: &Diagnosis, tokens: &Tokens<'_>, findings: &mut Findings<'_>) {
    let width = tokens.text.get(found.at.clone()).map_or(1, |text| text.chars().count());
    findings.add_help(tokens.position(found.at.start), width, found.message.clone(), found.help.clone());
}

/// The brackets of a text that does not parse.
fn brackets(error: &ParseError, tokens: &Tokens<'_>) -> Brackets {
    let brackets = Brackets::of(tokens);
    // A function within a block that stands at the beginning of its line is outside of it, for the author.
    let is_outside = matches!(error.err_type(), ParseErrorType::WrongFnDefinition)
        && error.position().position() == Some(1)
        && brackets.problems.is_empty();
    if is_outside { Brackets::by_indentation(tokens) } else { brackets }
}

/// What is wrong where Rhai gave up.
fn diagnose(error: &ParseError, tokens: &Tokens<'_>, brackets: &Brackets) -> Diagnosis {
    let kind = error.err_type();
    let offset = tokens.offset(error.position());
    let site = Site::new(tokens, brackets, kind, offset);
    if let Some(open) = tokens.open_comment.filter(|open| offset >= open.start) {
        let (message, help) = comment_words(open, tokens);
        let found = Diagnosis::known(open.start..open.start + 2, message, Help::words(help));
        return found.skipping(open.start..tokens.text.len(), site.closers(tokens.len()));
    }
    characters::recognise(&site, offset)
        .or_else(|| values::recognise_texts(&site, offset))
        .or_else(|| bracket(&site))
        .or_else(|| operators::recognise_words(&site))
        .or_else(|| heads::recognise(&site))
        .or_else(|| operators::recognise(&site))
        .or_else(|| values::recognise_entries(&site))
        .or_else(|| semicolon(&site))
        .unwrap_or_else(|| in_words_of_rhai(&site, offset))
}

/// A bracket that closes nothing, or is never closed.
fn bracket(site: &Site<'_>) -> Option<Diagnosis> {
    // Where a function begins, all blocks before it are to be closed.
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
            let help = Help::leave_out("leave it out", site.range(close));
            let found =
                Diagnosis::known(site.range(close), format!("`{}` closes nothing", site.word(close)), help);
            return Some(Diagnosis { brace: (site.word(close) == "}").then_some(Brace::Stray), ..found });
        }
        Problem::Wrong { open, close } => {
            let message = format!(
                "the `{}` of line {} is closed by `{}`",
                site.word(open),
                line(open),
                site.word(close)
            );
            let help = Help::write(closing_of(site.word(open)), site.range(close));
            return Some(Diagnosis::known(site.range(close), message, help));
        }
    };
    let opening = site.word(open);
    let closing = closing_of(opening);
    let end = site.range(before - 1).end;
    if opening == "${" && before < site.tokens.len() {
        return Some(values::open_value(site, open));
    }
    if before == site.tokens.len() {
        // What is around it is not closed either.
        let unclosed = site.brackets.problems.iter().filter_map(|problem| match problem {
            Problem::Unclosed { open, before: at_end } if *at_end == before => match site.word(*open) {
                // The text around goes on to its backquote.
                "${" => Some("}`"),
                opening => Some(closing_of(opening)),
            },
            _ => None,
        });
        let code = std::iter::once("\n").chain(unclosed).collect::<String>();
        let help = Help::described(format!("the script ends without its `{closing}`"), code, end..end);
        let found = Diagnosis::known(site.range(open), format!("`{opening}` is never closed"), help);
        return Some(Diagnosis { brace: (closing == "}").then_some(Brace::Missing), ..found });
    }
    if opening == "{" {
        let message = format!(
            "`{{` of line {} is still open: is a `}}` missing before line {}?",
            line(open),
            line(before)
        );
        // On a line of its own, indented as the line that it closes.
        let indentation = " ".repeat(site.tokens.indentation(site.token(open).start()));
        let help = Help::described("write `}` there", format!("\n{indentation}}}"), end..end);
        return Some(Diagnosis {
            brace: Some(Brace::Missing),
            ..Diagnosis::known(site.range(before), message, help)
        });
    }
    // A statement that begins on the next line shows that the one before ends here.
    let is_last = !site.brackets.problems.iter().any(|other| {
        matches!(other, Problem::Unclosed { open: outer, before: same } if *same == before && *outer < open)
    });
    let ends = is_last && site.is_name(before) && site.tokens.begins_line(before);
    let code = if ends { format!("{closing};") } else { closing.to_owned() };
    let words = match line(open) == line(before - 1) {
        true => format!("write `{code}`"),
        false => format!("write `{code}` for the `{opening}` of line {}", line(open)),
    };
    Some(Diagnosis::known(
        end..end,
        format!("a `{closing}` is missing"),
        Help::described(words, code, end..end),
    ))
}

/// A `;` that is missing at the end of a line.
fn semicolon(site: &Site<'_>) -> Option<Diagnosis> {
    let is_missing = matches!(site.kind, ParseErrorType::MissingToken(token, _) if token == ";");
    if !is_missing
        || site.at == 0
        || !site.tokens.begins_line(site.at)
        || !statements::begins_next(site.tokens, site.at)
    {
        return None;
    }
    let end = site.range(site.at - 1).end;
    Some(Diagnosis::known(end..end, "a `;` is missing", Help::write(";", end..end)))
}

/// What Rhai says, where nothing was recognised.
fn in_words_of_rhai(site: &Site<'_>, offset: usize) -> Diagnosis {
    let rest = &site.tokens.text[offset..];
    let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
    let word = &rest[..length];
    let (message, help) = match site.kind {
        ParseErrorType::MissingToken(token, _) if token == ";" => stray(word, rest),
        ParseErrorType::VariableExpected if word == "let" => (
            "the name of a variable is missing".to_owned(),
            Some("a loop is written `for i in 0..3 { ... }`".to_owned()),
        ),
        kind => words(kind, site),
    };
    let help = help.map(Help::words);
    let first = rest.chars().next().map_or(0, char::len_utf8);
    let at = offset..offset + length.max(first);
    Diagnosis { at, message, help, skip: Skip::Statement, is_known: false, brace: None }
}

/// Something that stands behind a whole statement.
fn stray(word: &str, rest: &str) -> (String, Option<String>) {
    if !word.is_empty() {
        return (format!("a `;` is missing before `{word}`"), None);
    }
    let sign: String = rest.chars().take_while(|c| c.is_ascii_punctuation()).take(2).collect();
    let help = sign.starts_with(':').then(|| "types are not written; leave it out".to_owned());
    let sign = sign.get(..if sign == "=>" { 2 } else { 1 }).unwrap_or_default();
    (format!("a `;` is missing before `{sign}`"), help)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn help_on(table: &[(&str, &str)], word: &str) -> Option<String> {
    table.iter().find(|(known, _)| *known == word).map(|(_, help)| (*help).to_owned())
}

fn words(kind: &ParseErrorType, site: &Site<'_>) -> (String, Option<String>) {
    match kind {
        ParseErrorType::Reserved(word) => reserved(word),
        ParseErrorType::BadInput(error) if is_too_slow(error) => (
            "the script takes too long to compile".to_owned(),
            Some("split it into several, or move its data elsewhere".to_owned()),
        ),
        ParseErrorType::BadInput(LexError::MalformedChar(written)) => (
            format!("`'{}'` is not one character", written.trim_matches('\'').escape_debug()),
            Some("strings are written in double quotes or backquotes".to_owned()),
        ),
        ParseErrorType::BadInput(LexError::UnterminatedString) => (
            "the string is never closed".to_owned(),
            Some("a string over several lines is written in backquotes".to_owned()),
        ),
        ParseErrorType::UnknownOperator(sign) => reserved(sign),
        ParseErrorType::BadInput(LexError::ImproperSymbol(symbol, words)) => {
            let (message, help) = reserved(symbol);
            // Rhai's own help on a sign of another language stands behind its first sentence.
            let own = words.rsplit_once("hould it be ").or_else(|| words.rsplit_once("typo of "));
            let own =
                own.map(|(_, meant)| meant.trim_end_matches('?').replace("simply ", "").replace('\'', "`"));
            (message, help.or(own.map(|meant| format!("write {meant}"))))
        }
        ParseErrorType::ExprTooDeep => (
            format!("the expression is nested deeper than {EXPRESSION_DEPTH_MAX} levels"),
            Some("give its parts names with `let`; a long chain of `else if` can be a `switch`".to_owned()),
        ),
        ParseErrorType::TooManyFunctions => (
            format!("the script has more than {FUNCTIONS_MAX} functions, closures among them"),
            Some("split it into several".to_owned()),
        ),
        ParseErrorType::BadInput(LexError::MalformedNumber(_)) => {
            ("the number is malformed".to_owned(), None)
        }
        ParseErrorType::MissingToken(token, purpose) => {
            (format!("`{token}` is missing {}", purpose.replace('\'', "`")), still_open(token, site))
        }
        ParseErrorType::DuplicatedProperty(key) => (format!("the key `{key}` stands twice in the map"), None),
        ParseErrorType::AssignmentToConstant(name) if name.is_empty() => (
            "a value cannot be assigned to".to_owned(),
            Some("write `==` to compare, or name a variable".to_owned()),
        ),
        ParseErrorType::AssignmentToConstant(name) => {
            (format!("`{name}` is a constant"), Some("declare it with `let` to change it".to_owned()))
        }
        ParseErrorType::FnDuplicatedDefinition(name, parameters) => (
            format!(
                "function `{name}` is defined twice for {parameters} argument{}",
                if *parameters == 1 { "" } else { "s" }
            ),
            Some("functions of one name differ in how many arguments they take".to_owned()),
        ),
        ParseErrorType::FnDuplicatedParam(name, parameter) => {
            (format!("function `{name}` has two parameters `{parameter}`"), None)
        }
        ParseErrorType::WrongFnDefinition => (
            "a function cannot be defined within a block or another function".to_owned(),
            Some("define it at the top, or make it a closure: `let f = |x| x + 1;`".to_owned()),
        ),
        ParseErrorType::UnexpectedEOF => ("the script ends too early".to_owned(), None),
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
            "this" => "`this` has no meaning here".to_owned(),
            word => format!("`{word}` is not Rhai"),
        };
        return (message, Some(help));
    }
    if let Some(help) = refused_help(word) {
        return (format!("`{word}` is disabled"), Some(help.to_owned()));
    }
    if word.starts_with(is_of_word) {
        return (format!("`{word}` is a reserved word"), Some("choose another name".to_owned()));
    }
    (format!("unexpected `{}`", word.escape_debug()), None)
}

/// Which bracket waits for the `missing` one.
fn still_open(missing: &str, site: &Site<'_>) -> Option<String> {
    let open = site.bracket_around(site.at)?;
    let (opening, line) = (site.word(open), site.tokens.line(site.token(open).start()));
    (closing_of(opening) == missing).then(|| format!("the `{opening}` of line {line} is still open"))
}
