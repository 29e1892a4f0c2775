//! Strings, maps, lists and comments of other languages, and missing separators.

use rhai::{LexError, ParseErrorType};

use super::brackets::{ends_operand, is_closing};
use super::error_site::{ErrorSite, SyntaxError};
use super::statements::{begins_next, operand_end};
use super::tokens::Kind;
use crate::check::help::Help;

/// Comments and strings, which hide the code around them.
pub(super) fn recognize_strings(site: &ErrorSite<'_>, offset: usize) -> Option<SyntaxError> {
    comment(site)
        .or_else(|| quoted_within(site))
        .or_else(|| text(site))
        .or_else(|| prefixed(site))
        .or_else(|| escaped(site, offset))
}

/// Maps, lists and arguments.
pub(super) fn recognize_entries(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    object(site).or_else(|| entry(site))
}

/// `# ...`, `-- ...`, `<!-- ... -->`.
fn comment(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let at = site.at;
    let begins = site.tokens.begins_line(at)
        || at > 0 && matches!(site.word(at - 1), ";" | "{" | "}" | ",") && site.on_one_line(at - 1, at);
    let range = site.range(at);
    match site.word(at) {
        "#" if site.is_sign(at + 1, "{") && !begins => {
            let help = Help::code("maps start with ", "#{", range.start..site.range(at + 1).end, "");
            site.not_rhai(at, help)
        }
        "#" if site.is_sign(at + 1, "!") => {
            let help = Help::remove(
                "the server runs the script; remove it",
                range.start..site.tokens.line_end(range.start),
            );
            Some(SyntaxError::known(site.bytes(at..at + 2), "`#!` is not valid Rhai", help))
        }
        "#" if site.is_sign(at + 1, "[") => {
            let close = site.brackets.partner(at + 1)?;
            site.not_rhai(at, Help::remove("remove it", site.bytes(at..close + 1)))
        }
        // The length operator of Lua.
        "#" if at > 0
            && !begins
            && !ends_operand(site.tokens, at - 1)
            && site.is_name(at + 1)
            && site.touches_next(at) =>
        {
            let end = operand_end(site.tokens, site.brackets, at + 1);
            let code = format!("{}.len()", site.text(at + 1..end));
            site.not_rhai(at, Help::write(code, site.bytes(at..end)))
        }
        "#" => {
            let hashes = (at..site.tokens.len()).take_while(|at| site.is_sign(*at, "#")).count();
            let help = Help::code("comments start with ", "//", site.bytes(at..at + hashes), "");
            site.not_rhai(at, help)
        }
        "--" if begins && (site.is_name(at + 1) || site.is_sign(at + 1, "[")) && !site.touches_next(at) => {
            let help = Help::code("comments start with ", "//", range, "");
            site.not_rhai(at, help)
        }
        "<" if site.is_sign(at + 1, "!") && site.is_sign(at + 2, "--") => {
            let all = site.bytes(at..at + 3);
            let help = Help::code("comments start with ", "//", all.clone(), "");
            Some(SyntaxError::known(all, "`<!--` is not valid Rhai", help))
        }
        "*" | "**" if site.is_sign(at + 1, "/") && site.touches_next(at) => {
            let both = site.bytes(at..at + 2);
            let help = Help::remove("there is no `/*` before it; remove it", both.clone());
            Some(SyntaxError::known(both, "unmatched `*/`", help))
        }
        _ => None,
    }
}

/// `"He said "yes" to it"`.
fn quoted_within(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let at = site.at;
    let before = at.checked_sub(1)?;
    let is_within = site.is_name(at)
        && site.is_text(before)
        && site.is_text(at + 1)
        && site.touches_next(before)
        && site.touches_next(at)
        && site.word(before).starts_with('"')
        && site.word(at + 1).starts_with('"');
    is_within.then(|| {
        let code = format!("\\\"{}\\\"", site.word(at));
        let replace = site.range(before).end - 1..site.range(at + 1).start + 1;
        let message = format!("the string ends before `{}`", site.word(at));
        SyntaxError::known(site.range(at), message, Help::write(code, replace))
    })
}

