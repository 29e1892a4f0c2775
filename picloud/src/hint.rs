//! Errors with hints.

use std::borrow::Cow;
use std::error::Error;

/// An error with a hint how to resolve it.
pub(crate) trait Hint: Error {
    /// The hint, in one line.
    fn hint(&self) -> Option<Cow<'static, str>> {
        None
    }
}
