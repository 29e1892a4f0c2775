//! Reads a namespace from the database for the next pass of an execution.
//!
//! What was read at one position is kept if that position is in the history that is in memory. If another node has
//! committed meanwhile, its commits are taken over first.

use std::collections::BTreeMap;
use std::sync::Arc;

use runtime::{FailureKind, KvKey, Pending};
use store::state::STATE_READ_BYTES_MAX;
use store::{NamespaceId, StatePosition, StateRange, StateStore};

use super::READ_BYTES_MAX;
use super::freshness::{self, ReadError};
use super::namespace::Namespace;
use super::recent::Entry;
use super::transaction::{ListRead, LoadedList, Session};

/// Reads keys. A failure is kept in the session.
pub(super) fn load(namespace: &Arc<Namespace>, session: Arc<Session>, keys: Vec<KvKey>) -> Pending {
    let namespace = Arc::clone(namespace);
    let shared = Arc::clone(namespace.shared());
    shared.reading(async move {
        if let Err(error) = load_entries(&namespace, &session, &keys).await {
            session.fail(FailureKind::Storage, error.message());
        }
    })
}

/// Reads a list. A failure is kept in the session.
pub(super) fn load_list(
    namespace: &Arc<Namespace>,
    session: Arc<Session>,
    read: ListRead,
    now_ms: i64,
) -> Pending {
    let namespace = Arc::clone(namespace);
    let shared = Arc::clone(namespace.shared());
    shared.reading(async move {
        if let Err(error) = load_pages(&namespace, &session, read, now_ms).await {
            session.fail(FailureKind::Storage, error.message());
        }
    })
}

/// Where the namespace is stored, once the session has seen its latest position; `None`: nothing of it is.
async fn open<'n>(
    namespace: &'n Arc<Namespace>,
    session: &Session,
) -> Result<Option<(&'n StateStore, NamespaceId)>, ReadError> {
    if session.needs_refresh() {
        if !namespace.shared().faults.trusts_memory() {
            freshness::refresh(namespace).await?;
        }
        session.note_refreshed();
    }
    let id = namespace.ensure_loaded().await?;
    Ok(namespace.shared().store.as_ref().zip(id))
}

/// Reads keys into memory that executions are about to read.
pub(super) async fn prefetch(
    namespace: &Arc<Namespace>,
    id: NamespaceId,
    keys: &[KvKey],
) -> Result<(), ReadError> {
    let unread: Vec<&KvKey> =
        keys.iter().filter(|key| namespace.contents().find(key, None).is_none()).collect();
    let Some(store) = namespace.shared().store.as_ref().filter(|_| !unread.is_empty()) else { return Ok(()) };
    read_entries(namespace, store, id, &unread).await.map(drop)
}

/// What was read of keys, and where it is in the history in memory.
struct ReadEntries {
    epoch: u64,
    version: u64,
    entries: Vec<(KvKey, Option<Entry>)>,
}

/// Reads keys from the database, and adds them to the cache. `None`: they must be read again.
async fn read_entries(
    namespace: &Arc<Namespace>,
    store: &StateStore,
    id: NamespaceId,
    unread: &[&KvKey],
) -> Result<Option<ReadEntries>, ReadError> {
    let texts: Vec<&str> = unread.iter().map(|key| key.as_str()).collect();
    namespace.shared().metrics.count_cache_misses(texts.len());
    let Some(read) = store.state_entries(id, &texts).await? else {
        namespace.forget();
        return Ok(None);
    };
    let Some(epoch) = placed(namespace, id, read.position).await? else { return Ok(None) };
    let found: BTreeMap<String, Entry> =
        read.entries.into_iter().map(|entry| (entry.key.clone(), Entry::from(entry))).collect();
    // A key can be among them more than once.
    let entries = unread.iter().map(|key| ((*key).clone(), found.get(key.as_str()).cloned()));
    // A key that was not read may exist if the read was cut.
    let known = entries.filter(|(_, entry)| entry.is_some() || !read.is_cut);
    let (version, entries) = (read.position.version, known.collect::<Vec<_>>());
    namespace.cache_read(epoch, version, &entries);
    Ok(Some(ReadEntries { epoch, version, entries }))
}

