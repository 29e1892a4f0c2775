//! The file of the state, next to the file of the database.
//!
//! It has the same tables as the state in PostgreSQL, its own connections and its own migrations. No transaction writes
//! both files.

use std::io;
use std::path::{Path, PathBuf};

use super::connect::{self, FileKind};
use super::{Connections, migration, transaction};
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
    open(&path).await
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
