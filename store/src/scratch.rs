//! Temporary directories that are removed even if the process is killed: each is locked by its process, and the next
//! process that creates one in the same place removes those whose lock is free.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::{Builder, TempDir};

/// The prefix of their names.
const PREFIX: &str = ".picloud-scratch.";

/// How often creation is retried after another process removed the new directory as stale.
const ATTEMPTS_MAX: usize = 10;

/// A private temporary directory, removed on drop, or by the next process in the same place.
#[derive(Debug)]
pub struct ScratchDir {
    folder: TempDir,
    /// Holds the lock, which the kernel releases when the process ends.
    _lock: File,
}

impl ScratchDir {
    /// Creates a directory in the temporary directory of the system.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// Creates a directory in `parent`, and removes stale ones there.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn new_in(parent: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS_MAX {
            let folder = Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(parent)?;
            let lock = match File::open(folder.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            // A process that holds or held the lock considers the directory stale.
            if lock.try_lock().is_ok() && is_at(&lock, folder.path()) {
                remove_stale(parent, folder.path());
                return Ok(Self { folder, _lock: lock });
            }
        }
        Err(io::Error::other("other processes remove every temporary directory created here"))
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes stale directories in `parent` as far as permissions allow.
fn remove_stale(parent: &Path, own: &Path) {
    let Ok(owner) = fs::metadata(own).map(|own| own.uid()) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let ours = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == owner);
        if named && ours && path != own {
            let Ok(lock) = File::open(&path) else { continue };
            // Keep the lock until the directory is gone, so that its creator cannot take it.
            if lock.try_lock().is_ok() && is_at(&lock, &path) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

/// Whether the path still refers to the opened directory.
fn is_at(opened: &File, path: &Path) -> bool {
    let same = |one: fs::Metadata, other: fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    opened.metadata().is_ok_and(|one| fs::symlink_metadata(path).is_ok_and(|other| same(one, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_process_removes_directory_of_killed_process() {
        let place = tempfile::tempdir().unwrap();
        // What a killed process leaves: the directory without a lock.
        let left = place.path().join(format!("{PREFIX}left"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("backup"), "half").unwrap();
        let other = place.path().join("other");
        fs::create_dir(&other).unwrap();
        let held = ScratchDir::new_in(place.path()).unwrap();
        assert!(!left.exists() && other.exists());
        let next = ScratchDir::new_in(place.path()).unwrap();
        assert!(held.path().exists() && next.path().exists(), "a locked one is kept");
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn concurrent_directories_are_kept() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let folder = ScratchDir::new_in(place.path()).unwrap();
                        fs::write(folder.path().join("file"), "whole").unwrap();
                        assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "whole");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
