//! Keeps up with other nodes that change the same namespaces in PostgreSQL.
//!
//! Before its first read, an execution needs the position of its namespace from after it began. One query reads it for
//! all executions that wait. If another node has committed since, the keys that it changed are dropped from memory, and
//! what this node has accepted and not stored yet is thrown away: its executions run again.
//!
//! Notifications of other nodes cause the same query earlier. Nothing depends on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{NamespaceId, NamespaceRow, SharedState, StoreError};
use tokio::sync::{Notify, oneshot};

use super::Shared;
use super::contents::{Comparison, Known};
use super::namespace::Namespace;

/// The executions that wait for the latest position of their namespace.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    waiting: Mutex<Vec<Waiting>>,
    work: Notify,
}

/// One that waits, if anyone does.
#[derive(Debug)]
struct Waiting {
    namespace: Arc<Namespace>,
    refreshed: Option<oneshot::Sender<bool>>,
}

/// Why state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A query for many executions failed. It is in the log of the node.
    #[error("the position of the state cannot be read")]
    NotRefreshed,
}

impl ReadError {
    /// The message for the execution; the reason is in the log of the node.
    pub(super) fn message(&self) -> String {
        if let Self::Store(error) = self {
            tracing::warn!(%error, "cannot read the state of an app");
        }
        "the state of the app cannot be read now".to_owned()
    }
}

impl Freshness {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, namespace: &Arc<Namespace>, refreshed: Option<oneshot::Sender<bool>>) {
        self.waiting().push(Waiting { namespace: Arc::clone(namespace), refreshed });
        self.work.notify_one();
    }
}

/// Waits until memory has everything of a namespace that was committed before the call.
///
/// # Errors
/// The database failed.
pub(super) async fn refresh(namespace: &Arc<Namespace>) -> Result<(), ReadError> {
    if !namespace.shared().is_shared() {
        return Ok(());
    }
    let (refreshed, waiting) = oneshot::channel();
    namespace.shared().freshness.ask(namespace, Some(refreshed));
    match waiting.await {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(ReadError::NotRefreshed),
    }
}

/// Asks again for executions that were held, because the namespace was not locked.
pub(super) fn ask_again(namespace: &Arc<Namespace>) {
    let held = namespace.contents().contention.take_held();
    for waiting in held {
        namespace.shared().freshness.ask(namespace, Some(waiting));
    }
}

/// Takes over what other nodes have committed to these namespaces, as far as they are in memory.
pub(super) fn note_changed(shared: &Shared, changed: &[NamespaceId]) {
    let namespaces: Vec<Arc<Namespace>> = {
        let namespaces = shared.namespaces();
        let all = namespaces.values().flat_map(HashMap::values);
        all.filter(|namespace| namespace.id().is_some_and(|id| changed.contains(&id))).cloned().collect()
    };
    for namespace in namespaces {
        shared.freshness.ask(&namespace, None);
    }
}

/// Answers those that wait, for as long as the node runs. One query is in progress: those that come meanwhile share the next
/// one.
pub(super) async fn run(shared: Arc<Shared>, store: SharedState) {
    loop {
        let waiting = std::mem::take(&mut *shared.freshness.waiting());
        if waiting.is_empty() {
            shared.freshness.work.notified().await;
            continue;
        }
        let asked = by_namespace(waiting);
        let names: Vec<_> = asked.iter().map(|asked| asked.namespace.full_name()).collect();
        match store.heads(&names).await {
            Ok(heads) => {
                for (asked, row) in asked.into_iter().zip(heads.namespaces) {
                    answer(asked, row.as_ref(), heads.at_ms);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the positions of the state");
                asked.into_iter().for_each(|asked| asked.answer(false));
            }
        }
    }
}

/// The namespaces, each once, with what is known of them now.
fn by_namespace(waiting: Vec<Waiting>) -> Vec<Asked> {
    let mut asked: HashMap<*const Namespace, Asked> = HashMap::new();
    for Waiting { namespace, refreshed } in waiting {
        let asked = asked.entry(Arc::as_ptr(&namespace)).or_insert_with(|| {
            let known = namespace.contents().known();
            Asked { namespace, known, waiting: Vec::new() }
        });
        asked.waiting.extend(refreshed);
    }
    asked.into_values().collect()
}

/// A namespace that executions wait for, and what was known before the query.
struct Asked {
    namespace: Arc<Namespace>,
    known: Known,
    waiting: Vec<oneshot::Sender<bool>>,
}

impl Asked {
    fn answer(self, is_refreshed: bool) {
        for waiting in self.waiting {
            // It has left if nobody receives.
            let _ = waiting.send(is_refreshed);
        }
    }
}

/// Answers those that wait for a namespace, now or once it is caught up with.
fn answer(asked: Asked, row: Option<&NamespaceRow>, at_ms: i64) {
    let namespace = Arc::clone(&asked.namespace);
    let mut contents = namespace.contents();
    contents.now_ms = contents.now_ms.max(at_ms);
    match contents.compare(row, asked.known) {
        _ if contents.contention.holds() => {
            asked.waiting.into_iter().for_each(|waiting| contents.contention.hold(waiting));
        }
        Comparison::Current => asked.answer(true),
        Comparison::Behind(id) => drop(tokio::spawn(answer_when_caught_up(asked, id))),
    }
}

async fn answer_when_caught_up(asked: Asked, id: NamespaceId) {
    let caught_up = catch_up(&asked.namespace, id, None).await;
    if let Err(error) = &caught_up {
        tracing::warn!(%error, "cannot read the log of the state");
    }
    asked.answer(caught_up.is_ok());
}

/// Takes over what other nodes have committed, all of it, or up to a version.
///
/// # Errors
/// The database failed.
pub(super) async fn catch_up(
    namespace: &Arc<Namespace>,
    id: NamespaceId,
    until: Option<u64>,
) -> Result<(), ReadError> {
    let Some(store) = &namespace.shared().shared_store else {
        // Nobody else changes it.
        namespace.forget();
        return Ok(());
    };
    loop {
        let known = namespace.contents().known();
        let changes = store.changes_since(id, known.stored.version).await?;
        let is_done = {
            let mut contents = namespace.contents();
            let is_done = contents.catch_up(changes.as_ref(), known, until);
            if !contents.contention.is_locking {
                contents.contention.release_refused();
            }
            is_done
        };
        namespace.note_progress();
        if is_done {
            return Ok(());
        }
    }
}