/// `"\d"`.
fn escaped(site: &ErrorSite<'_>, offset: usize) -> Option<SyntaxError> {
    let ParseErrorType::BadInput(LexError::MalformedEscapeSequence(sequence)) = site.kind else {
        return None;
    };
    let start = offset
        .checked_sub(1)
        .filter(|start| site.tokens.text.as_bytes()[*start] == b'\\' && sequence.chars().count() == 2)?;
    let message = format!("invalid escape sequence `{sequence}`");
    let help = Help::write(format!("\\{sequence}"), start..start + sequence.len());
    Some(SyntaxError::known(start..start + sequence.len(), message, help))
}

/// A multi-line string in quotes, and its content.
fn several_lines<'a>(site: &ErrorSite<'a>, start: usize) -> Option<(std::ops::Range<usize>, &'a str)> {
    let rest = &site.tokens.text[start..];
    let mark = if rest.starts_with("\"\"\"") { "\"\"\"" } else { "\"" };
    let inside = rest.strip_prefix(mark)?;
    let end = inside.find(mark)?;
    let following = &inside[end + mark.len()..];
    let ends = following.starts_with([';', ',', ')', ']', '}', '\n', '\r', ' ']) || following.is_empty();
    // A text with statements is not a string.
    let is_text =
        !inside[..end].contains('`') && inside[..end].lines().count() <= 50 && !inside[..end].contains(";\n");
    (ends && is_text && inside[..end].contains('\n'))
        .then(|| (start..start + mark.len() + end + mark.len(), &inside[..end]))
}

/// `'text'`, and unterminated strings.
fn text(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let at = site.at;
    let token = site.tokens.get(at)?;
    let written = site.word(at);
    let first = token.start()..token.start() + written.chars().next().map_or(0, char::len_utf8);
    let line_end = site.tokens.line_end(token.start());
    let statement = site.token(site.statement.start).start();
    // The missing opening quote is taken for the end of the string before.
    let broken = (at..site.tokens.len())
        .take_while(|other| site.on_one_line(at, *other))
        .any(|other| site.token(other).kind == Kind::OpenText);
    let follows_quote =
        at > 0 && site.is_text(at - 1) && site.touches_next(at - 1) && site.word(at - 1).starts_with('"');
    if broken && token.kind == Kind::Word && follows_quote {
        let help = Help::text("add `\"` where it ends");
        let found = SyntaxError::known(site.range(at - 1), "unterminated string", help);
        return Some(found.skipping(statement..line_end, ";"));
    }
    // A template string ends where the next one starts.
    if token.kind == Kind::Word
        && let Some(before) =
            at.checked_sub(1).filter(|before| site.is_text(*before) && site.touches_next(*before))
        && site.word(before).starts_with('`')
        && site.word(before).contains('\n')
    {
        let start = site.range(before).start;
        if let Some(open) = site.bracket_around(before).filter(|open| site.is_sign(*open, "${")) {
            return Some(open_value(site, open));
        }
        let found = SyntaxError::known(
            start..start + 1,
            "unterminated string",
            Help::text("add `` ` `` where it ends"),
        );
        return Some(found.skipping(
            statement..site.tokens.text.len(),
            format!(";{}", site.closers(site.statement.start)),
        ));
    }
    // A backquote inside `${` was meant to end the outer text.
    let value = site.bracket_around(at).filter(|open| written.starts_with('`') && site.is_sign(*open, "${"));
    if let Some(open) = value.filter(|_| token.kind == Kind::OpenText) {
        return Some(open_value(site, open));
    }
    if let Some((all, inside)) = several_lines(site, token.start()).filter(|_| token.kind == Kind::OpenText) {
        let help = Help::edit("multi-line strings need backquotes", format!("`{inside}`"), all);
        return Some(SyntaxError::known(first.clone(), "unterminated string", help));
    }
    if token.kind == Kind::OpenText {
        let mark = written.get(..1).unwrap_or_default();
        let before = at.checked_sub(1).filter(|before| site.is_name(*before) && site.touches_next(*before));
        let found = match (before, mark) {
            (Some(word), "\"") => {
                let message = format!("missing start of the string that ends after `{}`", site.word(word));
                SyntaxError::known(first.clone(), message, Help::text("add `\"` where it starts"))
            }
            (_, "`" | "#") => {
                let end = if mark == "`" {
                    "`` ` ``".to_owned()
                } else {
                    format!("`\"{}`", "#".repeat(written.find('"').unwrap_or(1)))
                };
                SyntaxError::known(
                    first.clone(),
                    "unterminated string",
                    Help::text(format!("add {end} where it ends")),
                )
            }
            _ => {
                let help = Help::text("add `\"` where it ends; multi-line strings need backquotes");
                SyntaxError::known(first.clone(), "unterminated string", help)
            }
        };
        // A multi-line string hides the brackets after it.
        let closers = if token.end() > line_end { site.closers(site.statement.start) } else { String::new() };
        return Some(found.skipping(statement..token.end(), format!(";{closers}")));
    }
    if token.kind == Kind::Text
        && written.starts_with('\'')
        && matches!(
            site.kind,
            ParseErrorType::BadInput(LexError::MalformedChar(_)) | ParseErrorType::ExprExpected(_)
        )
    {
        let inside = written.trim_matches('\'').replace("\\'", "'");
        let code = match inside.contains('"') {
            false => format!("\"{inside}\""),
            true => format!("`{}`", inside.replace('`', "``")),
        };
        let message = format!(
            "`{}` is not a single character",
            written.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")
        );
        let help = Help::code("write ", code, token.range(), "strings need double quotes or backquotes");
        return Some(SyntaxError::known(token.range(), message, help));
    }
    None
}

