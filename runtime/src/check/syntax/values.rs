//! Strings, maps, lists and comments as other languages write them, and what is missing between.

use rhai::{LexError, ParseErrorType};

use super::brackets::{ends_operand, is_closing};
use super::site::{Diagnosis, Site};
use super::statements::{begins_next, operand_end};
use super::tokens::Kind;
use crate::check::help::Help;

/// Comments and strings, which hide what stands around them.
pub(super) fn recognise_texts(site: &Site<'_>, offset: usize) -> Option<Diagnosis> {
    comment(site)
        .or_else(|| quoted_within(site))
        .or_else(|| text(site))
        .or_else(|| prefixed(site))
        .or_else(|| escaped(site, offset))
}

/// Maps, lists and arguments.
pub(super) fn recognise_entries(site: &Site<'_>) -> Option<Diagnosis> {
    object(site).or_else(|| entry(site))
}

/// `# ...`, `-- ...`, `<!-- ... -->`.
fn comment(site: &Site<'_>) -> Option<Diagnosis> {
    let at = site.at;
    let begins = site.tokens.begins_line(at)
        || at > 0 && matches!(site.word(at - 1), ";" | "{" | "}" | ",") && site.on_one_line(at - 1, at);
    let range = site.range(at);
    match site.word(at) {
        "#" if site.is_sign(at + 1, "{") && !begins => {
            let help = Help::shown("a map begins with ", "#{", range.start..site.range(at + 1).end, "");
            site.not_rhai(at, help)
        }
        "#" if site.is_sign(at + 1, "!") => {
            let help = Help::leave_out(
                "the server runs the script; leave it out",
                range.start..site.tokens.line_end(range.start),
            );
            Some(Diagnosis::known(site.bytes(at..at + 2), "`#!` is not Rhai", help))
        }
        "#" if site.is_sign(at + 1, "[") => {
            let close = site.brackets.partner(at + 1)?;
            site.not_rhai(at, Help::leave_out("leave it out", site.bytes(at..close + 1)))
        }
        // The length, as Lua has it.
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
            let help = Help::shown("a comment begins with ", "//", site.bytes(at..at + hashes), "");
            site.not_rhai(at, help)
        }
        "--" if begins && (site.is_name(at + 1) || site.is_sign(at + 1, "[")) && !site.touches_next(at) => {
            let help = Help::shown("a comment begins with ", "//", range, "");
            site.not_rhai(at, help)
        }
        "<" if site.is_sign(at + 1, "!") && site.is_sign(at + 2, "--") => {
            let all = site.bytes(at..at + 3);
            let help = Help::shown("a comment begins with ", "//", all.clone(), "");
            Some(Diagnosis::known(all, "`<!--` is not Rhai", help))
        }
        "*" | "**" if site.is_sign(at + 1, "/") && site.touches_next(at) => {
            let both = site.bytes(at..at + 2);
            let help = Help::leave_out("no `/*` stands before it; leave it out", both.clone());
            Some(Diagnosis::known(both, "`*/` closes nothing", help))
        }
        _ => None,
    }
}

/// `"He said "yes" to it"`.
fn quoted_within(site: &Site<'_>) -> Option<Diagnosis> {
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
        Diagnosis::known(site.range(at), message, Help::write(code, replace))
    })
}

/// `"\d"`.
fn escaped(site: &Site<'_>, offset: usize) -> Option<Diagnosis> {
    let ParseErrorType::BadInput(LexError::MalformedEscapeSequence(sequence)) = site.kind else {
        return None;
    };
    let start = offset
        .checked_sub(1)
        .filter(|start| site.tokens.text.as_bytes()[*start] == b'\\' && sequence.chars().count() == 2)?;
    let message = format!("`{sequence}` is nothing in a string");
    let help = Help::write(format!("\\{sequence}"), start..start + sequence.len());
    Some(Diagnosis::known(start..start + sequence.len(), message, help))
}

/// A string over several lines, and the text between its quotation marks.
fn several_lines<'a>(site: &Site<'a>, start: usize) -> Option<(std::ops::Range<usize>, &'a str)> {
    let rest = &site.tokens.text[start..];
    let mark = if rest.starts_with("\"\"\"") { "\"\"\"" } else { "\"" };
    let inside = rest.strip_prefix(mark)?;
    let end = inside.find(mark)?;
    let following = &inside[end + mark.len()..];
    let ends = following.starts_with([';', ',', ')', ']', '}', '\n', '\r', ' ']) || following.is_empty();
    // What is no string at all has statements in it.
    let is_text =
        !inside[..end].contains('`') && inside[..end].lines().count() <= 50 && !inside[..end].contains(";\n");
    (ends && is_text && inside[..end].contains('\n'))
        .then(|| (start..start + mark.len() + end + mark.len(), &inside[..end]))
}

