//! Diagnostics: errors and warnings about a file of a repository, each with its location and a help.
//!
//! A diagnostic is plain data. The command line and the git receiver render it (colours, carets, summaries).

pub mod conflict;
pub mod lookalike;
mod span;
mod suggestions;

use std::collections::BTreeMap;

pub use span::{SOURCE_LINE_MAX, Span};
pub use suggestions::Suggestions;

/// The maximum length of a text that a message quotes, in characters.
const QUOTED_MAX: usize = 80;

/// Whether a diagnostic prevents a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The deploy is rejected.
    Error,
    /// The deploy continues.
    Warning,
}

/// An error or a warning about one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it prevents a deploy.
    pub severity: Severity,
    /// The file's path in the repository, such as `picloud.toml`.
    pub file: String,
    /// The location in the file; `None` for the file as a whole.
    pub span: Option<Span>,
    /// The message in one line, without the location: ``unknown function `lgo::info` ``.
    pub message: String,
    /// How to fix it, printed at the caret: ``did you mean `log::info`?``.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error in `file` at `span`.
    pub fn error(file: impl Into<String>, span: Option<Span>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, file: file.into(), span, message: message.into(), help: None }
    }

    /// A warning in `file` at `span`.
    pub fn warning(file: impl Into<String>, span: Option<Span>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, span, message) }
    }

    /// Adds a help.
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// The diagnostics of a file or of a whole app. All are counted; the first [`Self::KEPT_MAX`] of each severity are
/// kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    errors_by_file: BTreeMap<String, usize>,
    warnings_in_all: usize,
}

impl Diagnostics {
    /// The maximum number of errors that are kept, and of warnings.
    pub const KEPT_MAX: usize = 1000;

    /// Adds a diagnostic after those of its severity.
    pub fn add(&mut self, diagnostic: Diagnostic) {
        let kept = match diagnostic.severity {
            Severity::Error => {
                self.count(&diagnostic.file, 1);
                &mut self.errors
            }
            Severity::Warning => {
                self.warnings_in_all += 1;
                &mut self.warnings
            }
        };
        if kept.len() < Self::KEPT_MAX {
            kept.push(diagnostic);
        }
    }

    /// Adds `errors` to the count of `file` without keeping them.
    pub fn add_omitted_errors(&mut self, file: &str, errors: usize) {
        if errors > 0 {
            self.count(file, errors);
        }
    }

    /// Adds `warnings` to the count without keeping them.
    pub fn add_omitted_warnings(&mut self, warnings: usize) {
        self.warnings_in_all += warnings;
    }

    /// Adds the diagnostics and the counts of `other`.
    pub fn append(&mut self, other: Self) {
        for (file, errors) in &other.errors_by_file {
            self.count(file, *errors);
        }
        self.warnings_in_all += other.warnings_in_all;
        let room = |kept: &Vec<Diagnostic>| Self::KEPT_MAX.saturating_sub(kept.len());
        self.errors.extend(other.errors.into_iter().take(room(&self.errors)));
        self.warnings.extend(other.warnings.into_iter().take(room(&self.warnings)));
    }

    /// The kept diagnostics: errors before warnings, each in insertion order.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.errors.iter().chain(&self.warnings)
    }

    /// The number of errors, kept or not.
    pub fn errors(&self) -> usize {
        self.errors_by_file.values().sum()
    }

    /// The number of warnings, kept or not.
    pub fn warnings(&self) -> usize {
        self.warnings_in_all
    }

    /// The number of errors of each file, kept or not.
    pub fn errors_by_file(&self) -> &BTreeMap<String, usize> {
        &self.errors_by_file
    }

    /// Whether there are no errors and no warnings.
    pub fn is_empty(&self) -> bool {
        self.errors_by_file.is_empty() && self.warnings_in_all == 0
    }

    fn count(&mut self, file: &str, errors: usize) {
        match self.errors_by_file.get_mut(file) {
            Some(counted) => *counted += errors,
            None => drop(self.errors_by_file.insert(file.to_owned(), errors)),
        }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut diagnostics = Self::default();
        diagnostics.add(diagnostic);
        diagnostics
    }
}

/// Formats `text` for a message: in backquotes, unprintable characters escaped, a long text truncated.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_MAX).flat_map(shown_char).collect();
    if text.chars().nth(QUOTED_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Quotation marks and backslashes are not escaped, so that code looks as written.
fn shown_char(c: char) -> impl Iterator<Item = char> {
    let plain = matches!(c, '"' | '\'' | '\\');
    plain.then_some(c).into_iter().chain((!plain).then(|| c.escape_debug()).into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnostics_are_counted_and_the_first_are_kept() {
        let mut diagnostics = Diagnostics::default();
        for number in 0..Diagnostics::KEPT_MAX + 5 {
            diagnostics.add(Diagnostic::warning("b", None, number.to_string()));
            diagnostics.add(Diagnostic::error("a", None, number.to_string()));
        }
        diagnostics.add_omitted_errors("c", 7);
        assert_eq!(
            (diagnostics.errors(), diagnostics.warnings()),
            (Diagnostics::KEPT_MAX + 12, Diagnostics::KEPT_MAX + 5)
        );
        assert_eq!(diagnostics.iter().count(), 2 * Diagnostics::KEPT_MAX);
        assert_eq!(diagnostics.errors_by_file()["c"], 7);
    }

    #[test]
    fn errors_precede_warnings_and_append_adds_counts() {
        let mut diagnostics = Diagnostics::from(Diagnostic::warning("a", None, "w"));
        let mut more = Diagnostics::from(Diagnostic::error("b", None, "e"));
        more.add_omitted_errors("b", 2);
        diagnostics.append(more);
        let messages: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        assert_eq!(messages, ["e", "w"]);
        assert_eq!((diagnostics.errors(), diagnostics.warnings()), (3, 1));
    }

    #[test]
    fn quoted_text_is_truncated_and_escaped() {
        assert_eq!(quoted("a\n\u{1b}\"b\\"), "`a\\n\\u{1b}\"b\\`");
        assert_eq!(quoted(&"x".repeat(81)), format!("`{}…`", "x".repeat(80)));
    }
}
