//! Characters that nobody sees, and those that look like others.

use manifest_schema::diagnostic::lookalike::{describe, is_invisible};

use super::site::{Diagnosis, Site};
use crate::check::help::Help;

pub(super) fn recognise(site: &Site<'_>, offset: usize) -> Option<Diagnosis> {
    // Rhai gives up at the character, which can be in the middle of a word.
    let c = site.tokens.text[offset..].chars().next().filter(|c| !c.is_ascii())?;
    let range = offset..offset + c.len_utf8();
    let code = format!("U+{:04X}", u32::from(c));
    let is_visible = !c.is_whitespace() && !is_invisible(c);
    match describe(c) {
        Some((name, meant)) => {
            let message = match is_visible {
                true => format!("`{c}` is {code} ({name})"),
                false => format!("{code} ({name}) stands here and cannot be seen"),
            };
            let is_quote = meant == "\"" && is_visible;
            let help = match meant.as_str() {
                _ if is_quote => quoted(site, offset, c)?,
                "" => Help::leave_out("leave it out", range.clone()),
                " " => Help::described("write a blank", " ", range.clone()),
                "\n" => Help::described("write a line break", "\n", range.clone()),
                meant => Help::write(meant, range.clone()),
            };
            Some(Diagnosis::known(range, message, help))
        }
        None if c.is_alphabetic() => {
            let at = site.tokens.at(offset);
            let word = site.word(at);
            let help = Help::words("names are made of `a` to `z`, `A` to `Z`, `0` to `9` and `_`");
            Some(Diagnosis::known(range, format!("`{c}` ({code}) cannot stand in the name `{word}`"), help))
        }
        None => {
            let shown = if is_visible { format!("`{c}` ({code})") } else { code };
            let help = Help::leave_out("leave it out", range.clone());
            Some(Diagnosis {
                is_known: false,
                ..Diagnosis::known(range, format!("{shown} is nothing in Rhai"), help)
            })
        }
    }
}

/// A string in quotation marks of print: both are replaced at once, where there are two on the line.
fn quoted(site: &Site<'_>, offset: usize, c: char) -> Option<Help> {
    let line = &site.tokens.text[offset..site.tokens.line_end(offset)];
    let inside = &line[c.len_utf8()..];
    let end = inside.find(|c| describe(c).is_some_and(|(_, meant)| meant == "\""));
    match end {
        Some(end) => {
            let closing = inside[end..].chars().next()?;
            let code = format!("\"{}\"", inside[..end].replace('"', "\\\""));
            let range = offset..offset + c.len_utf8() + end + closing.len_utf8();
            Some(Help::shown("write ", code, range, "write `\"` around a string"))
        }
        None => Some(Help::write("\"", offset..offset + c.len_utf8())),
    }
}
