//! Opens the database.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

use super::Connections;
use super::flush::{DiskFiles, log_path};
use super::lock::FileLock;
use super::migration;
use super::transaction::{self, Writer};
use crate::DatabaseTime;
use crate::error::{OpenError, StoreError};
use crate::sql_types::Id;

/// The maximum number of concurrent readers.
const READER_CONNECTIONS_MAX: u32 = 4;

/// The page cache of each reader in KiB, enough for the index of some 250,000 objects. More does not help; the
/// default of 2 MB makes reads a fifth slower.
const CACHE_KIB: u32 = 8 << 10;

/// The write-ahead log grows with large pushes and long reads; the next write truncates it to this size. It is more
/// than the log has between two checkpoints (4 MB), so that it is not truncated all the time.
pub(super) const WAL_BYTES_KEPT: u32 = 8 << 20;

/// The timeout for acquiring a connection, and for locks of the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long truncating the log waits for readers. Writers wait meanwhile.
const TRUNCATE_TIMEOUT: Duration = Duration::from_millis(50);

/// What differs between the file of the database and that of the state.
pub(super) struct FileKind {
    pub(super) migrations: &'static Migrator,
    /// The page cache of each reader in KiB.
    pub(super) reader_cache_kib: u32,
    /// Whether deleted data is overwritten.
    pub(super) secure_delete: &'static str,
}

/// Overwrites deleted data: a secret that was pushed by mistake must not remain.
const DATABASE: FileKind =
    FileKind { migrations: &migration::DATABASE, reader_cache_kib: CACHE_KIB, secure_delete: "ON" };

pub(crate) async fn open(path: &Path) -> Result<Connections, OpenError> {
    open_as(path, &DATABASE).await
}

pub(super) async fn open_as(path: &Path, kind: &FileKind) -> Result<Connections, OpenError> {
    make_private_file(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let lock = Arc::new(FileLock::take(path).await?);
    // Check before any pragma is set, because the journal mode is stored in the file.
    let mut first = SqliteConnectOptions::new().filename(path).connect().await.map_err(unusable)?;
    migration::reject_foreign(&mut first, kind.migrations).await.map_err(|error| match error {
        OpenError::Migrate(MigrateError::Execute(source)) => unusable(source),
        error => error,
    })?;
    first.close().await.map_err(unusable)?;
    let options = options(path);
    // Idle connections are kept for their page cache.
    let pool = |size| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(BUSY_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    // Closed last, so that the write-ahead log exists when read-only connections open.
    let mut first = create_options(path).disable_statement_logging().connect().await.map_err(unusable)?;
    migration::migrate_with(&mut first, kind.migrations).await?;
    let files = DiskFiles::open(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let secure = options.clone().pragma("secure_delete", kind.secure_delete);
    let write = Writer::new(pool(1), secure, Arc::clone(&files));
    // Records are not acknowledged: in WAL mode a power failure only loses the latest ones.
    let recording = options.clone().synchronous(SqliteSynchronous::Normal);
    let records = Writer::new(pool(1), recording, Arc::clone(&files));
    // Negative numbers are KiB, positive ones are pages.
    let reading = options.read_only(true).pragma("cache_size", format!("-{}", kind.reader_cache_kib));
    let read = pool(READER_CONNECTIONS_MAX).connect_with(reading).await.map_err(unusable)?;
    first.close().await.map_err(unusable)?;
    Ok(Connections { read, write, records, lock, files, path: path.to_owned() })
}

/// Options for writing.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Acknowledged writes must survive a power failure.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("journal_size_limit", WAL_BYTES_KEPT.to_string())
}

/// Options for creating the schema. Incremental vacuum only works in new files.
pub(crate) fn create_options(path: &Path) -> SqliteConnectOptions {
    options(path).auto_vacuum(SqliteAutoVacuum::Incremental)
}

/// Options for a file that is discarded if it is not finished: no journal is needed.
pub(crate) fn scratch_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
}

/// The URI of a file, for ATTACH.
pub(crate) fn uri(path: &Path, parameters: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let path = path.as_os_str().as_bytes().iter().fold(String::new(), |path, byte| match byte {
        byte if plain(*byte) => path + &char::from(*byte).to_string(),
        byte => path + &format!("%{byte:02X}"),
    });
    format!("file:{path}?{parameters}")
}

/// Writes the only row of `transaction_outcomes`.
pub(crate) async fn probe_write(connections: &Connections) -> Result<(), StoreError> {
    let change =
        sqlx::query("INSERT OR REPLACE INTO transaction_outcomes (id, committed, at) VALUES ($1, true, $2)");
    transaction::execute(connections, change.bind(Id(Uuid::nil())).bind(Utc::now())).await?;
    Ok(())
}

/// How many free pages are kept for new data, and how many are released at once, within a few milliseconds.
const FREE_PAGES_KEPT: i64 = 1024;
const PAGES_RELEASED_MAX: i64 = 512;

/// Releases free pages at the end of the file, if it was created with incremental vacuum. In older files they are
/// reused.
pub(crate) async fn release_free_pages(connections: &Connections) -> Result<bool, StoreError> {
    let pragma = async |name: &str| -> Result<i64, sqlx::Error> {
        let pragma = sqlx::AssertSqlSafe(format!("PRAGMA {name}"));
        sqlx::query_scalar(pragma).fetch_one(&connections.read).await
    };
    const INCREMENTAL: i64 = 2;
    let free = pragma("freelist_count").await?;
    if pragma("auto_vacuum").await? == INCREMENTAL && free > FREE_PAGES_KEPT {
        transaction::release_pages(connections, (free - FREE_PAGES_KEPT).min(PAGES_RELEASED_MAX)).await?;
        return Ok(true);
    }
    // A checkpoint shortens the file.
    let bytes = pragma("page_count").await? * pragma("page_size").await?;
    let path = &connections.path;
    let is_longer = path.metadata().is_ok_and(|file| file.len() > bytes.unsigned_abs());
    if is_longer || wal_bytes(path) > u64::from(WAL_BYTES_KEPT) {
        truncate_wal(path).await?;
    }
    Ok(false)
}

/// Checkpoints and truncates the write-ahead log, which may hold deleted data.
pub(crate) async fn purge_deleted(connections: &Connections) -> Result<(), StoreError> {
    truncate_wal(&connections.path).await
}

/// The size of the write-ahead log in bytes.
fn wal_bytes(path: &Path) -> u64 {
    log_path(path).metadata().map_or(0, |log| log.len())
}

/// Checkpoints and truncates the write-ahead log, on a connection that does not wait for readers.
pub(super) async fn truncate_wal(path: &Path) -> Result<(), StoreError> {
    let mut connection = options(path).busy_timeout(TRUNCATE_TIMEOUT).connect().await?;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Every change writes an audit event with its time.
pub(crate) async fn time(connections: &Connections) -> Result<DatabaseTime, StoreError> {
    let latest: Option<DateTime<Utc>> =
        sqlx::query_scalar("SELECT max(at) FROM audit_events").fetch_one(&connections.read).await?;
    Ok(latest.map_or(DatabaseTime::Unknown, DatabaseTime::NotBefore))
}

/// Creates a file that only its owner can read. SQLite creates its side files with the same mode.
pub(super) fn make_private_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(path).map(drop)
        }
        made => made.map(drop::<File>),
    }
}
