//! Opening the database and bringing its tables up to date.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use uuid::Uuid;

use super::Connections;
use super::lock::FileLock;
use super::transaction::{self, Writer};
use crate::KnownTime;
use crate::column::Id;
use crate::error::{OpenError, StoreError};

/// The most readers at once.
const READERS_MAX: u32 = 4;

/// How much of the file each reader keeps in memory, in KiB, once it has read it: the index of some 250,000 objects. More
/// makes reading no faster, and the 2 MB that SQLite has by itself make it a fifth slower.
const CACHE_KIB: u32 = 8 << 10;

/// The write-ahead log grows with a large push, and as long as someone reads; the next write cuts it down to this. It is more
/// than what the log has anyway between two checkpoints (4 MB), so that it is not cut down and grown again all the time.
pub(super) const WAL_BYTES_KEPT: u32 = 8 << 20;

/// How long a query waits for a connection, and a connection for the file.
pub(crate) const BUSY_TIME_MAX: Duration = Duration::from_secs(10);

/// How long cutting the log down waits for those that read. Whoever writes waits meanwhile.
const TRUNCATE_TIME_MAX: Duration = Duration::from_millis(50);

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

pub(crate) async fn open(path: &Path) -> Result<Connections, OpenError> {
    make_private_file(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let lock = Arc::new(FileLock::take(path).await?);
    // Looked at before anything is set, since the journal's mode is written into the file.
    let mut first = SqliteConnectOptions::new().filename(path).connect().await.map_err(unusable)?;
    refuse_foreign(&mut first).await.map_err(|error| match error {
        OpenError::Migrate(MigrateError::Execute(source)) => unusable(source),
        error => error,
    })?;
    first.close().await.map_err(unusable)?;
    let options = options(path);
    // A connection that is idle is kept: what it has read of the file stays in its cache.
    let pool = |size| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(BUSY_TIME_MAX)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    // It is closed last: what it has begun of the write-ahead log is there for those that only read.
    let mut first = making(path).connect().await.map_err(unusable)?;
    migrate(&mut first).await?;
    // What is deleted is overwritten: a secret that was pushed by mistake is to be gone.
    let write = Writer::new(pool(1), options.clone().pragma("secure_delete", "ON"));
    // Records are not acknowledged to anybody: in WAL mode this loses the latest with the power, and breaks nothing.
    let recording = options.clone().synchronous(SqliteSynchronous::Normal);
    let records = Writer::new(pool(1), recording);
    // A negative number is one of KiB, a positive one of pages.
    let reading = options.read_only(true).pragma("cache_size", format!("-{CACHE_KIB}"));
    let read = pool(READERS_MAX).connect_with(reading).await.map_err(unusable)?;
    first.close().await.map_err(unusable)?;
    Ok(Connections { read, write, records, lock, path: path.to_owned() })
}

/// How the database is opened to be written.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What is acknowledged must outlive a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIME_MAX)
        .pragma("journal_size_limit", WAL_BYTES_KEPT.to_string())
}

/// How the database is opened to make its tables. Pages that are free can be given back one by one, if the file is new.
pub(crate) fn making(path: &Path) -> SqliteConnectOptions {
    options(path).auto_vacuum(SqliteAutoVacuum::Incremental)
}

/// How a file is opened that is thrown away should it not be finished: no journal is needed, and nothing beside it.
pub(crate) fn scratch(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
}

/// Brings the tables up to date.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    refuse_foreign(connection).await?;
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found },
        error => OpenError::Migrate(error),
    })
}

/// A database without our first migration may have no table at all.
async fn refuse_foreign(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let mine = MIGRATIONS.iter().next().map(|first| first.checksum.to_vec());
    let failed = |error: sqlx::Error| OpenError::Migrate(error.into());
    let there: Vec<String> = sqlx::query_scalar("SELECT name FROM main.sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    if there.iter().any(|table| table == "_sqlx_migrations") {
        let first: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT checksum FROM _sqlx_migrations ORDER BY version LIMIT 1")
                .fetch_optional(&mut *connection)
                .await
                .map_err(failed)?;
        return match first {
            Some((first,)) if Some(&first) != mine.as_ref() => {
                Err(OpenError::Foreign { table: "_sqlx_migrations".to_owned() })
            }
            _ => Ok(()),
        };
    }
    let foreign = there.into_iter().find(|table| !table.starts_with("sqlite_"));
    foreign.map_or(Ok(()), |table| Err(OpenError::Foreign { table }))
}

/// The version of the tables that this program knows.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Writes the one row of `outcomes`.
pub(crate) async fn probe_write(connections: &Connections) -> Result<(), StoreError> {
    let change = sqlx::query("INSERT OR REPLACE INTO outcomes (id, committed, at) VALUES ($1, true, $2)");
    transaction::execute(connections, change.bind(Id(Uuid::nil())).bind(Utc::now())).await?;
    Ok(())
}

/// How many free pages the file keeps for what comes next, and how many are given back at once: a few milliseconds.
const FREE_PAGES_KEPT: i64 = 1024;
const PAGES_AT_ONCE: i64 = 512;

/// Pages that are free go from the end of the file, where what is there is moved to free ones before. Only in files that were made
/// since this is done; in others they are used again.
pub(crate) async fn give_back_pages(connections: &Connections) -> Result<bool, StoreError> {
    let pragma = async |name: &str| -> Result<i64, sqlx::Error> {
        let pragma = sqlx::AssertSqlSafe(format!("PRAGMA {name}"));
        sqlx::query_scalar(pragma).fetch_one(&connections.read).await
    };
    const INCREMENTAL: i64 = 2;
    let free = pragma("freelist_count").await?;
    if pragma("auto_vacuum").await? == INCREMENTAL && free > FREE_PAGES_KEPT {
        transaction::give_back(connections, (free - FREE_PAGES_KEPT).min(PAGES_AT_ONCE)).await?;
        return Ok(true);
    }
    // The file gets shorter when the log is written into it.
    let bytes = pragma("page_count").await? * pragma("page_size").await?;
    let path = &connections.path;
    let is_longer = path.metadata().is_ok_and(|file| file.len() > bytes.unsigned_abs());
    if is_longer || log_bytes(path) > u64::from(WAL_BYTES_KEPT) {
        truncate_log(path).await?;
    }
    Ok(false)
}

/// Writes the write-ahead log into the file and cuts it down: what was deleted is not even there any more.
pub(crate) async fn forget_deleted(connections: &Connections) -> Result<(), StoreError> {
    truncate_log(&connections.path).await
}

/// The length of the write-ahead log.
fn log_bytes(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).metadata().map_or(0, |log| log.len())
}

/// Writes what is in the write-ahead log into the file, and cuts the log down. A connection of its own does, which does not wait
/// for those that read: another time will do.
pub(super) async fn truncate_log(path: &Path) -> Result<(), StoreError> {
    let mut connection = options(path).busy_timeout(TRUNCATE_TIME_MAX).connect().await?;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Every act leaves an entry with its time.
pub(crate) async fn time(connections: &Connections) -> Result<KnownTime, StoreError> {
    let latest: Option<DateTime<Utc>> =
        sqlx::query_scalar("SELECT max(at) FROM audit").fetch_one(&connections.read).await?;
    Ok(latest.map_or(KnownTime::Nothing, KnownTime::NotBefore))
}

/// The file holds all the code: nobody else may read it. SQLite gives its side files the same mode.
pub(super) fn make_private_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(path).map(drop)
        }
        made => made.map(drop::<File>),
    }
}
