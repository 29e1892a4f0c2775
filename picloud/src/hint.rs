//! What helps against an error, which the error itself knows.

use std::borrow::Cow;
use std::error::Error;

/// An error that somebody at a terminal reads: what is wrong stands in its message, what helps in its hint.
pub(crate) trait Hint: Error {
    /// What helps, in one line, if anything does.
    fn hint(&self) -> Option<Cow<'static, str>> {
        None
    }
}
