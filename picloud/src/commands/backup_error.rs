//! Why a backup was not made, or not restored.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use store::OpenError;
use store::backup::{BackupError, RestoreError};

use crate::hint::Hint;
use crate::node::database_hint;
use crate::words::{count, with_causes};

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBackedUp {
    #[error("{}{}", with_causes(.0), left(.0))]
    Backup(BackupError),
    #[error("cannot remove older backups in {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("a backup is not written to a terminal")]
    Terminal,
    #[error("cannot pass the backup on")]
    Pass(#[source] io::Error),
}

/// What was left as it is.
fn left(error: &BackupError) -> &'static str {
    if let BackupError::SomethingElse(_) = error { ", and is left as it is" } else { "" }
}

impl Hint for NotBackedUp {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Backup(BackupError::Exists(_)) => "add --replace to put a newer backup in its place",
            Self::Backup(BackupError::Nothing) => "are --data-dir and DATABASE_URL those of the node?",
            Self::Backup(BackupError::Older { .. }) => {
                "back it up with that version, or start this one on it once, which brings it up to date"
            }
            Self::Terminal => "name a file, or send it on with  picloud backup - | ...",
            Self::Backup(BackupError::Open(error)) => return database_hint(error),
            Self::Backup(_) | Self::Folder { .. } | Self::Pass(_) => return None,
        };
        Some(hint.into())
    }
}

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRestored {
    #[error("{}", restore_message(.0))]
    Restore(RestoreError),
    #[error("cannot pass the backup on")]
    Pass(#[source] io::Error),
}

fn restore_message(error: &RestoreError) -> String {
    match error {
        RestoreError::NotEmpty { apps } => {
            let apps = count(usize::try_from(*apps).unwrap_or(usize::MAX), "app");
            let verb = if apps.starts_with("1 ") { "is" } else { "are" };
            format!("there {verb} {apps} in the database; nothing was changed")
        }
        RestoreError::InUse { .. } | RestoreError::Open(OpenError::Newer { .. }) => with_causes(error),
        _ => with_causes(error) + "; nothing was changed",
    }
}

impl Hint for NotRestored {
    fn hint(&self) -> Option<Cow<'static, str>> {
        let Self::Restore(error) = self else { return None };
        let hint = match error {
            RestoreError::Damaged { .. } => "take another one",
            RestoreError::Newer { .. } => "restore it with that version or a later one",
            RestoreError::NotEmpty { .. } => {
                "add --replace to put the backup in the place of everything that is there"
            }
            RestoreError::InUse { .. } => "stop the node that works with it, and restore again",
            RestoreError::Open(error) => return database_hint(error),
            RestoreError::NoBackup(_) | RestoreError::File { .. } | RestoreError::Database(_) => return None,
        };
        Some(hint.into())
    }
}
