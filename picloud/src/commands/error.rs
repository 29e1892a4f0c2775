//! Errors of commands.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::hint::Hint;

/// An error of a command: any error with a hint.
#[derive(Debug)]
pub(crate) struct CommandError(Box<dyn Hint + Send + Sync>);

impl CommandError {
    /// A hint to resolve the error.
    pub(crate) fn hint(&self) -> Option<Cow<'static, str>> {
        self.0.hint()
    }
}

impl<E: Hint + Send + Sync + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for CommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// I/O errors of all commands.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IoError {
    #[error("cannot read standard input")]
    ReadInput(#[source] io::Error),
    #[error("standard input is not JSON")]
    InputJson(#[source] serde_json::Error),
    #[error("cannot write to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
    #[error("cannot serialize the response as JSON")]
    Json(#[source] serde_json::Error),
    #[error("unexpected event from the server")]
    Event(#[source] serde_json::Error),
    #[error("interrupted; nothing was changed")]
    Interrupted,
}

impl Hint for IoError {}
