//! Folders that do not outlive their process, even where that is killed: each is locked by the process that made it, and
//! whoever makes the next one in the same place removes those whose lock is free.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::{Builder, TempDir};

/// How their names begin.
const PREFIX: &str = ".picloud-scratch.";

/// How often another one is made where somebody took the new one for one that is left.
const TRIES: usize = 10;

/// A folder for its owner alone, which is removed with its value, or else by the next one in the same place.
#[derive(Debug)]
pub struct ScratchFolder {
    folder: TempDir,
    /// Holds the lock. The system frees it however the process ends.
    _lock: File,
}

impl ScratchFolder {
    /// Makes one where temporary files are.
    ///
    /// # Errors
    /// There cannot be one.
    pub fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// Makes one in `place`, and removes what killed processes have left there.
    ///
    /// # Errors
    /// There cannot be one.
    pub fn new_in(place: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let folder =
                Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(place)?;
            let lock = match File::open(folder.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            // Whoever has the lock, or had it a moment ago, takes the folder for one that is left.
            if lock.try_lock().is_ok() && is_at(&lock, folder.path()) {
                remove_left(place, folder.path());
                return Ok(Self { folder, _lock: lock });
            }
        }
        Err(io::Error::other("other processes remove every folder that is made here"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders in `place` that nobody holds, as far as this user may. One that cannot be removed is in nobody's way.
fn remove_left(place: &Path, own: &Path) {
    let Ok(owner) = fs::metadata(own).map(|own| own.uid()) else { return };
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let ours = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == owner);
        if named && ours && path != own {
            let Ok(lock) = File::open(&path) else { continue };
            // It is held until the folder is gone: whoever made it must not take it meanwhile.
            if lock.try_lock().is_ok() && is_at(&lock, &path) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

/// Whether what was opened is what has the name still.
fn is_at(opened: &File, path: &Path) -> bool {
    let same = |one: fs::Metadata, other: fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    opened.metadata().is_ok_and(|one| fs::symlink_metadata(path).is_ok_and(|other| same(one, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_of_a_dead_process_is_removed_by_the_next_one() {
        let place = tempfile::tempdir().unwrap();
        // As one that was killed leaves it: the folder is there, and nobody holds it.
        let left = place.path().join(format!("{PREFIX}left"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("backup"), "half").unwrap();
        let other = place.path().join("other");
        fs::create_dir(&other).unwrap();
        let held = ScratchFolder::new_in(place.path()).unwrap();
        assert!(!left.exists() && other.exists());
        let next = ScratchFolder::new_in(place.path()).unwrap();
        assert!(held.path().exists() && next.path().exists(), "one that is held is left alone");
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn many_at_once_do_not_remove_each_other() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let folder = ScratchFolder::new_in(place.path()).unwrap();
                        fs::write(folder.path().join("file"), "whole").unwrap();
                        assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "whole");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
