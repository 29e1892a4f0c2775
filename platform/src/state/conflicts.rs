//! The keys with the most conflicts.

use runtime::KvKey;

/// The number of keys that are counted.
const KEYS_MAX: usize = 16;

/// The keys that transactions ran again for most often, with their counts.
///
/// A new key takes the place and the count of the least frequent one (Metwally, Agrawal and El Abbadi, "Efficient
/// computation of frequent and top-k elements in data streams", 2005), so a count is never too low.
#[derive(Clone, Debug, Default)]
pub(super) struct HotKeys(Vec<(KvKey, u64)>);

impl HotKeys {
    pub(super) fn count(&mut self, key: &KvKey) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| known == key) {
            *count += 1;
            return;
        }
        if self.0.len() < KEYS_MAX {
            self.0.push((key.clone(), 1));
            return;
        }
        if let Some(least) = self.0.iter_mut().min_by_key(|(_, count)| *count) {
            *least = (key.clone(), least.1 + 1);
        }
    }

    /// The keys, most frequent first.
    pub(super) fn list(&self) -> Vec<(KvKey, u64)> {
        let mut list = self.0.clone();
        list.sort_by(|(one, many), (other, few)| few.cmp(many).then_with(|| one.cmp(other)));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_keys_stay() {
        let key = |number: usize| KvKey::new(&format!("k{number}")).unwrap();
        let mut hot = HotKeys::default();
        for round in 0..1000 {
            hot.count(&key(0));
            hot.count(&key(1 + round % 100));
        }
        let list = hot.list();
        assert_eq!((list.len(), list[0].0.as_str()), (KEYS_MAX, "k0"));
        assert!(list[0].1 >= 1000);
    }
}
