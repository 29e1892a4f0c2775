//! Bytes into TOML (version 1.1) with places, with every error of its syntax.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeTable;
use toml_parser::lexer::TokenKind;

use crate::diagnostic::conflict::{CONFLICT_HELP, CONFLICT_MESSAGE, conflict_marker};
use crate::diagnostic::{Diagnostic, Span};
use crate::manifest::FILE_NAME;
use crate::source::Source;

use super::syntax::{Slip, slip};

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
pub(super) fn text(bytes: &[u8]) -> Result<&str, Diagnostic> {
    if bytes.len() > MANIFEST_MAX {
        return Err(too_large());
    }
    match std::str::from_utf8(bytes) {
        // Some editors begin UTF-8 with a byte order mark, which no column counts.
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let at = error.valid_up_to();
            let shown = String::from_utf8_lossy(bytes);
            let span = Span::from_range(&shown, at..at + char::REPLACEMENT_CHARACTER.len_utf8());
            let message = format!("the manifest is not UTF-8 from byte {} on", at + 1);
            Err(Diagnostic::error(FILE_NAME, Some(span), message).with_help("save it as UTF-8"))
        }
    }
}

/// The diagnostic of a manifest beyond [`MANIFEST_MAX`].
pub fn too_large() -> Diagnostic {
    Diagnostic::error(FILE_NAME, None, format!("the manifest is larger than {} KiB", MANIFEST_MAX / 1024))
}

/// The text as TOML. What could be made of it in spite of its errors is there too; only where it would be too deep,
/// nothing is.
pub(super) fn parse<'t>(source: &mut Source<'t>) -> Option<Spanned<DeTable<'t>>> {
    let text = source.text();
    let mut dots = toml_parser::Source::new(text).lex().filter(|token| token.kind() == TokenKind::Dot);
    if let Some(dot) = dots.nth(DOTS_MAX) {
        let message = format!("more than {DOTS_MAX} dotted keys, which nest too deep");
        source.syntax_error(dot.span().start()..dot.span().end(), message, None);
        return None;
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    if let Some(marker) = conflict_marker(text) {
        source.syntax_error(marker, CONFLICT_MESSAGE.to_owned(), Some(CONFLICT_HELP.to_owned()));
        return Some(root);
    }
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    let starts: Vec<usize> = std::iter::once(0).chain(breaks).collect();
    // Whether a line was explained. What is wrong with one is said once then, however often the parser stumbles over it.
    let mut explained: BTreeMap<usize, bool> = BTreeMap::new();
    if !errors.is_empty() && text.trim_start().starts_with('{') {
        let brace = text.find('{').unwrap_or_default();
        let help = "`picloud init` writes one to begin with".to_owned();
        source.syntax_error(
            brace..brace + 1,
            "the manifest is JSON, and has to be TOML".to_owned(),
            Some(help),
        );
        return Some(root);
    }
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let start = starts[starts.partition_point(|start| *start <= span.start) - 1];
        let slip = match explained.get(&start) {
            Some(true) => continue,
            Some(false) => None,
            None => text.get(start..).and_then(|rest| slip(rest.lines().next()?, span.start - start)),
        };
        explained.insert(start, slip.is_some());
        match slip {
            Some(Slip { range, message, help }) => {
                source.syntax_error(start + range.start..start + range.end, message, help);
            }
            None => source.syntax_error(span, error.message().replace('\n', " "), None),
        }
    }
    Some(root)
}
