//! Characters that look like others, or like nothing: what word processors, web pages and keyboards leave in a text.

/// Quotation marks that are none in code.
const QUOTES: &[char] = &[
    '\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{2033}', '\u{ff02}', '\u{ab}', '\u{bb}', '\u{301d}',
    '\u{301e}',
];

/// Apostrophes that are none in code.
const APOSTROPHES: &[char] = &[
    '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}', '\u{2032}', '\u{ff07}', '\u{b4}', '\u{2039}', '\u{203a}',
];

/// Characters that cannot be seen, or seem to be a blank.
const BLANKS: &[(char, &str)] = &[
    ('\u{a0}', "a no-break space"),
    ('\u{ad}', "a soft hyphen"),
    ('\u{200b}', "a zero-width space"),
    ('\u{200c}', "a zero-width non-joiner"),
    ('\u{200d}', "a zero-width joiner"),
    ('\u{200e}', "a left-to-right mark"),
    ('\u{200f}', "a right-to-left mark"),
    ('\u{2007}', "a figure space"),
    ('\u{2009}', "a thin space"),
    ('\u{202f}', "a narrow no-break space"),
    ('\u{2060}', "a word joiner"),
    ('\u{2028}', "a line separator"),
    ('\u{2029}', "a paragraph separator"),
    ('\u{3000}', "an ideographic space"),
    ('\u{feff}', "a byte order mark"),
];

/// What `c` is and looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookalike {
    /// A quotation mark like `"`.
    Quote,
    /// An apostrophe like `'`.
    Apostrophe,
    /// A blank, or nothing at all; with its name.
    Blank(&'static str),
    /// Like this character.
    Character(char),
}

impl Lookalike {
    /// What `c` looks like, if it is not what it seems to be.
    pub fn of(c: char) -> Option<Self> {
        if QUOTES.contains(&c) {
            return Some(Self::Quote);
        }
        if APOSTROPHES.contains(&c) {
            return Some(Self::Apostrophe);
        }
        if let Some((_, name)) = BLANKS.iter().find(|(blank, _)| *blank == c) {
            return Some(Self::Blank(name));
        }
        let like = match c {
            '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
            // The fullwidth forms of ASCII stand in its order.
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xff01 + 0x21)?,
            _ => return None,
        };
        Some(Self::Character(like))
    }

    /// The character that is meant; for what cannot be seen, a blank where it takes room and nothing where it does not.
    pub fn meant(self, c: char) -> Option<char> {
        match self {
            Self::Quote => Some('"'),
            Self::Apostrophe => Some('\''),
            Self::Character(like) => Some(like),
            Self::Blank(_) => {
                matches!(c, '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}' | '\u{3000}').then_some(' ')
            }
        }
    }
}

/// A character that cannot be told from another by eye, for a message: `` `“` (U+201C) `` or `U+00A0 (a no-break space)`.
pub fn shown(c: char) -> String {
    match Lookalike::of(c) {
        Some(Lookalike::Blank(name)) => format!("U+{:04X} ({name})", u32::from(c)),
        _ => format!("`{c}` (U+{:04X})", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_on_a_keyboard_is_what_it_seems() {
        assert!((' '..='~').all(|c| Lookalike::of(c).is_none()));
        assert!("äßéñ日本語€".chars().all(|c| Lookalike::of(c).is_none()));
    }

    #[test]
    fn the_character_that_is_meant_is_known() {
        let meant = |c: char| Lookalike::of(c).unwrap().meant(c);
        assert_eq!(['“', '’', '–', '＝', '\u{a0}'].map(meant), ['"', '\'', '-', '=', ' '].map(Some));
        assert_eq!(meant('\u{200b}'), None);
        assert_eq!(
            (shown('“'), shown('\u{a0}')),
            ("`“` (U+201C)".into(), "U+00A0 (a no-break space)".into())
        );
    }
}
