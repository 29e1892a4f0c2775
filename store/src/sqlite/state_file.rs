//! The file of the state, next to the file of the database.
//!
//! It has the same tables as the state in PostgreSQL, its own connections and its own migrations. No transaction writes
//! both files.
//!
//! Backups have the state in tables of the database, and a row in `kv_restore`. A restore fills these tables in its one
//! transaction and leaves the file of the state alone. The next time the database is opened, their rows replace those of
//! the file, in one transaction, and are deleted from the database after that. If the process is killed in between, they
//! replace them once more.

use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection, SqliteExecutor};

use super::connect::{self, FileKind};
use super::{Connections, migration, transaction};
use crate::backup::BackupError;
use crate::backup::tables::STATE_TABLES;
use crate::error::{OpenError, StoreError};

/// The name of the file.
const FILE_NAME: &str = "state.db";

/// The default of SQLite: the state in use is cached by the platform.
const CACHE_KIB: u32 = 2 << 10;

/// Deleted data is overwritten where that costs no write: not in large values.
const STATE: FileKind =
    FileKind { migrations: &migration::STATE, reader_cache_kib: CACHE_KIB, secure_delete: "FAST" };

/// The path of the file of the state, next to an existing file of the database, with symbolic links resolved.
pub(super) fn path_next_to(database: &Path) -> io::Result<PathBuf> {
    Ok(std::fs::canonicalize(database)?.with_file_name(FILE_NAME))
}

/// Opens the file next to that of the database.
pub(crate) async fn open_next_to(database: &Connections) -> Result<Connections, OpenError> {
    let path = path_next_to(&database.path)
        .map_err(|source| OpenError::File { path: database.path.clone(), source })?;
    let state = open(&path).await?;
    let unusable = |source| OpenError::Unusable { path: path.clone(), source };
    if is_restored(&database.read).await.map_err(unusable)? {
        replace_by_restored(&path, &database.path).await.map_err(unusable)?;
        forget_restored(&database.path).await.map_err(unusable)?;
    }
    Ok(state)
}

/// Opens a file of state. It has its own lock, because two databases in one folder would share it.
pub(crate) async fn open(path: &Path) -> Result<Connections, OpenError> {
    connect::open_as(path, &STATE).await
}

/// Commits a page that every commit can write.
pub(crate) async fn probe_write(connections: &Connections) -> Result<(), StoreError> {
    transaction::execute(connections, sqlx::query("PRAGMA user_version = 1")).await?;
    Ok(())
}

/// Whether the tables of the state in the database replace those of the file.
pub(super) async fn is_restored(database: impl SqliteExecutor<'_>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM kv_restore)").fetch_one(database).await
}

/// Makes the tables of the state in the database replace those of the file when it is opened.
pub(crate) async fn mark_restored(database: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("INSERT OR REPLACE INTO kv_restore (singleton) VALUES (1)").execute(database).await?;
    Ok(())
}

/// Replaces all rows of the file, in one transaction.
async fn replace_by_restored(path: &Path, database: &Path) -> Result<(), sqlx::Error> {
    let mut connection = connect::options(path).disable_statement_logging().connect().await?;
    let uri = connect::uri(&std::fs::canonicalize(database)?, "mode=ro");
    sqlx::query("ATTACH $1 AS restored").bind(uri).execute(&mut connection).await?;
    let mut replace = "BEGIN IMMEDIATE;".to_owned();
    for table in STATE_TABLES {
        let (name, columns) = (table.name, table.names());
        replace += &format!(
            "DELETE FROM main.{name}; INSERT INTO main.{name} ({columns}) SELECT {columns} FROM restored.{name};"
        );
    }
    sqlx::raw_sql(AssertSqlSafe(replace + "COMMIT")).execute(&mut connection).await?;
    connection.close().await
}

/// Deletes the restored rows from the database.
async fn forget_restored(database: &Path) -> Result<(), sqlx::Error> {
    let options = connect::options(database).pragma("secure_delete", "ON");
    let mut connection = options.disable_statement_logging().connect().await?;
    let mut delete = "BEGIN IMMEDIATE; DELETE FROM kv_restore;".to_owned();
    for table in STATE_TABLES.iter().rev() {
        delete += &format!("DELETE FROM {};", table.name);
    }
    sqlx::raw_sql(AssertSqlSafe(delete + "COMMIT")).execute(&mut connection).await?;
    connection.close().await
}

/// Begins to read the file next to a database, of which later writes are not seen. `None`: there is no state yet.
pub(super) async fn snapshot(database: &Path) -> Result<Option<SqliteConnection>, BackupError> {
    let path =
        path_next_to(database).map_err(|source| OpenError::File { path: database.to_owned(), source })?;
    if !path.exists() {
        return Ok(None);
    }
    let unusable = |source| OpenError::Unusable { path: path.clone(), source };
    let options =
        SqliteConnectOptions::new().filename(&path).read_only(true).busy_timeout(connect::BUSY_TIMEOUT);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(unusable)?;
    sqlx::raw_sql("BEGIN").execute(&mut connection).await.map_err(unusable)?;
    let tables = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'kv_entries')";
    let exists: bool = sqlx::query_scalar(tables).fetch_one(&mut connection).await.map_err(unusable)?;
    if !exists {
        return Ok(None);
    }
    let found: i64 = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&mut connection)
        .await
        .map_err(unusable)?;
    let known = migration::latest_version_of(&migration::STATE);
    match found {
        found if found < known => Err(BackupError::OlderSchema { found, known }),
        found if found > known => Err(OpenError::Newer { found }.into()),
        _ => Ok(Some(connection)),
    }
}
