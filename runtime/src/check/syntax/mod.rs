//! What Rhai's parser says, in words that say what to do.

#[expect(dead_code, reason = "recovery uses the rest")]
mod tokens;

use rhai::{LexError, ParseError, ParseErrorType, Position};

use super::Findings;
use super::names::refused_advice;
use crate::parsing::{Watched, closing_of, is_too_slow};
use crate::sandbox::{EXPRESSION_DEPTH_MAX, FUNCTIONS_MAX};
use tokens::{OpenComment, Tokens};

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

/// Words of other languages that are names to Rhai, so that it stumbles over what follows, and what to do instead.
const STUMBLED_OVER: [(&str, &str); 10] = [
    ("function", "write `fn`"),
    ("func", "write `fn`"),
    ("def", "write `fn`"),
    ("elif", "write `else if`"),
    ("elsif", "write `else if`"),
    ("elseif", "write `else if`"),
    ("and", "write `&&`"),
    ("or", "write `||`"),
    ("finally", "what always happens stands behind the `try`"),
    ("class", "make a map that holds closures: `#{ act: || this.value }`"),
];

/// What was written as other languages have it.
pub(super) fn slips(watched: &Watched, findings: &mut Findings<'_>) {
    for (slip, position) in &watched.slips {
        let width = slip.written.chars().count();
        let message = format!("`{}` is not Rhai", slip.written);
        findings.add(*position, width, message, Some(format!("write `{}`", slip.meant)));
    }
}

/// A comment that is never closed, in a script that parses without what stands in it.
pub(super) fn open_comment(findings: &mut Findings<'_>) {
    if !findings.source.contains("/*") {
        return;
    }
    let tokens = Tokens::of(findings.source);
    if let Some(open) = tokens.open_comment {
        let (message, advice) = comment_words(open, &tokens);
        findings.add_new(tokens.position(open.start), 2, message, Some(advice));
    }
}

fn comment_words(open: OpenComment, tokens: &Tokens<'_>) -> (String, String) {
    let advice = match open.nested {
        Some(nested) => {
            let line = tokens.line(nested) + 1;
            format!("comments nest: the `/*` of line {line} within it needs a `*/` of its own")
        }
        None => "the rest of the script is a comment; write `*/` where it ends".to_owned(),
    };
    ("`/*` is never closed".to_owned(), advice)
}

/// The fault that ended the parse.
pub(super) fn error(error: &ParseError, watched: &Watched, findings: &mut Findings<'_>) {
    let kind = error.err_type();
    let rest = from_position(findings.source, error.position());
    let tokens = Tokens::of(findings.source);
    if let Some(open) = tokens.open_comment.filter(|open| tokens.offset(error.position()) >= open.start) {
        let (message, advice) = comment_words(open, &tokens);
        return findings.add(tokens.position(open.start), 2, message, Some(advice));
    }
    // At the end of a script the place that matters is the bracket that was never closed.
    if let Some((opening, position)) = watched.open.last()
        && (matches!(kind, ParseErrorType::UnexpectedEOF) || rest.trim().is_empty())
    {
        let message = format!("`{opening}` is never closed");
        let advice = format!("the script ends without its `{}`", closing_of(opening));
        return findings.add(*position, opening.len(), message, Some(advice));
    }
    let word: String = rest.chars().take_while(|c| is_of_word(*c)).collect();
    let width = word.chars().count().max(1);
    let (message, advice) = match kind {
        ParseErrorType::MissingToken(token, _) if token == ";" => {
            stray(&word, rest, findings.source, watched)
        }
        ParseErrorType::VariableExpected if word == "let" => (
            "the name of a variable is missing".to_owned(),
            Some("a loop is written `for i in 0..3 { ... }`".to_owned()),
        ),
        kind => words(kind, watched),
    };
    findings.add(error.position(), width, message, advice);
}

