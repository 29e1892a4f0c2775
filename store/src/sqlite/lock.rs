//! The lock file of a database: only one process uses it at a time, except for backups.
//!
//! SQLite allows several writing processes, but two nodes on one file would serve different deploys. The lock is an
//! flock on a file next to the database, so that it ends with the process. The content of the file only names the
//! holder; a leftover file is not locked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use tokio::time::{Instant, sleep};

use crate::error::OpenError;

/// How long to wait for the holder: a process that is shutting down releases it by then.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the lock is tried.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How many bytes of the file are read.
const HOLDER_BYTES_MAX: u64 = 200;

/// A lock that is held until it is released or dropped.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Takes the lock of an existing database file.
    pub(crate) async fn take(database: &Path) -> Result<Self, OpenError> {
        let path = lock_path(database).map_err(|source| unwritable(database, source))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match try_take(database, &path).map_err(|source| unwritable(&path, source))? {
                Some(lock) => return Ok(lock),
                None if Instant::now() < deadline => sleep(POLL_INTERVAL).await,
                None => return Err(OpenError::InUse { path: database.to_owned(), holder: holder(&path) }),
            }
        }
    }

    /// Releases the lock.
    pub(crate) fn release(&self) {
        // On failure it ends with the process.
        let _ = self.0.unlock();
    }
}

/// The path of the lock file, with symbolic links resolved.
fn lock_path(database: &Path) -> io::Result<PathBuf> {
    let mut path = std::fs::canonicalize(database)?.into_os_string();
    path.push(".lock");
    Ok(path.into())
}

fn try_take(database: &Path, path: &Path) -> io::Result<Option<FileLock>> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // If the file was removed before it was locked, another process could lock a new one.
    let mine = file.metadata()?;
    if !std::fs::metadata(path).is_ok_and(|there| there.ino() == mine.ino()) {
        return Ok(None);
    }
    // A lock file created by root, as in a restore, must be usable by the owner of the database. Only root can change
    // the owner.
    let owner = std::fs::metadata(database)?;
    if mine.uid() != owner.uid() {
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    // On a full disk the text is missing, but the lock is held.
    file.set_len(0)?;
    let _ = file.write_all(this_process().as_bytes());
    Ok(Some(FileLock(file)))
}

/// Describes this process. The host name distinguishes containers that share a directory.
fn this_process() -> String {
    let host = rustix::system::uname();
    let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("process {} on {}, since {since}\n", std::process::id(), host.nodename().to_string_lossy())
}

/// Describes the holder of the lock.
fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(HOLDER_BYTES_MAX).read_to_string(&mut text));
    let line = text.lines().next().unwrap_or_default();
    let plain = |line: &str| !line.is_empty() && !line.chars().any(char::is_control);
    if read.is_ok() && plain(line) { line.to_owned() } else { "another process".to_owned() }
}

fn unwritable(path: &Path, source: io::Error) -> OpenError {
    OpenError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lock_is_exclusive_and_names_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let (database, link) = (folder.path().join("picloud.db"), folder.path().join("link.db"));
        std::fs::write(&database, "").unwrap();
        std::os::unix::fs::symlink(&database, &link).unwrap();
        // A leftover file is not locked.
        std::fs::write(folder.path().join("picloud.db.lock"), "process 1 on elsewhere, since long ago\n")
            .unwrap();
        let first = FileLock::take(&database).await.unwrap();
        let Err(OpenError::InUse { holder, .. }) = FileLock::take(&link).await else { panic!("taken twice") };
        assert!(holder.starts_with(&format!("process {} on ", std::process::id())), "{holder}");
        first.release();
        let second = FileLock::take(&link).await.unwrap();
        drop(second);
        FileLock::take(&database).await.unwrap();
    }

    #[tokio::test]
    async fn lock_file_belongs_to_owner_of_database() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("picloud.db");
        std::fs::write(&database, "").unwrap();
        // Only root can change the owner, and only root would create a lock file that others cannot open.
        let _ = std::os::unix::fs::chown(&database, Some(1), Some(1));
        let _lock = FileLock::take(&database).await.unwrap();
        let owner = |path: &Path| std::fs::metadata(path).unwrap().uid();
        assert_eq!(owner(&folder.path().join("picloud.db.lock")), owner(&database));
    }
}
