//! Read access to apps for users: the list of apps, their deploys and their branches.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::name::AppName;
use store::{DeployFilter, Store};

use crate::limits::GrantedLimits;
use crate::page::{Page, PageRequest};
use crate::repository::AppRepository;

pub use store::{Actor, App, AppId, DeletedApp, DeployNumber, ListedDeploy, LiveBranch, StoreError};

/// All apps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Apps {
    store: Store,
    preview_ttl: Option<TimeDelta>,
    limits: GrantedLimits,
}

/// A deploy, and whether a branch serves it.
#[derive(Clone, Debug)]
pub struct DeployState {
    /// The deploy.
    pub deploy: ListedDeploy,
    /// Whether it is live.
    pub live: bool,
}

/// The live deploy of a branch.
#[derive(Clone, Debug)]
pub struct BranchState {
    /// The branch and its live deploy.
    pub live: LiveBranch,
    /// Whether this is the production branch.
    pub production: bool,
    /// When it was deployed.
    pub deployed_at: Option<DateTime<Utc>>,
    /// When the preview expires unless it is pushed to.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Apps {
    /// The apps in `store`, whose previews expire after `preview_ttl`, and which are granted `limits` unless
    /// they have their own.
    pub fn new(store: Store, preview_ttl: Option<Duration>, limits: GrantedLimits) -> Self {
        Self { store, preview_ttl: preview_ttl.and_then(|ttl| TimeDelta::from_std(ttl).ok()), limits }
    }

    /// The limits of apps that have none of their own.
    pub fn limits(&self) -> &GrantedLimits {
        &self.limits
    }

    /// All apps, by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self) -> Result<Vec<App>, StoreError> {
        self.store.apps().await
    }

    /// The deleted apps that can be restored, the latest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn deleted(&self) -> Result<Vec<DeletedApp>, StoreError> {
        let deleted = self.store.deleted_apps().await?;
        Ok(deleted.into_iter().filter(|app| !app.purging).collect())
    }

    /// The app with this name, live or not.
    ///
    /// # Errors
    /// The store failed.
    pub async fn find(&self, name: &AppName) -> Result<Option<App>, StoreError> {
        self.store.app(name).await
    }

    /// Creates an app without a push. `false`: it already exists.
    ///
    /// # Errors
    /// The store failed.
    pub async fn create(&self, name: &AppName, by: &Actor) -> Result<(App, bool), StoreError> {
        let created = self.store.create_app(name, by).await?;
        let app = self.store.app(name).await?.ok_or(StoreError::NoApp)?;
        Ok((app, created))
    }

    /// Protects the production branch of an app against non-fast-forward updates, or unprotects it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn protect(&self, app: &App, protected: bool, by: &Actor) -> Result<(), StoreError> {
        self.store.protect_app(app, protected, by).await.map(drop)
    }

    /// The repository of the named app; empty if there is no such app yet.
    ///
    /// # Errors
    /// The store failed.
    pub async fn repository(&self, name: &AppName) -> Result<AppRepository, StoreError> {
        Ok(AppRepository::new(self.store.clone(), self.find(name).await?))
    }

    /// The deploys of an app, or of one branch of it, the latest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn deploys(
        &self,
        app: &App,
        branch: Option<String>,
        page: PageRequest<DeployNumber>,
    ) -> Result<Page<DeployState, DeployNumber>, StoreError> {
        let filter = DeployFilter { branch, before: page.cursor };
        let found = self.store.latest_deploys(app.id, &filter, page.limit).await?;
        let live = self.store.live_branches(app.id).await?;
        let found = Page::of(found, page.limit, |found| Some(found.last()?.deploy.number));
        Ok(found.map(|deploy| DeployState {
            live: live.iter().any(|live| live.deploy == deploy.deploy.number),
            deploy,
        }))
    }

    /// Whether a branch of an app has a deploy that is live, or that is when the app is started.
    ///
    /// # Errors
    /// The store failed.
    pub async fn is_live(&self, app: &App, branch: &str) -> Result<bool, StoreError> {
        let live = self.store.live_branches(app.id).await?;
        Ok(live.iter().any(|live| live.branch == branch))
    }

    /// The live deploy of each branch, production first, then by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn branches(&self, app: &App) -> Result<Vec<BranchState>, StoreError> {
        let mut branches = Vec::new();
        for live in self.store.live_branches(app.id).await? {
            let deployed_at = self.store.deployed_at(app.id, live.deploy).await?;
            let production = live.branch == app.production_branch;
            let ttl = self.preview_ttl.filter(|_| !production);
            let expires_at = ttl.and_then(|ttl| deployed_at?.checked_add_signed(ttl));
            branches.push(BranchState { live, production, deployed_at, expires_at });
        }
        branches.sort_by_key(|branch| !branch.production);
        Ok(branches)
    }
}