/// Something that stands behind a whole statement.
fn stray(word: &str, rest: &str, source: &str, watched: &Watched) -> (String, Option<String>) {
    let before = &source[..source.len() - rest.len()];
    let before: &str = before.trim_end().rsplit(|c: char| !is_of_word(c)).next().unwrap_or_default();
    let stumbled = [before, word].into_iter().find_map(|word| advice_on(&STUMBLED_OVER, word));
    if !word.is_empty() {
        return (format!("a `;` is missing before `{word}`"), stumbled);
    }
    let sign: String = rest.chars().take_while(|c| c.is_ascii_punctuation()).take(2).collect();
    let advice = match sign.as_str() {
        "=>" => Some("a closure is written `|x| x + 1`"),
        sign if sign.starts_with(':') && watched.open.last().is_some_and(|(open, _)| *open == "{") => {
            Some("a map is written `#{ name: value }`")
        }
        sign if sign.starts_with(':') => Some("types are not written; leave it out"),
        _ => None,
    };
    let sign = sign.get(..if sign == "=>" { 2 } else { 1 }).unwrap_or_default();
    (format!("a `;` is missing before `{sign}`"), stumbled.or(advice.map(str::to_owned)))
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn advice_on(table: &[(&str, &str)], word: &str) -> Option<String> {
    table.iter().find(|(known, _)| *known == word).map(|(_, advice)| (*advice).to_owned())
}

fn words(kind: &ParseErrorType, watched: &Watched) -> (String, Option<String>) {
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
            let (message, advice) = reserved(symbol);
            // Rhai's own advice on a sign of another language stands behind its first sentence.
            let own = words.rsplit_once("hould it be ").or_else(|| words.rsplit_once("typo of "));
            let own =
                own.map(|(_, meant)| meant.trim_end_matches('?').replace("simply ", "").replace('\'', "`"));
            (message, advice.or(own.map(|meant| format!("write {meant}"))))
        }
        ParseErrorType::ExprTooDeep => (
            format!("the expression is nested deeper than {EXPRESSION_DEPTH_MAX} levels"),
            Some("give its parts names with `let`; a long chain of `else if` may be a `switch`".to_owned()),
        ),
        ParseErrorType::TooManyFunctions => (
            format!("the script has more than {FUNCTIONS_MAX} functions, closures among them"),
            Some("split it into several".to_owned()),
        ),
        ParseErrorType::BadInput(LexError::MalformedNumber(_)) => {
            ("the number is malformed".to_owned(), None)
        }
        ParseErrorType::MissingToken(token, purpose) => {
            (format!("`{token}` is missing {}", purpose.replace('\'', "`")), still_open(token, watched))
        }
        ParseErrorType::DuplicatedProperty(key) => (format!("the key `{key}` stands twice in the map"), None),
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
    if let Some(advice) = advice_on(&RESERVED, word) {
        let message = match word {
            "this" => "`this` has no meaning here".to_owned(),
            word => format!("`{word}` is not Rhai"),
        };
        return (message, Some(advice));
    }
    if let Some(advice) = refused_advice(word) {
        return (format!("`{word}` is disabled"), Some(advice.to_owned()));
    }
    if word.starts_with(is_of_word) {
        return (format!("`{word}` is a reserved word"), Some("choose another name".to_owned()));
    }
    (format!("unexpected `{}`", word.escape_debug()), None)
}

/// Which bracket waits for the `missing` one.
fn still_open(missing: &str, watched: &Watched) -> Option<String> {
    let (opening, position) = watched.open.last()?;
    let line = position.line()?;
    (closing_of(opening) == missing).then(|| format!("the `{opening}` of line {line} is still open"))
}

/// The source from a position on.
fn from_position(source: &str, position: Position) -> &str {
    let Some(line) = position.line() else { return "" };
    let before = source.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>();
    let rest = &source[before..];
    let skipped = position.position().unwrap_or(1).saturating_sub(1);
    rest.char_indices().nth(skipped).map_or("", |(at, _)| &rest[at..])
}
