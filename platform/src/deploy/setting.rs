//! Setting a secret: a deploy of every live revision that reads it, without a push.

use manifest_schema::name::SettingName;
use store::{Actor, App, NewDeploy, StoreError};

use super::Deployer;
use crate::secrets::{Changed, SecretError};

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

impl Deployer {
    /// Sets a secret and serves its new value, here and on the other nodes.
    ///
    /// # Errors
    /// Nothing was changed, and why.
    pub async fn set_secret(
        &self,
        app: &App,
        name: &SettingName,
        value: &str,
        by: &Actor,
    ) -> Result<Changed, SecretError> {
        let reads = self.reading(app, name).await?;
        let changed = self.vault.set(app, name, value, &reads, by).await?;
        self.serve_changed(&changed).await;
        Ok(changed)
    }

    /// Unsets a secret that nothing live requires.
    ///
    /// # Errors
    /// Something does, or the store failed. Nothing was changed.
    pub async fn unset_secret(&self, app: &App, name: &SettingName, by: &Actor) -> Result<Changed, NotUnset> {
        let reads = self.reading(app, name).await.map_err(SecretError::from)?;
        if let Some(NewDeploy { branch, .. }) = reads.into_iter().next() {
            return Err(NotUnset::InUse { branch });
        }
        let changed = self.vault.unset(app, name, by).await?;
        self.serve_changed(&changed).await;
        Ok(changed)
    }

    /// The live revisions that require a secret.
    async fn reading(&self, app: &App, name: &SettingName) -> Result<Vec<NewDeploy>, StoreError> {
        let live = self.store.live_of(app.id).await?;
        let reads = live.into_iter().filter(|live| {
            let revision = self.activation.live(&app.name, &live.branch);
            revision.is_some_and(|revision| {
                revision.commit() == live.commit.to_string()
                    && revision.manifest().secrets.required.contains(name)
            })
        });
        Ok(reads.map(|live| NewDeploy { branch: live.branch, commit: live.commit }).collect())
    }

    /// What was committed is served, whether it can be read back just now or later.
    async fn serve_changed(&self, changed: &Changed) {
        if let Err(error) = self.activation.sync_named(&changed.app.name).await {
            tracing::warn!(app = %changed.app.name, %error, "cannot read back a secret that was set; it is served later");
            return;
        }
        if !changed.deploys.is_empty()
            && let Some(peers) = &self.peers
        {
            peers.wait_for(&changed.app).await;
        }
    }
}
