//! The verbs of the command line, one room each.

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod init;
pub(crate) mod schema;
pub(crate) mod serve;

use std::io::{self, Write as _};

/// Writes to standard output. A reader that has seen enough and left is no failure.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::Print(error)),
        _ => Ok(()),
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Start(#[from] crate::node::StartError),
    #[error(transparent)]
    Init(#[from] init::InitError),
    #[error(transparent)]
    Check(#[from] check::ReadError),
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
}
