//! What is done to an app as a whole: stopped and started, renamed, deleted and brought back. All nodes follow.

use manifest_schema::name::AppName;
use store::{Actor, App, AppId, DeletedApp, Renamed, StoreError};

pub use store::NameAppError;

use super::Deployer;
use crate::revision::{LoadError, Prepared};

/// Why an app is not stopped or deleted. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StopAppError {
    /// A node of an earlier version would serve it all the same.
    #[error("no app is stopped or deleted while there is a node of an earlier version; upgrade it first")]
    OlderNode,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a deleted app is not brought back.
#[derive(Debug, thiserror::Error)]
pub enum UndeleteError {
    /// It cannot have its name, or a domain.
    #[error(transparent)]
    Name(#[from] NameAppError),
    /// Which domains it has cannot be read from what was live.
    #[error("cannot read what was live of the app: {0}")]
    Load(LoadError),
}

impl From<StoreError> for UndeleteError {
    fn from(error: StoreError) -> Self {
        Self::Name(error.into())
    }
}

impl Deployer {
    /// Stops an app, or starts it again. Of a stopped one nothing answers and nothing runs; it can be pushed to.
    ///
    /// # Errors
    /// The app is not there any more, a node would not follow, or the store failed. Nothing was changed.
    pub async fn stop(&self, app: &App, stopped: bool, by: &Actor) -> Result<App, StopAppError> {
        self.refuse_older_nodes().await?;
        let act = self.begin_act(&app.name);
        let changed = self.store.stop_app(app, stopped, self.node(), by).await?;
        self.serve_changed(&changed, act).await;
        self.wait_for_peers(&changed).await;
        Ok(changed)
    }

    /// Gives an app another name. It answers at its new address only.
    ///
    /// # Errors
    /// The name is taken, the app is not there any more, or the store failed. Nothing was changed.
    pub async fn rename(&self, app: &App, name: &AppName, by: &Actor) -> Result<Renamed, NameAppError> {
        let act = self.begin_act(name);
        let renamed = self.store.rename_app(app, name, self.node(), by).await?;
        self.forget(&app.name).await;
        self.serve_changed(&renamed.app, act).await;
        self.wait_for_peers(&renamed.app).await;
        Ok(renamed)
    }

    /// Deletes an app. It can be brought back for a while.
    ///
    /// # Errors
    /// The app is not there any more, a node would not follow, or the store failed. Nothing was changed.
    pub async fn delete(&self, app: &App, by: &Actor) -> Result<DeletedApp, StopAppError> {
        self.refuse_older_nodes().await?;
        let deleted = self.store.delete_app(app, self.node(), by).await?;
        self.forget(&app.name).await;
        Ok(deleted)
    }

    /// Brings a deleted app back, under its name or another one.
    ///
    /// # Errors
    /// The name or a domain of it is taken, it is not deleted or gone for good, or the store failed. Nothing was changed.
    pub async fn undelete(
        &self,
        app: AppId,
        name: Option<&AppName>,
        by: &Actor,
    ) -> Result<App, UndeleteError> {
        let deleted = self.store.deleted_apps().await?;
        let deleted = deleted.into_iter().find(|deleted| deleted.id == app);
        let deleted = deleted.filter(|deleted| !deleted.purging).ok_or(NameAppError::NotThere)?;
        let name = name.unwrap_or(&deleted.name);
        let was = App { id: app, ..App::new(name.clone(), &deleted.production_branch) };
        let live = self.store.live_of(app).await?;
        let domains = match live.iter().find(|live| live.branch == was.production_branch) {
            Some(live) => match Prepared::manifest(&self.store, &was, live.commit).await {
                Ok(manifest) => manifest.app.domains,
                Err(LoadError::Store(error)) => return Err(error.into()),
                Err(error) => return Err(UndeleteError::Load(error)),
            },
            None => Vec::new(),
        };
        let act = self.begin_act(name);
        let app = self.store.undelete_app(app, name, &domains, self.node(), by).await?;
        self.serve_changed(&app, act).await;
        self.wait_for_peers(&app).await;
        Ok(app)
    }

    /// Earlier versions know no apps that are stopped or deleted.
    async fn refuse_older_nodes(&self) -> Result<(), StopAppError> {
        match self.store.all_notice_deletions().await? {
            true => Ok(()),
            false => Err(StopAppError::OlderNode),
        }
    }

    /// Nothing is left under a name that an app had.
    async fn forget(&self, name: &AppName) {
        if let Err(error) = self.activation.sync_named(name).await {
            tracing::warn!(app = %name, %error, "cannot read whether an app is gone; it is looked at again later");
        }
    }
}
