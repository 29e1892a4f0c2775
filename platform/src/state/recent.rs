//! The log of recent commits of a namespace.
//!
//! It tells what was written after a version, and holds what may not be in the database yet.

use std::collections::{BTreeMap, VecDeque};

use runtime::{KvKey, KvValue};
use store::{StateEntry, StateValue};

use super::reads::{KeyRange, Reads};

/// The log keeps the keys of this many writes, and this many bytes, after they are durable. An execution that began
/// before the oldest of them runs again.
const WRITES_KEPT: usize = 16 * 1024;
const BYTES_KEPT: u64 = 4 * 1024 * 1024;

/// What a write costs in memory besides its key and its value.
const WRITE_BYTES: u64 = 160;

/// What a commit costs in memory, and each of its keys besides the text.
const COMMIT_BYTES: u64 = 64;
const COMMIT_KEY_BYTES: u64 = 32;

/// A value with the time until which it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: KvValue,
    /// In milliseconds since 1970.
    pub(super) expires_at_ms: Option<i64>,
}

impl Entry {
    /// Whether the entry exists at this time.
    pub(super) fn exists_at(&self, now_ms: i64) -> bool {
        self.expires_at_ms.is_none_or(|at| at > now_ms)
    }
}

impl From<StateEntry> for Entry {
    fn from(entry: StateEntry) -> Self {
        let value = match entry.value {
            StateValue::Json(json) => KvValue::Json(json.into()),
            StateValue::Blob(bytes) => KvValue::Blob(bytes.into()),
        };
        Self { value, expires_at_ms: entry.expires_at_ms }
    }
}

/// The latest write of a key in the log.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) version: u64,
    pub(super) result: Written,
}

/// What was written.
#[derive(Clone, Debug)]
pub(super) enum Written {
    /// The entry; `None`: the key was deleted.
    Here(Option<Entry>),
    /// By another node, so that only the database has it.
    Elsewhere,
}

impl Write {
    /// The memory of the write of a key.
    fn bytes(&self, key: &KvKey) -> u64 {
        let value = match &self.result {
            Written::Here(Some(entry)) => entry.value.bytes().len(),
            Written::Here(None) | Written::Elsewhere => 0,
        };
        WRITE_BYTES + (key.as_str().len() + value) as u64
    }
}

/// The log of a namespace.
#[derive(Debug, Default)]
pub(super) struct Recent {
    writes: BTreeMap<KvKey, Write>,
    commits: VecDeque<(u64, Vec<KvKey>)>,
    /// The number of keys in `commits`.
    keys: usize,
    bytes: u64,
    /// Every write after this version is in the log.
    start: u64,
}

impl Recent {
    /// A log that begins after this version.
    pub(super) fn starting_at(version: u64) -> Self {
        Self { start: version, ..Self::default() }
    }

    /// Every write after this version is in the log.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The memory of the log.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The latest write of a key.
    pub(super) fn get(&self, key: &KvKey) -> Option<&Write> {
        self.writes.get(key)
    }

    /// The version of the latest write of a key, if it is in the log.
    pub(super) fn version_of(&self, key: &KvKey) -> u64 {
        self.writes.get(key).map_or(0, |write| write.version)
    }

    /// The latest writes in a range, in the order of their keys.
    pub(super) fn range(
        &self,
        range: &KeyRange,
    ) -> impl DoubleEndedIterator<Item = (&KvKey, &Write)> + use<'_> {
        let bounds = (!range.is_empty()).then(|| self.writes.range::<str, _>(range.bounds()));
        bounds.into_iter().flatten()
    }

    /// Adds a commit.
    pub(super) fn push(&mut self, version: u64, writes: impl IntoIterator<Item = (KvKey, Written)>) {
        let mut keys = Vec::new();
        for (key, result) in writes {
            let write = Write { version, result };
            self.bytes += write.bytes(&key);
            keys.push(key.clone());
            if let Some(old) = self.writes.insert(key.clone(), write) {
                self.bytes = self.bytes.saturating_sub(old.bytes(&key));
            }
        }
        self.keys += keys.len();
        self.bytes += commit_bytes(&keys);
        self.commits.push_back((version, keys));
    }

    /// Drops durable commits beyond what is kept.
    pub(super) fn trim(&mut self, durable: u64) {
        while (self.keys > WRITES_KEPT || self.bytes > BYTES_KEPT) && self.drop_oldest(durable) {}
    }

    /// Drops the oldest commit, if it is durable.
    pub(super) fn drop_oldest(&mut self, durable: u64) -> bool {
        let Some((version, keys)) = self.commits.pop_front_if(|(version, _)| *version <= durable) else {
            return false;
        };
        self.start = version;
        self.keys -= keys.len();
        self.bytes = self.bytes.saturating_sub(commit_bytes(&keys));
        for key in keys {
            if self.version_of(&key) == version
                && let Some(write) = self.writes.remove(&key)
            {
                self.bytes = self.bytes.saturating_sub(write.bytes(&key));
            }
        }
        true
    }

    /// The first of the reads that was written after `version`.
    pub(super) fn first_written_after(&self, version: u64, reads: &Reads) -> Option<KvKey> {
        let later = self.commits.iter().rev().take_while(|(commit, _)| *commit > version);
        let mut walked = 0;
        for (_, keys) in later {
            walked += keys.len();
            // The reads are fewer.
            if walked > reads.keys.len() + self.writes.len() {
                return self.first_read_written_after(version, reads);
            }
            if let Some(key) = keys.iter().find(|key| reads.contain(key)) {
                return Some(key.clone());
            }
        }
        None
    }

    fn first_read_written_after(&self, version: u64, reads: &Reads) -> Option<KvKey> {
        let written = |key: &&KvKey| self.version_of(key) > version;
        reads.keys.iter().find(written).cloned().or_else(|| {
            let mut in_ranges = reads.ranges.iter().flat_map(|range| self.range(range));
            in_ranges.find(|(_, write)| write.version > version).map(|(key, _)| key.clone())
        })
    }
}

