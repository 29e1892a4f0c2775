//! What breaks TOML's syntax, in words of what was meant: a slip of one line is recognised by its form, such as a value without
//! quotation marks, and TOML's own words are for the rest.

use std::ops::Range;

use crate::diagnostic::lookalike::{Lookalike, is_invisible};

/// A slip: the bytes of the line that it is in, what is wrong, and what to do.
pub(super) struct Slip {
    pub(super) range: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// The slip in `line`, where TOML finds an error at byte `at`.
pub(super) fn slip(line: &str, at: usize) -> Option<Slip> {
    // Strings over several lines are another matter.
    if line.contains("\"\"\"") || line.contains("'''") {
        return None;
    }
    let written = line.trim_end();
    comment(written).or_else(|| lookalike(written)).or_else(|| header(written)).or_else(|| entry(written, at))
}

fn write(code: &str) -> Option<String> {
    Some(format!("write `{code}`"))
}

/// A comment of another language, on a line of its own.
fn comment(line: &str) -> Option<Slip> {
    let start = line.len() - line.trim_start().len();
    let text = &line[start..];
    let rest = ["//", "--", ";", "/*"].iter().find_map(|sign| text.strip_prefix(sign))?;
    Some(Slip {
        range: start..line.len(),
        message: "a comment begins with `#`".to_owned(),
        help: write(&format!("# {}", rest.trim_end_matches("*/").trim())),
    })
}

/// A character that looks like one of TOML, outside of strings that are closed.
fn lookalike(line: &str) -> Option<Slip> {
    // Where the string begins that is open, and its mark.
    let mut string: Option<(usize, char)> = None;
    let mut found: Vec<(usize, char, Lookalike, Option<usize>)> = Vec::new();
    for (at, c) in line.char_indices() {
        match (string, c) {
            (None, '#') => break,
            (None, '"' | '\'') => string = Some((at, c)),
            // What stands in a string that is closed is its text.
            (Some((opened, mark)), c) if c == mark => {
                found.retain(|(.., within)| *within != Some(opened));
                string = None;
            }
            _ => found.extend(Lookalike::of(c).map(|like| (at, c, like, string.map(|(opened, _)| opened)))),
        }
    }
    let (at, c, like, opened) = found.into_iter().next()?;
    // Within a string it is the matter only where it took the place of the closing mark.
    if opened.is_some() && like != Lookalike::Quote {
        return None;
    }
    let code = format!("U+{:04X}", u32::from(c));
    let here = at..at + c.len_utf8();
    let (range, message, help) = match like {
        Lookalike::Quote => {
            let start = opened.unwrap_or(at);
            let end = value_end(line, start);
            let value = &line[start..end];
            let inner = value.trim_matches(|c: char| matches!(c, '"' | '\'') || is_quote(c));
            let meant = if value.contains(',') { replaced(value) } else { in_quotes(inner) };
            (start..end, format!("`{c}` ({code}) is not a quote of TOML"), write(&meant))
        }
        Lookalike::Text(meant) => (here, format!("`{c}` ({code}) is not a character of TOML"), write(&meant)),
        Lookalike::Blank(name) => {
            let help = if is_invisible(c) { "leave it out" } else { "write a space" };
            (here, format!("{code} ({name}) is not a blank of TOML"), Some(help.to_owned()))
        }
    };
    Some(Slip { range, message, help })
}

fn is_quote(c: char) -> bool {
    Lookalike::of(c) == Some(Lookalike::Quote)
}

/// `text` with quotes of TOML in place of what looks like them.
fn replaced(text: &str) -> String {
    text.chars().map(|c| if is_quote(c) { '"' } else { c }).collect()
}

/// `[[routes]`, `[routes]]`, `routes]`, `[routes`.
fn header(line: &str) -> Option<Slip> {
    let start = line.len() - line.trim_start().len();
    let text = &line[start..];
    let name = text.trim_matches(|c| matches!(c, '[' | ']' | ' '));
    let is_name =
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !is_name || !text.contains(['[', ']']) {
        return None;
    }
    let is_double = text.starts_with("[[") || text.ends_with("]]");
    let code = if is_double { format!("[[{name}]]") } else { format!("[{name}]") };
    (code != text).then(|| Slip {
        range: start..line.len(),
        message: "the brackets of a table do not match".to_owned(),
        help: write(&code),
    })
}

/// A key and its value.
fn entry(line: &str, at: usize) -> Option<Slip> {
    // An item of YAML begins with a dash.
    let indented = line.trim_start();
    let start = line.len() - indented.strip_prefix("- ").map_or(indented, str::trim_start).len();
    let key_length =
        line[start..].find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.'))?;
    let key = &line[start..start + key_length];
    let behind = line[start + key_length..].trim_start();
    let sign_length = behind.find(|c| !matches!(c, '=' | ':' | '>')).unwrap_or(behind.len());
    let (sign, value) = (&behind[..sign_length], behind[sign_length..].trim_start());
    if key.is_empty() {
        return None;
    }
    if sign == ":" && value.is_empty() {
        let header = match key {
            "routes" | "schedules" | "functions" => format!("[[{key}]]"),
            _ => format!("[{key}]"),
        };
        let message = "a table begins with its name in brackets".to_owned();
        return Some(Slip { range: start..line.len(), message, help: write(&header) });
    }
    if sign != "=" {
        // Without a sign, a value can be told from more words of a key by its quotation mark only.
        let meant = matches!(sign, ":" | ":=" | "==" | "=>" | "===")
            || sign.is_empty() && value.starts_with(['"', '\'', '[']);
        let (end, value) = (value_end(line, line.len() - value.len()), value);
        let value = &value[..value.len() - (line.len() - end)];
        return (meant && !value.is_empty()).then(|| Slip {
            range: line.len() - indented.len()..end,
            message: format!("`{key}` is set with `=`"),
            help: write(&format!("{key} = {}", as_value(value))),
        });
    }
    let from = line.len() - value.len();
    if value.is_empty() || value.starts_with('#') {
        return Some(Slip {
            range: line.len()..line.len(),
            message: format!("`{key}` has no value"),
            help: None,
        });
    }
    of_value(line, from, at)
}

/// What is wrong with the value that begins at `from`.
fn of_value(line: &str, from: usize, at: usize) -> Option<Slip> {
    let value = &line[from..];
    let end = value_end(line, from);
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        return match value[1..].find(quote) {
            None => {
                let inner = value[1..].trim_end_matches([';', ',']).trim_end();
                let message = "the string is not closed".to_owned();
                Some(Slip { range: from..line.len(), message, help: write(&in_quotes(inner)) })
            }
            Some(_) if at < end && value.contains('\\') => {
                let inner = value[1..end - from].trim_end_matches(quote);
                let message = "a backslash in double quotes begins an escape such as `\\n`".to_owned();
                let code = format!("'{inner}'");
                Some(Slip { range: from..end, message, help: write(&code).filter(|_| !inner.contains('\'')) })
            }
            Some(_) => behind_value(line, end),
        };
    }
    if value.starts_with('[') {
        return item(line, from, at);
    }
    if value.starts_with('{') {
        return None;
    }
    if let Some(slip) = behind_value(line, end)
        && toml_value(&line[from..end])
    {
        return Some(slip);
    }
    let word = line[from..end].trim();
    let (message, help) = match word.to_ascii_lowercase().as_str() {
        // No key of a manifest is a boolean, so a setting in `[env]` is meant.
        lower @ ("true" | "false") => ("a text needs quotation marks".to_owned(), write(&in_quotes(lower))),
        "null" | "nil" | "none" | "undefined" => {
            (format!("TOML has no `{word}`"), Some("leave the key out".to_owned()))
        }
        _ => {
            let quoted = in_quotes(word.trim_matches('`'));
            let is_list = matches!(
                line[..from].trim_end_matches(['=', ' ']).trim_start(),
                "methods" | "domains" | "required"
            );
            let code = if is_list { format!("[{quoted}]") } else { quoted };
            ("a text needs quotation marks".to_owned(), write(&code))
        }
    };
    Some(Slip { range: from..from + line[from..end].trim_end().len(), message, help })
}

