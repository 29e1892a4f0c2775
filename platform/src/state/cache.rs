//! The values of a namespace in memory, least recently used ones first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashlink::LinkedHashMap;
use runtime::KvKey;

use super::recent::Entry;

/// What an entry costs in memory besides its key and its value.
const ENTRY_BYTES: u64 = 128;

/// Values of keys, and keys that are known not to exist.
#[derive(Debug)]
pub(super) struct Cache {
    entries: LinkedHashMap<KvKey, Option<Entry>>,
    bytes: u64,
    /// The bytes of all caches of the node.
    total: Arc<AtomicU64>,
}

impl Cache {
    /// An empty cache, which counts in `total`.
    pub(super) fn new(total: Arc<AtomicU64>) -> Self {
        Self { entries: LinkedHashMap::new(), bytes: 0, total }
    }

    /// The bytes of all caches of the node.
    pub(super) fn total(&self) -> &Arc<AtomicU64> {
        &self.total
    }

    /// The memory of the entries.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entry of a key; `Some(None)` if the key does not exist.
    pub(super) fn get(&mut self, key: &KvKey) -> Option<Option<Entry>> {
        // Moving it is not needed if it is the last one, as with a single hot key.
        let is_last = self.entries.back().is_some_and(|(last, _)| last == key);
        match is_last {
            true => self.entries.get(key).cloned(),
            false => self.entries.to_back(key).cloned(),
        }
    }

    pub(super) fn insert(&mut self, key: KvKey, entry: Option<Entry>) {
        let length = key.as_str().len();
        self.grow(entry_bytes(length, entry.as_ref()));
        if let Some(old) = self.entries.insert(key, entry) {
            self.shrink(entry_bytes(length, old.as_ref()));
        }
    }

    /// Drops what is known of a key.
    pub(super) fn remove(&mut self, key: &KvKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.shrink(entry_bytes(key.as_str().len(), entry.as_ref()));
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.shrink(self.bytes);
    }

    /// Drops the least recently used entry.
    pub(super) fn evict(&mut self) -> bool {
        let Some((key, entry)) = self.entries.pop_front() else { return false };
        self.shrink(entry_bytes(key.as_str().len(), entry.as_ref()));
        true
    }

    fn grow(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    fn shrink(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// How much each of several caches may keep so that all keep `total` together: those below that keep everything.
pub(super) fn equal_part(sizes: impl IntoIterator<Item = u64>, total: u64) -> u64 {
    let mut sizes: Vec<u64> = sizes.into_iter().collect();
    sizes.sort_unstable();
    let (mut left, count) = (total, sizes.len());
    for (at, size) in sizes.into_iter().enumerate() {
        let part = left / (count - at) as u64;
        if size > part {
            return part;
        }
        left -= size;
    }
    u64::MAX
}

fn entry_bytes(key: usize, entry: Option<&Entry>) -> u64 {
    ENTRY_BYTES + (key + entry.map_or(0, |entry| entry.value.bytes().len())) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use runtime::KvValue;

    #[test]
    fn least_recently_used_entry_is_evicted_first() {
        let key = |text: &str| KvKey::new(text).unwrap();
        let entry =
            |bytes| Some(Entry { value: KvValue::Blob(Bytes::from(vec![0; bytes])), expires_at_ms: None });
        let total = Arc::new(AtomicU64::new(1000));
        let mut cache = Cache::new(Arc::clone(&total));
        cache.insert(key("a"), entry(10));
        cache.insert(key("b"), None);
        cache.insert(key("a"), entry(20));
        assert_eq!(cache.bytes(), 2 * ENTRY_BYTES + 2 + 20);
        assert_eq!(total.load(Ordering::Relaxed), 1000 + cache.bytes());
        assert_eq!(cache.get(&key("b")), Some(None));
        assert!(cache.get(&key("a")).is_some_and(|entry| entry.is_some()));
        assert_eq!(cache.get(&key("c")), None);
        assert!(cache.evict());
        assert_eq!((cache.get(&key("b")), cache.bytes()), (None, ENTRY_BYTES + 21));
        assert!(cache.evict() && !cache.evict());
        assert_eq!(cache.bytes(), 0);
        cache.insert(key("a"), entry(10));
        drop(cache);
        assert_eq!(total.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn small_caches_keep_everything_and_large_ones_an_equal_part() {
        assert_eq!(equal_part([5, 5], 10), u64::MAX);
        assert_eq!(equal_part([100, 1, 100], 21), 10);
        assert_eq!(equal_part([100, 3, 8], 12), 4);
        assert_eq!(equal_part([7], 0), 0);
        assert_eq!(equal_part([], 0), u64::MAX);
    }
}
