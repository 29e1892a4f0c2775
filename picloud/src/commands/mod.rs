//! The verbs of the command line, one room each.

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod deploys;
pub(crate) mod dev;
pub(crate) mod executions;
mod folder;
pub(crate) mod init;
pub(crate) mod invoke;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod restore;
pub(crate) mod schedules;
pub(crate) mod schema;
pub(crate) mod secrets;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod status;
pub(crate) mod tokens;

use std::io::{self, Write as _};
use std::path::PathBuf;

use store::backup::{BackupError, RestoreError};

use crate::words;

/// Writes to standard output. A reader that has seen enough and left is no failure.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), CommandError> {
    match io::stdout().lock().write_all(text.as_ref()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::Print(error)),
        _ => Ok(()),
    }
}

/// Says something to people: with the colours that it has, unless nobody would see them ([NO_COLOR](https://no-color.org) is
/// set, or standard output is no terminal).
pub(crate) fn say(text: impl AsRef<str>) -> Result<(), CommandError> {
    match anstream::stdout().lock().write_all(text.as_ref().as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::Print(error)),
        _ => Ok(()),
    }
}

/// Prints what a server answered: as JSON for programs, or in `words` for people.
pub(crate) fn show<T: serde::Serialize>(
    answer: &T,
    json: bool,
    words: impl FnOnce(&T) -> String,
) -> Result<(), CommandError> {
    if json {
        print(format!("{}\n", serde_json::to_string_pretty(answer).map_err(CommandError::Json)?))
    } else {
        say(words(answer))
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
    Read(#[from] folder::ReadError),
    #[error("cannot read standard input")]
    ReadInput(#[source] io::Error),
    #[error("cannot write to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
    #[error("cannot write the answer as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the server sent an event that is not understood here")]
    Event(#[source] serde_json::Error),
    #[error(transparent)]
    Client(#[from] crate::client::ClientError),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
    #[error("{}", words::backup::not_made(.0))]
    Backup(BackupError),
    #[error("{}", words::backup::not_restored(.0))]
    Restore(RestoreError),
    #[error("cannot remove older backups in {}", path.display())]
    Folder { path: std::path::PathBuf, source: io::Error },
    #[error("stopped; nothing was changed")]
    Stopped,
    #[error("a backup is not written to a terminal; name a file, or send it on with  picloud backup - | ...")]
    Terminal,
    #[error("cannot pass the backup on")]
    Pass(#[source] io::Error),
}
