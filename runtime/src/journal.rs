//! What an execution learned that costs too much to learn again in its next pass.
//!
//! Every pass asks the same questions in the same order, so an answer is found by its place. It is only given for the
//! same question: a pass that parts from those before drops the answers from there on.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use ring::digest::{Context, SHA256};

/// The maximum number of answers, and their total length in bytes. What does not fit is found out again.
const ENTRIES_MAX: usize = 1000;
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The answers of one execution, for all its passes.
#[derive(Default)]
pub struct Journal(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    entries: Vec<(Question, Bytes)>,
    bytes: usize,
}

/// A hash of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question([u8; 32]);

impl Question {
    /// The question of a kind about these parts.
    pub(crate) fn new(kind: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Context::new(&SHA256);
        for part in std::iter::once(kind.as_bytes()).chain(parts.iter().copied()) {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.finish().as_ref());
        Self(bytes)
    }
}

impl Journal {
    /// The answer at this place. If another question has been asked there, it is dropped with all later ones.
    pub(crate) fn answer(&self, at: usize, question: Question) -> Option<Bytes> {
        let mut journal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match journal.entries.get(at) {
            Some((asked, answer)) if *asked == question => Some(answer.clone()),
            Some(_) => {
                journal.entries.truncate(at);
                journal.bytes = journal.entries.iter().map(|(_, answer)| answer.len()).sum();
                None
            }
            None => None,
        }
    }

    /// Records the answer at this place, if it fits and all places before have theirs.
    pub(crate) fn record(&self, at: usize, question: Question, answer: &[u8]) {
        let mut journal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = journal.bytes + answer.len();
        if journal.entries.len() == at && at < ENTRIES_MAX && bytes <= BYTES_MAX {
            journal.entries.push((question, Bytes::copy_from_slice(answer)));
            journal.bytes = bytes;
        }
    }
}

/// Answers can be secret.
impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Question {
        Question::new("test", &[text.as_bytes()])
    }

    #[test]
    fn answer_is_given_for_the_same_question_at_the_same_place() {
        let journal = Journal::default();
        for (at, text) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(journal.answer(at, ask(text)), None);
            journal.record(at, ask(text), text.as_bytes());
        }
        assert_eq!(journal.answer(1, ask("b")).as_deref(), Some(&b"b"[..]));
        assert_eq!(journal.answer(1, ask("x")), None);
        assert_eq!(journal.answer(2, ask("c")), None, "it belongs to another beginning");
        assert_eq!(journal.answer(0, ask("a")).as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn questions_with_other_parts_differ() {
        assert_ne!(Question::new("k", &[b"ab", b"c"]), Question::new("k", &[b"a", b"bc"]));
        assert_ne!(Question::new("k", &[b"a"]), Question::new("ka", &[]));
    }

    #[test]
    fn journal_is_bounded() {
        let journal = Journal::default();
        journal.record(0, ask("large"), &vec![0; BYTES_MAX + 1]);
        assert_eq!(journal.answer(0, ask("large")), None);
        for at in 0..=ENTRIES_MAX {
            journal.record(at, ask("a"), b"1");
        }
        assert!(journal.answer(ENTRIES_MAX - 1, ask("a")).is_some());
        assert_eq!(journal.answer(ENTRIES_MAX, ask("a")), None);
        // A gap would give answers to other questions.
        let gap = Journal::default();
        gap.record(1, ask("a"), b"1");
        assert_eq!(gap.answer(1, ask("a")), None);
    }
}
