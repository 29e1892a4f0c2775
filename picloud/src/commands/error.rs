//! Why a verb failed.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::hint::Hint;

/// Why a verb failed: any error that knows what helps.
#[derive(Debug)]
pub(crate) struct CommandError(Box<dyn Hint + Send + Sync>);

impl CommandError {
    /// What helps, if anything does.
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

/// What can go wrong with any verb.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerbError {
    #[error("cannot read standard input")]
    ReadInput(#[source] io::Error),
    #[error("standard input holds no JSON")]
    NoJson(#[source] serde_json::Error),
    #[error("cannot write to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
    #[error("cannot write the answer as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the server sent an event that is not understood here")]
    Event(#[source] serde_json::Error),
    #[error("stopped; nothing was changed")]
    Stopped,
}

impl Hint for VerbError {}
