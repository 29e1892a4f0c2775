//! The state of namespaces that several nodes change, in PostgreSQL.
//!
//! A node that has entries in memory compares the position of their namespace before a run reads them. If another node
//! has committed since, it reads from the log which keys have changed. The log is kept for as long as nodes are a little
//! behind each other; a node further behind begins again.

use crate::error::StoreError;
use crate::id::{AppId, NamespaceId};
use crate::postgres::connections::Connections;
use crate::postgres::transaction::Transaction;
use crate::postgres::{state as queries, state_log};
use crate::state::{CommitError, NamespaceCommit, NamespaceName, NamespaceRow, StatePosition};

/// A notification names at most so many namespaces: PostgreSQL limits its size to 8000 bytes.
pub const NOTIFIED_MAX: usize = 300;

/// The state that other nodes change, too. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedState(pub(crate) Connections);

/// Namespaces of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHeads {
    /// The time of the database, not later than that moment, in milliseconds since 1970.
    pub at_ms: i64,
    /// The namespaces in the order of the question; `None`: it does not exist.
    pub namespaces: Vec<Option<NamespaceRow>>,
}

/// A namespace and what was committed since a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChanges {
    /// The namespace.
    pub namespace: NamespaceRow,
    /// The commits in the log after that version, in order. Those that are no longer in the log are missing.
    pub commits: Vec<LoggedCommit>,
}

/// A commit in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedCommit {
    /// The position before it.
    pub from: StatePosition,
    /// The position after it.
    pub to: StatePosition,
    /// The changed keys; `None`: any.
    pub keys: Option<Vec<String>>,
}

/// A transaction that has a namespace for itself. Dropping it ends it without a change.
pub struct NamespaceLock {
    transaction: Transaction,
    id: NamespaceId,
}

impl SharedState {
    /// The namespaces as they are now, each of which may not exist.
    ///
    /// # Errors
    /// The database failed.
    pub async fn heads(&self, namespaces: &[(AppId, NamespaceName)]) -> Result<StateHeads, StoreError> {
        state_log::heads(&self.0, namespaces).await
    }

    /// The namespace and its commits after a version, all of one moment. `None`: no such namespace.
    ///
    /// # Errors
    /// The database failed.
    pub async fn changes_since(
        &self,
        id: NamespaceId,
        version: u64,
    ) -> Result<Option<StateChanges>, StoreError> {
        state_log::changes_since(&self.0, id, version).await
    }

    /// Waits until this node has a namespace for itself. Nodes get it in the order in which they began to wait. The lock
    /// of a node that is suspended ends after a second. `None`: no such namespace.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lock(&self, id: NamespaceId) -> Result<Option<NamespaceLock>, StoreError> {
        let locked = state_log::lock(&self.0, id).await?;
        Ok(locked.map(|transaction| NamespaceLock { transaction, id }))
    }

    /// Notifies other nodes of at most [`NOTIFIED_MAX`] changed namespaces.
    ///
    /// # Errors
    /// The database failed.
    pub async fn notify(&self, changed: &[NamespaceId]) -> Result<(), StoreError> {
        state_log::notify(&self.0, changed).await
    }
}

impl NamespaceLock {
    /// See [`SharedState::changes_since`].
    ///
    /// # Errors
    /// The database failed.
    pub async fn changes_since(&mut self, version: u64) -> Result<Option<StateChanges>, StoreError> {
        state_log::changes_since(&mut *self.transaction, self.id, version).await
    }

    /// Commits a change of the namespace, and ends the lock.
    ///
    /// # Errors
    /// See [`StateStore::commit_state`](crate::StateStore::commit_state).
    pub async fn commit(self, commit: &NamespaceCommit) -> Result<(), CommitError> {
        queries::commit_in(self.transaction, std::slice::from_ref(commit)).await
    }

    /// Ends the lock without a change.
    pub async fn release(self) {
        self.transaction.rollback().await;
    }
}

impl std::fmt::Debug for NamespaceLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamespaceLock").field("id", &self.id).finish_non_exhaustive()
    }
}
