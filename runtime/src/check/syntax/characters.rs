//! Invisible characters, and characters that resemble others.

use manifest_schema::diagnostic::lookalike::{describe, is_invisible};

use super::error_site::{ErrorSite, SyntaxError};
use crate::check::help::Help;

pub(super) fn recognize(site: &ErrorSite<'_>, offset: usize) -> Option<SyntaxError> {
    // Rhai stops at the character, possibly inside a word.
    let c = site.tokens.text[offset..].chars().next().filter(|c| !c.is_ascii())?;
    let range = offset..offset + c.len_utf8();
    let code = format!("U+{:04X}", u32::from(c));
    let is_visible = !c.is_whitespace() && !is_invisible(c);
    match describe(c) {
        Some((name, meant)) => {
            let message = match is_visible {
                true => format!("`{c}` is {code} ({name})"),
                false => format!("invisible character {code} ({name})"),
            };
            let is_quote = meant == "\"" && is_visible;
            let help = match meant.as_str() {
                _ if is_quote => quoted(site, offset, c)?,
                "" => Help::remove("remove it", range.clone()),
                " " => Help::edit("replace it with a space", " ", range.clone()),
                "\n" => Help::edit("replace it with a line break", "\n", range.clone()),
                meant => Help::write(meant, range.clone()),
            };
            Some(SyntaxError::known(range, message, help))
        }
        None if c.is_alphabetic() => {
            let at = site.tokens.at(offset);
            let word = site.word(at);
            let help = Help::text("names consist of `a` to `z`, `A` to `Z`, `0` to `9` and `_`");
            Some(SyntaxError::known(
                range,
                format!("`{c}` ({code}) is not allowed in the name `{word}`"),
                help,
            ))
        }
        None => {
            let shown = if is_visible { format!("`{c}` ({code})") } else { code };
            let help = Help::remove("remove it", range.clone());
            Some(SyntaxError {
                is_known: false,
                ..SyntaxError::known(range, format!("unexpected character {shown}"), help)
            })
        }
    }
}

/// A string in typographic quotes: both quotes are replaced at once if the line has two.
fn quoted(site: &ErrorSite<'_>, offset: usize, c: char) -> Option<Help> {
    let line = &site.tokens.text[offset..site.tokens.line_end(offset)];
    let inside = &line[c.len_utf8()..];
    let end = inside.find(|c| describe(c).is_some_and(|(_, meant)| meant == "\""));
    match end {
        Some(end) => {
            let closing = inside[end..].chars().next()?;
            let code = format!("\"{}\"", inside[..end].replace('"', "\\\""));
            let range = offset..offset + c.len_utf8() + end + closing.len_utf8();
            Some(Help::code("write ", code, range, "use `\"` around strings"))
        }
        None => Some(Help::write("\"", offset..offset + c.len_utf8())),
    }
}
