//! Changes by operators, as transactions like those of scripts, and what is stored.

use std::collections::HashMap;
use std::sync::Arc;

use runtime::{Failure, FailureKind, HostCall, KvChange, KvError, KvKey, KvValue};
use store::{AppId, NamespaceName, NamespaceRow, StoreError};

use super::freshness::{self, ReadError};
use super::namespace::{NotAccepted, NotStored};
use super::{Session, State, Transaction};
use crate::limits::GrantedLimits;

/// An entry with the time until which it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedEntry {
    /// The key.
    pub key: KvKey,
    /// The value.
    pub value: KvValue,
    /// In milliseconds since 1970; `None`: until it is deleted.
    pub expires_at_ms: Option<i64>,
}

/// A namespace: an app, and its production or a preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTarget {
    /// The app.
    pub app: AppId,
    /// Its production, or a preview.
    pub name: NamespaceName,
}

/// What a namespace stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceUsage {
    /// The namespace.
    pub name: NamespaceName,
    /// The stored bytes, as they count for the quota.
    pub bytes: u64,
    /// The quota in bytes.
    pub quota_bytes: u64,
    /// The number of entries.
    pub entries: u64,
    /// The number of commits so far.
    pub version: u64,
    /// The keys that executions ran again for most often since the start of the node, with their counts.
    pub conflicts: Vec<(KvKey, u64)>,
}

/// A change by an operator, for the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvAction {
    /// A value was set.
    Set,
    /// A key was deleted.
    Delete,
    /// Entries were imported.
    Import,
}

/// Why an operator's read or write failed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// The write does not fit: its value, the quota, or a limit.
    #[error("{0}")]
    Rejected(String),
    /// The state cannot be read or stored now.
    #[error("{0}")]
    Unavailable(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<KvError> for AdministrationError {
    fn from(error: KvError) -> Self {
        Self::Rejected(error.to_string())
    }
}

impl From<Failure> for AdministrationError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::Storage | FailureKind::NodeMemory => Self::Unavailable(failure.message),
            _ => Self::Rejected(failure.message),
        }
    }
}

impl From<ReadError> for AdministrationError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => Self::Store(error),
            ReadError::NotRefreshed => Self::Unavailable(error.message()),
        }
    }
}

impl From<NotStored> for AdministrationError {
    fn from(error: NotStored) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl State {
    /// Deletes a key, and awaits `audit` before. Returns whether it existed.
    ///
    /// # Errors
    /// The state cannot be read or stored, or `audit` failed.
    pub async fn delete(
        &self,
        of: &StateTarget,
        key: &KvKey,
        audit: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<bool, AdministrationError> {
        let mode = runtime::KvReadMode::Checked;
        self.transact(of, audit, |transaction| {
            let found = match transaction.get(std::slice::from_ref(key), mode) {
                HostCall::Ready(Ok(values)) => values.into_iter().any(|value| value.is_some()),
                HostCall::Ready(Err(error)) => return HostCall::Ready(Err(error)),
                HostCall::Pending(pending) => return HostCall::Pending(pending),
                HostCall::Restart => return HostCall::Restart,
            };
            let deleted = if found { transaction.change(key, KvChange::Delete) } else { Ok(()) };
            HostCall::Ready(deleted.map(|()| found))
        })
        .await
    }

    /// Makes changes in one transaction, and awaits `audit` before, once they can be accepted.
    ///
    /// # Errors
    /// One does not fit, or they cannot be stored, or `audit` failed. None is made.
    pub async fn change_all(
        &self,
        of: &StateTarget,
        changes: &[(KvKey, KvChange)],
        audit: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), AdministrationError> {
        self.transact(of, audit, |transaction| {
            let mut changed = changes.iter().map(|(key, change)| transaction.change(key, change.clone()));
            HostCall::Ready(changed.try_for_each(|changed| changed))
        })
        .await
    }

    /// The time by which keys end, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms()
    }

    /// What the namespaces of an app with these limits store: production first, then previews by name.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn usage(
        &self,
        app: AppId,
        limits: &GrantedLimits,
    ) -> Result<Vec<NamespaceUsage>, AdministrationError> {
        let Some(store) = &self.shared.store else { return Ok(Vec::new()) };
        let mut usage = Vec::new();
        for row in store.namespaces(Some(app)).await? {
            let namespace = self.shared.namespace(app, &row.name);
            let stored = (row.bytes, row.entries, row.position.version);
            let (bytes, entries, version) = match self.shared.is_shared() {
                true => stored,
                false => namespace.size().unwrap_or(stored),
            };
            usage.push(NamespaceUsage {
                quota_bytes: limits.state_quota(&row.name),
                name: row.name,
                bytes,
                entries,
                version,
                conflicts: namespace.contents().hot_keys.list(),
            });
        }
        usage.sort_by_key(|usage| match &usage.name {
            NamespaceName::Production => (false, String::new()),
            NamespaceName::Preview(branch) => (true, branch.clone()),
        });
        Ok(usage)
    }

