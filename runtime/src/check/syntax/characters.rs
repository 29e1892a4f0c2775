//! Characters that nobody sees, and those that look like others.

use super::site::{Diagnosis, Site};
use crate::check::help::Help;

/// Characters by code point, what they are called, and what is written in their place. Without that nothing is.
const CHARACTERS: [(char, &str, &str); 75] = [
    ('\u{a0}', "no-break space", " "),
    ('\u{ad}', "soft hyphen", ""),
    ('\u{61c}', "Arabic letter mark", ""),
    ('\u{1680}', "Ogham space mark", " "),
    ('\u{2000}', "en quad", " "),
    ('\u{2001}', "em quad", " "),
    ('\u{2002}', "en space", " "),
    ('\u{2003}', "em space", " "),
    ('\u{2004}', "three-per-em space", " "),
    ('\u{2005}', "four-per-em space", " "),
    ('\u{2006}', "six-per-em space", " "),
    ('\u{2007}', "figure space", " "),
    ('\u{2008}', "punctuation space", " "),
    ('\u{2009}', "thin space", " "),
    ('\u{200a}', "hair space", " "),
    ('\u{200b}', "zero width space", ""),
    ('\u{200c}', "zero width non-joiner", ""),
    ('\u{200d}', "zero width joiner", ""),
    ('\u{200e}', "left-to-right mark", ""),
    ('\u{200f}', "right-to-left mark", ""),
    ('\u{2028}', "line separator", "\n"),
    ('\u{2029}', "paragraph separator", "\n"),
    ('\u{202a}', "left-to-right embedding", ""),
    ('\u{202b}', "right-to-left embedding", ""),
    ('\u{202c}', "pop directional formatting", ""),
    ('\u{202d}', "left-to-right override", ""),
    ('\u{202e}', "right-to-left override", ""),
    ('\u{202f}', "narrow no-break space", " "),
    ('\u{205f}', "medium mathematical space", " "),
    ('\u{2060}', "word joiner", ""),
    ('\u{2066}', "left-to-right isolate", ""),
    ('\u{2067}', "right-to-left isolate", ""),
    ('\u{2068}', "first strong isolate", ""),
    ('\u{2069}', "pop directional isolate", ""),
    ('\u{3000}', "ideographic space", " "),
    ('\u{feff}', "byte order mark", ""),
    ('\u{2018}', "left single quotation mark", "\""),
    ('\u{2019}', "right single quotation mark", "\""),
    ('\u{201a}', "single low-9 quotation mark", "\""),
    ('\u{201c}', "left double quotation mark", "\""),
    ('\u{201d}', "right double quotation mark", "\""),
    ('\u{201e}', "double low-9 quotation mark", "\""),
    ('\u{2033}', "double prime", "\""),
    ('\u{ab}', "left-pointing double angle quotation mark", "\""),
    ('\u{bb}', "right-pointing double angle quotation mark", "\""),
    ('\u{b4}', "acute accent", "`"),
    ('\u{2010}', "hyphen", "-"),
    ('\u{2011}', "non-breaking hyphen", "-"),
    ('\u{2012}', "figure dash", "-"),
    ('\u{2013}', "en dash", "-"),
    ('\u{2014}', "em dash", "-"),
    ('\u{2212}', "minus sign", "-"),
    ('\u{d7}', "multiplication sign", "*"),
    ('\u{f7}', "division sign", "/"),
    ('\u{2215}', "division slash", "/"),
    ('\u{2026}', "horizontal ellipsis", "..."),
    ('\u{2264}', "less-than or equal to", "<="),
    ('\u{2265}', "greater-than or equal to", ">="),
    ('\u{2260}', "not equal to", "!="),
    ('\u{2192}', "rightwards arrow", "=>"),
    ('\u{21d2}', "rightwards double arrow", "=>"),
    ('\u{37e}', "Greek question mark", ";"),
    ('\u{2236}', "ratio", ":"),
    ('\u{a6}', "broken bar", "|"),
    ('\u{2223}', "divides", "|"),
    ('\u{2227}', "logical and", "&&"),
    ('\u{2228}', "logical or", "||"),
    ('\u{ac}', "not sign", "!"),
    ('\u{3001}', "ideographic comma", ","),
    ('\u{3002}', "ideographic full stop", "."),
    ('\u{300c}', "left corner bracket", "\""),
    ('\u{300d}', "right corner bracket", "\""),
    ('\u{3010}', "left black lenticular bracket", "["),
    ('\u{3011}', "right black lenticular bracket", "]"),
    ('\u{2024}', "one dot leader", "."),
];

/// Letters of other scripts that look like ASCII, in the order of [`LATIN`].
const ALIKE: &str = "АВЕЅІЈКМНОРСТХаеіјорсухѕһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧογν";
const LATIN: &str = "ABESIJKMHOPCTXaeijopcyxshdqwABEZHIKMNOPTYXoyv";

/// What a character looks like that is no character of Rhai's: what it is called, and what to write.
fn named(c: char) -> Option<(String, String)> {
    if let Some((_, name, meant)) = CHARACTERS.iter().find(|(known, ..)| *known == c) {
        return Some(((*name).to_owned(), (*meant).to_owned()));
    }
    // Full-width forms are ASCII, moved.
    if let Some(ascii) =
        u32::from(c).checked_sub(0xfee0).and_then(char::from_u32).filter(char::is_ascii_graphic)
    {
        return Some(("full-width form".to_owned(), ascii.to_string()));
    }
    let index = ALIKE.chars().position(|alike| alike == c)?;
    let script = if ('\u{370}'..'\u{400}').contains(&c) { "Greek" } else { "Cyrillic" };
    Some((format!("{script} letter"), LATIN.chars().nth(index)?.to_string()))
}

pub(super) fn recognise(site: &Site<'_>, offset: usize) -> Option<Diagnosis> {
    // Rhai gives up at the character, which can be in the middle of a word.
    let c = site.tokens.text[offset..].chars().next().filter(|c| !c.is_ascii())?;
    let range = offset..offset + c.len_utf8();
    let code = format!("U+{:04X}", u32::from(c));
    let is_visible = !c.is_whitespace() && !is_invisible(c);
    match named(c) {
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

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        || c.is_control()
}

/// A string in quotation marks of print: both are replaced at once, where there are two on the line.
fn quoted(site: &Site<'_>, offset: usize, c: char) -> Option<Help> {
    let line = &site.tokens.text[offset..site.tokens.line_end(offset)];
    let inside = &line[c.len_utf8()..];
    let end = inside.find(|c| named(c).is_some_and(|(_, meant)| meant == "\""));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_look_alike_are_paired() {
        assert_eq!(ALIKE.chars().count(), LATIN.chars().count());
        assert!(ALIKE.chars().all(|c| !c.is_ascii()) && LATIN.is_ascii());
        assert_eq!(named('с').unwrap().1, "c");
        assert_eq!(named('；').unwrap().1, ";");
        assert!(CHARACTERS.iter().all(|(c, ..)| !c.is_ascii()));
    }
}
