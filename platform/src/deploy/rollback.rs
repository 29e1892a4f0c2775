//! Rollback: a push by the server that updates the production branch to an earlier deploy's commit.

use git_receiver::{CheckedCommand, Command, FsckWarnings, Pack, UnpackedPush};
use manifest_schema::name::AppName;
use store::{App, DeployFilter, DeployNumber, ListedDeploy, StoreError};

use super::{Deployer, EventSender, PushContext, Pusher, RefReport};
use crate::repository::{AppRepository, object_id};

/// The maximum length of a message, in characters.
pub const MESSAGE_CHARS_MAX: usize = 500;

/// Why a rollback failed.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The app does not exist.
    #[error("app not found")]
    UnknownApp,
    /// Production is not live.
    #[error("the app has no live production deploy")]
    NotLive,
    /// The app has no such deploy.
    #[error("the app has no deploy {0}")]
    UnknownDeploy(DeployNumber),
    /// The deploy was pruned.
    #[error("deploy {0} was pruned; push its commit again")]
    Pruned(DeployNumber),
    /// There is no earlier deploy.
    #[error("there is no earlier deploy")]
    NoEarlierDeploy,
    /// The deploy is already live.
    #[error("deploy {0} is already live")]
    Live(DeployNumber),
    /// The message is too long.
    #[error("the message exceeds {MESSAGE_CHARS_MAX} characters")]
    Message,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A completed rollback.
#[derive(Clone, Debug)]
pub struct RolledBack {
    /// The deploy whose commit is live again.
    pub to: ListedDeploy,
    /// The report on the push.
    pub report: RefReport,
}

impl Deployer {
    /// Makes the commit of an earlier deploy live in production: that of `to`, or of the last deploy before
    /// the live commit was first deployed. So a second rollback goes further back instead of undoing the
    /// first one.
    ///
    /// # Errors
    /// The deploy does not exist, the message is too long, or the store cannot be read. Nothing was changed.
    pub async fn roll_back(
        &self,
        name: &AppName,
        to: Option<DeployNumber>,
        by: &Pusher,
        events: &EventSender,
    ) -> Result<RolledBack, RollbackError> {
        if by.message.as_ref().is_some_and(|message| message.chars().count() > MESSAGE_CHARS_MAX) {
            return Err(RollbackError::Message);
        }
        let app = self.store.app(name).await?.ok_or(RollbackError::UnknownApp)?;
        let branch = format!("refs/heads/{}", app.production_branch);
        let repository = AppRepository::new(self.store.clone(), Some(app.clone()));
        let refs = repository.branches_and_tags().await?;
        let live = refs.iter().find(|found| found.name == branch).ok_or(RollbackError::NotLive)?.target;
        let to = match to {
            Some(to) => to,
            None => {
                let before = self.store.deploy_before(app.id, &app.production_branch, live).await?;
                before.ok_or(RollbackError::NoEarlierDeploy)?
            }
        };
        let to = match self.find_deploy(&app, to).await? {
            Some(to) => to,
            None if to.get() <= app.last_deploy => return Err(RollbackError::Pruned(to)),
            None => return Err(RollbackError::UnknownDeploy(to)),
        };
        if to.deploy.commit == live {
            return Err(RollbackError::Live(to.deploy.number));
        }
        let command =
            Command { name: branch, old: Some(object_id(live)), new: Some(object_id(to.deploy.commit)) };
        let reports = self.update_refs(&repository, name, vec![command], by, events).await;
        let report = reports.into_iter().next().expect("there is a report for every command");
        Ok(RolledBack { to, report })
    }

    /// A push without objects. Returns one report per command.
    pub(super) async fn update_refs(
        &self,
        repository: &AppRepository,
        name: &AppName,
        commands: Vec<Command>,
        by: &Pusher,
        events: &EventSender,
    ) -> Vec<RefReport> {
        let checked = commands.iter().cloned().map(|command| CheckedCommand { command, result: Ok(()) });
        let push = UnpackedPush {
            commands: checked.collect(),
            shallow: Vec::new(),
            unshallow: Vec::new(),
            warnings: FsckWarnings::default(),
            pack: Pack::default(),
        };
        let carried_out =
            self.carry_out(&PushContext { name, by, events, repository, push: &push, atomic: false }).await;
        carried_out.unwrap_or_else(|error| RefReport::reject_all(&commands, &error.rejection(name)))
    }

    async fn find_deploy(&self, app: &App, number: DeployNumber) -> Result<Option<ListedDeploy>, StoreError> {
        let next = number.get().checked_add(1).and_then(DeployNumber::new);
        let filter = DeployFilter { branch: None, before: next };
        let found = self.store.latest_deploys(app.id, &filter, 1).await?;
        Ok(found.into_iter().find(|listed| listed.deploy.number == number))
    }
}
