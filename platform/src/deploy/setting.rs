//! Changes of settings without a push: secrets, where a new value is a deploy of every live revision that
//! reads it, and limits.

use manifest_schema::name::{AppName, SettingName};
use store::{Actor, App, LimitChanges, LiveBranch, NewDeploy, StoreError};

use uuid::Uuid;

use super::{Deployer, Pusher};
use crate::limits::{LimitRangeError, check_ranges};
use crate::nodes::LocalChange;
use crate::repository::DEFAULT_PRODUCTION_BRANCH;
use crate::revision::{LoadError, Prepared};
use crate::secrets::{Changed, Environment, SecretError};

/// Why a secret was not unset.
#[derive(Debug, thiserror::Error)]
pub enum UnsetSecretError {
    /// A live revision requires it.
    #[error("the live revision of {branch} requires it; push a revision that does not first")]
    InUse {
        /// The branch.
        branch: String,
    },
    /// The store failed.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Why limits were not changed.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// A value is out of range.
    #[error(transparent)]
    Range(#[from] LimitRangeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Deployer {
    /// Sets a secret and serves its new value on all nodes. An unknown app is created in the same transaction
    /// if the caller can create it: its first push can require the secret.
    ///
    /// # Errors
    /// The value is invalid, or the store failed. Nothing was changed.
    pub async fn set_secret(
        &self,
        app: &AppName,
        secret: (Environment, &SettingName),
        value: &str,
        by: &Pusher,
    ) -> Result<Changed, SecretError> {
        let change = self.begin_change(app);
        let changed = loop {
            let found = self.store.app(app).await?;
            let creates = found.is_none();
            if creates && !by.can_create(app) {
                return Err(StoreError::NoApp.into());
            }
            let found = found.unwrap_or_else(|| App::new(app.clone(), DEFAULT_PRODUCTION_BRANCH));
            let reads = self.branches_requiring(&found, secret).await?;
            match self.vault.set((&found, creates), secret, value, &reads, &by.actor).await {
                // The app was created concurrently.
                Err(SecretError::Store(StoreError::NoApp)) if creates => {}
                set => break set?,
            }
        };
        self.serve_secret(&changed, change).await;
        Ok(changed)
    }

    /// Changes limits of an app and applies them to its live revisions on all nodes. Returns the changed app.
    ///
    /// # Errors
    /// A value is out of range, or the store failed. Nothing was changed.
    pub async fn change_limits(
        &self,
        app: &App,
        changes: &LimitChanges,
        by: &Actor,
    ) -> Result<App, LimitsError> {
        check_ranges(changes)?;
        let change = self.begin_change(&app.name);
        let node = self.peers.as_ref().map(|peers| peers.node);
        let changed = self.store.change_limits(app, changes, node, by).await?;
        self.serve_changed(&changed, change).await;
        Ok(changed)
    }

    /// Unsets a secret that no live revision requires.
    ///
    /// # Errors
    /// A live revision requires it, or the store failed. Nothing was changed.
    pub async fn unset_secret(
        &self,
        app: &App,
        secret: (Environment, &SettingName),
        by: &Actor,
    ) -> Result<Changed, UnsetSecretError> {
        let change = self.begin_change(&app.name);
        let mut app = app.clone();
        let changed = loop {
            let reads = self.branches_requiring(&app, secret).await.map_err(SecretError::from)?;
            if let Some(NewDeploy { branch, .. }) = reads.into_iter().next() {
                return Err(UnsetSecretError::InUse { branch });
            }
            let changed = self.vault.unset(&app, secret, by).await?;
            // After a concurrent push a live revision can require it: check again.
            if changed.changed || changed.app.generation == app.generation {
                break changed;
            }
            app = changed.app;
        };
        self.serve_secret(&changed, change).await;
        Ok(changed)
    }

    /// The live revisions that require a secret, served by this node or not.
    async fn branches_requiring(
        &self,
        app: &App,
        (environment, name): (Environment, &SettingName),
    ) -> Result<Vec<NewDeploy>, StoreError> {
        let mut reads = Vec::new();
        let live = self.store.live_branches(app.id).await?.into_iter();
        for LiveBranch { branch, commit, .. } in live.filter(|live| live.environment == environment) {
            let served = self.activation.live(&app.name, &branch);
            let requires = match served.filter(|revision| revision.commit() == commit.to_string()) {
                Some(revision) => revision.manifest().secrets.required.contains(name),
                None => match Prepared::manifest(&self.store, app, commit).await {
                    Ok(manifest) => manifest.secrets.required.contains(name),
                    Err(LoadError::Store(error)) if error.is_unavailable() => return Err(error),
                    // A revision that cannot be loaded requires nothing.
                    Err(_) => false,
                },
            };
            if requires {
                reads.push(NewDeploy { branch, commit });
            }
        }
        Ok(reads)
    }

    /// Serves a new value on this node, and waits for the other nodes if a live revision reads it.
    async fn serve_secret(&self, changed: &Changed, change: Option<LocalChange>) {
        if self.serve_changed(&changed.app, change).await
            && !changed.deploys.is_empty()
            && let Some(peers) = &self.peers
        {
            peers.wait_for(&changed.app).await;
        }
    }

    /// Serves a committed change. `false`: it cannot be read back now and is served later.
    pub(super) async fn serve_changed(&self, app: &App, change: Option<LocalChange>) -> bool {
        match self.activation.sync_named(&app.name).await {
            Ok(()) => {
                if let Some(change) = change {
                    change.served();
                }
                true
            }
            Err(error) => {
                tracing::warn!(app = %app.name, %error, "cannot read back a committed change; will retry");
                false
            }
        }
    }

    /// Waits until the other nodes serve the app's current generation, or are known to be stale.
    pub(super) async fn wait_for_peers(&self, app: &App) {
        if let Some(peers) = &self.peers {
            peers.wait_for(app).await;
        }
    }

    /// The id of this node, which ignores notifications of its own changes.
    pub(super) fn node(&self) -> Option<Uuid> {
        self.peers.as_ref().map(|peers| peers.node)
    }

    /// Begins a change by this node to the app, so that its own notification is not processed.
    pub(super) fn begin_change(&self, app: &AppName) -> Option<LocalChange> {
        self.peers.as_ref().map(|peers| peers.begin_change(app))
    }
}
