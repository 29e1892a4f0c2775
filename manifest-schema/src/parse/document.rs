//! Parses bytes as TOML 1.1, with spans and all syntax errors.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeTable;
use toml_parser::lexer::TokenKind;

use crate::diagnostic::conflict::{CONFLICT_HELP, CONFLICT_MESSAGE, conflict_marker};
use crate::diagnostic::{Diagnostic, Span};
use crate::manifest::FILE_NAME;
use crate::source::Source;

use super::syntax::{Explanation, explain};

/// Maximum size in bytes; enough for thousands of routes.
pub const MANIFEST_MAX: usize = 256 * 1024;

/// Maximum number of dots outside of strings and comments. Each dot nests a table, and dropping nested tables
/// recurses. The TOML parser bounds the depth of one key and of one value, but not of keys within keys. A manifest
/// needs hardly any dots.
const DOTS_MAX: usize = 100;

/// Decodes the text of a manifest.
///
/// # Errors It is too large or not UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Diagnostic> {
    if bytes.len() > MANIFEST_MAX {
        return Err(too_large());
    }
    match std::str::from_utf8(bytes) {
        // Some editors write a byte order mark. Columns do not count it.
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let at = error.valid_up_to();
            let shown = String::from_utf8_lossy(bytes);
            let span = Span::from_range(&shown, at..at + char::REPLACEMENT_CHARACTER.len_utf8());
            let message = format!("the manifest is not valid UTF-8 at byte {}", at + 1);
            Err(Diagnostic::error(FILE_NAME, Some(span), message).with_help("save it as UTF-8"))
        }
    }
}

/// The diagnostic for a manifest larger than [`MANIFEST_MAX`].
pub fn too_large() -> Diagnostic {
    Diagnostic::error(FILE_NAME, None, format!("the manifest is larger than {} KiB", MANIFEST_MAX / 1024))
}

/// Parses the text as TOML, as far as possible after errors. `None` if it nests too deep.
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
    // Whether a line has an explanation. Then later errors of the parser in that line are dropped.
    let mut explained: BTreeMap<usize, bool> = BTreeMap::new();
    if !errors.is_empty() && text.trim_start().starts_with('{') {
        let brace = text.find('{').unwrap_or_default();
        let help = "`picloud init` creates one".to_owned();
        source.syntax_error(brace..brace + 1, "the manifest must be TOML, not JSON".to_owned(), Some(help));
        return Some(root);
    }
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let start = starts[starts.partition_point(|start| *start <= span.start) - 1];
        let explanation = match explained.get(&start) {
            Some(true) => continue,
            Some(false) => None,
            None => text.get(start..).and_then(|rest| explain(rest.lines().next()?, span.start - start)),
        };
        explained.insert(start, explanation.is_some());
        match explanation {
            Some(Explanation { range, message, help }) => {
                source.syntax_error(start + range.start..start + range.end, message, help);
            }
            None => source.syntax_error(span, error.message().replace('\n', " "), None),
        }
    }
    Some(root)
}
