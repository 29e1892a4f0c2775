//! Stores accepted commits, in groups.
//!
//! A group is what was accepted while the one before was being stored: there is no timer, so a commit on an idle node
//! is stored at once, and a busy node stores large groups. The embedded database has one writer, so a group holds
//! commits of all namespaces; in PostgreSQL every namespace has its own.

use std::collections::HashMap;
use std::sync::Arc;

use store::{
    AppId, CommitError, NamespaceCommit, NamespaceId, StateEntry, StateStore, StateValue, StoreError,
};
use tokio::task::{self, JoinSet};

use super::Shared;
use super::contended;
use super::contents::Group;
use super::namespace::{GROUP_BYTES_MAX, GROUP_WRITES_MAX, Namespace, NotStored};
use super::recent::Entry;
use runtime::{KvKey, KvValue};

/// The maximum size of a group of all namespaces, in bytes and in writes. An app gets half of it while others wait.
const BYTES_MAX: u64 = 2 * GROUP_BYTES_MAX;
const WRITES_MAX: usize = 2 * GROUP_WRITES_MAX;

/// A part of this much of a maximum is stored with a group that is full. All of them together are another maximum.
const SMALL_DIVISOR: usize = 8;

/// How many groups are stored at once in PostgreSQL. Those of an app are half of them while others wait.
const CONCURRENT_GROUPS_MAX: usize = 4;

/// The part of a namespace in a group.
type Part = (Arc<Namespace>, Option<NamespaceId>, Group);

/// Stores groups for as long as the node runs. Sleeps while there are none.
pub(super) async fn run(shared: Arc<Shared>, store: StateStore) {
    // A file has one writer.
    let is_file = store.folder().is_some();
    let concurrent = if is_file { 1 } else { CONCURRENT_GROUPS_MAX };
    let mut storing = JoinSet::new();
    let mut apps: HashMap<task::Id, AppId> = HashMap::new();
    loop {
        while storing.len() < concurrent {
            let limit = if is_file { Limit::Size } else { Limit::Groups(apps.values().copied().collect()) };
            let parts = next_group(&shared, &limit);
            let Some(app) = parts.first().map(|(namespace, ..)| namespace.app()) else { break };
            let (shared, store) = (Arc::clone(&shared), store.clone());
            let task = storing.spawn(async move { store_parts(&shared, &store, parts).await });
            apps.insert(task.id(), app);
        }
        let ended = if storing.is_empty() {
            shared.work.notified().await;
            None
        } else if storing.len() < concurrent {
            tokio::select! {
                ended = storing.join_next_with_id() => ended,
                () = shared.work.notified() => None,
            }
        } else {
            storing.join_next_with_id().await
        };
        if let Some(ended) = ended {
            apps.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
        }
    }
}

/// How much an app gets while others wait: half of a group, or of the groups that are stored at once.
enum Limit {
    /// A group has all namespaces that wait, up to its size.
    Size,
    /// A group has one namespace; these are the apps of those that are being stored.
    Groups(Vec<AppId>),
}

/// The size of a group, or of a part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    pub(super) bytes: u64,
    pub(super) writes: usize,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.writes += other.writes;
    }

    /// Whether it is a maximum divided by `divisor`.
    fn reaches_part(self, divisor: usize) -> bool {
        self.bytes >= BYTES_MAX / divisor as u64 || self.writes >= WRITES_MAX / divisor
    }
}

