//! Invisible characters, and characters that look like ASCII: word processors, web pages and keyboards insert them.

/// Characters with their names and replacements. An empty replacement means to remove the character.
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
const HOMOGLYPHS: &str = "АВЕЅІЈКМНОРСТХаеіјорсухѕһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧογν";
const LATIN: &str = "ABESIJKMHOPCTXaeijopcyxshdqwABEZHIKMNOPTYXoyv";

/// The name of a character that is easily confused with ASCII, and its replacement, which can be empty.
pub fn describe(c: char) -> Option<(String, String)> {
    if let Some((_, name, replacement)) = CHARACTERS.iter().find(|(known, ..)| *known == c) {
        return Some(((*name).to_owned(), (*replacement).to_owned()));
    }
    // Full-width forms have the order of ASCII.
    if let Some(ascii) =
        u32::from(c).checked_sub(0xfee0).and_then(char::from_u32).filter(char::is_ascii_graphic)
    {
        return Some(("full-width form".to_owned(), ascii.to_string()));
    }
    let index = HOMOGLYPHS.chars().position(|alike| alike == c)?;
    let script = if ('\u{370}'..'\u{400}').contains(&c) { "Greek" } else { "Cyrillic" };
    Some((format!("{script} letter"), LATIN.chars().nth(index)?.to_string()))
}

/// Whether a character has no width, or is a control character.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        || c.is_control()
}

/// The ASCII that a character looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookalike {
    /// A quotation mark.
    Quote,
    /// A space, a line break, or nothing; with its name.
    Blank(String),
    /// Some text, usually one character.
    Text(String),
}

impl Lookalike {
    /// The lookalike of `c`, if it is one.
    pub fn of(c: char) -> Option<Self> {
        let (name, replacement) = describe(c)?;
        Some(match replacement.as_str() {
            "\"" | "`" => Self::Quote,
            "" | " " | "\n" => Self::Blank(name),
            _ => Self::Text(replacement),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homoglyphs_are_paired_with_ascii() {
        assert_eq!(HOMOGLYPHS.chars().count(), LATIN.chars().count());
        assert!(HOMOGLYPHS.chars().all(|c| !c.is_ascii()) && LATIN.is_ascii());
        assert_eq!(describe('с').unwrap().1, "c");
        assert_eq!(describe('；').unwrap().1, ";");
        assert!(CHARACTERS.iter().all(|(c, ..)| !c.is_ascii()));
    }

    #[test]
    fn ascii_and_common_letters_are_not_lookalikes() {
        assert!((' '..='~').all(|c| Lookalike::of(c).is_none()));
        assert!("äßéñ日本語€".chars().all(|c| Lookalike::of(c).is_none()));
        assert_eq!(Lookalike::of('“'), Some(Lookalike::Quote));
        assert_eq!(Lookalike::of('–'), Some(Lookalike::Text("-".to_owned())));
        assert_eq!(Lookalike::of('\u{a0}'), Some(Lookalike::Blank("no-break space".to_owned())));
    }
}
