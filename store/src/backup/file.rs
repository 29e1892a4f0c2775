//! The file format of backups: an SQLite database with the schema of the embedded one, and a table that describes the
//! backup.
//!
//! Its `application_id` identifies it. Its `user_version` is the CRC-32 of the file with these four bytes as zeros:
//! SQLite detects damage to its own structures, the checksum detects damage to data.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tempfile::NamedTempFile;

use super::error::{BackupError, RestoreError};
use super::{BackupInfo, crc32};
use crate::scratch::ScratchDir;
use crate::sqlite::{connect, migration, state_file, status};

/// "PiCB" in the header of SQLite.
const APPLICATION_ID: u32 = u32::from_be_bytes(*b"PiCB");

/// Offsets in the header (<https://www.sqlite.org/fileformat.html>).
const MAGIC: &[u8] = b"SQLite format 3\0";
const USER_VERSION: usize = 60;
const APPLICATION: usize = 68;
const HEADER: usize = 100;

/// A backup that is being written, in a temporary directory next to its target, because SQLite creates side files.
/// The directory is removed on drop, or by the next backup if the process is killed.
pub(crate) struct BackupWriter {
    file: NamedTempFile,
    _folder: ScratchDir,
    target: PathBuf,
    replace: bool,
}

impl BackupWriter {
    /// Creates the empty file with access for its owner only.
    pub(crate) fn new(target: &Path, replace: bool) -> Result<Self, BackupError> {
        // Only open regular files: reading a pipe would never end.
        if let Ok(there) = target.metadata() {
            if !replace {
                return Err(BackupError::Exists(target.to_owned()));
            }
            if !there.is_file() || !File::open(target).is_ok_and(is_backup) {
                return Err(BackupError::NotABackup(target.to_owned()));
            }
        }
        let failed = |source| BackupError::File { path: target.to_owned(), source };
        let folder = ScratchDir::new_in(parent_of(target)).map_err(failed)?;
        let file = NamedTempFile::new_in(folder.path()).map_err(failed)?;
        Ok(Self { file, _folder: folder, target: target.to_owned(), replace })
    }

    /// The path of the file that is being written.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Empties the file, to begin again.
    pub(crate) fn clear(&self) -> Result<(), BackupError> {
        let cleared = self.file.as_file().set_len(0);
        cleared.map_err(|source| BackupError::File { path: self.target.clone(), source })
    }

    /// Opens the file for writing. It is discarded unless it is finished.
    pub(crate) async fn open(&self) -> Result<SqliteConnection, BackupError> {
        let connection = SqliteConnection::connect_with(&connect::scratch_options(self.path())).await;
        connection.map_err(|source| self.write_error(source))
    }

    /// Reports an error of SQLite for the target.
    pub(crate) fn write_error(&self, source: sqlx::Error) -> BackupError {
        BackupError::Write { path: self.target.clone(), source }
    }

    /// Describes the backup, moves it to its target and syncs it to disk.
    pub(crate) async fn finish(
        mut self,
        mut connection: SqliteConnection,
        database: &str,
    ) -> Result<BackupInfo, BackupError> {
        write_info(&mut connection, database).await.map_err(|source| self.write_error(source))?;
        let contents = read_info(&mut connection).await.map_err(|source| self.write_error(source))?;
        connection.close().await.map_err(|source| self.write_error(source))?;
        let failed = |source| BackupError::File { path: self.target.clone(), source };
        let bytes = seal(self.file.as_file_mut()).map_err(failed)?;
        let put = match self.replace {
            true => self.file.persist(&self.target),
            false => self.file.persist_noclobber(&self.target),
        };
        match put {
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists(self.target.clone()));
            }
            put => put.map_err(|error| failed(error.error))?,
        };
        File::open(parent_of(&self.target)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(BackupInfo { bytes, ..contents })
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

async fn write_info(connection: &mut SqliteConnection, database: &str) -> Result<(), sqlx::Error> {
    // A database that was a backup has the table already.
    let table = "DROP TABLE IF EXISTS backup;
        CREATE TABLE backup (
            made_at  TEXT NOT NULL,
            version  TEXT NOT NULL,  -- of the PiCloud that made it
            database TEXT NOT NULL   -- where it comes from
        )";
    sqlx::raw_sql(table).execute(&mut *connection).await?;
    // The file can be used as a database, too.
    state_file::mark_restored(&mut *connection).await?;
    let made_at = Utc::now();
    status::note_backup(connection, made_at).await?;
    sqlx::query("INSERT INTO backup (made_at, version, database) VALUES ($1, $2, $3)")
        .bind(made_at)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(database)
        .execute(&mut *connection)
        .await?;
    let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 0");
    sqlx::raw_sql(AssertSqlSafe(marks)).execute(connection).await?;
    Ok(())
}

/// Reads the description, without the size of the file.
async fn read_info(connection: &mut SqliteConnection) -> Result<BackupInfo, sqlx::Error> {
    let (made_at, version, database): (DateTime<Utc>, String, String) =
        sqlx::query_as("SELECT made_at, version, database FROM backup").fetch_one(&mut *connection).await?;
    let (apps, deploys, objects): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM apps), (SELECT count(*) FROM deploys), (SELECT count(*) FROM objects)",
    )
    .fetch_one(connection)
    .await?;
    Ok(BackupInfo {
        made_at,
        version,
        database,
        apps: apps.unsigned_abs(),
        deploys: deploys.unsigned_abs(),
        objects: objects.unsigned_abs(),
        bytes: 0,
    })
}

