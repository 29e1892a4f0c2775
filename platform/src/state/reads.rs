//! What an execution has read, to find out later whether it changed.

use std::collections::HashSet;
use std::ops::Bound;

use runtime::{KvError, KvKey, KvList};

use super::{READ_BYTES_MAX, READ_KEYS_MAX};

/// Beyond this number, ranges are joined to one that covers all, so that looking at them stays cheap.
const RANGES_MAX: usize = 64;

/// The keys and ranges that an execution has read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) keys: HashSet<KvKey>,
    pub(super) ranges: Vec<KeyRange>,
    /// The earliest time at which something that was read expires, in milliseconds since 1970.
    pub(super) expires_at_ms: Option<i64>,
    /// The highest version of all that was read: the answer leaves when it is durable.
    pub(super) seen: u64,
    count: u64,
    bytes: u64,
}

impl Reads {
    /// Whether nothing was read.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// Counts a read of this many keys and bytes.
    ///
    /// # Errors
    /// The execution read too much.
    pub(super) fn count(&mut self, keys: usize, bytes: usize) -> Result<(), KvError> {
        self.count = self.count.saturating_add(keys as u64);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.count > READ_KEYS_MAX {
            return Err(KvError::ReadKeys(READ_KEYS_MAX));
        }
        if self.bytes > READ_BYTES_MAX {
            return Err(KvError::ReadBytes(READ_BYTES_MAX));
        }
        Ok(())
    }

    /// Notes that something expires at this time.
    pub(super) fn note_expiry(&mut self, expires_at_ms: Option<i64>) {
        if let Some(at) = expires_at_ms {
            self.expires_at_ms = Some(self.expires_at_ms.map_or(at, |earliest| earliest.min(at)));
        }
    }

    /// Adds a range that was read.
    pub(super) fn add_range(&mut self, range: KeyRange) {
        if self.ranges.last() == Some(&range) {
            return;
        }
        match self.ranges.len() {
            RANGES_MAX => {
                let all = self.ranges.drain(..).reduce(|all, one| all.cover(one));
                self.ranges.push(match all {
                    Some(all) => all.cover(range),
                    None => range,
                });
            }
            _ => self.ranges.push(range),
        }
    }

    /// Whether a key was read, on its own or in a range.
    pub(super) fn contain(&self, key: &KvKey) -> bool {
        self.keys.contains(key) || self.ranges.iter().any(|range| range.contains(key.as_str()))
    }
}

/// A range of keys in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyRange {
    pub(super) from: Bound<String>,
    pub(super) to: Bound<String>,
}

impl KeyRange {
    /// The keys of a list.
    pub(super) fn of(list: &KvList) -> Self {
        let from = match &list.after {
            Some(after) if *after >= list.prefix => Bound::Excluded(after.clone()),
            _ => Bound::Included(list.prefix.clone()),
        };
        let end = next_prefix(&list.prefix);
        let to = match (&list.before, end) {
            (Some(before), Some(end)) => Bound::Excluded(before.clone().min(end)),
            (Some(before), None) => Bound::Excluded(before.clone()),
            (None, Some(end)) => Bound::Excluded(end),
            (None, None) => Bound::Unbounded,
        };
        Self { from, to }
    }

    /// The part of the range that follows after `last`.
    pub(super) fn beyond(&self, last: &KvKey, reverse: bool) -> Self {
        let last = Bound::Excluded(last.as_str().to_owned());
        match reverse {
            true => Self { from: self.from.clone(), to: last },
            false => Self { from: last, to: self.to.clone() },
        }
    }

    /// The smallest range with both.
    fn cover(self, other: Self) -> Self {
        fn text(bound: &Bound<String>) -> Option<&str> {
            match bound {
                Bound::Included(text) | Bound::Excluded(text) => Some(text),
                Bound::Unbounded => None,
            }
        }
        let included = |bound: Bound<String>| match bound {
            Bound::Excluded(text) => Bound::Included(text),
            bound => bound,
        };
        let from = match (text(&self.from), text(&other.from)) {
            (Some(one), Some(two)) if one <= two => self.from,
            (Some(_), Some(_)) => other.from,
            _ => Bound::Unbounded,
        };
        let to = match (text(&self.to), text(&other.to)) {
            (Some(one), Some(two)) if one >= two => self.to,
            (Some(_), Some(_)) => other.to,
            _ => Bound::Unbounded,
        };
        Self { from: included(from), to: included(to) }
    }

