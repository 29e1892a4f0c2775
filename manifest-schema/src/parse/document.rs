//! Bytes into TOML (version 1.1) with places, with every error of its syntax.

use toml::Spanned;
use toml::de::DeTable;
use toml_parser::lexer::TokenKind;

use crate::fault::{Fault, Place};
use crate::manifest::FILE_NAME;
use crate::source::Source;

/// The largest manifest, in bytes: thousands of routes fit.
pub const MANIFEST_MAX: usize = 256 * 1024;

/// The most dots outside of strings and comments. A manifest needs next to none, for its tables do not nest; but each
/// is a level of tables within tables in TOML's keys, and dropping them takes the stack once a level. TOML's parser
/// itself bounds the parts of one key and the brackets around one value, though not the keys within keys.
const DOTS_MAX: usize = 100;

/// The text of a manifest.
///
/// # Errors
/// It is too large or not UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.len() > MANIFEST_MAX {
        return Err(too_large());
    }
    match std::str::from_utf8(bytes) {
        // Some editors begin UTF-8 with a byte order mark, which no column counts.
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let at = error.valid_up_to();
            let shown = String::from_utf8_lossy(bytes);
            let place = Place::of_span(&shown, at..at + char::REPLACEMENT_CHARACTER.len_utf8());
            let message = format!("the manifest is not UTF-8 from byte {} on", at + 1);
            Err(Fault::error(FILE_NAME, Some(place), message).advise("save it as UTF-8"))
        }
    }
}

/// The fault of a manifest beyond [`MANIFEST_MAX`].
pub fn too_large() -> Fault {
    Fault::error(FILE_NAME, None, format!("the manifest is larger than {} KiB", MANIFEST_MAX / 1024))
}

/// The text as TOML. What could be made of it in spite of its errors is there too; only where it would be too deep,
/// nothing is.
pub(super) fn parse<'t>(source: &mut Source<'t>) -> Option<Spanned<DeTable<'t>>> {
    let text = source.text();
    let mut dots = toml_parser::Source::new(text).lex().filter(|token| token.kind() == TokenKind::Dot);
    if let Some(dot) = dots.nth(DOTS_MAX) {
        let message = format!("more than {DOTS_MAX} dotted keys, which nest too deep");
        source.syntax_error(dot.span().start()..dot.span().end(), message);
        return None;
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at_end = text.len()..text.len();
        source.syntax_error(error.span().unwrap_or(at_end), error.message().replace('\n', " "));
    }
    Some(root)
}
