//! Opening the database and bringing its tables up to date.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::Connections;
use crate::error::{OpenError, StoreError};

/// The most readers at once.
const READERS_MAX: u32 = 4;

/// How much of the file each reader keeps in memory, in KiB, once it has read it: the index of some 250,000 objects. More
/// makes reading no faster, and the 2 MB that SQLite has by itself make it a fifth slower.
const CACHE_KIB: u32 = 8 << 10;

/// How long a query waits for a connection, and a connection for the file.
const ACQUIRE_TIME_MAX: Duration = Duration::from_secs(10);

pub(crate) async fn open(path: &Path) -> Result<Connections, OpenError> {
    make_private_file(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What is acknowledged must outlive a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(ACQUIRE_TIME_MAX);
    let pool = |size| SqlitePoolOptions::new().max_connections(size).acquire_timeout(ACQUIRE_TIME_MAX);
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let write = pool(1).connect_with(options.clone()).await.map_err(unusable)?;
    sqlx::migrate!("migrations/sqlite").run(&write).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found },
        error => OpenError::Migrate(error),
    })?;
    // A negative number is one of KiB, a positive one of pages.
    let reading = options.read_only(true).pragma("cache_size", format!("-{CACHE_KIB}"));
    let read = pool(READERS_MAX).connect_with(reading).await.map_err(unusable)?;
    Ok(Connections { read, write })
}

pub(crate) async fn ping(connections: &Connections) -> Result<(), StoreError> {
    sqlx::query("SELECT 1").execute(&connections.read).await?;
    Ok(())
}

/// The file holds all the code: nobody else may read it. SQLite gives its side files the same mode.
fn make_private_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(path).map(drop)
        }
        made => made.map(drop::<File>),
    }
}
