//! Operations on whole apps: stop, start, rename, delete and restore. All nodes follow.

use manifest_schema::name::AppName;
use store::{Actor, App, AppId, DeletedApp, RenamedApp, StoreError};

pub use store::RenameAppError;

use super::Deployer;
use crate::revision::{LoadError, Prepared};

/// Why an app was not stopped or deleted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StopAppError {
    /// A node of an earlier version would continue to serve it.
    #[error("cannot stop or delete apps while a node of an earlier version is running; upgrade it first")]
    OlderNode,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a deleted app was not restored.
#[derive(Debug, thiserror::Error)]
pub enum UndeleteError {
    /// Its name or a domain is taken.
    #[error(transparent)]
    Name(#[from] RenameAppError),
    /// The manifest of its live revision, which names its domains, cannot be read.
    #[error("cannot read the live revision of the app: {0}")]
    Load(LoadError),
}

impl From<StoreError> for UndeleteError {
    fn from(error: StoreError) -> Self {
        Self::Name(error.into())
    }
}

impl Deployer {
    /// Stops or starts an app. A stopped app serves nothing and runs nothing; it can be pushed to.
    ///
    /// # Errors
    /// The app does not exist any more, a node is too old, or the store failed. Nothing was changed.
    pub async fn stop(&self, app: &App, stopped: bool, by: &Actor) -> Result<App, StopAppError> {
        self.reject_older_nodes().await?;
        let change = self.begin_change(&app.name);
        let changed = self.store.stop_app(app, stopped, self.node(), by).await?;
        self.serve_changed(&changed, change).await;
        self.wait_for_peers(&changed).await;
        Ok(changed)
    }

    /// Renames an app. It is only served at its new host name.
    ///
    /// # Errors
    /// The name is taken, the app does not exist any more, or the store failed. Nothing was changed.
    pub async fn rename(&self, app: &App, name: &AppName, by: &Actor) -> Result<RenamedApp, RenameAppError> {
        let change = self.begin_change(name);
        let renamed = self.store.rename_app(app, name, self.node(), by).await?;
        self.unserve(&app.name).await;
        self.serve_changed(&renamed.app, change).await;
        self.wait_for_peers(&renamed.app).await;
        Ok(renamed)
    }

    /// Deletes an app. It can be restored for some days.
    ///
    /// # Errors
    /// The app does not exist any more, a node is too old, or the store failed. Nothing was changed.
    pub async fn delete(&self, app: &App, by: &Actor) -> Result<DeletedApp, StopAppError> {
        self.reject_older_nodes().await?;
        let deleted = self.store.delete_app(app, self.node(), by).await?;
        self.unserve(&app.name).await;
        Ok(deleted)
    }

    /// Restores a deleted app, under its own or another name.
    ///
    /// # Errors
    /// The name or a domain is taken, the app is not deleted or already purged, or the store failed. Nothing
    /// was changed.
    pub async fn undelete(
        &self,
        app: AppId,
        name: Option<&AppName>,
        by: &Actor,
    ) -> Result<App, UndeleteError> {
        let deleted = self.store.deleted_apps().await?;
        let deleted = deleted.into_iter().find(|deleted| deleted.id == app);
        let deleted = deleted.filter(|deleted| !deleted.purging).ok_or(RenameAppError::NotFound)?;
        let name = name.unwrap_or(&deleted.name);
        let was = App { id: app, ..App::new(name.clone(), &deleted.production_branch) };
        let live = self.store.live_branches(app).await?;
        let domains = match live.iter().find(|live| live.branch == was.production_branch) {
            Some(live) => match Prepared::manifest(&self.store, &was, live.commit).await {
                Ok(manifest) => manifest.app.domains,
                Err(LoadError::Store(error)) => return Err(error.into()),
                Err(error) => return Err(UndeleteError::Load(error)),
            },
            None => Vec::new(),
        };
        let change = self.begin_change(name);
        let app = self.store.undelete_app(app, name, &domains, self.node(), by).await?;
        self.serve_changed(&app, change).await;
        self.wait_for_peers(&app).await;
        Ok(app)
    }

    /// Earlier versions do not support stopped or deleted apps.
    async fn reject_older_nodes(&self) -> Result<(), StopAppError> {
        match self.store.all_nodes_support_gc().await? {
            true => Ok(()),
            false => Err(StopAppError::OlderNode),
        }
    }

    /// Stops serving an app under its former name.
    async fn unserve(&self, name: &AppName) {
        if let Err(error) = self.activation.sync_named(name).await {
            tracing::warn!(app = %name, %error, "cannot check whether an app is gone; will retry");
        }
    }
}