/// A word without quotation marks in an array of one line.
fn item(line: &str, from: usize, at: usize) -> Option<Slip> {
    let here = line.get(at..).unwrap_or_default();
    if let Some(quote) = here.chars().next().filter(|c| matches!(c, '"' | '\''))
        && let Some(length) = here[1..].find(quote)
    {
        let next = &here[..length + 2];
        let message = "a `,` is missing between two items".to_owned();
        return Some(Slip { range: at..at + next.len(), message, help: write(&format!(", {next}")) });
    }
    let start = line.get(from..at.min(line.len()))?.rfind(['[', ','])? + from + 1;
    let start = line.len() - line[start..].trim_start().len();
    let end = line[start..].find([',', ']']).map_or(line.len(), |length| start + length);
    let word = line[start..end].trim_end();
    let is_word = !word.is_empty()
        && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '*'));
    (is_word && !toml_value(word)).then(|| Slip {
        range: start..start + word.len(),
        message: "a text needs quotation marks".to_owned(),
        help: write(&in_quotes(word)),
    })
}

/// What does not belong behind a value that ends at `end`: `;`, `,`, a comment of another language.
fn behind_value(line: &str, end: usize) -> Option<Slip> {
    let rest = line[end..].trim_start();
    let start = line.len() - rest.len();
    if let Some(comment) = rest.strip_prefix("//").or_else(|| rest.strip_prefix("--")) {
        let message = "a comment begins with `#`".to_owned();
        return Some(Slip {
            range: start..line.len(),
            message,
            help: write(&format!("# {}", comment.trim())),
        });
    }
    let sign = rest.chars().next().filter(|c| matches!(c, ';' | ','))?;
    (rest.len() == 1).then(|| Slip {
        range: start..line.len(),
        message: format!("a line does not end with `{sign}`"),
        help: Some("leave it out".to_owned()),
    })
}

/// Where a value that begins at `from` ends: before a comment, and before a sign that ends lines elsewhere.
fn value_end(line: &str, from: usize) -> usize {
    let value = &line[from..];
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\''))
        && let Some(length) = value[1..].find(quote)
    {
        return from + length + 2;
    }
    let signs = [" #", "//", " --"].iter().filter_map(|sign| value.find(sign)).min();
    let value = &value[..signs.unwrap_or(value.len())];
    from + value.trim_end().trim_end_matches([';', ',']).trim_end().len()
}

/// `value` if it is one of TOML, else in quotation marks.
fn as_value(value: &str) -> String {
    if toml_value(value) { value.to_owned() } else { in_quotes(value) }
}

fn toml_value(value: &str) -> bool {
    toml::de::DeTable::parse(&format!("v = {value}")).is_ok()
}

fn in_quotes(text: &str) -> String {
    if text.contains(['"', '\\']) { format!("'{text}'") } else { format!("\"{text}\"") }
}
