use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use runtime::{LibraryFile, Source};
use store::AppId;

use crate::memory::{Account, OutOfMemory, Purpose, Reservation};

/// The overhead of a text: the source, its entry here, and the entry of a revision with its path.
const OVERHEAD_BYTES: u64 = 512;

/// The overhead of a library that a text is linked with: its path and its reference.
const LIBRARY_BYTES: u64 = 64;

/// The texts, deduplicated per app.
#[derive(Default)]
pub(super) struct Texts {
    hasher: RandomState,
    /// By app and hash of the text; dropped texts are removed immediately.
    held: Mutex<HashMap<Key, Vec<Weak<Source>>>>,
}

type Key = (AppId, u64);

/// Accounts for a text, and removes it from the table on drop.
struct Entry {
    texts: Arc<Texts>,
    key: Key,
    _held: Reservation,
}

impl Texts {
    pub(super) fn get(
        self: &Arc<Self>,
        app: AppId,
        account: &Account,
        text: &str,
        libraries: Vec<LibraryFile>,
    ) -> Result<Arc<Source>, OutOfMemory> {
        let key = (app, self.hasher.hash_one(text));
        if let Some(source) = self.find(key, text, &libraries) {
            return Ok(source);
        }
        let overhead = OVERHEAD_BYTES + LIBRARY_BYTES * libraries.len() as u64;
        let held = account.try_reserve(Purpose::Sources, text.len() as u64 + overhead)?;
        let entry = Entry { texts: Arc::clone(self), key, _held: held };
        let source = Source::new(text).with_libraries(libraries).with_memory_guard(Box::new(entry));
        let source = Arc::new(source);
        // After a concurrent insert there are two copies for a while.
        self.held().entry(key).or_default().push(Arc::downgrade(&source));
        Ok(source)
    }

    fn find(&self, key: Key, text: &str, libraries: &[LibraryFile]) -> Option<Arc<Source>> {
        // Dropping the last reference takes the lock again, so none is dropped while holding it.
        let found: Vec<_> = self.held().get(&key)?.iter().filter_map(Weak::upgrade).collect();
        found.into_iter().find(|source| source.text() == text && source.libraries() == libraries)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Key, Vec<Weak<Source>>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut held = self.texts.held();
        if let Some(sources) = held.get_mut(&self.key) {
            sources.retain(|source| source.strong_count() > 0);
            if sources.is_empty() {
                held.remove(&self.key);
            }
        }
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts").field("held", &self.held().len()).finish()
    }
}