async fn load_entries(
    namespace: &Arc<Namespace>,
    session: &Session,
    keys: &[KvKey],
) -> Result<(), ReadError> {
    let again = session.take_keys_to_read_again();
    let mut unread: Vec<&KvKey> = keys.iter().chain(&again).collect();
    while let Some((store, id)) = open(namespace, session).await? {
        unread.retain(|key| namespace.contents().find(key, Some(session)).is_none());
        if unread.is_empty() || session.has_failed() {
            return Ok(());
        }
        if let Some(read) = read_entries(namespace, store, id, &unread).await? {
            session.keep_entries(read.epoch, read.version, read.entries);
        }
    }
    Ok(())
}

/// The epoch in which a position of the database is in memory, once commits of other nodes up to it are taken over. `None`:
/// it must be read again.
async fn placed(
    namespace: &Arc<Namespace>,
    id: NamespaceId,
    position: StatePosition,
) -> Result<Option<u64>, ReadError> {
    let known = || {
        let contents = namespace.contents();
        (contents.is_loaded() && contents.knows(position)).then_some(contents.epoch)
    };
    if let Some(epoch) = known() {
        return Ok(Some(epoch));
    }
    freshness::catch_up(namespace, id, Some(position.version)).await?;
    Ok(known())
}

async fn load_pages(
    namespace: &Arc<Namespace>,
    session: &Session,
    read: ListRead,
    now_ms: i64,
) -> Result<(), ReadError> {
    namespace.shared().metrics.count_list();
    while let Some((store, id)) = open(namespace, session).await? {
        let Some((position, list)) = pages(store, id, &read, now_ms).await? else {
            namespace.forget();
            return Ok(());
        };
        if let Some(epoch) = placed(namespace, id, position).await? {
            session.keep_list(read, LoadedList { epoch, ..list });
            return Ok(());
        }
    }
    Ok(())
}

/// The pages of a list, all of one moment. `None`: no such namespace.
async fn pages(
    store: &StateStore,
    id: NamespaceId,
    read: &ListRead,
    now_ms: i64,
) -> Result<Option<(StatePosition, LoadedList)>, ReadError> {
    let (mut entries, mut bytes): (Vec<(KvKey, Entry)>, u64) = (Vec::new(), 0);
    let (mut range, mut first) = (read.range.clone(), None);
    loop {
        let limit = read.limit - u32::try_from(entries.len()).unwrap_or(read.limit);
        let page = StateRange {
            from: range.from.clone(),
            to: range.to.clone(),
            limit,
            bytes_max: STATE_READ_BYTES_MAX,
            reverse: read.reverse,
            now_ms,
        };
        let Some(page) = store.state_list(id, &page).await? else { return Ok(None) };
        let position = *first.get_or_insert(page.position);
        if position != page.position {
            (range, first, bytes) = (read.range.clone(), None, 0);
            entries.clear();
            continue;
        }
        let is_last = !page.is_cut && page.entries.len() < limit as usize;
        for entry in page.entries {
            bytes += (entry.key.len() + entry.value.bytes().len()) as u64;
            // Keys in the database were keys before.
            if let Ok(key) = KvKey::new(&entry.key) {
                entries.push((key, Entry::from(entry)));
            }
        }
        let is_too_large = bytes > READ_BYTES_MAX;
        let is_full = entries.len() >= read.limit as usize || is_too_large;
        match entries.last() {
            Some((last, _)) if !is_last && !is_full => range = read.range.beyond(last, read.reverse),
            _ => {
                let (epoch, version) = (0, position.version);
                let list = LoadedList { epoch, version, entries, complete: is_last, is_too_large };
                return Ok(Some((position, list)));
            }
        }
    }
}
