//! The keys of `crypto::seal`, derived from the secret keys of the node, so that all nodes with the same key file
//! open what one of them sealed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use runtime::{HostCall, SealingKey, SealingKeyId};
use uuid::Uuid;

use super::Vault;
use super::key::{KeyError, Keys};
use super::key_cache::KeyCache;
use crate::rate_limit::RateLimit;

/// How long the creation of a key is not tried again.
const FAILURE_TTL: Duration = Duration::from_secs(10);

/// How often a key file that cannot be read is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Each node would create a key of its own, and open nothing that the others sealed.
const NO_SHARED_KEY: &str = "this node has no secret key; its operator must create one (`picloud secrets new-key`) and \
                             copy the file to every node";

const LOST_KEY: &str = "this server has lost its secret key; its operator must restore the key file or create a new \
                        key (`picloud secrets new-key`)";

const UNREADABLE_KEY: &str =
    "this server cannot read its secret key; its operator finds the reason in the log";

/// The source of the keys.
#[derive(Clone, Debug)]
pub enum SealingKeys {
    /// The secret keys of the node.
    Node(Arc<NodeKeys>),
    /// A fixed key per app, so that sessions survive a restart of `picloud dev`.
    Development,
}

/// The secret keys of a node; the first one is created when it is needed.
#[derive(Debug)]
pub struct NodeKeys {
    vault: Vault,
    /// Sealing happens on the thread of the request, so the file is not read each time.
    keys: KeyCache,
    /// When the creation of the first key last failed.
    failed: Mutex<Option<Instant>>,
    log: RateLimit,
}

impl SealingKeys {
    /// The keys of a node.
    pub fn of_node(vault: Vault) -> Self {
        let keys = KeyCache::new(vault.file.clone());
        let (failed, log) = (Mutex::default(), RateLimit::new(LOG_INTERVAL));
        Self::Node(Arc::new(NodeKeys { vault, keys, failed, log }))
    }

    /// The key of an app with this id, or the newest one. Previews share a key, which does not open what production
    /// sealed.
    pub(crate) fn key(
        &self,
        app: Uuid,
        is_production: bool,
        id: Option<SealingKeyId>,
    ) -> HostCall<Result<Option<SealingKey>, String>> {
        match self {
            Self::Node(node) => node.key(app, is_production, id),
            Self::Development => {
                let key = SealingKey::for_development(app);
                HostCall::Ready(Ok(Some(key).filter(|key| id.is_none_or(|id| id == key.id()))))
            }
        }
    }
}

impl NodeKeys {
    fn key(
        self: &Arc<Self>,
        app: Uuid,
        is_production: bool,
        id: Option<SealingKeyId>,
    ) -> HostCall<Result<Option<SealingKey>, String>> {
        let environment = if is_production { "production" } else { "preview" };
        match self.keys.keys() {
            Ok(keys) => HostCall::Ready(Ok(derive(&keys, app, environment, id))),
            Err(KeyError::Missing(_)) if self.vault.node.is_some() => {
                HostCall::Ready(Err(NO_SHARED_KEY.to_owned()))
            }
            Err(KeyError::Missing(_)) if self.has_failed() => HostCall::Ready(Err(LOST_KEY.to_owned())),
            Err(KeyError::Missing(_)) => {
                let this = Arc::clone(self);
                HostCall::Pending(Box::pin(async move { this.create().await }))
            }
            Err(error) => {
                if self.log.allow() {
                    tracing::error!(%error, "cannot read the secret keys; `crypto::seal` fails");
                }
                HostCall::Ready(Err(UNREADABLE_KEY.to_owned()))
            }
        }
    }

    /// Creates the first key, unless there are secrets that an earlier one encrypted.
    async fn create(&self) {
        if let Err(error) = self.vault.keys_to_write().await {
            if self.log.allow() {
                tracing::error!(%error, "cannot create a secret key; `crypto::seal` fails");
            }
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    fn has_failed(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < FAILURE_TTL)
    }
}

fn derive(keys: &Keys, app: Uuid, environment: &str, id: Option<SealingKeyId>) -> Option<SealingKey> {
    let newest = keys.first();
    let key = match id {
        Some(id) => keys.find_by_bytes(id)?,
        None => newest,
    };
    Some(SealingKey::derive(&key.0, (key.id_bytes(), key == newest), app, environment))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use store::{Location, Store};

    use super::super::key::{FILE_NAME, KeyFile};
    use super::*;

    const APP: Uuid = Uuid::from_u128(1);

    async fn keys(folder: &Path, node: Option<Uuid>) -> SealingKeys {
        let store = Store::open(&Location::Sqlite(folder.join("picloud.db"))).await.unwrap();
        SealingKeys::of_node(Vault::new(store, KeyFile::Managed(folder.join(FILE_NAME)), node))
    }

    fn ready(
        keys: &SealingKeys,
        is_production: bool,
        id: Option<SealingKeyId>,
    ) -> Result<Option<SealingKey>, String> {
        match keys.key(APP, is_production, id) {
            HostCall::Ready(key) => key,
            HostCall::Pending(_) | HostCall::Restart => panic!("not ready"),
        }
    }

    #[tokio::test]
    async fn first_key_is_created_when_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path(), None).await;
        let HostCall::Pending(created) = keys.key(APP, true, None) else { panic!("there is no key yet") };
        created.await;
        let of_production = ready(&keys, true, None).unwrap().unwrap();
        assert_eq!(ready(&keys, true, Some(of_production.id())).unwrap().as_ref(), Some(&of_production));
        assert_ne!(ready(&keys, false, None).unwrap(), Some(of_production));
        assert_eq!(ready(&keys, true, Some([0; 8])).unwrap(), None);
    }

    #[tokio::test]
    async fn a_node_of_several_creates_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path(), Some(Uuid::nil())).await;
        assert_eq!(ready(&keys, true, None), Err(NO_SHARED_KEY.to_owned()));
        std::fs::write(folder.path().join(FILE_NAME), "no key").unwrap();
        assert_eq!(ready(&keys, true, None), Err(UNREADABLE_KEY.to_owned()));
    }

    #[tokio::test]
    async fn older_keys_are_found_by_id() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path(), None).await;
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, "ab".repeat(32)).unwrap();
        let old = ready(&keys, true, None).unwrap().unwrap();
        std::fs::write(&path, format!("{}\n{}", "cd".repeat(32), "ab".repeat(32))).unwrap();
        let new = ready(&keys, true, None).unwrap().unwrap();
        assert_ne!(new.id(), old.id());
        let found = ready(&keys, true, Some(old.id())).unwrap().unwrap();
        assert_eq!(found.id(), old.id());
        assert_ne!(found, old, "it is no longer the newest");
    }
}