/// `${` without its `}`.
pub(super) fn open_value(site: &ErrorSite<'_>, open: usize) -> SyntaxError {
    let end = site.token(operand_end(site.tokens, site.brackets, open + 1) - 1).end();
    SyntaxError::known(site.range(open), "unclosed `${`", Help::write("}", end..end))
}

/// `f"..."`, `r"..."`, `$"..."`.
fn prefixed(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let text = [site.at, site.at + 1].into_iter().find(|at| site.is_text(*at))?;
    let prefix = text.checked_sub(1).filter(|prefix| site.touches_next(*prefix) && *prefix + 1 >= site.at)?;
    let written = site.word(text);
    let quote = written.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inside = written.get(1..written.len() - 1)?;
    let plain = |inside: &str| {
        format!("\"{}\"", if quote == '\'' { inside.replace('"', "\\\"") } else { inside.to_owned() })
    };
    let code = match site.word(prefix) {
        "f" | "F" | "fr" | "rf" | "$" => {
            let doubled = inside.replace("{{", "\u{1}").replace("}}", "\u{2}");
            let code =
                doubled.replace('`', "``").replace('{', "${").replace('\u{1}', "{").replace('\u{2}', "}");
            format!("`{}`", code.replace("\\\"", "\""))
        }
        "r" | "R" | "@" => format!("#\"{inside}\"#"),
        "b" | "u" | "U" | "L" => plain(inside),
        _ => return None,
    };
    let message = format!("`{}` before a string is not valid Rhai", site.word(prefix));
    let help = Help::code(
        "write ",
        code,
        site.bytes(prefix..text + 1),
        "interpolated strings need backquotes: `a ${b}`",
    );
    Some(SyntaxError::known(site.range(prefix), message, help))
}

/// `{ a: 1 }`, `{ a, b }`.
fn object(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let at = site.at;
    let open = site.bracket_around(at).filter(|open| site.is_sign(*open, "{"))?;
    if open > 0 && ends_operand(site.tokens, open - 1) && !begins_next(site.tokens, open) {
        return None;
    }
    let is_first_key = at == open + 2
        && (site.is_name(open + 1) || site.is_text(open + 1))
        && matches!(site.word(at), ":" | "," | "=>");
    let is_value = open > 0
        && (matches!(
            site.word(open - 1),
            "=" | "(" | "," | "[" | ":" | "=>" | "return" | "+" | "??" | "throw"
        ) || site.is_sign(open - 1, "|"));
    let begins_file = open == 0 || begins_next(site.tokens, open);
    if !is_first_key || !is_value && !begins_file && site.word(at) != ":" {
        return None;
    }
    let help = Help::code("maps start with ", "#{", site.range(open), "");
    Some(SyntaxError::known(site.range(open), "`{` starts a block", help))
}

