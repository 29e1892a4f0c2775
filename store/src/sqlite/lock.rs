//! The lock of a database's file: one process works with it at a time, backups aside.
//!
//! SQLite itself lets any number of processes write, but two nodes on one file would each serve what it was pushed itself.
//! The lock is one of the kernel's (flock) on a file beside the database, so it ends with the process, however that ends.
//! What stands in the file only says who has it; a file that was left behind is no lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use tokio::time::{Instant, sleep};

use crate::error::OpenError;

/// How long whoever has the lock is waited for: one that is just ending has let it go by then.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// How often it is tried meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// The most that is read of who has the lock.
const HOLDER_MAX: u64 = 200;

/// A lock that is held until it is released or dropped.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Takes the lock of the database's file, which is there.
    pub(crate) async fn take(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database).map_err(|source| unwritable(database, source))?;
        let give_up = Instant::now() + WAIT_MAX;
        loop {
            match try_take(database, &path).map_err(|source| unwritable(&path, source))? {
                Some(lock) => return Ok(lock),
                None if Instant::now() < give_up => sleep(LOOK).await,
                None => return Err(OpenError::InUse { path: database.to_owned(), holder: holder(&path) }),
            }
        }
    }

    /// Lets others take it.
    pub(crate) fn release(&self) {
        // One that cannot be released ends with the process.
        let _ = self.0.unlock();
    }
}

/// The file of the lock. Whatever links lead to the database, it is one.
fn beside(database: &Path) -> io::Result<PathBuf> {
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
    // Somebody may have removed the file before it was locked: then others would lock another one.
    let mine = file.metadata()?;
    if !std::fs::metadata(path).is_ok_and(|there| there.ino() == mine.ino()) {
        return Ok(None);
    }
    // One that root makes, as for a restore, is for the database's owner too. Nobody else can give it away, nor need they.
    let owner = std::fs::metadata(database)?;
    if mine.uid() != owner.uid() {
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
    }
    // A full disk has no room for the words. The lock holds without them.
    file.set_len(0)?;
    let _ = file.write_all(this_process().as_bytes());
    Ok(Some(FileLock(file)))
}

/// What others read of this process. The name of the machine tells containers apart that share a folder.
fn this_process() -> String {
    let host = rustix::system::uname();
    let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("process {} on {}, since {since}\n", std::process::id(), host.nodename().to_string_lossy())
}

/// Who has the lock, as it says itself.
fn holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(HOLDER_MAX).read_to_string(&mut text));
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
    async fn one_process_at_a_time_has_the_lock_and_says_who_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (database, link) = (folder.path().join("picloud.db"), folder.path().join("link.db"));
        std::fs::write(&database, "").unwrap();
        std::os::unix::fs::symlink(&database, &link).unwrap();
        // What somebody has left behind is no lock.
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
    async fn the_lock_is_for_the_owner_of_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("picloud.db");
        std::fs::write(&database, "").unwrap();
        // Root alone can make it somebody else's, and root alone would make a lock that somebody else cannot open.
        let _ = std::os::unix::fs::chown(&database, Some(1), Some(1));
        let _lock = FileLock::take(&database).await.unwrap();
        let owner = |path: &Path| std::fs::metadata(path).unwrap().uid();
        assert_eq!(owner(&folder.path().join("picloud.db.lock")), owner(&database));
    }
}
