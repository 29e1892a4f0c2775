//! Writes what a long transaction changes to the disk while it is running.
//!
//! SQLite waits for the disk at the commit, and once more after it has copied the log to the file. After a push of
//! 100 MB each takes about 200 ms, and a commit to another file, such as one of the state, has to wait as long. If the disk
//! gets a little at a time, others get their turn in between.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Most transactions are shorter.
const DELAY: Duration = Duration::from_millis(10);

/// A transaction that writes more than this waits for the disk in between.
pub(super) const UNFLUSHED_BYTES_MAX: u64 = 4 << 20;

/// The pause between two flushes.
const INTERVAL: Duration = Duration::from_millis(2);

/// A file of SQLite and its write-ahead log.
#[derive(Debug)]
pub(super) struct DiskFiles {
    log: PathBuf,
    /// Open as long as connections are: closing it would release SQLite's locks, which belong to the process (POSIX).
    database: Mutex<Option<File>>,
}

/// Flushes until it is dropped.
#[derive(Debug)]
pub(super) struct Flushing(JoinHandle<()>);

impl DiskFiles {
    /// The files of the database at `path`, which exists.
    pub(super) fn open(path: &Path) -> io::Result<Arc<Self>> {
        let database = Mutex::new(Some(File::open(path)?));
        Ok(Arc::new(Self { log: log_path(path), database }))
    }

    /// Flushes them again and again from [`DELAY`] on. SQLite flushes them itself, too, and reports the errors.
    pub(super) fn flush_repeatedly(self: &Arc<Self>) -> Flushing {
        let files = Arc::clone(self);
        Flushing(tokio::spawn(async move {
            sleep(DELAY).await;
            loop {
                files.flush().await;
                sleep(INTERVAL).await;
            }
        }))
    }

    /// Writes to the disk what the files have in memory.
    pub(super) async fn flush(self: &Arc<Self>) {
        let files = Arc::clone(self);
        // A panic would be one of the runtime.
        let _ = tokio::task::spawn_blocking(move || {
            if let Ok(log) = File::open(&files.log) {
                let _ = log.sync_data();
            }
            if let Some(database) = &*files.database() {
                let _ = database.sync_data();
            }
        })
        .await;
    }

    /// Closes the file, after all connections to it are closed.
    pub(super) fn close(&self) {
        *self.database() = None;
    }

    fn database(&self) -> MutexGuard<'_, Option<File>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flushing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The path of the write-ahead log.
pub(super) fn log_path(database: &Path) -> PathBuf {
    let mut log = OsString::from(database);
    log.push("-wal");
    log.into()
}
