//! The keys of a file in memory, read again when the file changes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::key::{KeyError, KeyFile, Keys};

/// A file that changed more recently than this is read again each time: a second change within the resolution of its
/// timestamps would not show in them. Two seconds on FAT; other file systems have finer ones.
const TIMESTAMP_RESOLUTION: Duration = Duration::from_secs(2);

/// The keys of a file. Asking for them takes one look at the metadata of the file.
#[derive(Debug)]
pub(super) struct KeyCache {
    file: KeyFile,
    cached: Mutex<Option<(Version, Arc<Keys>)>>,
}

/// What changes with the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    /// When the content or the metadata changed; only the system can set it.
    changed: (i64, i64),
}

impl KeyCache {
    pub(super) fn new(file: KeyFile) -> Self {
        Self { file, cached: Mutex::default() }
    }

    /// The keys of the file as it is now.
    ///
    /// # Errors
    /// The keys are not available. The next call tries again.
    pub(super) fn keys(&self) -> Result<Arc<Keys>, KeyError> {
        let version = Version::of(&self.file);
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, keys)) = &*cached
            && version == Some(*of)
        {
            return Ok(Arc::clone(keys));
        }
        *cached = None;
        let keys = Arc::new(self.file.read()?);
        *cached = version.filter(|version| version.is_settled()).map(|version| (version, Arc::clone(&keys)));
        Ok(keys)
    }
}

impl Version {
    fn of(file: &KeyFile) -> Option<Self> {
        let found = fs::metadata(file.path()).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// Whether a later change shows in the timestamps.
    fn is_settled(self) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or_default();
        let changed = UNIX_EPOCH + Duration::from_secs(seconds + 1);
        SystemTime::now().duration_since(changed).is_ok_and(|age| age >= TIMESTAMP_RESOLUTION)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::super::key::FILE_NAME;
    use super::*;

    fn cache(folder: &Path) -> KeyCache {
        KeyCache::new(KeyFile::External(folder.join(FILE_NAME)))
    }

    /// Waits until the keys come from memory.
    fn settled(cache: &KeyCache) -> Arc<Keys> {
        let begun = Instant::now();
        loop {
            let (first, second) = (cache.keys().unwrap(), cache.keys().unwrap());
            if Arc::ptr_eq(&first, &second) {
                return first;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "the file is read each time");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn unchanged_file_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let (path, cache) = (folder.path().join(FILE_NAME), cache(folder.path()));
        assert!(matches!(cache.keys(), Err(KeyError::Missing(_))));
        fs::write(&path, "ab".repeat(32)).unwrap();
        let first = settled(&cache);
        // In the same file, with the same length and the same modification time.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "cd".repeat(32)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_ne!(cache.keys().unwrap().first(), first.first());
        fs::remove_file(&path).unwrap();
        assert!(matches!(cache.keys(), Err(KeyError::Missing(_))), "a lost key is not kept");
    }

    #[test]
    fn recently_changed_file_is_read_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let (path, cache) = (folder.path().join(FILE_NAME), cache(folder.path()));
        for digits in ["ab", "cd", "ef"].repeat(20) {
            fs::write(&path, digits.repeat(32)).unwrap();
            let expected = KeyFile::External(path.clone()).read().unwrap();
            assert_eq!(cache.keys().unwrap().first(), expected.first());
        }
    }
}
