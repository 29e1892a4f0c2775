//! A flat TOML file of settings: one value per key, with spans. The caller interprets the keys.

use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Diagnostics, Span};

/// Maximum size of the file, in bytes.
pub const SETTINGS_MAX: usize = 64 * 1024;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// The span of the key.
    pub key_span: Span,
    /// The value in the form of a flag: lists joined by commas, numbers without `_`.
    pub value: String,
    /// The span of the value.
    pub value_span: Span,
}

/// Reads the settings of `text` in the order of the file. `file` is its name in diagnostics.
///
/// # Errors All invalid settings.
pub fn read(file: &str, text: &[u8]) -> Result<Vec<Setting>, Diagnostics> {
    if text.len() > SETTINGS_MAX {
        let message = format!("the file is larger than {} KiB", SETTINGS_MAX / 1024);
        return Err(Diagnostic::error(file, None, message).into());
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| Diagnostics::from(Diagnostic::error(file, None, "the file is not UTF-8")))?;
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut diagnostics = Diagnostics::default();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let message = error.message().replace('\n', " ");
        diagnostics.add(Diagnostic::error(file, Some(Span::from_range(text, span)), message));
    }
    if diagnostics.errors() > 0 {
        return Err(diagnostics);
    }
    let mut settings = Vec::new();
    for (key, value) in root.get_ref() {
        let value_span = Span::from_range(text, value.span());
        match written(value.get_ref()) {
            Some(written) => settings.push(Setting {
                key: key.get_ref().to_string(),
                key_span: Span::from_range(text, key.span()),
                value: written,
                value_span,
            }),
            None => {
                let message = format!("`{}` must be a string, a number, true or false", key.get_ref());
                diagnostics.add(Diagnostic::error(file, Some(value_span), message));
            }
        }
    }
    settings.sort_by_key(|setting| (setting.key_span.line, setting.key_span.column));
    if diagnostics.errors() > 0 { Err(diagnostics) } else { Ok(settings) }
}

fn written(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            Some(items?.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let diagnostics = read("a.conf", text.as_bytes()).unwrap_err();
        let span = |diagnostic: &Diagnostic| {
            diagnostic.span.as_ref().map_or((0, 0), |span| (span.line, span.column))
        };
        diagnostics
            .iter()
            .map(|diagnostic| format!("{:?} {}", span(diagnostic), diagnostic.message))
            .collect()
    }

    #[test]
    fn values_have_the_form_of_flags() {
        let text = "a = \"x y\"\nb = 10_000 # many\nc = true\nd = [\"1\", \"2\"]\n";
        let read = read("a.conf", text.as_bytes()).unwrap();
        let pairs: Vec<_> =
            read.iter().map(|setting| (setting.key.as_str(), setting.value.as_str())).collect();
        assert_eq!(pairs, [("a", "x y"), ("b", "10000"), ("c", "true"), ("d", "1,2")]);
        assert_eq!((read[1].key_span.line, read[1].value_span.column), (2, 5));
    }

    #[test]
    fn invalid_setting_is_reported_with_its_span() {
        assert_eq!(errors("a = 1\nb = "), ["(2, 5) string values must be quoted, expected literal string"]);
        assert_eq!(errors("a = 1.5"), ["(1, 5) `a` must be a string, a number, true or false"]);
        assert_eq!(errors("[a]\nb = 1"), ["(1, 1) `a` must be a string, a number, true or false"]);
        assert_eq!(errors("a = 1\na = 2").len(), 1);
        assert_eq!(errors(&"#".repeat(SETTINGS_MAX + 1)), ["(0, 0) the file is larger than 64 KiB"]);
    }
}
