//! Errors of backup and restore.

use std::io;
use std::path::PathBuf;

use crate::error::OpenError;

/// Why no backup was made, or not recorded. An existing file is unchanged then, except for [`BackupError::Note`].
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file exists.
    #[error("{} already exists", .0.display())]
    Exists(PathBuf),
    /// The file exists and is not a backup, so that it is not replaced.
    #[error("{} exists and is not a backup", .0.display())]
    NotABackup(PathBuf),
    /// The database was never used.
    #[error("no PiCloud database found")]
    NoDatabase,
    /// The schema is older than this binary.
    #[error("the database has the schema of an older PiCloud (schema {found}, this version has {known})")]
    OlderSchema {
        /// The schema version of the database.
        found: i64,
        /// The schema version of this binary.
        known: i64,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error("cannot read the database")]
    Read(#[source] sqlx::Error),
    /// The backup was made, but the database cannot be written.
    #[error("the backup is complete, but cannot be recorded in the database")]
    Note(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// SQLite cannot write the file.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        source: sqlx::Error,
    },
    /// The file cannot be created.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

/// Why a backup was not restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be read, or not be copied for its migration.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The file is not a backup.
    #[error("{} is not a PiCloud backup", .0.display())]
    NotABackup(PathBuf),
    /// The file is damaged.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer PiCloud made the backup.
    #[error("{} was made by a newer PiCloud ({version}, schema {found})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The PiCloud version that made it.
        version: String,
    },
    /// The database is not empty.
    #[error("the database is not empty: it has {apps} apps")]
    NotEmpty {
        /// The number of apps.
        apps: u64,
    },
    /// The database is in use.
    #[error("the database is in use{}", holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default())]
    InUse {
        /// The process that uses it, if known.
        holder: Option<String>,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database failed.
    #[error("cannot restore into the database")]
    Database(#[from] sqlx::Error),
}
