//! Conflicts that a merge has left in a file.

use std::ops::Range;

/// What is wrong, and what to do.
pub const CONFLICT: (&str, &str) = (
    "a merge has left a conflict that is not resolved",
    "keep one of the two sides, and leave the lines of `<`, `=` and `>` out",
);

/// Where git has marked the beginning of a conflict (git-merge(1), "How conflicts are presented").
pub fn conflict(text: &str) -> Option<Range<usize>> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("<<<<<<< ") && text[at..].lines().any(|line| line == "=======") {
            return Some(at..at + 7);
        }
        at += line.len();
    }
    None
}
