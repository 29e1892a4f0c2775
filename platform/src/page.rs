//! Lists that are read a page at a time.

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// Where the page begins, as the page before it says; `None`: at the beginning of the list.
    pub cursor: Option<K>,
    /// How many items it has at most.
    pub limit: u32,
}

impl<K> PageRequest<K> {
    /// The same request with the key that `key` makes of its own; where it makes none, from the beginning.
    pub fn and_then<L>(self, key: impl FnOnce(K) -> Option<L>) -> PageRequest<L> {
        PageRequest { cursor: self.cursor.and_then(key), limit: self.limit }
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, K> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// What was read for a request with this limit. After a full page there is another, which begins behind the item whose key
    /// `last` gives.
    pub(crate) fn of(items: Vec<T>, limit: u32, last: impl FnOnce(&[T]) -> Option<K>) -> Self {
        let next = if items.len() >= limit as usize { last(&items) } else { None };
        Self { items, next }
    }

    /// The same page of other items.
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Page<U, K> {
        Page { items: self.items.into_iter().map(item).collect(), next: self.next }
    }
}