/// Takes the next groups of namespaces that wait. Apps take turns.
fn next_group(shared: &Shared, limit: &Limit) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut size_of: HashMap<AppId, Size> = HashMap::new();
    let (mut size, mut small) = (Size::default(), Size::default());
    let waiting = shared.take_queue();
    let apps_wait = waiting.iter().any(|namespace| namespace.app() != waiting[0].app());
    let mut left = Vec::new();
    for namespace in waiting {
        let Some(of_part) = namespace.waiting_group() else { continue };
        let of_app = size_of.get(&namespace.app());
        let is_taken = match limit {
            Limit::Size => {
                let is_small = of_app.is_none() && !of_part.reaches_part(SMALL_DIVISOR);
                let has_half = apps_wait && of_app.is_some_and(|size| size.reaches_part(2));
                match size.reaches_part(1) || has_half {
                    false => true,
                    // So that it does not wait for the large groups of all others.
                    true => is_small && !small.reaches_part(1),
                }
            }
            Limit::Groups(stored) => {
                let own = stored.iter().filter(|app| **app == namespace.app()).count();
                parts.is_empty() && !(apps_wait && own >= CONCURRENT_GROUPS_MAX / 2)
            }
        };
        if !is_taken {
            left.push(namespace);
            continue;
        }
        if let Some((id, group)) = namespace.begin_group() {
            let total = if size.reaches_part(1) { &mut small } else { &mut size };
            total.add(of_part);
            size_of.entry(namespace.app()).or_default().add(of_part);
            parts.push((namespace, id, group));
        } else if namespace.end_storing() {
            // Its groups were thrown away a moment ago, and there are others.
            left.push(namespace);
        }
    }
    // Other namespaces of the same apps wait for those of others.
    left.sort_by_key(|namespace| size_of.contains_key(&namespace.app()));
    shared.put_back(left);
    parts
}

async fn store_parts(shared: &Shared, store: &StateStore, parts: Vec<Part>) {
    let namespaces: Vec<Arc<Namespace>> = parts.iter().map(|(namespace, ..)| Arc::clone(namespace)).collect();
    match &shared.shared_store {
        Some(locks) => {
            for (namespace, id, group) in parts {
                contended::store_group(shared, store, locks, &namespace, id, group).await;
            }
        }
        None => store_group(shared, store, parts).await,
    }
    for namespace in namespaces.into_iter().filter(|namespace| namespace.end_storing()) {
        shared.enqueue(namespace);
    }
}

/// The id of a namespace, which is created if it does not exist.
pub(super) async fn open(
    store: &StateStore,
    namespace: &Namespace,
    id: Option<NamespaceId>,
) -> Result<NamespaceId, StoreError> {
    match id {
        Some(id) => Ok(id),
        None => store.open_namespace(namespace.app(), namespace.name()).await.map(|row| row.id),
    }
}

async fn store_group(shared: &Shared, store: &StateStore, parts: Vec<Part>) {
    let mut commits = Vec::with_capacity(parts.len());
    let mut opened = Vec::with_capacity(parts.len());
    for (namespace, id, group) in parts {
        match open(store, &namespace, id).await {
            Ok(id) => {
                commits.push(to_commit(id, &group));
                opened.push((namespace, id, group));
            }
            Err(error) => fail(shared, &namespace, &group, &error),
        }
    }
    match shared.faults.store(store, &commits).await {
        Ok(()) => {
            shared.metrics.count_group(opened.iter().map(|(_, _, group)| group.commits).sum());
            for (namespace, id, group) in opened {
                namespace.note_stored(id, &group);
            }
        }
        // Nothing was written: the others are stored without it.
        Err(error @ (CommitError::Outdated(refused) | CommitError::Lost(refused))) => {
            let why = match error {
                CommitError::Lost(_) => NotStored::Failed,
                _ => NotStored::Outdated,
            };
            for (namespace, id, group) in opened {
                if id == refused {
                    tracing::warn!(app = %namespace.app().as_uuid(), %error, "cannot store the state of an app");
                    namespace.note_not_stored(&group, why);
                } else {
                    namespace.put_back();
                }
            }
        }
        Err(CommitError::Store(error)) => {
            for (namespace, _, group) in opened {
                fail(shared, &namespace, &group, &error);
            }
        }
    }
}

pub(super) fn fail(shared: &Shared, namespace: &Namespace, group: &Group, error: &StoreError) {
    tracing::error!(app = %namespace.app().as_uuid(), %error, "cannot store the state of an app");
    shared.metrics.count_failed_group();
    shared.faults.throw_away(namespace, group);
}