/// `'text'`, and strings whose end or beginning is missing.
fn text(site: &Site<'_>) -> Option<Diagnosis> {
    let at = site.at;
    let token = site.tokens.get(at)?;
    let written = site.word(at);
    let first = token.start()..token.start() + written.chars().next().map_or(0, char::len_utf8);
    let line_end = site.tokens.line_end(token.start());
    let statement = site.token(site.statement.start).start();
    // The quotation mark that is missing before this one is taken for the end of the string.
    let broken = (at..site.tokens.len())
        .take_while(|other| site.on_one_line(at, *other))
        .any(|other| site.token(other).kind == Kind::OpenText);
    let follows_quote =
        at > 0 && site.is_text(at - 1) && site.touches_next(at - 1) && site.word(at - 1).starts_with('"');
    if broken && token.kind == Kind::Word && follows_quote {
        let help = Help::words("write `\"` where it ends");
        let found = Diagnosis::known(site.range(at - 1), "the string is never closed", help);
        return Some(found.skipping(statement..line_end, ";"));
    }
    // One in backquotes ends where the next begins.
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
        let found = Diagnosis::known(
            start..start + 1,
            "the string is never closed",
            Help::words("write `` ` `` where it ends"),
        );
        return Some(found.skipping(
            statement..site.tokens.text.len(),
            format!(";{}", site.closers(site.statement.start)),
        ));
    }
    // A backquote within `${` is the one that was to end the text around.
    let value = site.bracket_around(at).filter(|open| written.starts_with('`') && site.is_sign(*open, "${"));
    if let Some(open) = value.filter(|_| token.kind == Kind::OpenText) {
        return Some(open_value(site, open));
    }
    if let Some((all, inside)) = several_lines(site, token.start()).filter(|_| token.kind == Kind::OpenText) {
        let help = Help::described(
            "a string over several lines is written in backquotes",
            format!("`{inside}`"),
            all,
        );
        return Some(Diagnosis::known(first.clone(), "the string is never closed", help));
    }
    if token.kind == Kind::OpenText {
        let mark = written.get(..1).unwrap_or_default();
        let before = at.checked_sub(1).filter(|before| site.is_name(*before) && site.touches_next(*before));
        let found = match (before, mark) {
            (Some(word), "\"") => {
                let message = format!("the string that ends after `{}` never began", site.word(word));
                Diagnosis::known(first.clone(), message, Help::words("write `\"` where it begins"))
            }
            (_, "`" | "#") => {
                let end = if mark == "`" {
                    "`` ` ``".to_owned()
                } else {
                    format!("`\"{}`", "#".repeat(written.find('"').unwrap_or(1)))
                };
                Diagnosis::known(
                    first.clone(),
                    "the string is never closed",
                    Help::words(format!("write {end} where it ends")),
                )
            }
            _ => {
                let help = Help::words(
                    "write `\"` where it ends; a string over several lines is written in backquotes",
                );
                Diagnosis::known(first.clone(), "the string is never closed", help)
            }
        };
        // A string over several lines takes the brackets that follow with it.
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
            "`{}` is not one character",
            written.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")
        );
        let help =
            Help::shown("write ", code, token.range(), "strings are written in double quotes or backquotes");
        return Some(Diagnosis::known(token.range(), message, help));
    }
    None
}

/// `${` whose `}` is missing.
pub(super) fn open_value(site: &Site<'_>, open: usize) -> Diagnosis {
    let end = site.token(operand_end(site.tokens, site.brackets, open + 1) - 1).end();
    Diagnosis::known(site.range(open), "`${` is never closed", Help::write("}", end..end))
}

/// `f"..."`, `r"..."`, `$"..."`.
fn prefixed(site: &Site<'_>) -> Option<Diagnosis> {
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
    let message = format!("`{}` before a string is not Rhai", site.word(prefix));
    let help = Help::shown(
        "write ",
        code,
        site.bytes(prefix..text + 1),
        "a string with values in it is written in backquotes: `a ${b}`",
    );
    Some(Diagnosis::known(site.range(prefix), message, help))
}

