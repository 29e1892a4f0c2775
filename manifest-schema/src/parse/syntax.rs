//! Explains TOML syntax errors. Common mistakes in one line, such as a missing quotation mark, get a message and a
//! help of their own; other errors keep the message of the TOML parser.

use std::ops::Range;

use crate::diagnostic::lookalike::{Lookalike, is_invisible};

/// An explanation of a syntax error. The range is relative to the line.
pub(super) struct Explanation {
    pub(super) range: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Explains an error in `line`, which the TOML parser found at byte `at`.
pub(super) fn explain(line: &str, at: usize) -> Option<Explanation> {
    // Multi-line strings are not explained.
    if line.contains("\"\"\"") || line.contains("'''") {
        return None;
    }
    let written = line.trim_end();
    comment(written).or_else(|| lookalike(written)).or_else(|| header(written)).or_else(|| entry(written, at))
}

fn write_help(code: &str) -> Option<String> {
    Some(format!("write `{code}`"))
}

/// A comment in the syntax of another language, on its own line.
fn comment(line: &str) -> Option<Explanation> {
    let start = line.len() - line.trim_start().len();
    let text = &line[start..];
    let rest = ["//", "--", ";", "/*"].iter().find_map(|sign| text.strip_prefix(sign))?;
    Some(Explanation {
        range: start..line.len(),
        message: "a comment begins with `#`".to_owned(),
        help: write_help(&format!("# {}", rest.trim_end_matches("*/").trim())),
    })
}

/// A character that looks like ASCII, outside of closed strings.
fn lookalike(line: &str) -> Option<Explanation> {
    // The start and the quotation mark of the open string.
    let mut string: Option<(usize, char)> = None;
    let mut found: Vec<(usize, char, Lookalike, Option<usize>)> = Vec::new();
    for (at, c) in line.char_indices() {
        match (string, c) {
            (None, '#') => break,
            (None, '"' | '\'') => string = Some((at, c)),
            // A closed string can contain any character.
            (Some((opened, quote_mark)), c) if c == quote_mark => {
                found.retain(|(.., within)| *within != Some(opened));
                string = None;
            }
            _ => found.extend(Lookalike::of(c).map(|like| (at, c, like, string.map(|(opened, _)| opened)))),
        }
    }
    let (at, c, like, opened) = found.into_iter().next()?;
    // In an open string, only a lookalike of the closing quotation mark matters.
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
            let replacement =
                if value.contains(',') { with_ascii_quotes(value) } else { in_quotation_marks(inner) };
            (start..end, format!("`{c}` ({code}) is not a TOML quotation mark"), write_help(&replacement))
        }
        Lookalike::Text(replacement) => {
            (here, format!("`{c}` ({code}) is not a TOML character"), write_help(&replacement))
        }
        Lookalike::Blank(name) => {
            let help = if is_invisible(c) { "leave it out" } else { "write a space" };
            (here, format!("{code} ({name}) is not TOML whitespace"), Some(help.to_owned()))
        }
    };
    Some(Explanation { range, message, help })
}

fn is_quote(c: char) -> bool {
    Lookalike::of(c) == Some(Lookalike::Quote)
}

/// `text` with ASCII quotation marks.
fn with_ascii_quotes(text: &str) -> String {
    text.chars().map(|c| if is_quote(c) { '"' } else { c }).collect()
}

/// `[[routes]`, `[routes]]`, `routes]`, `[routes`.
fn header(line: &str) -> Option<Explanation> {
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
    (code != text).then(|| Explanation {
        range: start..line.len(),
        message: "the brackets of a table header do not match".to_owned(),
        help: write_help(&code),
    })
}

/// A key with its value.
fn entry(line: &str, at: usize) -> Option<Explanation> {
    // A YAML list item.
    let indented = line.trim_start();
    let start = line.len() - indented.strip_prefix("- ").map_or(indented, str::trim_start).len();
    let key_length =
        line[start..].find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.'))?;
    let key = &line[start..start + key_length];
    let after = line[start + key_length..].trim_start();
    let sign_length = after.find(|c| !matches!(c, '=' | ':' | '>')).unwrap_or(after.len());
    let (sign, value) = (&after[..sign_length], after[sign_length..].trim_start());
    if key.is_empty() {
        return None;
    }
    if sign == ":" && value.is_empty() {
        let header = match key {
            "routes" | "schedules" | "functions" => format!("[[{key}]]"),
            _ => format!("[{key}]"),
        };
        let message = "a table header is its name in brackets".to_owned();
        return Some(Explanation { range: start..line.len(), message, help: write_help(&header) });
    }
    if sign != "=" {
        // Without an operator, only a quotation mark or bracket tells a value from further words.
        let is_assignment = matches!(sign, ":" | ":=" | "==" | "=>" | "===")
            || sign.is_empty() && value.starts_with(['"', '\'', '[']);
        let (end, value) = (value_end(line, line.len() - value.len()), value);
        let value = &value[..value.len() - (line.len() - end)];
        return (is_assignment && !value.is_empty()).then(|| Explanation {
            range: line.len() - indented.len()..end,
            message: format!("`{key}` must be set with `=`"),
            help: write_help(&format!("{key} = {}", to_toml_value(value))),
        });
    }
    let from = line.len() - value.len();
    if value.is_empty() || value.starts_with('#') {
        return Some(Explanation {
            range: line.len()..line.len(),
            message: format!("`{key}` has no value"),
            help: None,
        });
    }
    explain_value(line, from, at)
}

