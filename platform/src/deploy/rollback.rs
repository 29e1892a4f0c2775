//! Rolling back without a repository: the push of an earlier deploy's commit to the production branch, by the server.

use git_receiver::{CheckedCommand, Command, FsckWarnings, Pack, UnpackedPush};
use manifest_schema::name::AppName;
use store::{App, DeployFilter, DeployNumber, ListedDeploy, StoreError};

use super::{Delivery, Deployer, Pusher, Tell, Verdict};
use crate::repository::{AppRepository, object_id};

/// The longest message of a rollback, in characters.
pub const MESSAGE_CHARS_MAX: usize = 500;

/// Why nothing is rolled back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// There is no such app.
    #[error("there is no such app")]
    UnknownApp,
    /// Nothing of it is live.
    #[error("nothing of the app is live in production")]
    NothingLive,
    /// It has no such deploy.
    #[error("the app has no deploy {0}")]
    UnknownDeploy(DeployNumber),
    /// The deploy was deleted.
    #[error("deploy {0} is not kept any more; push its commit again")]
    Pruned(DeployNumber),
    /// What is live is the first that was.
    #[error("nothing else was live before")]
    NothingBefore,
    /// The deploy is live.
    #[error("deploy {0} is what is live")]
    Live(DeployNumber),
    /// The message is too long.
    #[error("a message has at most {MESSAGE_CHARS_MAX} characters")]
    Message,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was gone back to.
#[derive(Clone, Debug)]
pub struct RolledBack {
    /// The deploy whose commit is live again.
    pub to: ListedDeploy,
    /// What became of the push.
    pub verdict: Verdict,
}

impl Deployer {
    /// Makes the commit of an earlier deploy live in production: that of `to`, or of the one before the commit that is live
    /// was deployed first. So a second rollback goes back further, and does not bring back what the first one has left.
    ///
    /// # Errors
    /// There is no such deploy, the message is too long, or the store cannot be read. Nothing was changed.
    pub async fn roll_back(
        &self,
        name: &AppName,
        to: Option<DeployNumber>,
        by: &Pusher,
        tell: &Tell,
    ) -> Result<RolledBack, RollbackError> {
        if by.message.as_ref().is_some_and(|message| message.chars().count() > MESSAGE_CHARS_MAX) {
            return Err(RollbackError::Message);
        }
        let app = self.store.app(name).await?.ok_or(RollbackError::UnknownApp)?;
        let branch = format!("refs/heads/{}", app.production_branch);
        let repository = AppRepository::new(self.store.clone(), Some(app.clone()));
        let refs = repository.branches_and_tags().await?;
        let live = refs.iter().find(|found| found.name == branch).ok_or(RollbackError::NothingLive)?.target;
        let to = match to {
            Some(to) => to,
            None => {
                let before = self.store.deploy_before(app.id, &app.production_branch, live).await?;
                before.ok_or(RollbackError::NothingBefore)?
            }
        };
        let to = match self.deploy_of(&app, to).await? {
            Some(to) => to,
            None if to.get() <= app.last_deploy => return Err(RollbackError::Pruned(to)),
            None => return Err(RollbackError::UnknownDeploy(to)),
        };
        if to.deploy.commit == live {
            return Err(RollbackError::Live(to.deploy.number));
        }
        let command =
            Command { name: branch, old: Some(object_id(live)), new: Some(object_id(to.deploy.commit)) };
        let verdicts = self.move_refs(&repository, name, vec![command], by, tell).await;
        let verdict = verdicts.into_iter().next().expect("there is a verdict for every command");
        Ok(RolledBack { to, verdict })
    }

    /// A push that brings no objects. There is a verdict for every command.
    pub(super) async fn move_refs(
        &self,
        repository: &AppRepository,
        name: &AppName,
        commands: Vec<Command>,
        by: &Pusher,
        tell: &Tell,
    ) -> Vec<Verdict> {
        let judged = commands.iter().cloned().map(|command| CheckedCommand { command, result: Ok(()) });
        let push = UnpackedPush {
            commands: judged.collect(),
            shallow: Vec::new(),
            unshallow: Vec::new(),
            warnings: FsckWarnings::default(),
            pack: Pack::default(),
        };
        let carried_out =
            self.carry_out(&Delivery { name, by, tell, repository, push: &push, atomic: false }).await;
        carried_out.unwrap_or_else(|error| Verdict::reject_all(&commands, &error.rejection(name)))
    }

    async fn deploy_of(&self, app: &App, number: DeployNumber) -> Result<Option<ListedDeploy>, StoreError> {
        let behind = number.get().checked_add(1).and_then(DeployNumber::new);
        let filter = DeployFilter { branch: None, before: behind };
        let found = self.store.latest_deploys(app.id, &filter, 1).await?;
        Ok(found.into_iter().find(|listed| listed.deploy.number == number))
    }
}
