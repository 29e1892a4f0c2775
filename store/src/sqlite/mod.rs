//! The store on SQLite.
//!
//! - `connect`, `lock`, `migration`: opening and migrating the database
//! - `transaction`: all writes
//! - `flush`: writes long transactions to the disk little by little
//! - `dialect`, `objects`, `bulk_read`, `records`, `kv`: what differs from PostgreSQL
//! - `state_file`: the file of the state
//! - `queries`: all other queries
//! - `backup`: backup and restore

pub(crate) mod backup;
mod bulk_read;
pub(crate) mod connect;
mod dialect;
mod flush;
mod kv;
mod lock;
pub(crate) mod migration;
pub(crate) mod objects;
#[path = "../queries/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "it is compiled once for each database")]
mod queries;
mod records;
pub(crate) mod state_file;
mod transaction;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flush::DiskFiles;
use lock::FileLock;
use queries::sql;
pub(crate) use queries::*;
use sqlx::{Sqlite as Database, SqliteConnection as Connection, SqlitePool};
use transaction::Writer;

/// The connections to a file: many readers, one writer.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    read: SqlitePool,
    write: Writer,
    /// Writes records without waiting for the disk, which can be lost in a power failure.
    records: Writer,
    /// The path of the file.
    path: PathBuf,
    files: Arc<DiskFiles>,
    /// Keeps other processes out.
    lock: Arc<FileLock>,
}

impl Connections {
    /// The executor for reads.
    fn reader(&self) -> &SqlitePool {
        &self.read
    }

    /// The folder of the file.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.records.close().await;
        self.write.close().await;
        self.files.close();
        self.lock.release();
    }
}
