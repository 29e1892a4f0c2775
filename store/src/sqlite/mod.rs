//! The store on the embedded SQLite.
//!
//! - `connect`, `lock`: opening and migrating
//! - `transaction`: everything is written through it
//! - `dialect`, `objects`, `together`, `records`: what is said otherwise than in PostgreSQL
//! - `queries`: all the other queries
//! - `backup`: everything at once

pub(crate) mod backup;
pub(crate) mod connect;
mod dialect;
mod lock;
pub(crate) mod objects;
#[path = "../queries/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "it is compiled once for each database")]
mod queries;
mod records;
mod together;
mod transaction;

use std::path::PathBuf;
use std::sync::Arc;

use lock::FileLock;
use queries::sql;
pub(crate) use queries::*;
use sqlx::{Sqlite as Database, SqliteConnection as Connection, SqlitePool};
use transaction::Writer;

/// The connections to the file: SQLite has many readers and one writer.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    read: SqlitePool,
    write: Writer,
    /// Writes what may be lost with the power, and so need not wait for the disk.
    records: Writer,
    /// The file.
    path: PathBuf,
    /// No other process works with the file.
    lock: Arc<FileLock>,
}

impl Connections {
    /// What reads on any connection.
    fn reader(&self) -> &SqlitePool {
        &self.read
    }

    /// Closes them all.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.records.close().await;
        self.write.close().await;
        self.lock.release();
    }
}
