//! Unresolved merge conflicts in a file.

use std::ops::Range;

/// The message of a diagnostic about a conflict marker.
pub const CONFLICT_MESSAGE: &str = "unresolved merge conflict";

/// The help of that diagnostic.
pub const CONFLICT_HELP: &str = "keep one of the two sides, and remove the lines of `<`, `=` and `>`";

/// The bytes of the first conflict marker that git wrote (git-merge(1), "How conflicts are presented").
pub fn conflict_marker(text: &str) -> Option<Range<usize>> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("<<<<<<< ") && text[at..].lines().any(|line| line == "=======") {
            return Some(at..at + 7);
        }
        at += line.len();
    }
    None
}