pub(super) fn to_commit(id: NamespaceId, group: &Group) -> NamespaceCommit {
    let mut commit = NamespaceCommit {
        id,
        from: group.from,
        to: group.to,
        bytes: group.bytes_after,
        entries: group.entries_after,
        puts: Vec::with_capacity(group.writes.len()),
        deletes: Vec::new(),
        scheduled: group.scheduled.clone(),
    };
    for (key, (version, entry)) in &group.writes {
        match entry {
            Some(entry) => commit.puts.push(to_stored(key, *version, entry)),
            None => commit.deletes.push(key.as_str().to_owned()),
        }
    }
    commit
}

fn to_stored(key: &KvKey, version: u64, entry: &Entry) -> StateEntry {
    let value = match &entry.value {
        KvValue::Json(json) => StateValue::Json(json.to_vec()),
        KvValue::Blob(bytes) => StateValue::Blob(bytes.to_vec()),
    };
    StateEntry { key: key.as_str().to_owned(), value, version, expires_at_ms: entry.expires_at_ms }
}

#[cfg(test)]
mod tests {
    use runtime::KvChange;
    use uuid::Uuid;

    use super::super::{QUOTA_BYTES, Session, State, Transaction};
    use super::*;
    use crate::memory::MemoryBudget;
    use crate::state::Moments;

    fn app(number: u128) -> AppId {
        AppId::from_uuid(Uuid::from_u128(number))
    }

    /// Accepts so many changes in a preview of an app.
    fn accept(state: &State, of: AppId, branch: &str, writes: usize) {
        let name = store::NamespaceName::Preview(branch.to_owned());
        let namespace = state.namespace(of, &name, QUOTA_BYTES);
        let mut transaction = Transaction::new(Session::new(Arc::clone(&namespace)));
        for number in 0..writes {
            let key = KvKey::new(&format!("k{number}")).unwrap();
            let value = KvValue::Json(bytes::Bytes::from_static(b"1"));
            transaction.change(&key, KvChange::Set { value, ttl: None }).unwrap();
        }
        namespace.accept(&transaction).unwrap();
        // Without a store, nothing is queued.
        state.shared.queue().push_back(namespace);
    }

    fn state() -> State {
        State::with(None, Moments::new(|| 0), MemoryBudget::unbounded())
    }

    fn taken(state: &State, limit: &Limit) -> Vec<(AppId, String)> {
        let parts = next_group(&state.shared, limit);
        parts.iter().map(|(namespace, ..)| (namespace.app(), namespace.name().to_string())).collect()
    }

    #[test]
    fn small_part_does_not_wait_for_large_ones() {
        let state = state();
        for number in 0..4 {
            accept(&state, app(1), &format!("a{number}"), 5000);
            accept(&state, app(2), &format!("b{number}"), 5000);
        }
        accept(&state, app(3), "c", 1);
        let part = |number, name: &str| (app(number), format!("preview/{name}"));
        assert_eq!(taken(&state, &Limit::Size), [part(1, "a0"), part(3, "c")]);
        assert_eq!(taken(&state, &Limit::Size), [part(2, "b0")], "apps take turns");
        assert_eq!(taken(&state, &Limit::Size), [part(1, "a1")]);
        assert_eq!(state.shared.queue().len(), 5);
    }

    #[test]
    fn app_gets_half_of_the_groups_while_others_wait() {
        let state = state();
        for number in 0..3 {
            accept(&state, app(1), &format!("a{number}"), 1);
        }
        accept(&state, app(2), "b", 1);
        let part = |number, name: &str| vec![(app(number), format!("preview/{name}"))];
        assert_eq!(taken(&state, &Limit::Groups(vec![])), part(1, "a0"));
        assert_eq!(taken(&state, &Limit::Groups(vec![app(1)])), part(2, "b"), "apps take turns");
        assert_eq!(taken(&state, &Limit::Groups(vec![app(1), app(1)])), part(1, "a1"), "nobody else waits");
        accept(&state, app(2), "c", 1);
        assert_eq!(taken(&state, &Limit::Groups(vec![app(1), app(1)])), part(2, "c"));
    }
}
