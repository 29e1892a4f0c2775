//! The text of a manifest, and the faults found in it so far.

use std::ops::Range;

use crate::fault::{Fault, Faults, Place, Suggestions};
use crate::manifest::FILE_NAME;

/// A text and what is wrong with it.
pub(crate) struct Source<'t> {
    text: &'t str,
    /// Where sections begin: at the start and at each line that begins with `[`.
    sections: Vec<usize>,
    /// The sections with a syntax error, as indices, in order.
    broken: Vec<usize>,
    found: Vec<(usize, Fault)>,
    warnings: Vec<(usize, Fault)>,
    left_out: usize,
    suggestions: Suggestions,
}

impl<'t> Source<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let mut sections = vec![0];
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            if line.trim_start().starts_with('[') && start > 0 {
                sections.push(start);
            }
            start += line.len();
        }
        let suggestions = Suggestions::default();
        let (broken, found, warnings) = Default::default();
        Self { text, sections, broken, found, warnings, left_out: 0, suggestions }
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Keeps an error of the syntax, with a word on what to do. What the same section seems to say is then guesswork.
    pub(crate) fn syntax_error(&mut self, span: Range<usize>, message: String, advice: Option<String>) {
        let section = self.section_of(span.start);
        if let Err(at) = self.broken.binary_search(&section) {
            self.broken.insert(at, section);
        }
        self.keep(span, message, advice);
    }

    /// Keeps an error of the meaning, unless its section is broken: its faults would be those of the guess.
    pub(crate) fn error(&mut self, span: Range<usize>, message: String) {
        self.error_with(span, message, None);
    }

    /// The same with a word on what to do.
    pub(crate) fn error_with(&mut self, span: Range<usize>, message: String, advice: Option<String>) {
        // What stands nowhere is guessed where something is broken.
        let is_guess = span.is_empty() && !self.broken.is_empty();
        if !is_guess && self.broken.binary_search(&self.section_of(span.start)).is_err() {
            self.keep(span, message, advice);
        }
    }

    /// Keeps a warning, with a word on what to do. It stands in nobody's way.
    pub(crate) fn warning(&mut self, span: Range<usize>, message: String, advice: String) {
        if self.warnings.len() < Faults::KEPT_MAX {
            let place = Place::of_span(self.text, span.clone());
            let fault = Fault { advice: Some(advice), ..Fault::warning(FILE_NAME, Some(place), message) };
            self.warnings.push((span.start, fault));
        }
    }

    /// The line that `offset` is on, counted from 1.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        Place::of_span(self.text, offset..offset).line
    }

    /// Whether no error was found.
    pub(crate) fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// The advice to take the nearest of `known`, while comparing is still cheap enough.
    pub(crate) fn did_you_mean<'k>(
        &mut self,
        wrong: &str,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Option<String> {
        self.suggestions.did_you_mean(wrong, known)
    }

    /// The nearest of `known`, while comparing is still cheap enough.
    pub(crate) fn nearest<'k>(
        &mut self,
        wrong: &str,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Option<&'k str> {
        self.suggestions.nearest(wrong, known)
    }

    /// The faults in the order of their places.
    pub(crate) fn into_faults(mut self) -> Faults {
        self.found.sort_by_key(|(start, _)| *start);
        self.warnings.sort_by_key(|(start, _)| *start);
        let mut faults = Faults::default();
        self.found.into_iter().chain(self.warnings).for_each(|(_, fault)| faults.add(fault));
        faults.leave_out(FILE_NAME, self.left_out);
        faults
    }

    fn section_of(&self, offset: usize) -> usize {
        self.sections.partition_point(|start| *start <= offset)
    }

    fn keep(&mut self, span: Range<usize>, message: String, advice: Option<String>) {
        if self.found.len() == Faults::KEPT_MAX {
            self.left_out += 1;
            return;
        }
        let place = Place::of_span(self.text, span.clone());
        let fault = Fault { advice, ..Fault::error(FILE_NAME, Some(place), message) };
        self.found.push((span.start, fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_the_order_of_their_places() {
        let mut source = Source::new("a\nb\nc\n");
        for start in [4, 0, 2] {
            source.error(start..start + 1, start.to_string());
        }
        let messages: Vec<_> = source.into_faults().iter().map(|fault| fault.message.clone()).collect();
        assert_eq!(messages, ["0", "2", "4"]);
    }

    #[test]
    fn a_section_with_a_syntax_error_has_no_other_faults() {
        let mut source = Source::new("a = 1\n[b]\nc = \nd = 1\n[e]\nf = 1\n");
        source.syntax_error(14..14, "no value".to_owned(), None);
        for key in [0, 15, 26] {
            source.error(key..key + 1, format!("unknown {key}"));
        }
        let messages: Vec<_> = source.into_faults().iter().map(|fault| fault.message.clone()).collect();
        assert_eq!(messages, ["unknown 0", "no value", "unknown 26"]);
    }

    #[test]
    fn faults_beyond_the_bound_are_counted() {
        let mut source = Source::new("x");
        (0..Faults::KEPT_MAX + 7).for_each(|_| source.error(0..1, "x".to_owned()));
        let faults = source.into_faults();
        assert_eq!((faults.iter().count(), faults.errors()), (Faults::KEPT_MAX, Faults::KEPT_MAX + 7));
    }
}
