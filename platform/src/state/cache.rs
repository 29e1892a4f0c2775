//! The values of a namespace in memory, least recently used ones first.

use hashlink::LinkedHashMap;
use runtime::KvKey;

use super::recent::Entry;

/// What an entry costs in memory besides its key and its value.
const ENTRY_BYTES: u64 = 128;

/// Values of keys, and keys that are known not to exist.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: LinkedHashMap<KvKey, Option<Entry>>,
    bytes: u64,
}

impl Cache {
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
        self.bytes += bytes(&key, entry.as_ref());
        let length = key.as_str().len();
        if let Some(old) = self.entries.insert(key, entry) {
            self.bytes = self.bytes.saturating_sub(entry_bytes(length, old.as_ref()));
        }
    }

    /// Drops the least recently used entry.
    pub(super) fn evict(&mut self) -> bool {
        let Some((key, entry)) = self.entries.pop_front() else { return false };
        self.bytes = self.bytes.saturating_sub(bytes(&key, entry.as_ref()));
        true
    }
}

fn bytes(key: &KvKey, entry: Option<&Entry>) -> u64 {
    entry_bytes(key.as_str().len(), entry)
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
        let mut cache = Cache::default();
        cache.insert(key("a"), entry(10));
        cache.insert(key("b"), None);
        cache.insert(key("a"), entry(20));
        assert_eq!(cache.bytes(), 2 * ENTRY_BYTES + 2 + 20);
        assert_eq!(cache.get(&key("b")), Some(None));
        assert!(cache.get(&key("a")).is_some_and(|entry| entry.is_some()));
        assert_eq!(cache.get(&key("c")), None);
        assert!(cache.evict());
        assert_eq!((cache.get(&key("b")), cache.bytes()), (None, ENTRY_BYTES + 21));
        assert!(cache.evict() && !cache.evict());
        assert_eq!(cache.bytes(), 0);
    }
}
