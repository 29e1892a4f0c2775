//! Pagination of lists.

/// The request for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest<K> {
    /// The cursor from the previous page; `None`: the first page.
    pub cursor: Option<K>,
    /// The maximum number of items.
    pub limit: u32,
}

impl<K> PageRequest<K> {
    /// Converts the cursor with `key`; `None` starts at the first page.
    pub fn and_then<L>(self, key: impl FnOnce(K) -> Option<L>) -> PageRequest<L> {
        PageRequest { cursor: self.cursor.and_then(key), limit: self.limit }
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, K> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// The page of `items` read with this limit. After a full page there is another one, after the item whose
    /// key `last` returns.
    pub(crate) fn of(items: Vec<T>, limit: u32, last: impl FnOnce(&[T]) -> Option<K>) -> Self {
        let next = if items.len() >= limit as usize { last(&items) } else { None };
        Self { items, next }
    }

    /// Converts the items.
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Page<U, K> {
        Page { items: self.items.into_iter().map(item).collect(), next: self.next }
    }
}