/// The keys of a key that is written again and again are each in memory.
fn commit_bytes(keys: &[KvKey]) -> u64 {
    COMMIT_BYTES + keys.iter().map(|key| COMMIT_KEY_BYTES + key.as_str().len() as u64).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn key(text: &str) -> KvKey {
        KvKey::new(text).unwrap()
    }

    fn entry(bytes: usize) -> Written {
        let value = KvValue::Blob(Bytes::from(vec![0; bytes]));
        Written::Here(Some(Entry { value, expires_at_ms: None }))
    }

    fn reads(keys: &[&str]) -> Reads {
        let mut reads = Reads::default();
        reads.keys = keys.iter().map(|text| key(text)).collect();
        reads
    }

    #[test]
    fn writes_after_a_version_are_found() {
        let mut recent = Recent::starting_at(5);
        recent.push(6, vec![(key("a"), entry(1)), (key("b"), Written::Here(None))]);
        recent.push(7, vec![(key("a"), Written::Elsewhere)]);
        assert_eq!(recent.first_written_after(5, &reads(&["b"])), Some(key("b")));
        assert_eq!(recent.first_written_after(6, &reads(&["b"])), None);
        assert_eq!(recent.first_written_after(6, &reads(&["a", "b"])), Some(key("a")));
        assert_eq!((recent.version_of(&key("a")), recent.version_of(&key("c"))), (7, 0));
    }

    #[test]
    fn only_durable_commits_are_dropped() {
        let mut recent = Recent::starting_at(0);
        let megabyte = 1024 * 1024;
        for version in 1..=6 {
            recent.push(version, vec![(key(&version.to_string()), entry(megabyte))]);
        }
        recent.trim(1);
        assert_eq!((recent.start(), recent.version_of(&key("1")), recent.version_of(&key("2"))), (1, 0, 2));
        recent.trim(6);
        assert_eq!((recent.start(), recent.version_of(&key("3")), recent.version_of(&key("4"))), (3, 0, 4));
        assert!(recent.bytes() <= BYTES_KEPT);
    }

    #[test]
    fn one_hot_key_does_not_fill_the_memory() {
        let mut recent = Recent::starting_at(0);
        let hot = "x".repeat(runtime::KEY_BYTES_MAX);
        for version in 1..=WRITES_KEPT as u64 {
            recent.push(version, vec![(key(&hot), entry(1))]);
            recent.trim(version);
        }
        let held: usize =
            recent.commits.iter().flat_map(|(_, keys)| keys).map(|key| key.as_str().len()).sum();
        assert!((held as u64) < BYTES_KEPT && recent.bytes() <= BYTES_KEPT, "{held}");
        recent.trim(0);
        assert!(recent.start() > 0);
    }

    #[test]
    fn long_logs_are_searched_by_what_was_read() {
        let mut recent = Recent::starting_at(0);
        for version in 1..=1000 {
            recent.push(version, vec![(key("hot"), entry(1))]);
        }
        assert_eq!(recent.first_written_after(1, &reads(&["cold"])), None);
        assert_eq!(recent.first_written_after(1, &reads(&["hot"])), Some(key("hot")));
        recent.trim(1000);
        assert_eq!(recent.start(), 0);
    }
}
