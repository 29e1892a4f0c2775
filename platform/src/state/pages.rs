//! Pages of entries, for operators.
//!
//! A page is what the database has at one moment. Nothing more needs to be compared: what is accepted and not stored yet
//! has not been answered.

use std::ops::Bound;
use std::sync::Arc;

use runtime::{KvKey, KvList};
use store::state::StateRange;
use store::{NamespaceId, StateStore};

use super::administration::{AdministrationError, ExportedEntry, StateTarget};
use super::freshness;
use super::namespace::Namespace;
use super::reads::KeyRange;
use super::recent::Entry;
use super::{LIST_PAGE_BYTES_MAX, State};
use crate::memory::{Purpose, Reservation};
use crate::page::Page;

/// A key with the time until which it exists, in milliseconds since 1970.
pub type ListedKey = (KvKey, Option<i64>);

/// A page of entries. Its cursor is its last key.
#[derive(Debug)]
pub struct EntryPage {
    /// The entries.
    pub page: Page<ExportedEntry, KvKey>,
    /// The memory of their values.
    pub memory: Option<Reservation>,
}

impl State {
    /// The entry of a key.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn get(
        &self,
        of: &StateTarget,
        key: &KvKey,
    ) -> Result<Option<ExportedEntry>, AdministrationError> {
        let bound = || Bound::Included(key.as_str().to_owned());
        let range = KeyRange { from: bound(), to: bound() };
        Ok(self.entries(of, range, 1, false).await?.page.items.into_iter().next())
    }

    /// A page of a list. It ends before the limit once its values have two mebibytes.
    ///
    /// # Errors
    /// The state cannot be read, or the app has no memory left.
    pub async fn list(&self, of: &StateTarget, list: &KvList) -> Result<EntryPage, AdministrationError> {
        self.entries(of, KeyRange::of(list), list.limit, list.reverse).await
    }

    /// A page of the keys of a list. Values are not read.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn keys(
        &self,
        of: &StateTarget,
        list: &KvList,
    ) -> Result<Page<ListedKey, KvKey>, AdministrationError> {
        let (namespace, range) = (self.shared.namespace(of.app, &of.name), KeyRange::of(list));
        while let Some((store, id)) = self.stored(&namespace).await?.filter(|_| !range.is_empty()) {
            let range = stored_range(&namespace, &range, list.limit, list.reverse);
            match store.state_keys(id, &range).await? {
                Some(read) => {
                    let key = |(key, expires_at_ms): (String, _)| Some((parse(&key)?, expires_at_ms));
                    let keys = read.keys.into_iter().filter_map(key).collect();
                    return Ok(page(keys, list.limit, false, |(key, _)| key));
                }
                None => namespace.forget(),
            }
        }
        Ok(Page { items: Vec::new(), next: None })
    }

    async fn entries(
        &self,
        of: &StateTarget,
        range: KeyRange,
        limit: u32,
        reverse: bool,
    ) -> Result<EntryPage, AdministrationError> {
        let namespace = self.shared.namespace(of.app, &of.name);
        while let Some((store, id)) = self.stored(&namespace).await?.filter(|_| !range.is_empty()) {
            let range = stored_range(&namespace, &range, limit, reverse);
            match store.state_list(id, &range).await? {
                Some(read) => {
                    let bytes = read.entries.iter().map(|entry| entry.value.bytes().len() as u64).sum();
                    let memory = reserve(&namespace, bytes)?;
                    let entry = |entry: store::StateEntry| {
                        let key = parse(&entry.key)?;
                        let Entry { value, expires_at_ms } = entry.into();
                        Some(ExportedEntry { key, value, expires_at_ms })
                    };
                    let entries = read.entries.into_iter().filter_map(entry).collect();
                    return Ok(EntryPage {
                        page: page(entries, limit, read.is_cut, |last| &last.key),
                        memory,
                    });
                }
                None => namespace.forget(),
            }
        }
        Ok(EntryPage { page: Page { items: Vec::new(), next: None }, memory: None })
    }

    /// Where the namespace is stored; `None`: nothing of it is.
    async fn stored(
        &self,
        namespace: &Arc<Namespace>,
    ) -> Result<Option<(&StateStore, NamespaceId)>, AdministrationError> {
        freshness::refresh(namespace).await?;
        let id = namespace.ensure_loaded().await?;
        Ok(self.shared.store.as_ref().zip(id))
    }
}

/// What is read for a page: one entry more, to know whether there is another page.
fn stored_range(namespace: &Namespace, range: &KeyRange, limit: u32, reverse: bool) -> StateRange {
    StateRange {
        from: range.from.clone(),
        to: range.to.clone(),
        limit: limit.saturating_add(1),
        bytes_max: LIST_PAGE_BYTES_MAX,
        reverse,
        now_ms: namespace.contents().tick(),
    }
}

/// The page of what was read. `is_cut`: the values of what follows were too large.
fn page<T>(mut items: Vec<T>, limit: u32, is_cut: bool, key: impl Fn(&T) -> &KvKey) -> Page<T, KvKey> {
    let has_more = is_cut || items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| has_more).map(|last| key(last).clone());
    Page { items, next }
}

/// Keys in the database were keys before.
fn parse(key: &str) -> Option<KvKey> {
    KvKey::new(key).ok()
}

/// Reserves memory of the app for values that were read.
fn reserve(namespace: &Namespace, bytes: u64) -> Result<Option<Reservation>, AdministrationError> {
    let Some(account) = namespace.account() else { return Ok(None) };
    let reserved = account.try_reserve(Purpose::State, bytes);
    reserved.map(Some).map_err(|error| AdministrationError::Unavailable(error.to_string()))
}