/// Writes the checksum into the header and syncs the file.
fn seal(file: &mut File) -> io::Result<u64> {
    let (sum, _) = checksum(file)?;
    file.seek(SeekFrom::Start(USER_VERSION as u64))?;
    file.write_all(&sum.to_be_bytes())?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Computes the checksum, and reads the one in the header.
fn checksum(file: &mut File) -> io::Result<(u32, u32)> {
    file.seek(SeekFrom::Start(0))?;
    let mut chunk = vec![0; 1 << 16];
    file.read_exact(&mut chunk[..HEADER])?;
    let written = number(&chunk, USER_VERSION);
    chunk[USER_VERSION..USER_VERSION + 4].fill(0);
    let mut sum = crc32::update(crc32::START, &chunk[..HEADER]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok((crc32::end(sum), written)),
            Ok(read) => sum = crc32::update(sum, &chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_backup(mut file: File) -> bool {
    let mut header = [0; HEADER];
    file.read_exact(&mut header).is_ok() && is_header_of_backup(&header)
}

fn is_header_of_backup(header: &[u8; HEADER]) -> bool {
    header.starts_with(MAGIC) && number(header, APPLICATION) == APPLICATION_ID
}

fn number(header: &[u8], at: usize) -> u32 {
    header[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A verified backup with the schema of this binary.
pub(crate) struct VerifiedBackup {
    /// The file itself, or a migrated copy.
    path: PathBuf,
    /// Keeps the copy until drop.
    _copy: Option<(NamedTempFile, ScratchDir)>,
    pub(crate) contents: BackupInfo,
    name: PathBuf,
}

impl VerifiedBackup {
    /// Reports damage for the file that was passed in.
    pub(crate) fn damaged(&self, what: &str) -> RestoreError {
        RestoreError::Damaged { path: self.name.clone(), what: what.to_owned() }
    }

    /// Verifies whether `path` can be restored. The file is only read.
    pub(crate) async fn new(path: &Path) -> Result<Self, RestoreError> {
        let failed = |source| RestoreError::File { path: path.to_owned(), source };
        let damaged = |what: String| RestoreError::Damaged { path: path.to_owned(), what };
        let mut file = File::open(path).map_err(failed)?;
        if !is_backup(file.try_clone().map_err(failed)?) {
            return Err(RestoreError::NotABackup(path.to_owned()));
        }
        let (found, written) = checksum(&mut file).map_err(failed)?;
        if found != written {
            return Err(damaged("checksum mismatch".to_owned()));
        }
        let bytes = file.metadata().map_err(failed)?.len();
        let unreadable = |error: sqlx::Error| damaged(error.to_string());
        let mut connection = SqliteConnection::connect_with(&immutable(path)).await.map_err(unreadable)?;
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut connection)
            .await
            .map_err(unreadable)?;
        if verdict != "ok" {
            return Err(damaged(verdict));
        }
        let contents = BackupInfo { bytes, ..read_info(&mut connection).await.map_err(unreadable)? };
        let schema: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&mut connection)
            .await
            .map_err(unreadable)?;
        connection.close().await.ok();
        let found = schema.unwrap_or_default();
        if found > migration::latest_version() {
            let version = contents.version.clone();
            return Err(RestoreError::Newer { path: path.to_owned(), found, version });
        }
        if found == migration::latest_version() {
            return Ok(Self { path: path.to_owned(), _copy: None, contents, name: path.to_owned() });
        }
        let folder = ScratchDir::new().map_err(failed)?;
        let mut copy = NamedTempFile::new_in(folder.path()).map_err(failed)?;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| io::copy(&mut file, copy.as_file_mut()))
            .map_err(failed)?;
        let mut connection = SqliteConnection::connect_with(&connect::scratch_options(copy.path())).await?;
        migration::migrate(&mut connection).await?;
        connection.close().await?;
        Ok(Self {
            path: copy.path().to_owned(),
            _copy: Some((copy, folder)),
            contents,
            name: path.to_owned(),
        })
    }

    /// Opens it for reading, with a small row buffer, because rows can be large.
    pub(crate) async fn open(&self) -> Result<SqliteConnection, sqlx::Error> {
        SqliteConnection::connect_with(&immutable(&self.path).row_buffer_size(8)).await
    }

    /// The URI for ATTACH.
    pub(crate) fn uri(&self) -> String {
        connect::uri(&self.path, "mode=ro&immutable=1")
    }
}

/// Backups do not change: they are read without locks and side files.
fn immutable(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).immutable(true)
}
