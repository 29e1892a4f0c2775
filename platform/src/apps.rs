//! Apps as people look at them: which there are, what was live when, and what is live on each branch.

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
    preview_age: Option<TimeDelta>,
    limits: GrantedLimits,
}

/// A deploy, and whether it is what a branch serves.
#[derive(Clone, Debug)]
pub struct DeployState {
    /// The deploy.
    pub deploy: ListedDeploy,
    /// Whether it is live.
    pub live: bool,
}

/// What is live on a branch.
#[derive(Clone, Debug)]
pub struct BranchState {
    /// The branch and its deploy.
    pub live: LiveBranch,
    /// Whether it is the app itself, and no preview.
    pub production: bool,
    /// When it was deployed.
    pub deployed_at: Option<DateTime<Utc>>,
    /// When it is ended, unless it is pushed to before that.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Apps {
    /// The apps in `store`, whose previews are ended at that age, and which are granted `limits` unless they have others of
    /// their own.
    pub fn new(store: Store, preview_age: Option<Duration>, limits: GrantedLimits) -> Self {
        Self { store, preview_age: preview_age.and_then(|age| TimeDelta::from_std(age).ok()), limits }
    }

    /// What every app is granted that has no limits of its own.
    pub fn limits(&self) -> &GrantedLimits {
        &self.limits
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self) -> Result<Vec<App>, StoreError> {
        self.store.apps().await
    }

    /// The apps that are deleted and can be brought back, the latest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn deleted(&self) -> Result<Vec<DeletedApp>, StoreError> {
        let deleted = self.store.deleted_apps().await?;
        Ok(deleted.into_iter().filter(|app| !app.purging).collect())
    }

    /// The app of that name, whether or not anything of it is live.
    ///
    /// # Errors
    /// The store failed.
    pub async fn find(&self, name: &AppName) -> Result<Option<App>, StoreError> {
        self.store.app(name).await
    }

    /// Creates an app to be pushed to later. `false`: it was there already.
    ///
    /// # Errors
    /// The store failed.
    pub async fn create(&self, name: &AppName, by: &Actor) -> Result<(App, bool), StoreError> {
        let created = self.store.create_app(name, by).await?;
        let app = self.store.app(name).await?.ok_or(StoreError::NoApp)?;
        Ok((app, created))
    }

    /// Lets the production branch of an app only go forward, or in any direction.
    ///
    /// # Errors
    /// The store failed.
    pub async fn protect(&self, app: &App, protected: bool, by: &Actor) -> Result<(), StoreError> {
        self.store.protect_app(app, protected, by).await.map(drop)
    }

    /// The repository of the app of that name, which is empty where there is no such app yet.
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
        let live = self.store.live_of(app.id).await?;
        let found = Page::of(found, page.limit, |found| Some(found.last()?.deploy.number));
        Ok(found.map(|deploy| DeployState {
            live: live.iter().any(|live| live.deploy == deploy.deploy.number),
            deploy,
        }))
    }

    /// What is live on each branch, production first, then by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn branches(&self, app: &App) -> Result<Vec<BranchState>, StoreError> {
        let mut branches = Vec::new();
        for live in self.store.live_of(app.id).await? {
            let deployed_at = self.store.deployed_at(app.id, live.deploy).await?;
            let production = live.branch == app.production_branch;
            let age = self.preview_age.filter(|_| !production);
            let expires_at = age.and_then(|age| deployed_at?.checked_add_signed(age));
            branches.push(BranchState { live, production, deployed_at, expires_at });
        }
        branches.sort_by_key(|branch| !branch.production);
        Ok(branches)
    }
}
