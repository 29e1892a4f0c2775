//! Why there is no backup, and why it is not restored.

use std::io;
use std::path::PathBuf;

use crate::error::OpenError;

/// Why no backup was made, or not noted. Nothing stands under its name then but what stood there before, unless it was only
/// not noted.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file of that name.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// There is a file of that name, and it is no backup that could be replaced by a newer one.
    #[error("{} is something else than a backup", .0.display())]
    SomethingElse(PathBuf),
    /// Nobody has served from this database.
    #[error("there is no database of PiCloud")]
    Nothing,
    /// The database has not been brought up to date.
    #[error("the database is that of an older PiCloud (schema {found}, this is {known})")]
    Older {
        /// Its schema.
        found: i64,
        /// The schema that this program knows.
        known: i64,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error("cannot read the database")]
    Read(#[source] sqlx::Error),
    /// The backup was made, and the database cannot be written.
    #[error("the backup is whole, but the database cannot note that it was made")]
    Note(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// SQLite cannot write the file.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The file cannot be made.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Why a backup was not restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be read, or not be copied where its tables would be brought up to date.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no backup of PiCloud", .0.display())]
    NoBackup(PathBuf),
    /// It is not as it was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that is known.
        what: String,
    },
    /// A newer PiCloud has made it.
    #[error("{} was made by a newer PiCloud ({version}, schema {found})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Who made it.
        version: String,
    },
    /// What is there would be lost.
    #[error("there are {apps} apps in the database")]
    NotEmpty {
        /// How many.
        apps: u64,
    },
    /// Somebody works with the database.
    #[error("the database is in use{}", holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default())]
    InUse {
        /// Who, where that is known.
        holder: Option<String>,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database did not take it.
    #[error("cannot restore into the database")]
    Database(#[from] sqlx::Error),
}
