//! The file of a backup: an SQLite database with the tables of the embedded one, and one more that says what it is.
//!
//! It tells itself from other databases by its `application_id`. Its `user_version` is the CRC-32 of the file with those four
//! bytes as zeros: SQLite finds what breaks its own structures, and this what happened to the bytes between them.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tempfile::NamedTempFile;

use super::error::{BackupError, RestoreError};
use super::{Contents, crc32};
use crate::scratch::ScratchFolder;
use crate::sqlite::{connect, status};

/// "PiCB", as SQLite's header has it.
const APPLICATION_ID: u32 = u32::from_be_bytes(*b"PiCB");

/// Where the header (<https://www.sqlite.org/fileformat.html>) has what.
const MAGIC: &[u8] = b"SQLite format 3\0";
const USER_VERSION: usize = 60;
const APPLICATION: usize = 68;
const HEADER: usize = 100;

/// A backup that is being written, in a folder beside the place where it will be: SQLite makes files beside it for a while.
/// All of them are gone when it is dropped, or with the next backup where the process is killed.
pub(crate) struct Draft {
    file: NamedTempFile,
    _folder: ScratchFolder,
    target: PathBuf,
    replace: bool,
}

impl Draft {
    /// Makes the empty file, for its owner alone: it will hold all the code.
    pub(crate) fn new(target: &Path, replace: bool) -> Result<Self, BackupError> {
        // What stands there is only opened where it is a file: a pipe would never be opened to its end.
        if let Ok(there) = target.metadata() {
            if !replace {
                return Err(BackupError::Exists(target.to_owned()));
            }
            if !there.is_file() || !File::open(target).is_ok_and(is_backup) {
                return Err(BackupError::SomethingElse(target.to_owned()));
            }
        }
        let failed = |source| BackupError::File { path: target.to_owned(), source };
        let folder = ScratchFolder::new_in(folder_of(target)).map_err(failed)?;
        let file = NamedTempFile::new_in(folder.path()).map_err(failed)?;
        Ok(Self { file, _folder: folder, target: target.to_owned(), replace })
    }

    /// Where it is written.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Opens it, to write what would be thrown away if it did not come to its end.
    pub(crate) async fn open(&self) -> Result<SqliteConnection, BackupError> {
        let connection = SqliteConnection::connect_with(&connect::scratch(self.path())).await;
        connection.map_err(|source| self.unwritten(source))
    }

    /// What SQLite said, of the file that was asked for.
    pub(crate) fn unwritten(&self, source: sqlx::Error) -> BackupError {
        BackupError::Write { path: self.target.clone(), source }
    }

