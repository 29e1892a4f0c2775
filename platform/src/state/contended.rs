//! Stores groups of namespaces that other nodes change, too.
//!
//! A group is compared and stored in one statement. If another node has committed first, this node locks the namespace,
//! takes over what was committed, and stores what its executions write when they run again. Nodes get the lock in the order
//! in which they ask for it, so that none is refused again and again.

use std::sync::Arc;
use std::time::Duration;

use store::{CommitError, NamespaceId, SharedState, StateStore, StoreError};

use super::Shared;
use super::committer::{fail, open, to_commit};
use super::contents::Group;
use super::freshness;
use super::loading;
use super::namespace::{Namespace, NotStored};

/// How long after a refused group this node locks the namespace at once.
const LOCKING: Duration = Duration::from_millis(100);

/// Stores a group of one namespace.
pub(super) async fn store_group(
    shared: &Shared,
    store: &StateStore,
    locks: &SharedState,
    namespace: &Arc<Namespace>,
    id: Option<NamespaceId>,
    group: Group,
) {
    let id = match open(store, namespace, id).await {
        Ok(id) => id,
        Err(error) => return fail(shared, namespace, &group, &error),
    };
    if namespace.is_contended(LOCKING) {
        namespace.begin_locking(&group);
    } else {
        match shared.faults.store(store, &[to_commit(id, &group)]).await {
            Err(CommitError::Outdated(_)) => {
                shared.metrics.count_outdated_group();
                namespace.begin_locking(&group);
            }
            stored => return settle(shared, namespace, id, &group, stored),
        }
    }
    let stored = store_locked(shared, locks, namespace, id).await;
    namespace.end_locking();
    freshness::ask_again(namespace);
    if let Err(error) = stored {
        fail(shared, namespace, &group, &error);
    }
}

/// Stores what the executions write after the commits of other nodes.
async fn store_locked(
    shared: &Shared,
    locks: &SharedState,
    namespace: &Arc<Namespace>,
    id: NamespaceId,
) -> Result<(), StoreError> {
    let Some(mut lock) = locks.lock(id).await? else {
        namespace.forget();
        return Ok(());
    };
    loop {
        let known = namespace.contents().known();
        let changes = lock.changes_since(known.stored.version).await?;
        if namespace.contents().catch_up(changes.as_ref(), known, None) {
            break;
        }
    }
    let refused_keys = namespace.contents().contention.take_keys();
    if let Err(error) = loading::prefetch(namespace, id, &refused_keys).await {
        tracing::debug!(%error, "cannot read the keys of refused commits");
    }
    namespace.contents().contention.begin_locked();
    namespace.note_progress();
    namespace.wait_for_expected().await;
    match namespace.begin_group() {
        Some((_, group)) => {
            let stored = lock.commit(&to_commit(id, &group)).await;
            settle(shared, namespace, id, &group, stored);
        }
        None => lock.release().await,
    }
    Ok(())
}

fn settle(
    shared: &Shared,
    namespace: &Arc<Namespace>,
    id: NamespaceId,
    group: &Group,
    stored: Result<(), CommitError>,
) {
    match stored {
        Ok(()) => {
            shared.metrics.count_group(group.commits);
            shared.note_stored(id);
            namespace.note_stored(id, group);
        }
        Err(CommitError::Outdated(_)) => namespace.note_not_stored(group, NotStored::Outdated),
        Err(error @ CommitError::Lost(_)) => {
            tracing::warn!(app = %namespace.app().as_uuid(), %error, "cannot store the state of an app");
            namespace.note_not_stored(group, NotStored::Failed);
        }
        Err(CommitError::Store(error)) => fail(shared, namespace, group, &error),
    }
}
