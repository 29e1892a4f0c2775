//! The one transaction of a push, repeated without the refs that it refuses.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use store::{
    AppId, Environment, NewDeploy, NewPush, Oid, PushError, PushLimits, PushReceipt, Store, StoreError,
};
use uuid::Uuid;

use super::Pusher;
use super::candidate::DeployError;
use super::decision::{Decided, Decision, reject_those, reject_unless_all_move};
use super::report::Rejection;
use crate::limits::GrantedLimits;
use crate::repository::{Pushed, oid};

/// One part in so many of the disk that an app is granted is for pushes to production.
const PRODUCTION_PART: u64 = 8;

/// What a push commits whichever of its refs are moved.
pub(super) struct Commit<'p> {
    pub(super) app: &'p AppName,
    /// The id of the app where it is created.
    pub(super) new_app: AppId,
    pub(super) by: &'p Pusher,
    pub(super) at: DateTime<Utc>,
    pub(super) node: Option<Uuid>,
    pub(super) objects: Pushed<'p>,
    /// The app for which the push was unpacked, and its state as far as deletion of objects goes.
    pub(super) collection: Option<(AppId, Uuid)>,
    pub(super) shallow: Vec<Oid>,
    pub(super) unshallow: Vec<Oid>,
    /// Whether all refs are moved or none.
    pub(super) atomic: bool,
    /// What the app is granted.
    pub(super) granted: GrantedLimits,
}

impl Commit<'_> {
    /// Commits what the decisions move. A ref that someone else moved meanwhile is rejected and the others are tried
    /// again, unless the push is atomic. `None`: nothing was to be moved, or nothing could be.
    pub(super) async fn carry_out(
        &self,
        store: &Store,
        decisions: &mut [Decision],
    ) -> Result<Option<PushReceipt>, DeployError> {
        loop {
            if self.atomic {
                reject_unless_all_move(decisions);
            }
            if !decisions.iter().any(Decision::moves) {
                return Ok(None);
            }
            let error = match store.push(&self.new_push(decisions)).await {
                Ok(receipt) => return Ok(Some(receipt)),
                Err(error) => error,
            };
            let concerned =
                decisions.iter().position(|decision| decision.moves() && concerns(&error, decision));
            let rejection = self.rejection(error)?;
            match concerned {
                Some(index) => decisions[index].reject(rejection),
                None => {
                    reject_those(decisions, Decision::moves, &rejection);
                    return Ok(None);
                }
            }
        }
    }

    /// All that is written where the decisions are as they are.
    fn new_push(&self, decisions: &[Decision]) -> NewPush<'_> {
        let moved = decisions.iter().filter(|decision| decision.moves());
        let served = || {
            decisions.iter().filter_map(|decision| match &decision.outcome {
                Decided::Serve { branch, candidate, production } => Some((branch, candidate, *production)),
                _ => None,
            })
        };
        let required = served().flat_map(|(_, candidate, production)| {
            let environment = if production { Environment::Production } else { Environment::Preview };
            let names = candidate.prepared.manifest.secrets.required.iter();
            names.map(move |name| (environment, name.as_str().to_owned()))
        });
        let deploy = |branch: &String, commit| NewDeploy { branch: branch.clone(), commit };
        NewPush {
            app: self.app.clone(),
            new_app: self.new_app,
            may_create: self.by.may_create(self.app),
            by: self.by.actor.clone(),
            at: self.at,
            node: self.node,
            objects: &self.objects,
            collection: self.collection,
            loose: self.loose(decisions),
            shallow: self.shallow.clone(),
            unshallow: self.unshallow.clone(),
            refs: moved.map(|decision| decision.change.clone()).collect(),
            revisions: served().filter_map(|(_, candidate, _)| candidate.new.clone()).collect(),
            deploys: served().map(|(branch, candidate, _)| deploy(branch, candidate.commit)).collect(),
            // Previews have none: the domains are those of what people see.
            domains: served()
                .find(|(_, _, production)| *production)
                .map(|(_, candidate, _)| candidate.prepared.manifest.app.domains.clone()),
            proven: served().flat_map(|(_, candidate, _)| candidate.proven.clone()).collect(),
            requires: required.collect(),
            message: self.by.message.clone(),
            limits: PushLimits { previews: self.granted.previews, disk_bytes: self.disk_bytes(decisions) },
        }
    }

    /// What comes along and is held by nothing: what belongs to no ref, or to one that is rejected.
    fn loose(&self, decisions: &[Decision]) -> Vec<Oid> {
        let is_held = |oid: &Oid| {
            decisions.iter().any(|decision| decision.moves() && decision.change.new.as_ref() == Some(oid))
        };
        self.objects.0.dangling().iter().map(|id| oid(*id)).filter(|oid| !is_held(oid)).collect()
    }

    /// How many bytes of the disk the app can take. Whoever can only push previews leaves a part of it to production.
    fn disk_bytes(&self, decisions: &[Decision]) -> u64 {
        let is_of_preview =
            |decision: &Decision| decision.change.name.starts_with("refs/heads/") && !decision.goes_live();
        match decisions.iter().filter(|decision| decision.moves()).all(is_of_preview) {
            true => self.granted.disk - self.granted.disk / PRODUCTION_PART,
            false => self.granted.disk,
        }
    }

    /// Why the refs are rejected that `error` concerns.
    fn rejection(&self, error: PushError) -> Result<Rejection, DeployError> {
        Ok(match error {
            PushError::RefMoved { found, last_deploy, .. } => Rejection::Moved { found, by: last_deploy },
            PushError::DomainTaken { domain } => Rejection::DomainTaken { domain },
            PushError::Busy => Rejection::Busy,
            PushError::UnknownApp => Rejection::UnknownApp,
            PushError::TooLarge { used, needed, most } => {
                Rejection::TooLarge { used, needed, most, granted: self.granted.disk }
            }
            PushError::TooManyPreviews { there } => {
                Rejection::TooManyPreviews { would_be: there + 1, most: self.granted.previews }
            }
            PushError::SecretUnset { name, environment } => Rejection::SecretUnset { name, environment },
            PushError::Store(StoreError::DiskFull) => {
                tracing::error!(app = %self.app, "the database's disk is full");
                Rejection::DiskFull
            }
            PushError::Store(error @ StoreError::OutcomeUnknown) => {
                tracing::error!(app = %self.app, %error, "it is not known whether a push was committed");
                Rejection::OutcomeUnknown
            }
            PushError::Collected => return Err(DeployError::Collected),
            PushError::Objects(error) => return Err(DeployError::Pack(error)),
            PushError::Store(error) => return Err(error.into()),
        })
    }
}

/// Whether `error` is about the ref of `decision` only, so that the others can still be moved.
fn concerns(error: &PushError, decision: &Decision) -> bool {
    match error {
        PushError::RefMoved { name, .. } => *name == decision.change.name,
        PushError::DomainTaken { .. } => decision.goes_live(),
        PushError::TooManyPreviews { .. } => decision.preview().is_some() && decision.change.old.is_none(),
        _ => false,
    }
}