/// Explains an error in the value that starts at `from`.
fn explain_value(line: &str, from: usize, at: usize) -> Option<Explanation> {
    let value = &line[from..];
    let end = value_end(line, from);
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        return match value[1..].find(quote) {
            None => {
                let inner = value[1..].trim_end_matches([';', ',']).trim_end();
                let message = "unterminated string".to_owned();
                Some(Explanation {
                    range: from..line.len(),
                    message,
                    help: write_help(&in_quotation_marks(inner)),
                })
            }
            Some(_) if at < end && value.contains('\\') => {
                let inner = value[1..end - from].trim_end_matches(quote);
                let message = "a backslash in double quotes begins an escape such as `\\n`".to_owned();
                let code = format!("'{inner}'");
                Some(Explanation {
                    range: from..end,
                    message,
                    help: write_help(&code).filter(|_| !inner.contains('\'')),
                })
            }
            Some(_) => after_value(line, end),
        };
    }
    if value.starts_with('[') {
        return item(line, from, at);
    }
    if value.starts_with('{') {
        return None;
    }
    if let Some(explain) = after_value(line, end)
        && is_toml_value(&line[from..end])
    {
        return Some(explain);
    }
    let word = line[from..end].trim();
    let (message, help) = match word.to_ascii_lowercase().as_str() {
        // No key of a manifest is a boolean, so this is a setting in `[env]`.
        lower @ ("true" | "false") => {
            ("a string needs quotation marks".to_owned(), write_help(&in_quotation_marks(lower)))
        }
        "null" | "nil" | "none" | "undefined" => {
            (format!("TOML has no `{word}`"), Some("remove the key".to_owned()))
        }
        _ => {
            let quoted = in_quotation_marks(word.trim_matches('`'));
            let is_list = matches!(
                line[..from].trim_end_matches(['=', ' ']).trim_start(),
                "methods" | "domains" | "required"
            );
            let code = if is_list { format!("[{quoted}]") } else { quoted };
            ("a string needs quotation marks".to_owned(), write_help(&code))
        }
    };
    Some(Explanation { range: from..from + line[from..end].trim_end().len(), message, help })
}

/// An unquoted string in an array on one line.
fn item(line: &str, from: usize, at: usize) -> Option<Explanation> {
    let here = line.get(at..).unwrap_or_default();
    if let Some(quote) = here.chars().next().filter(|c| matches!(c, '"' | '\''))
        && let Some(length) = here[1..].find(quote)
    {
        let next = &here[..length + 2];
        let message = "missing `,` between two items".to_owned();
        return Some(Explanation {
            range: at..at + next.len(),
            message,
            help: write_help(&format!(", {next}")),
        });
    }
    let start = line.get(from..at.min(line.len()))?.rfind(['[', ','])? + from + 1;
    let start = line.len() - line[start..].trim_start().len();
    let end = line[start..].find([',', ']']).map_or(line.len(), |length| start + length);
    let word = line[start..end].trim_end();
    let is_word = !word.is_empty()
        && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '*'));
    (is_word && !is_toml_value(word)).then(|| Explanation {
        range: start..start + word.len(),
        message: "a string needs quotation marks".to_owned(),
        help: write_help(&in_quotation_marks(word)),
    })
}

/// Trailing `;`, `,` or a comment of another language after a value that ends at `end`.
fn after_value(line: &str, end: usize) -> Option<Explanation> {
    let rest = line[end..].trim_start();
    let start = line.len() - rest.len();
    if let Some(comment) = rest.strip_prefix("//").or_else(|| rest.strip_prefix("--")) {
        let message = "a comment begins with `#`".to_owned();
        return Some(Explanation {
            range: start..line.len(),
            message,
            help: write_help(&format!("# {}", comment.trim())),
        });
    }
    let sign = rest.chars().next().filter(|c| matches!(c, ';' | ','))?;
    (rest.len() == 1).then(|| Explanation {
        range: start..line.len(),
        message: format!("unexpected `{sign}` at the end of a line"),
        help: Some("leave it out".to_owned()),
    })
}

/// The end of the value that starts at `from`: before a comment or a line terminator of another language.
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

/// `value` if it is valid TOML, else in quotation marks.
fn to_toml_value(value: &str) -> String {
    if is_toml_value(value) { value.to_owned() } else { in_quotation_marks(value) }
}

fn is_toml_value(value: &str) -> bool {
    toml::de::DeTable::parse(&format!("v = {value}")).is_ok()
}

fn in_quotation_marks(text: &str) -> String {
    if text.contains(['"', '\\']) { format!("'{text}'") } else { format!("\"{text}\"") }
}
