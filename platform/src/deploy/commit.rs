//! The transaction of a push, repeated without the refs that it rejects.

use chrono::{DateTime, Utc};
use manifest_schema::name::AppName;
use store::{
    AppId, Environment, NewDeploy, NewPush, Oid, PushError, PushLimits, PushReceipt, Store, StoreError,
};
use uuid::Uuid;

use super::Pusher;
use super::candidate::DeployError;
use super::decision::{Action, Decision, apply_atomicity, reject_matching};
use super::report::Rejection;
use crate::limits::GrantedLimits;
use crate::repository::{Pushed, oid};

/// One eighth of an app's disk quota is reserved for pushes to production.
const PRODUCTION_RESERVE_DIVISOR: u64 = 8;

/// What a push commits, independent of which refs are updated.
pub(super) struct Commit<'p> {
    pub(super) app: &'p AppName,
    /// The id for a new app.
    pub(super) new_app: AppId,
    pub(super) by: &'p Pusher,
    pub(super) at: DateTime<Utc>,
    pub(super) node: Option<Uuid>,
    pub(super) objects: Pushed<'p>,
    /// The app for which the push was unpacked, and the id of its last garbage gc_id.
    pub(super) gc_id: Option<(AppId, Uuid)>,
    pub(super) shallow: Vec<Oid>,
    pub(super) unshallow: Vec<Oid>,
    /// Whether all refs are updated or none.
    pub(super) atomic: bool,
    /// The limits of the app.
    pub(super) granted: GrantedLimits,
}

impl Commit<'_> {
    /// Commits the ref updates of the decisions. A ref updated concurrently is rejected and the others are
    /// retried, unless the push is atomic. `None`: count was nothing to update.
    pub(super) async fn carry_out(
        &self,
        store: &Store,
        decisions: &mut [Decision],
    ) -> Result<Option<PushReceipt>, DeployError> {
        loop {
            if self.atomic {
                apply_atomicity(decisions);
            }
            if !decisions.iter().any(Decision::updates_ref) {
                return Ok(None);
            }
            let error = match store.push(&self.new_push(decisions)).await {
                Ok(receipt) => return Ok(Some(receipt)),
                Err(error) => error,
            };
            let affected =
                decisions.iter().position(|decision| decision.updates_ref() && affects(&error, decision));
            let rejection = self.rejection(error)?;
            match affected {
                Some(index) => decisions[index].reject(rejection),
                None => {
                    reject_matching(decisions, Decision::updates_ref, &rejection);
                    return Ok(None);
                }
            }
        }
    }

    /// The transaction for the current decisions.
    fn new_push(&self, decisions: &[Decision]) -> NewPush<'_> {
        let moved = decisions.iter().filter(|decision| decision.updates_ref());
        let served = || {
            decisions.iter().filter_map(|decision| match &decision.action {
                Action::Serve { branch, candidate, production } => Some((branch, candidate, *production)),
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
            may_create: self.by.can_create(self.app),
            by: self.by.actor.clone(),
            at: self.at,
            node: self.node,
            objects: &self.objects,
            gc_id: self.gc_id,
            dangling: self.dangling(decisions),
            shallow: self.shallow.clone(),
            unshallow: self.unshallow.clone(),
            refs: moved.map(|decision| decision.change.clone()).collect(),
            revisions: served().filter_map(|(_, candidate, _)| candidate.new.clone()).collect(),
            deploys: served().map(|(branch, candidate, _)| deploy(branch, candidate.commit)).collect(),
            // Only production has domains.
            domains: served()
                .find(|(_, _, production)| *production)
                .map(|(_, candidate, _)| candidate.prepared.manifest.app.domains.clone()),
            proven: served().flat_map(|(_, candidate, _)| candidate.verified_domains.clone()).collect(),
            requires: required.collect(),
            message: self.by.message.clone(),
            limits: PushLimits { previews: self.granted.previews, disk_bytes: self.disk_bytes(decisions) },
        }
    }

    /// The pushed objects that are not referenced: those of no ref, or of a rejected one.
    fn dangling(&self, decisions: &[Decision]) -> Vec<Oid> {
        let is_referenced = |oid: &Oid| {
            decisions
                .iter()
                .any(|decision| decision.updates_ref() && decision.change.new.as_ref() == Some(oid))
        };
        self.objects.0.dangling().iter().map(|id| oid(*id)).filter(|oid| !is_referenced(oid)).collect()
    }

    /// The disk quota for this push. Pushes of previews leave a reserve for production.
    fn disk_bytes(&self, decisions: &[Decision]) -> u64 {
        let is_of_preview =
            |decision: &Decision| decision.change.name.starts_with("refs/heads/") && !decision.goes_live();
        match decisions.iter().filter(|decision| decision.updates_ref()).all(is_of_preview) {
            true => self.granted.disk - self.granted.disk / PRODUCTION_RESERVE_DIVISOR,
            false => self.granted.disk,
        }
    }

    /// The rejection for `error`.
    fn rejection(&self, error: PushError) -> Result<Rejection, DeployError> {
        Ok(match error {
            PushError::RefMoved { found, last_deploy, .. } => Rejection::Moved { found, by: last_deploy },
            PushError::DomainTaken { domain } => Rejection::DomainTaken { domain },
            PushError::Busy => Rejection::Busy,
            PushError::UnknownApp => Rejection::UnknownApp,
            PushError::TooLarge { used, needed, limit } => {
                Rejection::TooLarge { used, needed, limit, quota: self.granted.disk }
            }
            PushError::TooManyPreviews { previews } => {
                Rejection::TooManyPreviews { would_be: previews + 1, limit: self.granted.previews }
            }
            PushError::SecretUnset { name, environment } => Rejection::SecretUnset { name, environment },
            PushError::Store(StoreError::DiskFull) => {
                tracing::error!(app = %self.app, "the disk of the database is full");
                Rejection::DiskFull
            }
            PushError::Store(error @ StoreError::OutcomeUnknown) => {
                tracing::error!(app = %self.app, %error, "the outcome of a push's COMMIT is unknown");
                Rejection::OutcomeUnknown
            }
            PushError::ConcurrentGc => return Err(DeployError::Collected),
            PushError::Objects(error) => return Err(DeployError::Pack(error)),
            PushError::Store(error) => return Err(error.into()),
        })
    }
}

/// Whether `error` only affects the ref of `decision`, so that the others can still be updated.
fn affects(error: &PushError, decision: &Decision) -> bool {
    match error {
        PushError::RefMoved { name, .. } => *name == decision.change.name,
        PushError::DomainTaken { .. } => decision.goes_live(),
        PushError::TooManyPreviews { .. } => decision.preview().is_some() && decision.change.old.is_none(),
        _ => false,
    }
}
