//! The whole platform in one file, the same for both databases.
//!
//! - [`tables`]: what is copied
//! - `file`: the file, from an empty one to its place, and from its name to one that can be trusted
//! - `value`: rows on their way
//! - [`error`]: why there is no backup, and why it is not restored
//! - `crc32`: the checksum of the file
//!
//! Both directions work beside running nodes, on connections of their own. A backup sees the database at one moment,
//! whatever is pushed meanwhile; a restore is one transaction. What belongs to one database alone is in its `backup` room.

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
use file::{Checked, Draft};

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// The version of PiCloud that made it.
    pub version: String,
    /// The database that it comes from.
    pub database: String,
    /// How many apps there are.
    pub apps: u64,
    /// How many deploys.
    pub deploys: u64,
    /// How many git objects.
    pub objects: u64,
    /// The bytes of the file.
    pub bytes: u64,
}

/// Writes everything that is in the database to a new file, with `replace` also in the place of an earlier backup.
///
/// # Errors
/// There is no such database, it cannot be read, or the file cannot be written. Nothing has changed then.
pub async fn back_up(from: &Location, file: &Path, replace: bool) -> Result<Contents, BackupError> {
    let draft = Draft::new(file, replace)?;
    match from {
        Location::Postgres(url) => postgres::backup::back_up(url, draft).await,
        Location::Sqlite(path) => sqlite::backup::back_up(path, draft).await,
    }
}

/// Notes in the database when its latest backup was made, for [`Store::last_backup`](crate::Store::last_backup). The backup
/// itself has that in it.
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

/// How a backup is restored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restoring {
    /// Into a database that holds something as well, which is then gone.
    pub replace: bool,
    /// Schedules run by the clock at once. Otherwise those of all apps are held until somebody resumes them: another node
    /// may be running them still, and what they missed may be wanted no more.
    pub run_schedules: bool,
}

impl Restoring {
    /// Why schedules are held, if they are.
    pub(crate) fn hold(self, contents: &Contents) -> Option<String> {
        let made_at = contents.made_at.format("%Y-%m-%dT%H:%M:%SZ");
        (!self.run_schedules).then(|| format!("the restore of a backup of {made_at}"))
    }
}

/// Fills an empty database from a backup.
///
/// # Errors
/// The file is no backup, damaged or of a newer version, or the database is not empty, in use, or failed. Nothing has
/// changed then but that tables of an older version may have been brought up to date.
pub async fn restore(file: &Path, into: &Location, how: Restoring) -> Result<Contents, RestoreError> {
    let backup = Checked::new(file).await?;
    match into {
        Location::Postgres(url) => postgres::backup::restore(&backup, url, how).await?,
        Location::Sqlite(path) => sqlite::backup::restore(&backup, path, how).await?,
    }
    Ok(backup.contents)
}
