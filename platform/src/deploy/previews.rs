//! Previews: expired ones end by deleting their branches as a push would, and their deploys stay in the
//! history. Their schedules can be enabled.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use git_receiver::Command;
use store::{Actor, App, StoreError};

use super::{Deployer, EventSender, Outcome, Pusher};
use crate::repository::{AppRepository, object_id};
use crate::tokens::Caller;

/// The actor of expirations in the history.
const EXPIRY_ACTOR: &str = "picloud";

impl Deployer {
    /// Enables or disables the schedules of a preview. `false`: the app has no such branch.
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
        let change = self.begin_change(&app.name);
        let node = self.peers.as_ref().map(|peers| peers.node);
        let Some(changed) = self.store.set_preview_schedules(app, branch, on, node, by).await? else {
            return Ok(false);
        };
        self.serve_changed(&changed, change).await;
        Ok(true)
    }

    /// Ends the previews of all apps whose latest deploy is older than `ttl` at `now`. Returns their number.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn end_expired_previews(&self, ttl: Duration, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let Some(before) = TimeDelta::from_std(ttl).ok().and_then(|ttl| now.checked_sub_signed(ttl)) else {
            return Ok(0);
        };
        let by = Pusher {
            caller: Caller::admin(EXPIRY_ACTOR.to_owned()),
            actor: Actor { name: EXPIRY_ACTOR.to_owned(), token: None, address: None, request: None },
            creates: false,
            message: None,
        };
        let mut ended = 0;
        for app in self.store.apps().await? {
            let mut commands = Vec::new();
            for live in self.store.live_branches(app.id).await? {
                let is_expired =
                    self.store.deployed_at(app.id, live.deploy).await?.is_some_and(|at| at < before);
                if live.branch != app.production_branch && is_expired {
                    // After a concurrent push the expected old value does not match, and the ref stays.
                    let name = format!("refs/heads/{}", live.branch);
                    commands.push(Command { name, old: Some(object_id(live.commit)), new: None });
                }
            }
            if commands.is_empty() {
                continue;
            }
            let events = EventSender::sink();
            let repository = AppRepository::new(self.store.clone(), Some(app.clone()));
            for report in self.update_refs(&repository, &app.name, commands, &by, &events).await {
                let deleted = matches!(report.outcome, Outcome::Deleted);
                tracing::info!(app = %app.name, branch = report.name, deleted, "ended an expired preview");
                ended += usize::from(deleted);
            }
        }
        Ok(ended)
    }
}
