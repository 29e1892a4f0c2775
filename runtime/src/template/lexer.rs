//! Splits the inside of a tag into tokens.

use std::borrow::Cow;
use std::ops::Range;

use super::Fault;

/// A token of a tag.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// A name or a keyword.
    Name(&'t str),
    Text(Cow<'t, str>),
    Integer(i64),
    Float(f64),
    Symbol(&'static str),
    /// The end of the tag; `true` if it trims the text after it.
    End(bool),
}

/// The symbols, longer ones first.
const SYMBOLS: [&str; 25] = [
    "==", "!=", "<=", ">=", "//", "**", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|", "=", "<", ">", "+",
    "-", "*", "/", "%", "~",
];

/// Reads the next token from `at`. `close` ends the tag, unless the token is within `braces` open braces.
pub(super) fn next<'t>(
    text: &'t str,
    mut at: usize,
    close: &str,
    braces: usize,
) -> Result<(Token<'t>, Range<usize>), Fault> {
    let bytes = text.as_bytes();
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    let rest = &text[at..];
    if braces == 0 {
        if rest.starts_with(close) {
            return Ok((Token::End(false), at..at + close.len()));
        }
        if rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(close)) {
            return Ok((Token::End(true), at..at + close.len() + 1));
        }
    }
    let Some(&first) = bytes.get(at) else {
        return Err(Fault::new(at..at, format!("the tag is not closed; `{close}` is missing")));
    };
    match first {
        b'"' | b'\'' => string(text, at, first),
        b'0'..=b'9' => number(text, at),
        _ if first == b'_' || first.is_ascii_alphabetic() => {
            let end =
                at + rest.bytes().take_while(|byte| *byte == b'_' || byte.is_ascii_alphanumeric()).count();
            Ok((Token::Name(&text[at..end]), at..end))
        }
        _ => match SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            Some(symbol) => Ok((Token::Symbol(symbol), at..at + symbol.len())),
            None => {
                let character = rest.chars().next().unwrap_or_default();
                let message = format!("unexpected `{}`", character.escape_debug());
                Err(Fault::new(at..at + character.len_utf8(), message))
            }
        },
    }
}

fn string<'t>(text: &'t str, at: usize, quote: u8) -> Result<(Token<'t>, Range<usize>), Fault> {
    let start = at + 1;
    let mut value = Cow::Borrowed("");
    let mut copied = start;
    let mut end = start;
    let bytes = text.as_bytes();
    loop {
        match bytes.get(end) {
            None | Some(b'\n') => return Err(Fault::new(at..end, "the string is not closed".to_owned())),
            Some(&byte) if byte == quote => break,
            Some(b'\\') => {
                let escaped = match bytes.get(end + 1) {
                    Some(b'n') => "\n",
                    Some(b't') => "\t",
                    Some(b'r') => "\r",
                    Some(b'\\') => "\\",
                    Some(b'"') => "\"",
                    Some(b'\'') => "'",
                    _ => {
                        let message = "unknown escape; write \\\\ for a backslash".to_owned();
                        return Err(Fault::new(end..end + 2, message));
                    }
                };
                let value = value.to_mut();
                value.push_str(&text[copied..end]);
                value.push_str(escaped);
                end += 2;
                copied = end;
            }
            Some(_) => end += 1,
        }
    }
    let value = match value {
        Cow::Borrowed(_) => Cow::Borrowed(&text[start..end]),
        Cow::Owned(value) => Cow::Owned(value + &text[copied..end]),
    };
    Ok((Token::Text(value), at..end + 1))
}

fn number(text: &str, at: usize) -> Result<(Token<'_>, Range<usize>), Fault> {
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut end = at + digits(at);
    let mut is_float = false;
    if text[end..].starts_with('.') && digits(end + 1) > 0 {
        is_float = true;
        end += 1 + digits(end + 1);
    }
    let written = &text[at..end];
    let token = if is_float {
        written.parse().map(Token::Float).ok()
    } else {
        written.parse().map(Token::Integer).ok()
    };
    token
        .map(|token| (token, at..end))
        .ok_or_else(|| Fault::new(at..end, "the number does not fit into 64 bits".to_owned()))
}
