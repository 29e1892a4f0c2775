//! Keeps the live table true to the store: at start, after a push, and whenever an app changed.
//!
//! There is one mechanism, [`Activation::sync`]: read what is live from the store, and make the table say the same.
//! A push hands over the revisions it has just built, so that they need not be read back.

use std::collections::BTreeMap;
use std::sync::Arc;

use manifest_schema::name::AppName;
use runtime::{LiveTable, Revision};
use store::{App, DeployNumber, LiveBranch, Oid, Store, StoreError};
use tokio::sync::{Mutex, watch};

use crate::revision::{LoadError, Prepared};

/// Revisions that a push has just built, by branch.
pub(crate) type Fresh = BTreeMap<String, (Oid, DeployNumber, Prepared)>;

/// Brings the live table in step with the store.
#[derive(Clone, Debug)]
pub struct Activation {
    store: Store,
    table: Arc<LiveTable>,
    /// One sync at a time, so that an older reading of the store never overwrites a newer one.
    turn: Arc<Mutex<()>>,
    changed: watch::Sender<()>,
}

impl Activation {
    /// An activation from `store` into `table`.
    pub fn new(store: Store, table: Arc<LiveTable>) -> Self {
        Self { store, table, turn: Arc::default(), changed: watch::Sender::new(()) }
    }

    /// Tells whenever what is live may have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What is live on a branch.
    pub(crate) fn live(&self, app: &AppName, branch: &str) -> Option<Arc<Revision>> {
        Some(Arc::clone(&self.table.get(app.as_str(), &branch_label(branch))?.revision))
    }

    /// The deploy that is live on a branch.
    pub(crate) fn live_deploy(&self, app: &AppName, branch: &str) -> Option<DeployNumber> {
        DeployNumber::new(self.table.get(app.as_str(), &branch_label(branch))?.deploy)
    }

    /// Makes every app's live branches say what the store says.
    ///
    /// # Errors
    /// The store cannot be read. A revision that cannot be served is logged and left out.
    pub async fn sync_all(&self) -> Result<(), StoreError> {
        for app in self.store.apps().await? {
            self.sync(&app, Fresh::new()).await?;
        }
        Ok(())
    }

    /// Makes the live branches of `app` say what the store says, using what a push has just committed. That push must
    /// be served even when the store goes away right behind it.
    pub(crate) async fn sync_with(&self, app: &App, fresh: Fresh) {
        if let Err(error) = self.sync(app, fresh.clone()).await {
            tracing::warn!(app = %app.name, %error, "cannot read back what was committed; serving it all the same");
            let _turn = self.turn.lock().await;
            for (branch, (commit, deploy, prepared)) in fresh {
                let newer = self.live_deploy(&app.name, &branch).is_none_or(|live| live < deploy);
                if newer && let Ok(revision) = prepared.into_revision(app, commit) {
                    self.install(app, &branch, revision, deploy);
                }
            }
            self.changed.send_replace(());
        }
    }

    async fn sync(&self, app: &App, mut fresh: Fresh) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let live = self.store.live_of(app.id).await?;
        for LiveBranch { branch, commit, deploy, .. } in &live {
            if self
                .table
                .get(app.name.as_str(), &branch_label(branch))
                .is_some_and(|live| live.deploy == deploy.get())
            {
                continue;
            }
            let prepared =
                fresh.remove(branch).filter(|(built, ..)| built == commit).map(|(.., prepared)| prepared);
            let revision = match prepared {
                Some(prepared) => prepared.into_revision(app, *commit).map_err(LoadError::from),
                None => self.load(app, *commit).await,
            };
            match revision {
                Ok(revision) => self.install(app, branch, revision, *deploy),
                Err(LoadError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::error!(app = %app.name, branch, %commit, %error, "cannot serve a stored revision");
                }
            }
        }
        let labels = live.iter().map(|live| branch_label(&live.branch)).collect();
        self.table.retain(&app.name, &labels);
        self.changed.send_replace(());
        Ok(())
    }

    async fn load(&self, app: &App, commit: Oid) -> Result<Revision, LoadError> {
        Ok(Prepared::load(&self.store, app, commit).await?.into_revision(app, commit)?)
    }

    fn install(&self, app: &App, branch: &str, revision: Revision, deploy: DeployNumber) {
        let production = branch == app.production_branch;
        self.table.replace(&app.name, &branch_label(branch), production, revision, deploy.get());
    }
}

/// A branch as addresses write it: every character outside `[a-z0-9]` is `-`.
pub fn branch_label(branch: &str) -> String {
    branch.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::branch_label;

    #[test]
    fn a_label_holds_only_what_addresses_may() {
        assert_eq!(branch_label("Feature/Über_1"), "-eature--ber-1");
    }
}
