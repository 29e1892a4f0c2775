//! The queries for the embedded SQLite.

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod connect;
pub(crate) mod deploys;
pub(crate) mod domains;
pub(crate) mod executions;
pub(crate) mod git;
mod lock;
pub(crate) mod logs;
pub(crate) mod objects;
pub(crate) mod push;
pub(crate) mod recording;
pub(crate) mod revisions;
pub(crate) mod schedule_hold;
pub(crate) mod schedule_runs;
pub(crate) mod schedules;
pub(crate) mod secrets;
pub(crate) mod status;
mod together;
pub(crate) mod tokens;
mod transaction;

use std::sync::Arc;

use lock::FileLock;
use sqlx::SqlitePool;
use transaction::Writer;

/// The connections to the file: SQLite has many readers and one writer.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    read: SqlitePool,
    write: Writer,
    /// Writes what may be lost with the power, and so need not wait for the disk.
    records: Writer,
    /// No other process works with the file.
    lock: Arc<FileLock>,
}

impl Connections {
    /// Closes them all.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.records.close().await;
        self.write.close().await;
        self.lock.release();
    }
}