    /// Whether no key can be in it.
    pub(super) fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
                from >= to
            }
            _ => false,
        }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        let above = match &self.from {
            Bound::Included(from) => key >= from.as_str(),
            Bound::Excluded(from) => key > from.as_str(),
            Bound::Unbounded => true,
        };
        let below = match &self.to {
            Bound::Included(to) => key <= to.as_str(),
            Bound::Excluded(to) => key < to.as_str(),
            Bound::Unbounded => true,
        };
        above && below
    }

    /// The bounds for a map with keys of this order.
    pub(super) fn bounds(&self) -> (Bound<&str>, Bound<&str>) {
        (self.from.as_ref().map(String::as_str), self.to.as_ref().map(String::as_str))
    }

    /// The part of the range that a walk up to `last` has seen.
    pub(super) fn up_to(&self, last: &KvKey, reverse: bool) -> Self {
        let last = Bound::Included(last.as_str().to_owned());
        match reverse {
            true => Self { from: last, to: self.to.clone() },
            false => Self { from: self.from.clone(), to: last },
        }
    }
}

/// The lowest text above all texts with this prefix; `None` if there is none.
fn next_prefix(prefix: &str) -> Option<String> {
    let mut next: Vec<char> = prefix.chars().collect();
    while let Some(last) = next.pop() {
        let above = match last {
            // Surrogates are no characters.
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(above) = above {
            next.push(above);
            return Some(next.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(prefix: &str, after: Option<&str>, before: Option<&str>) -> KeyRange {
        KeyRange::of(&KvList {
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            before: before.map(str::to_owned),
            limit: 1,
            reverse: false,
        })
    }

    #[test]
    fn ranges_are_the_keys_with_a_prefix_between_bounds() {
        let keys = ["a", "a/", "a/1", "a/2", "a/2x", "a/é", "a/\u{10ffff}", "a/\u{10ffff}z", "a0", "b"];
        let found = |range: KeyRange| keys.into_iter().filter(|key| range.contains(key)).collect::<Vec<_>>();
        assert_eq!(found(list("a/", None, None)), keys[1..8]);
        assert_eq!(found(list("", None, None)), keys);
        assert_eq!(found(list("a/", Some("a/1"), Some("a/é"))), ["a/2", "a/2x"]);
        assert_eq!(found(list("a/", Some("A"), Some("z"))), keys[1..8]);
        assert!(list("a/", Some("b"), None).is_empty());
        assert!(list("a/", None, Some("a/")).is_empty());
        assert!(found(list("\u{10ffff}", None, None)).is_empty());
        assert!(list("\u{d7ff}", None, None).contains("\u{d7ff}x"));
    }

    #[test]
    fn walks_see_a_part_of_the_range() {
        let range = list("a/", None, None);
        let last = KvKey::new("a/2").unwrap();
        assert!(range.up_to(&last, false).contains("a/2") && !range.up_to(&last, false).contains("a/3"));
        assert!(range.up_to(&last, true).contains("a/3") && !range.up_to(&last, true).contains("a/1"));
    }

    #[test]
    fn many_ranges_are_joined() {
        let mut reads = Reads::default();
        for number in 0..200 {
            reads.add_range(list(&format!("k/{number:03}/"), None, None));
        }
        assert!(reads.ranges.len() <= RANGES_MAX);
        for number in 0..200 {
            assert!(reads.contain(&KvKey::new(&format!("k/{number:03}/x")).unwrap()));
        }
        assert!(!reads.contain(&KvKey::new("j").unwrap()) && !reads.contain(&KvKey::new("l").unwrap()));
    }

    #[test]
    fn reads_are_limited() {
        let mut reads = Reads::default();
        assert_eq!(reads.count(READ_KEYS_MAX as usize, 0), Ok(()));
        assert_eq!(reads.count(1, 0), Err(KvError::ReadKeys(READ_KEYS_MAX)));
        let mut reads = Reads::default();
        assert_eq!(reads.count(1, READ_BYTES_MAX as usize + 1), Err(KvError::ReadBytes(READ_BYTES_MAX)));
    }
}
