//! Backup of the whole database to one file, and restore, independent of the database.
//!
//! - [`tables`]: the copied tables and columns
//! - `file`: writes and verifies the file
//! - `value`: rows between databases
//! - [`error`]: the errors
//! - `crc32`: the checksum of the file
//!
//! Both work while nodes are running, on connections of their own. A backup is a consistent snapshot; a restore is
//! one transaction. Code for one database is in its `backup` module.

mod crc32;
pub mod error;
pub(crate) mod file;
pub mod tables;
pub(crate) mod value;

use std::path::Path;

use chrono::{DateTime, Utc};

use crate::Location;
use crate::{postgres, sqlite};
pub use error::{BackupError, RestoreError};
use file::{BackupWriter, VerifiedBackup};

/// The description of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// The PiCloud version that made it.
    pub version: String,
    /// The database that it was made from.
    pub database: String,
    /// The number of apps.
    pub apps: u64,
    /// The number of deploys.
    pub deploys: u64,
    /// The number of git objects.
    pub objects: u64,
    /// The size of the file in bytes.
    pub bytes: u64,
}

/// Writes a backup to a new file, or with `replace` over an earlier backup.
///
/// # Errors
/// The database does not exist or cannot be read, or the file cannot be written. Nothing was changed.
pub async fn back_up(from: &Location, file: &Path, replace: bool) -> Result<BackupInfo, BackupError> {
    let writer = BackupWriter::new(file, replace)?;
    match from {
        Location::Postgres(url) => postgres::backup::back_up(url, writer).await,
        Location::Sqlite(path) => sqlite::backup::back_up(path, writer).await,
    }
}

/// Records in the database when the latest backup was made, for [`Store::last_backup`](crate::Store::last_backup).
/// The backup itself contains that.
///
/// # Errors
/// The database cannot be written.
pub async fn note_backup(from: &Location, made_at: DateTime<Utc>) -> Result<(), BackupError> {
    match from {
        Location::Postgres(url) => postgres::backup::note(url, made_at).await.map_err(BackupError::Note),
        Location::Sqlite(path) => {
            sqlite::backup::note(path, made_at).await.map_err(|error| BackupError::Note(error.into()))
        }
    }
}

/// Options of a restore.
#[derive(Clone, Copy, Debug, Default)]
pub struct RestoreMode {
    /// Whether to replace the content of a database that is not empty.
    pub replace: bool,
    /// Whether schedules run at once. Otherwise those of all apps are on hold until a user resumes them: another node
    /// may still run them, or missed runs may not be wanted.
    pub run_schedules: bool,
}

impl RestoreMode {
    /// The cause of the hold on schedules, if any.
    pub(crate) fn hold(self, contents: &BackupInfo) -> Option<String> {
        let made_at = contents.made_at.format("%Y-%m-%dT%H:%M:%SZ");
        (!self.run_schedules).then(|| format!("the restore of a backup of {made_at}"))
    }
}

/// Restores a backup into an empty database.
///
/// # Errors
/// The file is not a backup, damaged or of a newer version, or the database is not empty, in use, or failed. Nothing
/// was changed, but the schema of the database may have been migrated.
pub async fn restore(file: &Path, into: &Location, mode: RestoreMode) -> Result<BackupInfo, RestoreError> {
    let backup = VerifiedBackup::new(file).await?;
    match into {
        Location::Postgres(url) => postgres::backup::restore(&backup, url, mode).await?,
        Location::Sqlite(path) => sqlite::backup::restore(&backup, path, mode).await?,
    }
    Ok(backup.contents)
}