/// `{ a: 1 }`, `{ a, b }`.
fn object(site: &Site<'_>) -> Option<Diagnosis> {
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
    let help = Help::shown("a map begins with ", "#{", site.range(open), "");
    Some(Diagnosis::known(site.range(open), "`{` begins a block", help))
}

/// What is missing or wrong between the entries of maps, lists and arguments.
fn entry(site: &Site<'_>) -> Option<Diagnosis> {
    let at = site.at;
    let before = at.checked_sub(1)?;
    let open = site.bracket_around(at);
    let behind = site.range(before).end..site.range(before).end;
    let in_map = open.is_some_and(|open| site.is_sign(open, "#{"));
    // `5.0f`
    if site.is_name(at) && site.touches_next(before) && site.tokens.get(before)?.kind == Kind::Number {
        let help = Help::leave_out("leave it out", site.range(at));
        return Some(Diagnosis::known(site.range(at), format!("`{}` ends no number", site.word(at)), help));
    }
    let open = open?;
    let is_key = |key: usize| in_map && (key == open + 1 || site.is_sign(key.wrapping_sub(1), ","));
    match site.word(at) {
        "," | "}" if site.is_name(before) && is_key(before) => {
            let name = site.word(before);
            let help = Help::write(format!("{name}: {name}"), site.range(before));
            Some(Diagnosis::known(site.range(before), format!("the value of `{name}` is missing"), help))
        }
        "-" if is_key(before) && site.is_name(at + 1) && site.touches_next(at) => {
            let end = (at..site.tokens.len()).find(|at| site.is_sign(*at, ":"))?;
            let help = Help::write(format!("\"{}\"", site.text(before..end)), site.bytes(before..end));
            Some(Diagnosis::known(site.bytes(before..end), "a key with `-` stands in quotes", help))
        }
        "(" if is_key(before) => {
            let close = site.brackets.partner(at)?;
            let parameters = site.text(at + 1..close);
            let code = format!(
                "{}: {}",
                site.word(before),
                if parameters.is_empty() { "||".to_owned() } else { format!("|{parameters}|") }
            );
            Some(Diagnosis::known(
                site.range(before),
                "a function in a map is a closure",
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
            Some(Diagnosis::known(
                end..end,
                format!("a `{closing}` is missing"),
                Help::write(closing, end..end),
            ))
        }
        ":" if matches!(site.kind, ParseErrorType::MissingToken(token, _) if token == "=>") => Some(
            Diagnosis::known(site.range(at), "a case is followed by `=>`", Help::write("=>", site.range(at))),
        ),
        word if !matches!(word, "=" | "=>")
            && is_key(before)
            && ends_operand(site.tokens, before)
            && matches!(site.kind, ParseErrorType::MissingToken(token, _) if token == ":")
            && !is_closing(site.word(at)) =>
        {
            Some(Diagnosis::known(behind.clone(), "a `:` is missing", Help::write(":", behind.clone())))
        }
        "=" | "=>" if in_map && is_key(before) => {
            let help = Help::write(":", site.range(at));
            Some(Diagnosis::known(
                site.range(at),
                format!("a key is followed by `:`, not by `{}`", site.word(at)),
                help,
            ))
        }
        ";" if in_map => Some(Diagnosis::known(
            site.range(at),
            "the entries of a map are separated by `,`",
            Help::write(",", site.range(at)),
        )),
        word if is_key(at) && matches!(site.kind, ParseErrorType::Reserved(_)) => {
            let help = Help::write(format!("\"{word}\""), site.range(at));
            Some(Diagnosis::known(site.range(at), format!("`{word}` is a reserved word"), help))
        }
        word if matches!(site.kind, ParseErrorType::MissingToken(..))
            && !is_closing(word)
            && ends_operand(site.tokens, before) =>
        {
            let starts = matches!(site.tokens.get(at)?.kind, Kind::Word | Kind::Number | Kind::Text)
                || matches!(word, "#{" | "[" | "(");
            let in_switch = matches!(site.kind, ParseErrorType::MissingToken(token, why) if token == "," && why.contains("switch"));
            let separates = matches!(site.word(open), "#{" | "[" | "(") || in_switch;
            // Of words on one line nobody knows what was meant.
            let is_sure = in_map && matches!(site.word(at + 1), ":" | "=")
                || site.tokens.begins_line(at)
                || !site.is_name(at);
            (starts && separates && is_sure).then(|| {
                let help = Help::shown("write ", ",", behind.clone(), "");
                Diagnosis::known(behind.start.saturating_sub(1)..behind.start, "a `,` is missing", help)
            })
        }
        _ => None,
    }
}