    /// Says what it is and puts it in its place. From then on it is there, even after a power cut.
    pub(crate) async fn finish(
        mut self,
        mut connection: SqliteConnection,
        database: &str,
    ) -> Result<Contents, BackupError> {
        describe(&mut connection, database).await.map_err(|source| self.unwritten(source))?;
        let contents = read_contents(&mut connection).await.map_err(|source| self.unwritten(source))?;
        connection.close().await.map_err(|source| self.unwritten(source))?;
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
        File::open(folder_of(&self.target)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(Contents { bytes, ..contents })
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

async fn describe(connection: &mut SqliteConnection, database: &str) -> Result<(), sqlx::Error> {
    // One may have been served from a backup, which is a database as good as any.
    let table = "DROP TABLE IF EXISTS backup;
        CREATE TABLE backup (
            made_at  TEXT NOT NULL,
            version  TEXT NOT NULL,  -- of the PiCloud that made it
            database TEXT NOT NULL   -- where it comes from
        )";
    sqlx::raw_sql(table).execute(&mut *connection).await?;
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

/// What the file says of itself, apart from its size.
async fn read_contents(connection: &mut SqliteConnection) -> Result<Contents, sqlx::Error> {
    let (made_at, version, database): (DateTime<Utc>, String, String) =
        sqlx::query_as("SELECT made_at, version, database FROM backup").fetch_one(&mut *connection).await?;
    let (apps, deploys, objects): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM apps), (SELECT count(*) FROM deploys), (SELECT count(*) FROM objects)",
    )
    .fetch_one(connection)
    .await?;
    Ok(Contents {
        made_at,
        version,
        database,
        apps: apps.unsigned_abs(),
        deploys: deploys.unsigned_abs(),
        objects: objects.unsigned_abs(),
        bytes: 0,
    })
}

/// Writes the checksum into the header, and everything to the disk.
fn seal(file: &mut File) -> io::Result<u64> {
    let (sum, _) = checksum(file)?;
    file.seek(SeekFrom::Start(USER_VERSION as u64))?;
    file.write_all(&sum.to_be_bytes())?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// The file's checksum as it is and as it should be.
fn checksum(file: &mut File) -> io::Result<(u32, u32)> {
    file.seek(SeekFrom::Start(0))?;
    let mut piece = vec![0; 1 << 16];
    file.read_exact(&mut piece[..HEADER])?;
    let written = number(&piece, USER_VERSION);
    piece[USER_VERSION..USER_VERSION + 4].fill(0);
    let mut sum = crc32::update(crc32::START, &piece[..HEADER]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((crc32::end(sum), written)),
            Ok(read) => sum = crc32::update(sum, &piece[..read]),
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

/// A backup that is whole, and whose tables are those of this program.
pub(crate) struct Checked {
    /// The file itself, or a copy of it that was brought up to date.
    path: PathBuf,
    /// Keeps the copy until the end.
    _copy: Option<(NamedTempFile, ScratchFolder)>,
    pub(crate) contents: Contents,
    name: PathBuf,
}

impl Checked {
    /// Says that it is damaged, of the file that was given.
    pub(crate) fn damaged(&self, what: &str) -> RestoreError {
        RestoreError::Damaged { path: self.name.clone(), what: what.to_owned() }
    }

    /// Looks whether `path` can be restored. It is only read.
    pub(crate) async fn new(path: &Path) -> Result<Self, RestoreError> {
        let failed = |source| RestoreError::File { path: path.to_owned(), source };
        let damaged = |what: String| RestoreError::Damaged { path: path.to_owned(), what };
        let mut file = File::open(path).map_err(failed)?;
        if !is_backup(file.try_clone().map_err(failed)?) {
            return Err(RestoreError::NoBackup(path.to_owned()));
        }
        let (found, written) = checksum(&mut file).map_err(failed)?;
        if found != written {
            return Err(damaged("its checksum is wrong".to_owned()));
        }
        let bytes = file.metadata().map_err(failed)?.len();
        let unreadable = |error: sqlx::Error| damaged(error.to_string());
        let mut connection = SqliteConnection::connect_with(&unchanging(path)).await.map_err(unreadable)?;
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut connection)
            .await
            .map_err(unreadable)?;
        if verdict != "ok" {
            return Err(damaged(verdict));
        }
        let contents = Contents { bytes, ..read_contents(&mut connection).await.map_err(unreadable)? };
        let schema: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&mut connection)
            .await
            .map_err(unreadable)?;
        connection.close().await.ok();
        let found = schema.unwrap_or_default();
        if found > connect::newest() {
            let version = contents.version.clone();
            return Err(RestoreError::Newer { path: path.to_owned(), found, version });
        }
        if found == connect::newest() {
            return Ok(Self { path: path.to_owned(), _copy: None, contents, name: path.to_owned() });
        }
        let folder = ScratchFolder::new().map_err(failed)?;
        let mut copy = NamedTempFile::new_in(folder.path()).map_err(failed)?;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| io::copy(&mut file, copy.as_file_mut()))
            .map_err(failed)?;
        let mut connection = SqliteConnection::connect_with(&connect::scratch(copy.path())).await?;
        connect::migrate(&mut connection).await?;
        connection.close().await?;
        Ok(Self {
            path: copy.path().to_owned(),
            _copy: Some((copy, folder)),
            contents,
            name: path.to_owned(),
        })
    }

    /// Opens it to read rows, few of which are ahead of whoever takes them: each may be large.
    pub(crate) async fn open(&self) -> Result<SqliteConnection, sqlx::Error> {
        SqliteConnection::connect_with(&unchanging(&self.path).row_buffer_size(8)).await
    }

    /// Its address for ATTACH.
    pub(crate) fn uri(&self) -> String {
        use std::os::unix::ffi::OsStrExt as _;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        let path = self.path.as_os_str().as_bytes().iter().fold(String::new(), |path, byte| match byte {
            byte if plain(*byte) => path + &char::from(*byte).to_string(),
            byte => path + &format!("%{byte:02X}"),
        });
        format!("file:{path}?mode=ro&immutable=1")
    }
}

/// Nobody changes a backup: it is read without locks, and no file is made beside it.
fn unchanging(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).immutable(true)
}
