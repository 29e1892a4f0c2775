//! Tests of the state on a database file, and of several nodes on PostgreSQL.

mod history;
mod namespaces;
mod nodes;
mod pages;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use runtime::{HostCall, KvChange, KvError, KvKey, KvList, KvReadMode, KvValue};
use store::{AppId, NamespaceName, StateStore, StoreError};
use uuid::Uuid;

use super::*;
use crate::limits::GrantedLimits;
use crate::memory::MemoryBudget;

/// A state in a file, with a clock that tests set.
struct TestState {
    state: State,
    store: StateStore,
    clock_ms: Arc<AtomicI64>,
}

const MIB: u64 = 1024 * 1024;

impl TestState {
    async fn open(folder: &Path) -> Self {
        Self::open_with(folder, MemoryBudget::new(512 * MIB)).await
    }

    async fn open_with(folder: &Path, memory: MemoryBudget) -> Self {
        let store = StateStore::open_file(&folder.join("state.db")).await.unwrap();
        let clock_ms = Arc::new(AtomicI64::new(1_000_000));
        let clock = Arc::clone(&clock_ms);
        let moments = Moments::new(move || clock.load(Ordering::SeqCst));
        Self { state: State::with(Some(store.clone()), moments, memory), store, clock_ms }
    }

    fn namespace(&self) -> Arc<Namespace> {
        self.state.namespace(app(), &NamespaceName::Production, QUOTA_BYTES)
    }

    fn target(&self) -> StateTarget {
        StateTarget { app: app(), name: NamespaceName::Production }
    }

    async fn set(&self, text: &str, value: &str) -> Result<(), AdministrationError> {
        self.set_for(text, value, None).await
    }

    async fn set_for(
        &self,
        text: &str,
        value: &str,
        ttl: Option<Duration>,
    ) -> Result<(), AdministrationError> {
        self.change_all(&[(key(text), KvChange::Set { value: json(value), ttl })]).await
    }

    /// Sets a key of any namespace.
    async fn set_of(&self, of: &StateTarget, text: &str, value: &str) {
        self.state.change_all(of, &[(key(text), set(value))], unaudited()).await.unwrap();
    }

    async fn change_all(&self, changes: &[(KvKey, KvChange)]) -> Result<(), AdministrationError> {
        self.state.change_all(&self.target(), changes, unaudited()).await
    }

    async fn delete(&self, text: &str) -> Result<bool, AdministrationError> {
        self.state.delete(&self.target(), &key(text), unaudited()).await
    }

    /// What production stores.
    async fn usage(&self) -> NamespaceUsage {
        self.usage_of(app()).await
    }

    async fn usage_of(&self, app: AppId) -> NamespaceUsage {
        self.state.usage(app, &GrantedLimits::default()).await.unwrap().remove(0)
    }

    /// What production stores, once that `is_reached`.
    async fn usage_when(&self, is_reached: impl Fn(&NamespaceUsage) -> bool) -> NamespaceUsage {
        loop {
            let usage = self.usage().await;
            if is_reached(&usage) {
                return usage;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stores an entry that has expired.
    async fn store_expired(&self, text: &str, value: &str) {
        let ttl = Some(Duration::from_secs(1));
        self.set_for(text, value, ttl).await.unwrap();
    }

    async fn get(&self, text: &str) -> Option<String> {
        let entry = self.state.get(&self.target(), &key(text)).await.unwrap();
        entry.map(|entry| String::from_utf8(entry.value.bytes().to_vec()).unwrap())
    }
}

fn unaudited() -> std::future::Ready<Result<(), StoreError>> {
    std::future::ready(Ok(()))
}

fn app() -> AppId {
    AppId::from_uuid(Uuid::from_u128(1))
}

fn key(text: &str) -> KvKey {
    KvKey::new(text).unwrap()
}

fn json(text: &str) -> KvValue {
    KvValue::Json(Bytes::copy_from_slice(text.as_bytes()))
}

fn set(value: &str) -> KvChange {
    KvChange::Set { value: json(value), ttl: None }
}

fn list(prefix: &str, limit: u32, reverse: bool) -> KvList {
    KvList { prefix: prefix.to_owned(), after: None, before: None, limit, reverse }
}

/// A pass of an execution in which the namespace is loaded.
struct Pass(Transaction);

impl Pass {
    async fn begin(namespace: &Arc<Namespace>) -> Self {
        namespace.ensure_loaded().await.unwrap();
        Self(Transaction::new(Session::new(Arc::clone(namespace))))
    }

    /// The value of a key; `Err` if the pass must run again.
    async fn get(&mut self, text: &str) -> Result<Option<String>, ()> {
        loop {
            match self.0.get(&[key(text)], KvReadMode::Checked) {
                HostCall::Ready(values) => {
                    let value = values.unwrap().remove(0);
                    return Ok(value.map(|value| String::from_utf8(value.bytes().to_vec()).unwrap()));
                }
                HostCall::Pending(pending) => pending.await,
                HostCall::Restart => return Err(()),
            }
        }
    }

    /// The keys of a list; `Err` if the pass must run again.
    async fn keys(&mut self, list: &KvList) -> Result<Vec<String>, ()> {
        loop {
            match self.0.list(list) {
                HostCall::Ready(entries) => {
                    return Ok(entries.unwrap().into_iter().map(|(key, _)| key.to_string()).collect());
                }
                HostCall::Pending(pending) => pending.await,
                HostCall::Restart => return Err(()),
            }
        }
    }

    fn change(&mut self, text: &str, change: KvChange) -> Result<(), KvError> {
        self.0.change(&key(text), change)
    }

    /// Accepts the pass and waits until it is stored.
    async fn commit(self) -> Result<(), NotAccepted> {
        let namespace = Arc::clone(self.0.session().namespace());
        let accepted = namespace.accept_when_ready(&self.0).await?;
        namespace.stored(accepted).await.unwrap();
        Ok(())
    }
}