/// A missing or wrong separator in maps, lists and arguments.
fn entry(site: &ErrorSite<'_>) -> Option<SyntaxError> {
    let at = site.at;
    let before = at.checked_sub(1)?;
    let open = site.bracket_around(at);
    let behind = site.range(before).end..site.range(before).end;
    let in_map = open.is_some_and(|open| site.is_sign(open, "#{"));
    // `5.0f`
    if site.is_name(at) && site.touches_next(before) && site.tokens.get(before)?.kind == Kind::Number {
        let help = Help::remove("remove it", site.range(at));
        return Some(SyntaxError::known(
            site.range(at),
            format!("invalid number suffix `{}`", site.word(at)),
            help,
        ));
    }
    let open = open?;
    let is_key = |key: usize| in_map && (key == open + 1 || site.is_sign(key.wrapping_sub(1), ","));
    match site.word(at) {
        "," | "}" if site.is_name(before) && is_key(before) => {
            let name = site.word(before);
            let help = Help::write(format!("{name}: {name}"), site.range(before));
            Some(SyntaxError::known(site.range(before), format!("missing value of the key `{name}`"), help))
        }
        "-" if is_key(before) && site.is_name(at + 1) && site.touches_next(at) => {
            let end = (at..site.tokens.len()).find(|at| site.is_sign(*at, ":"))?;
            let help = Help::write(format!("\"{}\"", site.text(before..end)), site.bytes(before..end));
            Some(SyntaxError::known(site.bytes(before..end), "keys with `-` need quotes", help))
        }
        "(" if is_key(before) => {
            let close = site.brackets.partner(at)?;
            let parameters = site.text(at + 1..close);
            let code = format!(
                "{}: {}",
                site.word(before),
                if parameters.is_empty() { "||".to_owned() } else { format!("|{parameters}|") }
            );
            Some(SyntaxError::known(
                site.range(before),
                "functions in maps must be closures",
                Help::write(code, site.bytes(before..close + 1)),
            ))
        }
        ":" if !in_map
            && site.is_text(before)
            && site.is_sign(before.wrapping_sub(1), ",")
            && site.brackets.partner(open).is_none() =>
        {
            let closing = super::brackets::closing_of(site.word(open));
            let end = site.range(before - 2).end;
            Some(SyntaxError::known(end..end, format!("missing `{closing}`"), Help::write(closing, end..end)))
        }
        ":" if matches!(site.kind, ParseErrorType::MissingToken(token, _) if token == "=>") => {
            Some(SyntaxError::known(
                site.range(at),
                "expected `=>` after the case",
                Help::write("=>", site.range(at)),
            ))
        }
        word if !matches!(word, "=" | "=>")
            && is_key(before)
            && ends_operand(site.tokens, before)
            && matches!(site.kind, ParseErrorType::MissingToken(token, _) if token == ":")
            && !is_closing(site.word(at)) =>
        {
            Some(SyntaxError::known(behind.clone(), "missing `:`", Help::write(":", behind.clone())))
        }
        "=" | "=>" if in_map && is_key(before) => {
            let help = Help::write(":", site.range(at));
            Some(SyntaxError::known(
                site.range(at),
                format!("expected `:` after the key, found `{}`", site.word(at)),
                help,
            ))
        }
        ";" if in_map => Some(SyntaxError::known(
            site.range(at),
            "map entries are separated by `,`",
            Help::write(",", site.range(at)),
        )),
        word if is_key(at) && matches!(site.kind, ParseErrorType::Reserved(_)) => {
            let help = Help::write(format!("\"{word}\""), site.range(at));
            Some(SyntaxError::known(site.range(at), format!("`{word}` is a reserved word"), help))
        }
        word if matches!(site.kind, ParseErrorType::MissingToken(..))
            && !is_closing(word)
            && ends_operand(site.tokens, before) =>
        {
            let starts = matches!(site.tokens.get(at)?.kind, Kind::Word | Kind::Number | Kind::Text)
                || matches!(word, "#{" | "[" | "(");
            let in_switch = matches!(site.kind, ParseErrorType::MissingToken(token, why) if token == "," && why.contains("switch"));
            let separates = matches!(site.word(open), "#{" | "[" | "(") || in_switch;
            // Between words on one line the intention is unknown.
            let is_sure = in_map && matches!(site.word(at + 1), ":" | "=")
                || site.tokens.begins_line(at)
                || !site.is_name(at);
            (starts && separates && is_sure).then(|| {
                let help = Help::code("write ", ",", behind.clone(), "");
                SyntaxError::known(behind.start.saturating_sub(1)..behind.start, "missing `,`", help)
            })
        }
        _ => None,
    }
}
