//! The text of a manifest, and the faults found in it so far.

use std::ops::Range;

use crate::fault::{Fault, Place, nearest};
use crate::manifest::FILE_NAME;

/// The most faults that are kept: whoever has more has made one mistake many times.
pub(crate) const FAULTS_MAX: usize = 1000;

/// How much work all "did you mean" of a manifest may cost, in characters compared with characters. A few dozen
/// misspelt time zones fit, and a manifest of nothing but faults takes a fraction of a second.
const COMPARISONS_MAX: usize = 20_000_000;

/// A text and what is wrong with it.
pub(crate) struct Source<'t> {
    text: &'t str,
    /// Where sections begin: at the start and at each line that begins with `[`.
    sections: Vec<usize>,
    /// The sections with a syntax error, as indices, in order.
    broken: Vec<usize>,
    found: Vec<(usize, Fault)>,
    left_out: usize,
    comparisons_left: usize,
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
        let (broken, found) = (Vec::new(), Vec::new());
        Self { text, sections, broken, found, left_out: 0, comparisons_left: COMPARISONS_MAX }
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Keeps an error of the syntax. What the same section seems to say is then guesswork.
    pub(crate) fn syntax_error(&mut self, span: Range<usize>, message: String) {
        let section = self.section_of(span.start);
        if let Err(at) = self.broken.binary_search(&section) {
            self.broken.insert(at, section);
        }
        self.keep(span, message, None);
    }

    /// Keeps an error of the meaning, unless its section is broken: its faults would be those of the guess.
    pub(crate) fn error(&mut self, span: Range<usize>, message: String) {
        self.error_with(span, message, None);
    }

    /// The same with a word on what to do.
    pub(crate) fn error_with(&mut self, span: Range<usize>, message: String, advice: Option<String>) {
        if self.broken.binary_search(&self.section_of(span.start)).is_err() {
            self.keep(span, message, advice);
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
        let cost = known.clone().map(|name| name.len() * wrong.len()).sum();
        self.comparisons_left = self.comparisons_left.checked_sub(cost)?;
        nearest(wrong, known).map(|near| format!("did you mean `{near}`?"))
    }

    /// The faults in the order of their places.
    pub(crate) fn into_faults(mut self) -> Vec<Fault> {
        self.found.sort_by_key(|(start, _)| *start);
        let mut faults: Vec<Fault> = self.found.into_iter().map(|(_, fault)| fault).collect();
        if self.left_out > 0 {
            let more = format!("{} more faults are not shown", self.left_out);
            faults.push(Fault::error(FILE_NAME, None, more));
        }
        faults
    }

    fn section_of(&self, offset: usize) -> usize {
        self.sections.partition_point(|start| *start <= offset)
    }

    fn keep(&mut self, span: Range<usize>, message: String, advice: Option<String>) {
        if self.found.len() == FAULTS_MAX {
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
        let messages: Vec<_> = source.into_faults().into_iter().map(|fault| fault.message).collect();
        assert_eq!(messages, ["0", "2", "4"]);
    }

    #[test]
    fn a_section_with_a_syntax_error_has_no_other_faults() {
        let mut source = Source::new("a = 1\n[b]\nc = \nd = 1\n[e]\nf = 1\n");
        source.syntax_error(14..14, "no value".to_owned());
        for key in [0, 15, 26] {
            source.error(key..key + 1, format!("unknown {key}"));
        }
        let messages: Vec<_> = source.into_faults().into_iter().map(|fault| fault.message).collect();
        assert_eq!(messages, ["unknown 0", "no value", "unknown 26"]);
    }

    #[test]
    fn faults_beyond_the_bound_are_counted() {
        let mut source = Source::new("x");
        (0..FAULTS_MAX + 7).for_each(|_| source.error(0..1, "x".to_owned()));
        let faults = source.into_faults();
        assert_eq!(faults.len(), FAULTS_MAX + 1);
        assert_eq!(faults.last().unwrap().message, "7 more faults are not shown");
    }

    #[test]
    fn suggestions_end_when_they_have_cost_enough() {
        let mut source = Source::new("");
        let known = vec!["abcdefghij"; 10_000];
        let advised = (0..100).filter(|_| source.did_you_mean("abcdefghix", known.iter().copied()).is_some());
        assert_eq!(advised.count(), COMPARISONS_MAX / (10 * 10 * 10_000));
    }
}
