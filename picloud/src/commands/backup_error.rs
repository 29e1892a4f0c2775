//! Errors of `picloud backup` and `picloud restore`.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use store::OpenError;
use store::backup::{BackupError, RestoreError};

use crate::hint::Hint;
use crate::node::database_hint;
use crate::render::{count, with_causes};

/// An error of `picloud backup`.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupCommandError {
    #[error("{}{}", with_causes(.0), unchanged(.0))]
    Backup(BackupError),
    #[error("cannot remove older backups in {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("refusing to write a backup to a terminal")]
    Terminal,
    #[error("cannot write the backup to standard output")]
    Stdout(#[source] io::Error),
}

/// Whether the existing file was left unchanged.
fn unchanged(error: &BackupError) -> &'static str {
    if let BackupError::NotABackup(_) = error { "; the file is unchanged" } else { "" }
}

impl Hint for BackupCommandError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Backup(BackupError::Exists(_)) => "add --replace to overwrite it",
            Self::Backup(BackupError::NoDatabase) => "use the same --data-dir and DATABASE_URL as the node",
            Self::Backup(BackupError::OlderSchema { .. }) => {
                "back it up with that version, or start this version once to migrate it"
            }
            Self::Terminal => "write to a file, or to a pipe with  picloud backup - | ...",
            Self::Backup(BackupError::Open(error)) => return database_hint(error),
            Self::Backup(_) | Self::Folder { .. } | Self::Stdout(_) => return None,
        };
        Some(hint.into())
    }
}

/// An error of `picloud restore`.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreCommandError {
    #[error("{}", restore_message(.0))]
    Restore(RestoreError),
    #[error("cannot copy the backup from standard input")]
    Stdin(#[source] io::Error),
}

fn restore_message(error: &RestoreError) -> String {
    match error {
        RestoreError::NotEmpty { apps } => {
            let apps = count(usize::try_from(*apps).unwrap_or(usize::MAX), "app");
            format!("the database is not empty ({apps}); nothing was changed")
        }
        RestoreError::InUse { .. } | RestoreError::Open(OpenError::Newer { .. }) => with_causes(error),
        _ => with_causes(error) + "; nothing was changed",
    }
}

impl Hint for RestoreCommandError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let Self::Restore(error) = self else { return None };
        let hint = match error {
            RestoreError::Damaged { .. } => "use another backup",
            RestoreError::Newer { .. } => "restore it with that version or a later one",
            RestoreError::NotEmpty { .. } => "add --replace to replace all data in the database",
            RestoreError::InUse { .. } => "stop the node that uses it, and try again",
            RestoreError::Open(error) => return database_hint(error),
            RestoreError::NotABackup(_) | RestoreError::File { .. } | RestoreError::Database(_) => {
                return None;
            }
        };
        Some(hint.into())
    }
}
