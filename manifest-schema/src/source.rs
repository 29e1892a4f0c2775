//! The text of a manifest, and the diagnostics found in it so far.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, Diagnostics, Span, Suggestions};
use crate::manifest::FILE_NAME;

/// A manifest's text and its diagnostics.
pub(crate) struct Source<'t> {
    text: &'t str,
    /// The start offsets of the sections: 0, and each line that begins with `[`.
    section_starts: Vec<usize>,
    /// The sections with a syntax error, as sorted indices.
    broken_sections: Vec<usize>,
    /// Errors, each with the byte offset at which it starts.
    errors: Vec<(usize, Diagnostic)>,
    warnings: Vec<(usize, Diagnostic)>,
    omitted_errors: usize,
    suggestions: Suggestions,
}

impl<'t> Source<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let mut section_starts = vec![0];
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            if line.trim_start().starts_with('[') && start > 0 {
                section_starts.push(start);
            }
            start += line.len();
        }
        let suggestions = Suggestions::default();
        let (broken_sections, errors, warnings) = Default::default();
        Self { text, section_starts, broken_sections, errors, warnings, omitted_errors: 0, suggestions }
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Adds a syntax error. The parser then only guesses at the rest of the section, so later errors in it are dropped.
    pub(crate) fn syntax_error(&mut self, range: Range<usize>, message: String, help: Option<String>) {
        let section = self.section_of(range.start);
        if let Err(at) = self.broken_sections.binary_search(&section) {
            self.broken_sections.insert(at, section);
        }
        self.push_error(range, message, help);
    }

    /// Adds an error in the meaning, unless its section has a syntax error.
    pub(crate) fn error(&mut self, range: Range<usize>, message: String) {
        self.error_with(range, message, None);
    }

    /// Like [`Self::error`], with a help.
    pub(crate) fn error_with(&mut self, range: Range<usize>, message: String, help: Option<String>) {
        // An error about the whole file can follow from any broken section.
        let is_guess = range.is_empty() && !self.broken_sections.is_empty();
        if !is_guess && self.broken_sections.binary_search(&self.section_of(range.start)).is_err() {
            self.push_error(range, message, help);
        }
    }

    /// Adds a warning with a help.
    pub(crate) fn warning(&mut self, range: Range<usize>, message: String, help: String) {
        if self.warnings.len() < Diagnostics::KEPT_MAX {
            let span = Span::from_range(self.text, range.clone());
            let diagnostic = Diagnostic::warning(FILE_NAME, Some(span), message).with_help(help);
            self.warnings.push((range.start, diagnostic));
        }
    }

    /// The line of `offset`, counted from 1.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        Span::from_range(self.text, offset..offset).line
    }

    /// Whether there are no errors so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The help "did you mean" with the nearest of `known`, within the budget for comparisons.
    pub(crate) fn did_you_mean<'k>(
        &mut self,
        wrong: &str,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Option<String> {
        self.suggestions.did_you_mean(wrong, known)
    }

    /// The nearest of `known`, within the budget for comparisons.
    pub(crate) fn nearest<'k>(
        &mut self,
        wrong: &str,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Option<&'k str> {
        self.suggestions.nearest(wrong, known)
    }

    /// The diagnostics: errors, then warnings, each in the order of the text.
    pub(crate) fn into_diagnostics(mut self) -> Diagnostics {
        self.errors.sort_by_key(|(start, _)| *start);
        self.warnings.sort_by_key(|(start, _)| *start);
        let mut diagnostics = Diagnostics::default();
        self.errors.into_iter().chain(self.warnings).for_each(|(_, diagnostic)| diagnostics.add(diagnostic));
        diagnostics.add_omitted_errors(FILE_NAME, self.omitted_errors);
        diagnostics
    }

    fn section_of(&self, offset: usize) -> usize {
        self.section_starts.partition_point(|start| *start <= offset)
    }

    fn push_error(&mut self, range: Range<usize>, message: String, help: Option<String>) {
        if self.errors.len() == Diagnostics::KEPT_MAX {
            self.omitted_errors += 1;
            return;
        }
        let span = Span::from_range(self.text, range.clone());
        let diagnostic = Diagnostic { help, ..Diagnostic::error(FILE_NAME, Some(span), message) };
        self.errors.push((range.start, diagnostic));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnostics_are_sorted_by_offset() {
        let mut source = Source::new("a\nb\nc\n");
        for start in [4, 0, 2] {
            source.error(start..start + 1, start.to_string());
        }
        let messages: Vec<_> =
            source.into_diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect();
        assert_eq!(messages, ["0", "2", "4"]);
    }

    #[test]
    fn section_with_syntax_error_has_no_other_errors() {
        let mut source = Source::new("a = 1\n[b]\nc = \nd = 1\n[e]\nf = 1\n");
        source.syntax_error(14..14, "no value".to_owned(), None);
        for key in [0, 15, 26] {
            source.error(key..key + 1, format!("unknown {key}"));
        }
        let messages: Vec<_> =
            source.into_diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect();
        assert_eq!(messages, ["unknown 0", "no value", "unknown 26"]);
    }

    #[test]
    fn errors_beyond_maximum_are_counted() {
        let mut source = Source::new("x");
        (0..Diagnostics::KEPT_MAX + 7).for_each(|_| source.error(0..1, "x".to_owned()));
        let diagnostics = source.into_diagnostics();
        assert_eq!(
            (diagnostics.iter().count(), diagnostics.errors()),
            (Diagnostics::KEPT_MAX, Diagnostics::KEPT_MAX + 7)
        );
    }
}
