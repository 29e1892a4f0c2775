//! What is set without a push: a secret, which is a deploy of every live revision that reads it, and limits.

use manifest_schema::name::{AppName, SettingName};
use store::{Actor, App, LimitChanges, LiveBranch, NewDeploy, StoreError};

use uuid::Uuid;

use super::{Deployer, Pusher};
use crate::limits::{LimitRangeError, check_ranges};
use crate::nodes::OwnAct;
use crate::repository::DEFAULT_PRODUCTION_BRANCH;
use crate::revision::{LoadError, Prepared};
use crate::secrets::{Changed, Environment, SecretError};

/// Why a secret was not unset.
#[derive(Debug, thiserror::Error)]
pub enum NotUnset {
    /// What is live reads it.
    #[error("what is live on {branch} requires it; push a revision that does not, first")]
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
    /// One of them cannot have such a value.
    #[error(transparent)]
    Range(#[from] LimitRangeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Deployer {
    /// Sets a secret and serves its new value, here and on the other nodes. An unknown app is created in the same
    /// transaction, where whoever sets the secret may: its first push may need it.
    ///
    /// # Errors
    /// Nothing was changed, and why.
    pub async fn set_secret(
        &self,
        app: &AppName,
        secret: (Environment, &SettingName),
        value: &str,
        by: &Pusher,
    ) -> Result<Changed, SecretError> {
        let act = self.begin_act(app);
        let changed = loop {
            let found = self.store.app(app).await?;
            let creates = found.is_none();
            if creates && !by.may_create(app) {
                return Err(StoreError::NoApp.into());
            }
            let found = found.unwrap_or_else(|| App::new(app.clone(), DEFAULT_PRODUCTION_BRANCH));
            let reads = self.reading(&found, secret).await?;
            match self.vault.set((&found, creates), secret, value, &reads, &by.actor).await {
                // Somebody else has created it meanwhile.
                Err(SecretError::Store(StoreError::NoApp)) if creates => {}
                set => break set?,
            }
        };
        self.serve_value(&changed, act).await;
        Ok(changed)
    }

    /// Changes limits of an app, and runs what is live of it within them, here and on the other nodes. The app as it is then.
    ///
    /// # Errors
    /// A limit cannot have such a value, or the store failed. Nothing was changed.
    pub async fn change_limits(
        &self,
        app: &App,
        changes: &LimitChanges,
        by: &Actor,
    ) -> Result<App, LimitsError> {
        check_ranges(changes)?;
        let act = self.begin_act(&app.name);
        let node = self.peers.as_ref().map(|peers| peers.node);
        let changed = self.store.change_limits(app, changes, node, by).await?;
        self.serve_changed(&changed, act).await;
        Ok(changed)
    }

    /// Unsets a secret that nothing live requires.
    ///
    /// # Errors
    /// Something does, or the store failed. Nothing was changed.
    pub async fn unset_secret(
        &self,
        app: &App,
        secret: (Environment, &SettingName),
        by: &Actor,
    ) -> Result<Changed, NotUnset> {
        let act = self.begin_act(&app.name);
        let mut app = app.clone();
        let changed = loop {
            let reads = self.reading(&app, secret).await.map_err(SecretError::from)?;
            if let Some(NewDeploy { branch, .. }) = reads.into_iter().next() {
                return Err(NotUnset::InUse { branch });
            }
            let changed = self.vault.unset(&app, secret, by).await?;
            // Somebody has pushed meanwhile: what is live now may require it.
            if changed.changed || changed.app.generation == app.generation {
                break changed;
            }
            app = changed.app;
        };
        self.serve_value(&changed, act).await;
        Ok(changed)
    }

    /// The live revisions that require a secret, whether this node serves them or cannot.
    async fn reading(
        &self,
        app: &App,
        (environment, name): (Environment, &SettingName),
    ) -> Result<Vec<NewDeploy>, StoreError> {
        let mut reads = Vec::new();
        let live = self.store.live_of(app.id).await?.into_iter();
        for LiveBranch { branch, commit, .. } in live.filter(|live| live.environment == environment) {
            let served = self.activation.live(&app.name, &branch);
            let requires = match served.filter(|revision| revision.commit() == commit.to_string()) {
                Some(revision) => revision.manifest().secrets.required.contains(name),
                None => match Prepared::manifest(&self.store, app, commit).await {
                    Ok(manifest) => manifest.secrets.required.contains(name),
                    Err(LoadError::Store(error)) if error.is_unavailable() => return Err(error),
                    // One that cannot be read needs nothing.
                    Err(_) => false,
                },
            };
            if requires {
                reads.push(NewDeploy { branch, commit });
            }
        }
        Ok(reads)
    }

    /// A new value is served here, and then on the other nodes where something live reads it.
    async fn serve_value(&self, changed: &Changed, act: Option<OwnAct>) {
        if self.serve_changed(&changed.app, act).await
            && !changed.deploys.is_empty()
            && let Some(peers) = &self.peers
        {
            peers.wait_for(&changed.app).await;
        }
    }

    /// What was committed is served, whether it can be read back just now or later. Whether it is already.
    pub(super) async fn serve_changed(&self, app: &App, act: Option<OwnAct>) -> bool {
        match self.activation.sync_named(&app.name).await {
            Ok(()) => {
                if let Some(act) = act {
                    act.served();
                }
                true
            }
            Err(error) => {
                tracing::warn!(app = %app.name, %error, "cannot read back what was changed; it is served later");
                false
            }
        }
    }

    /// The other nodes serve an app as it is now, or are known to be behind.
    pub(super) async fn wait_for_peers(&self, app: &App) {
        if let Some(peers) = &self.peers {
            peers.wait_for(app).await;
        }
    }

    /// This node, which need not hear from others of what it does itself.
    pub(super) fn node(&self) -> Option<Uuid> {
        self.peers.as_ref().map(|peers| peers.node)
    }

    /// An act of this node on the app begins. What other nodes do is heard of.
    pub(super) fn begin_act(&self, app: &AppName) -> Option<OwnAct> {
        self.peers.as_ref().map(|peers| peers.begin_act(app))
    }
}