    /// Whether a namespace has entries, as far as that can be read.
    pub(crate) async fn has_entries(&self, of: &StateTarget) -> bool {
        let namespace = self.shared.namespace(of.app, &of.name);
        let is_fresh = freshness::refresh(&namespace).await.is_ok();
        let is_read = is_fresh && namespace.ensure_loaded().await.is_ok();
        is_read && namespace.size().is_some_and(|(_, entries, _)| entries > 0)
    }

    /// Deletes a namespace with everything in it. What is written meanwhile is refused.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_namespace(&self, of: &StateTarget) -> Result<(), StoreError> {
        let Some(store) = &self.shared.store else { return Ok(()) };
        let known = self.shared.namespaces().get_mut(&of.app).and_then(|of_app| of_app.remove(&of.name));
        if let Some(namespace) = &known {
            namespace.close();
        }
        if let Some(row) = store.namespace(of.app, &of.name).await? {
            while store.delete_namespace(row.id).await? {}
        }
        if let Some(namespace) = known {
            namespace.throw_away(NotStored::Outdated);
        }
        Ok(())
    }

    /// Deletes exactly this namespace, and none that has got its name meanwhile.
    pub(crate) async fn delete_row(&self, row: &NamespaceRow) -> Result<(), StoreError> {
        let Some(store) = &self.shared.store else { return Ok(()) };
        while store.delete_namespace(row.id).await? {}
        let mut namespaces = self.shared.namespaces();
        if let Some(of_app) = namespaces.get_mut(&row.app)
            && of_app.get(&row.name).is_some_and(|namespace| namespace.id() == Some(row.id))
            && let Some(namespace) = of_app.remove(&row.name)
        {
            namespace.close();
            namespace.throw_away(NotStored::Outdated);
        }
        Ok(())
    }

    /// Forgets the namespaces of an app that was purged.
    pub(crate) fn forget_app(&self, app: AppId) {
        let namespaces = self.shared.namespaces().remove(&app);
        for namespace in namespaces.into_iter().flat_map(HashMap::into_values) {
            namespace.close();
            namespace.throw_away(NotStored::Outdated);
        }
    }

    /// Runs `act` in a transaction until it is accepted, and waits until it is stored.
    ///
    /// `audit` is awaited before the first writes are accepted. What would be rejected is not audited, unless another
    /// transaction has taken the room or the key in between.
    async fn transact<T>(
        &self,
        of: &StateTarget,
        audit: impl Future<Output = Result<(), StoreError>>,
        mut act: impl FnMut(&mut Transaction) -> HostCall<Result<T, KvError>>,
    ) -> Result<T, AdministrationError> {
        let namespace = self.shared.namespace(of.app, &of.name);
        namespace.ensure_loaded().await?;
        let session = Session::new(Arc::clone(&namespace));
        let mut audit = Some(audit);
        loop {
            let mut transaction = Transaction::new(Arc::clone(&session));
            let result = match act(&mut transaction) {
                HostCall::Ready(result) => result?,
                HostCall::Pending(pending) => {
                    pending.await;
                    continue;
                }
                HostCall::Restart => match session.take_failure() {
                    Some(failure) => return Err(failure.into()),
                    None => continue,
                },
            };
            if !transaction.has_no_writes() && audit.is_some() {
                match namespace.check_when_ready(&transaction).await {
                    Ok(()) => {}
                    Err(NotAccepted::Failed(failure)) => return Err(failure.into()),
                    Err(_) => continue,
                }
                if let Some(audit) = audit.take() {
                    audit.await?;
                }
            }
            match namespace.accept_when_ready(&transaction).await {
                Ok(accepted) => match namespace.stored(accepted).await {
                    Err(NotStored::Outdated) => namespace.ensure_loaded().await.map(drop)?,
                    stored => return Ok(stored.map(|()| result)?),
                },
                Err(NotAccepted::Failed(failure)) => return Err(failure.into()),
                Err(_) => {}
            }
        }
    }
}
