//! Previews: those that nobody pushed to for long are ended, their branches deleted as a push would, and their deploys stay.
//! The schedules of one run where somebody asks for it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use git_receiver::Command;
use store::{Actor, App, StoreError};

use super::{Deployer, Outcome, Pusher, Tell};
use crate::repository::{AppRepository, object_id};
use crate::tokens::Caller;

/// By whom they are ended, as the history says.
const BY: &str = "picloud";

impl Deployer {
    /// Puts the schedules of a preview on the clock of all nodes, or takes them off. `false`: the app has no such branch.
    ///
    /// # Errors
    /// The store failed. Nothing was changed.
    pub async fn schedule_preview(
        &self,
        app: &App,
        branch: &str,
        on: bool,
        by: &Actor,
    ) -> Result<bool, StoreError> {
        let act = self.begin_act(&app.name);
        let node = self.peers.as_ref().map(|peers| peers.node);
        let Some(changed) = self.store.schedule_preview(app, branch, on, node, by).await? else {
            return Ok(false);
        };
        self.serve_changed(&changed, act).await;
        Ok(true)
    }

    /// Ends the previews of all apps whose latest deploy is older than `age` at `now`, and says how many those were.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn end_old_previews(&self, age: Duration, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let Some(before) = TimeDelta::from_std(age).ok().and_then(|age| now.checked_sub_signed(age)) else {
            return Ok(0);
        };
        let by = Pusher {
            caller: Caller::admin(BY.to_owned()),
            actor: Actor { name: BY.to_owned(), token: None, address: None, request: None },
            creates: false,
            message: None,
        };
        let mut ended = 0;
        for app in self.store.apps().await? {
            let mut commands = Vec::new();
            for live in self.store.live_of(app.id).await? {
                let is_old = self.store.deployed_at(app.id, live.deploy).await?.is_some_and(|at| at < before);
                if live.branch != app.production_branch && is_old {
                    // If somebody pushes meanwhile, the ref is not there any more, and stays.
                    let name = format!("refs/heads/{}", live.branch);
                    commands.push(Command { name, old: Some(object_id(live.commit)), new: None });
                }
            }
            if commands.is_empty() {
                continue;
            }
            let tell = Tell::to_nobody();
            let repository = AppRepository::new(self.store.clone(), Some(app.clone()));
            for verdict in self.move_refs(&repository, &app.name, commands, &by, &tell).await {
                let is_gone = matches!(verdict.outcome, Outcome::Deleted);
                tracing::info!(app = %app.name, branch = verdict.name, is_gone, "an old preview is ended");
                ended += usize::from(is_gone);
            }
        }
        Ok(ended)
    }
}
