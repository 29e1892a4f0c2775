//! From a pushed commit to a revision that can be served: validated now, or known from an earlier push.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chrono::Utc;
use git_receiver::{ObjectId, Pack, ReadError, RepositoryError, Staged, UnpackError};
use manifest_schema::fault::{Fault, Faults};
use manifest_schema::manifest;
use manifest_schema::name::{AppName, DomainName};
use manifest_schema::parse::place_of_domain;
use runtime::Secrets;
use store::{NewRevision, Oid, Store, StoreError};
use uuid::Uuid;

use super::check::{Checked, check_for, refuse_unset};
use super::leaks::leaks;
use super::limits::DeployLimits;
use super::plan::{Planned, Side, due_times, plan};
use super::report::{Event, Rejection, Tell};
use super::snapshot::{File, Snapshot, SnapshotError, of_commit};
use crate::activation::Activation;
use crate::limits::GrantedLimits;
use crate::memory::{OutOfMemory, Reservation};
use crate::repository::{AppRepository, oid};
use crate::revision::{LoadError, Prepared};
use crate::scripts::{AppScripts, CheckError};

/// Why a push failed for a reason that is not the pusher's.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeployError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("cannot read what was pushed: {0}")]
    Read(#[from] ReadError),
    #[error("cannot read back what was pushed: {0}")]
    Pack(#[source] std::io::Error),
    #[error("the check of the scripts ended early")]
    CheckDied,
    /// Objects on which the push may build were deleted since it was unpacked.
    #[error("objects of the app were deleted meanwhile")]
    Collected,
    #[error(transparent)]
    NoMemory(#[from] OutOfMemory),
}

impl DeployError {
    /// Why the push to `app` is rejected; what only the operator can mend is logged.
    pub(super) fn rejection(&self, app: &AppName) -> Rejection {
        if let Some(refused) = self.out_of_memory() {
            return Rejection::NoMemory(refused);
        }
        if let Self::Unpack(refused) = self
            && refused.is_refusal()
        {
            return Rejection::Unpack(refused.to_string());
        }
        if let Self::Collected = self {
            return Rejection::Busy;
        }
        if let Some(cause) = self.unavailable() {
            tracing::warn!(%app, error = %self, "the database failed a push");
            return Rejection::Unavailable { why: cause.public_reason() };
        }
        let incident = Uuid::new_v4();
        tracing::error!(%app, %incident, error = %self, "push failed");
        Rejection::Internal { incident }
    }

    fn out_of_memory(&self) -> Option<OutOfMemory> {
        let refused = match self {
            Self::NoMemory(refused) => return Some(*refused),
            Self::Unpack(UnpackError::Repository(RepositoryError::NoMemory(refused)))
            | Self::Read(ReadError::Repository(RepositoryError::NoMemory(refused))) => refused,
            _ => return None,
        };
        refused.0.downcast_ref().copied()
    }

    /// The error of the store that says that the database cannot be asked now, if one does.
    fn unavailable(&self) -> Option<&StoreError> {
        let store = match self {
            Self::Store(error) => Some(error),
            error => StoreError::among(error),
        };
        store.filter(|error| error.is_unavailable())
    }
}

/// A commit that keeps the contract.
pub(super) struct Candidate {
    pub(super) commit: Oid,
    /// What to store; `None` when an earlier push stored it.
    pub(super) new: Option<NewRevision>,
    pub(super) prepared: Prepared,
}

/// What a commit turned out to be.
pub(super) enum Examined {
    Candidate(Box<Candidate>),
    /// It has no manifest: nothing to serve.
    NoManifest,
    Rejected(Rejection),
}

/// Where a commit is looked at, and for what.
pub(super) struct Examination<'a> {
    pub(super) store: &'a Store,
    pub(super) activation: &'a Activation,
    pub(super) limits: &'a DeployLimits,
    /// The name of the app.
    pub(super) name: &'a AppName,
    /// What the app is granted.
    pub(super) granted: &'a GrantedLimits,
    /// The scripts of the app that is pushed to.
    pub(super) scripts: &'a AppScripts,
    pub(super) repository: &'a AppRepository,
    pub(super) staged: &'a Staged<'a, AppRepository>,
    pub(super) pack: &'a Pack,
    /// What the app's secrets are.
    pub(super) secrets: &'a Arc<Secrets>,
    pub(super) tell: &'a Tell,
}

impl Examination<'_> {
    /// Reads, checks and plans `commit` for `branch`, telling what it finds.
    pub(super) async fn examine(&self, branch: &str, commit: ObjectId) -> Result<Examined, DeployError> {
        let summary = self.staged.commit(commit).await.map_err(DeployError::Read)?;
        self.tell.send(Event::Candidate {
            branch: branch.to_owned(),
            commit: oid(commit),
            subject: self.secrets.redact(&summary.subject).into_owned(),
            author: summary.author.clone(),
        });
        if let Some(rejection) = self.leaked(Some((branch, commit))).await? {
            return Ok(Examined::Rejected(rejection));
        }
        let known = match self.validated_before(oid(commit)).await? {
            Ok(known) => known,
            Err(refused) => return Ok(Examined::Rejected(Rejection::NoMemory(refused))),
        };
        let (prepared, new) = match known {
            Some(prepared) => {
                let mut faults = Faults::default();
                refuse_unset(&prepared.manifest, self.secrets, &mut faults);
                if !faults.is_empty() {
                    return Ok(self.refuse(branch, faults));
                }
                (prepared, None)
            }
            None => {
                let started = Instant::now();
                let (snapshot, _held) = match self.snapshot(commit).await {
                    Ok(snapshot) => snapshot,
                    Err(SnapshotError::Refused(why)) => {
                        return Ok(self.refuse(branch, Fault::error("the commit", None, why).into()));
                    }
                    Err(SnapshotError::Read(error)) => return Err(DeployError::Read(error)),
                    Err(SnapshotError::NoMemory(refused)) => {
                        return Ok(Examined::Rejected(Rejection::NoMemory(refused)));
                    }
                };
                self.tell.send(Event::Read {
                    files: snapshot.files,
                    scripts: snapshot.scripts.len(),
                    bytes: snapshot.bytes(),
                    took: started.elapsed(),
                });
                if snapshot.manifest.is_none() && !self.is_production(branch) {
                    return Ok(Examined::NoManifest);
                }
                let started = Instant::now();
                let (ceiling, secrets) = (self.granted.ceiling(self.name), Arc::clone(self.secrets));
                // A preview is compiled when somebody asks for it.
                let (scripts, keeps) = (self.scripts.clone(), self.is_production(branch));
                // Off the async workers: compiling may take a while and cannot be cancelled.
                let checking = tokio::task::spawn_blocking(move || {
                    check_for(&scripts, keeps, &snapshot, &ceiling, Some(&secrets))
                });
                let Checked { prepared, warnings } =
                    match checking.await.map_err(|_| DeployError::CheckDied)? {
                        Ok(checked) => checked,
                        Err(CheckError::Faults(faults)) => return Ok(self.refuse(branch, faults)),
                        Err(CheckError::NoMemory(refused)) => {
                            return Ok(Examined::Rejected(Rejection::NoMemory(refused)));
                        }
                    };
                self.tell.send(Event::Compiled {
                    scripts: prepared.sources.len(),
                    sdk: prepared.manifest.sdk,
                    took: started.elapsed(),
                });
                if !warnings.is_empty() {
                    self.tell.send(Event::Faults(warnings));
                }
                let new = NewRevision {
                    commit: oid(commit),
                    sdk: prepared.manifest.sdk.to_string(),
                    subject: summary.subject,
                    author: summary.author,
                    validated_at: Utc::now(),
                };
                (prepared, Some(new))
            }
        };
        if let Some(faults) = self.domain_faults(branch, commit, &prepared).await? {
            return Ok(self.refuse(branch, faults));
        }
        self.tell_plan(branch, &prepared);
        Ok(Examined::Candidate(Box::new(Candidate { commit: oid(commit), new, prepared })))
    }

    async fn snapshot(&self, commit: ObjectId) -> Result<(Snapshot, Reservation), SnapshotError> {
        of_commit(self.staged, commit, &self.limits.tree, self.scripts.account()).await
    }

    fn is_production(&self, branch: &str) -> bool {
        branch == self.repository.production_branch()
    }

    /// The domains that the app cannot have, each told at its place. Previews have none and may name any.
    async fn domain_faults(
        &self,
        branch: &str,
        commit: ObjectId,
        prepared: &Prepared,
    ) -> Result<Option<Faults>, DeployError> {
        let wanted = &prepared.manifest.app.domains;
        if wanted.is_empty() || !self.is_production(branch) {
            return Ok(None);
        }
        let server = self.limits.domain.as_deref();
        let of_server = wanted.iter().filter(|domain| server.is_some_and(|server| domain.is_within(server)));
        let mut refused: Vec<(&DomainName, String)> = of_server
            .map(|domain| {
                (domain, format!("domain `{domain}` is this server's; an app has its name below it anyway"))
            })
            .collect();
        let taken = self.store.taken_domains(self.repository.app().map(|app| app.id), wanted).await?;
        refused.extend(
            taken.iter().map(|(domain, by)| (domain, format!("domain `{domain}` is that of the app {by}"))),
        );
        if refused.is_empty() {
            return Ok(None);
        }
        let text = match self.snapshot(commit).await {
            Ok((Snapshot { manifest: Some(File::Bytes(text)), .. }, _)) => text,
            // Then the faults have no places.
            Ok(_) | Err(SnapshotError::Refused(_) | SnapshotError::NoMemory(_)) => Bytes::new(),
            Err(SnapshotError::Read(error)) => return Err(DeployError::Read(error)),
        };
        let mut faults = Faults::default();
        for (domain, words) in refused {
            let place = place_of_domain(&text, domain);
            faults.add(Fault::error(manifest::FILE_NAME, place, words));
        }
        Ok(Some(faults))
    }

    async fn validated_before(
        &self,
        commit: Oid,
    ) -> Result<Result<Option<Prepared>, OutOfMemory>, DeployError> {
        let Some(app) = self.repository.app() else { return Ok(Ok(None)) };
        match Prepared::load(self.store, app, commit, self.scripts).await {
            Ok(prepared) => Ok(Ok(Some(prepared))),
            Err(LoadError::NoMemory(refused)) => Ok(Err(refused)),
            Err(LoadError::Store(error)) => Err(error.into()),
            Err(LoadError::Read(error)) => Err(error.into()),
            // A revision of an older server that this one no longer reads is validated anew.
            Err(
                LoadError::Absent
                | LoadError::Manifest(_)
                | LoadError::Routes(_)
                | LoadError::Secrets(_)
                | LoadError::Panicked,
            ) => Ok(Ok(None)),
        }
    }

    /// Why a push is refused that holds the value of a secret, if it does: the commit of a branch, or anything that came. Nothing
    /// else is told of it then, since faults show lines.
    pub(super) async fn leaked(
        &self,
        of: Option<(&str, ObjectId)>,
    ) -> Result<Option<Rejection>, DeployError> {
        let (branch, commit) = of.unzip();
        let faults = leaks(self.staged, self.pack, commit, &self.limits.tree, self.secrets).await?;
        Ok((!faults.is_empty()).then(|| self.rejection(branch.unwrap_or_default(), faults)))
    }

    fn refuse(&self, branch: &str, faults: Faults) -> Examined {
        Examined::Rejected(self.rejection(branch, faults))
    }

    fn rejection(&self, branch: &str, faults: Faults) -> Rejection {
        let live = self.repository.app().and_then(|app| self.activation.live_deploy(&app.name, branch));
        let (errors, files) = (faults.errors(), faults.errors_by_file().len());
        self.tell.send(Event::Faults(faults));
        Rejection::Faults { errors, files, live }
    }

    fn tell_plan(&self, branch: &str, prepared: &Prepared) {
        let live = self.repository.app().and_then(|app| self.activation.live(&app.name, branch));
        let side = live.as_ref().map(|live| Side { manifest: live.manifest(), sources: live.sources() });
        let plan = plan(side, Side { manifest: &prepared.manifest, sources: &prepared.sources });
        let scheduled = self.is_production(branch)
            || self.repository.app().is_some_and(|app| self.activation.is_scheduled(&app.name, branch));
        let due = scheduled.then(|| due_times(&prepared.manifest));
        self.tell.send(Event::Planned(Planned { plan, due }));
    }
}
