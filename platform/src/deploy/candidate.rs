//! Turns a pushed commit into a servable revision: validated now, or earlier from an earlier push.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chrono::Utc;
use git_receiver::{
    CommitSummary, ObjectId, Pack, QuarantineView, ReadError, RepositoryError, TreeLimitError, UnpackError,
};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics, Severity};
use manifest_schema::manifest;
use manifest_schema::name::{AppName, DomainName};
use manifest_schema::parse::domain_span;
use runtime::AppIdentity;
use store::{DomainProof, Environment, NewRevision, Oid, Store, StoreError};
use uuid::Uuid;

use super::check::{Checked, check_for, reject_unset_secrets};
use super::deadline::PushDeadline;
use super::domains::DomainPolicy;
use super::leaks::{SearchCache, leak_in, leaks};
use super::limits::DeployLimits;
use super::plan::{Planned, RevisionContent, due_times, plan};
use super::push_secrets::PushSecrets;
use super::report::{Event, EventSender, Rejection, ShallowBoundary};
use super::snapshot::{File, Snapshot, SnapshotError, read_snapshot};
use crate::activation::Activation;
use crate::dry_run::{CheckReport, DryRun, run_checks_in_background};
use crate::limits::GrantedLimits;
use crate::memory::{OutOfMemory, Reservation};
use crate::repository::{AppRepository, oid};
use crate::revision::{LoadError, Prepared};
use crate::scripts::{AppScripts, CheckError};
use crate::tokens::Caller;

/// Why a push failed for a reason outside of the pushed content.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeployError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("cannot read the pushed objects: {0}")]
    Read(#[from] ReadError),
    #[error("cannot read back the pushed pack: {0}")]
    Pack(#[source] std::io::Error),
    #[error("the task that checks scripts panicked")]
    CheckPanicked,
    /// The push builds on commits before the shallow boundary of the app.
    #[error("missing necessary objects: {}", .0.missing)]
    ShallowHistory(ShallowBoundary),
    /// Objects that the push can build on were deleted since it was unpacked.
    #[error("objects of the app were garbage-collected meanwhile")]
    Collected,
    #[error(transparent)]
    NoMemory(#[from] OutOfMemory),
}

impl DeployError {
    /// The rejection of the push to `app`; errors that only the operator can fix are logged.
    pub(super) fn rejection(&self, app: &AppName) -> Rejection {
        if let Some(error) = self.out_of_memory() {
            return Rejection::NoMemory(error);
        }
        if let Self::Unpack(error) = self
            && error.is_rejection()
        {
            return Rejection::Unpack { reason: error.to_string(), limit: error.limit() };
        }
        if let Self::ShallowHistory(end) = self {
            return Rejection::ShallowHistory(end.clone());
        }
        if let Self::Collected = self {
            return Rejection::Busy;
        }
        if let Some(cause) = self.unavailable() {
            tracing::warn!(%app, error = %self, "push failed: the database is unavailable");
            return Rejection::Unavailable { reason: cause.public_reason() };
        }
        let incident = Uuid::new_v4();
        tracing::error!(%app, %incident, error = %self, "push failed");
        Rejection::Internal { incident }
    }

    fn out_of_memory(&self) -> Option<OutOfMemory> {
        let error = match self {
            Self::NoMemory(error) => return Some(*error),
            Self::Unpack(UnpackError::Repository(RepositoryError::OutOfMemory(error)))
            | Self::Read(ReadError::Repository(RepositoryError::OutOfMemory(error))) => error,
            _ => return None,
        };
        error.0.downcast_ref().copied()
    }

    /// The store error in the chain, if the database is unavailable.
    fn unavailable(&self) -> Option<&StoreError> {
        let store = match self {
            Self::Store(error) => Some(error),
            error => StoreError::find_in(error),
        };
        store.filter(|error| error.is_unavailable())
    }
}

/// A commit that passed validation.
pub(super) struct Candidate {
    pub(super) commit: Oid,
    /// What to store; `None` when an earlier push stored it.
    pub(super) new: Option<NewRevision>,
    pub(super) prepared: Prepared,
    /// The newly verified domains: named by the commit and not yet held by the app.
    pub(super) verified_domains: Vec<(DomainName, DomainProof)>,
}

/// The result of examining a commit.
pub(super) enum Examined {
    Candidate(Box<Candidate>),
    /// It has no manifest, so there is nothing to serve.
    NoManifest,
    Rejected(Rejection),
}

/// The context of an examination.
pub(super) struct Examination<'a> {
    pub(super) store: &'a Store,
    pub(super) activation: &'a Activation,
    pub(super) limits: &'a DeployLimits,
    pub(super) domains: &'a DomainPolicy,
    /// The pusher.
    pub(super) by: &'a Caller,
    /// The name of the app.
    pub(super) name: &'a AppName,
    /// The limits of the app.
    pub(super) granted: &'a GrantedLimits,
    /// The scripts of the app.
    pub(super) scripts: &'a AppScripts,
    pub(super) repository: &'a AppRepository,
    pub(super) quarantine: &'a QuarantineView<'a, AppRepository>,
    pub(super) pack: &'a Pack,
    /// The app's secrets.
    pub(super) secrets: &'a PushSecrets,
    pub(super) events: &'a EventSender,
    /// The time limit.
    pub(super) deadline: &'a PushDeadline,
}

/// Results for the commits of a push, so that each is examined once.
#[derive(Default)]
pub(super) struct ExaminationCache {
    /// By commit and whether it is for production.
    commits: HashMap<(ObjectId, bool), CommitResult>,
    /// The result of the leak search in the pushed objects other than files of served commits.
    pack_leaks: Option<Result<(), CommitRejection>>,
    searched: SearchCache,
}

/// The cached result for a commit.
#[derive(Clone)]
enum CommitResult {
    /// What to store; `None` when an earlier push stored it.
    Valid {
        prepared: Box<Prepared>,
        new: Option<NewRevision>,
    },
    NoManifest,
    Rejected(CommitRejection),
}

/// Why a commit is rejected on any branch.
#[derive(Clone)]
enum CommitRejection {
    /// Errors that were reported: their number, and the number of files.
    Diagnostics {
        errors: usize,
        files: usize,
        first: Option<Box<Diagnostic>>,
    },
    Other(Rejection),
}

impl Examination<'_> {
    /// Reads, checks and plans `commit` for `branch`, reporting events.
    pub(super) async fn examine(
        &self,
        branch: &str,
        commit: ObjectId,
        cache: &mut ExaminationCache,
    ) -> Result<Examined, DeployError> {
        let key = (commit, self.is_production(branch));
        if !cache.commits.contains_key(&key)
            && let Err(rejection) = self.deadline.check()
        {
            return Ok(Examined::Rejected(rejection));
        }
        let summary = self.quarantine.commit(commit).await.map_err(DeployError::Read)?;
        self.events.send(Event::Candidate {
            branch: branch.to_owned(),
            commit: oid(commit),
            subject: self.secrets.redact(&summary.subject),
            author: self.secrets.redact(&summary.author),
        });
        let found = match cache.commits.get(&key) {
            Some(found) => found.clone(),
            None => {
                let found = self.examine_commit(branch, key, summary, &mut cache.searched).await?;
                cache.commits.insert(key, found.clone());
                found
            }
        };
        let (prepared, new) = match found {
            CommitResult::Valid { prepared, new } => (*prepared, new),
            CommitResult::NoManifest => return Ok(Examined::NoManifest),
            CommitResult::Rejected(rejection) => {
                return Ok(Examined::Rejected(self.rejection(branch, rejection)));
            }
        };
        if let Some(diagnostics) = self.domain_diagnostics(branch, commit, &prepared).await? {
            return Ok(Examined::Rejected(self.rejection(branch, self.reject_with(diagnostics))));
        }
        self.send_plan(branch, &prepared);
        Ok(Examined::Candidate(Box::new(Candidate {
            commit: oid(commit),
            new,
            prepared,
            verified_domains: Vec::new(),
        })))
    }

    /// Reads and checks a commit; `branch` is the first one that it was pushed to.
    async fn examine_commit(
        &self,
        branch: &str,
        (commit, production): (ObjectId, bool),
        summary: CommitSummary,
        searched: &mut SearchCache,
    ) -> Result<CommitResult, DeployError> {
        let environment = if production { Environment::Production } else { Environment::Preview };
        if let Err(leaked) = self.leaks_of(Some(commit), searched).await? {
            return Ok(CommitResult::Rejected(leaked));
        }
        let earlier = match self.load_earlier(oid(commit)).await? {
            Ok(earlier) => earlier,
            Err(error) => {
                return Ok(CommitResult::Rejected(CommitRejection::Other(Rejection::NoMemory(error))));
            }
        };
        if let Some(prepared) = earlier {
            let mut diagnostics = Diagnostics::default();
            reject_unset_secrets(
                &prepared.manifest,
                self.secrets.of(environment),
                environment,
                &mut diagnostics,
            );
            if !diagnostics.is_empty() {
                return Ok(CommitResult::Rejected(self.reject_with(diagnostics)));
            }
            // The commit was live before, so that its failed checks do not prevent a rollback.
            let failed = self.run_checks(branch, commit, &prepared, (Severity::Warning, None)).await?;
            if !failed.is_empty() {
                self.events.send(Event::Diagnostics(failed));
            }
            return Ok(CommitResult::Valid { prepared: Box::new(prepared), new: None });
        }
        let started = Instant::now();
        let (snapshot, _held) = match self.snapshot(commit).await {
            Ok(snapshot) => snapshot,
            Err(SnapshotError::Rejected(limit)) => {
                let diagnostic = Diagnostic::error("the commit", None, limit.to_string());
                let flag = match limit {
                    TreeLimitError::Path { .. } => Some("--max-path-length"),
                    TreeLimitError::Files { .. } => Some("--max-tree-entries"),
                    TreeLimitError::Depth { .. } => None,
                };
                let diagnostic = match flag {
                    Some(flag) => diagnostic
                        .with_help(format!("the operator can raise the limit with  picloud serve {flag}")),
                    None => diagnostic,
                };
                return Ok(CommitResult::Rejected(self.reject_with(diagnostic.into())));
            }
            Err(SnapshotError::Read(error)) => return Err(DeployError::Read(error)),
            Err(SnapshotError::NoMemory(error)) => {
                return Ok(CommitResult::Rejected(CommitRejection::Other(Rejection::NoMemory(error))));
            }
        };
        self.events.send(Event::Read {
            files: snapshot.files,
            scripts: snapshot.scripts.len(),
            templates: snapshot.templates.len(),
            bytes: snapshot.bytes() + snapshot.template_bytes(),
            took: started.elapsed(),
        });
        if snapshot.manifest.is_none() && !production {
            return Ok(CommitResult::NoManifest);
        }
        let started = Instant::now();
        let (ceiling, secrets) = (self.granted.ceiling(self.name), Arc::clone(self.secrets.of(environment)));
        let (scripts, deadline) = (self.scripts.clone(), self.deadline.clone());
        let manifest_text = snapshot.manifest_text();
        // Off the async workers: compiling can take long and cannot be cancelled. Previews are compiled on
        // their first request.
        let checking = tokio::task::spawn_blocking(move || {
            check_for(&scripts, production, &snapshot, &ceiling, Some((&secrets, environment)), &deadline)
        });
        let Checked { prepared, warnings } = match checking.await.map_err(|_| DeployError::CheckPanicked)? {
            Ok(checked) => checked,
            Err(CheckError::Diagnostics(diagnostics)) => {
                return Ok(CommitResult::Rejected(self.reject_with(diagnostics)));
            }
            Err(CheckError::NoMemory(error)) => {
                return Ok(CommitResult::Rejected(CommitRejection::Other(Rejection::NoMemory(error))));
            }
        };
        self.events.send(Event::Compiled {
            scripts: prepared.sources.len(),
            libraries: prepared.libraries(),
            templates: prepared.templates.len(),
            sdk: prepared.manifest.sdk,
            took: started.elapsed(),
        });
        let found = (Severity::Error, manifest_text.as_deref());
        let mut failed = self.run_checks(branch, commit, &prepared, found).await?;
        if !failed.is_empty() {
            failed.append(warnings);
            return Ok(CommitResult::Rejected(self.reject_with(failed)));
        }
        if !warnings.is_empty() {
            self.events.send(Event::Diagnostics(warnings));
        }
        let new = NewRevision {
            commit: oid(commit),
            sdk: prepared.manifest.sdk.to_string(),
            // A value that became a secret after the commit was pushed is redacted.
            subject: self.secrets.redact(&summary.subject),
            author: self.secrets.redact(&summary.author),
            validated_at: Utc::now(),
        };
        Ok(CommitResult::Valid { prepared: Box::new(prepared), new: Some(new) })
    }

    /// Runs the `[[checks]]` of a commit with the secrets of previews. Returns a diagnostic of this severity for each
    /// that failed, with a span if the text of the manifest is given.
    async fn run_checks(
        &self,
        branch: &str,
        commit: ObjectId,
        prepared: &Prepared,
        (severity, manifest): (Severity, Option<&[u8]>),
    ) -> Result<Diagnostics, DeployError> {
        if prepared.manifest.checks.is_empty() {
            return Ok(Diagnostics::default());
        }
        let app = AppIdentity { id: self.repository.id().as_uuid(), name: self.name.clone() };
        let revision = match prepared.clone().into_revision_of(app, commit.to_string()) {
            Ok(revision) => {
                revision.on_branch(branch).limited_to(&self.granted.ceiling(self.name).executions)
            }
            Err(error) => return Ok(Diagnostic::error(manifest::FILE_NAME, None, error.to_string()).into()),
        };
        let candidate = DryRun::new(revision, self.scripts.clone());
        let secrets = Arc::clone(self.secrets.of(Environment::Preview));
        let report = run_checks_in_background(candidate, secrets).await.ok_or(DeployError::CheckPanicked)?;
        let CheckReport { passed, ref failed, took } = report;
        self.events.send(Event::ChecksRun { passed, failed: failed.len(), took });
        Ok(report.diagnostics(severity, manifest))
    }

    async fn snapshot(&self, commit: ObjectId) -> Result<(Snapshot, Reservation), SnapshotError> {
        read_snapshot(self.quarantine, commit, &self.limits.tree, self.scripts.account()).await
    }

    fn is_production(&self, branch: &str) -> bool {
        branch == self.repository.production_branch()
    }

    /// Diagnostics for the domains that the app cannot have, at their spans. Previews have no domains and can
    /// name any.
    async fn domain_diagnostics(
        &self,
        branch: &str,
        commit: ObjectId,
        prepared: &Prepared,
    ) -> Result<Option<Diagnostics>, DeployError> {
        let requested = &prepared.manifest.app.domains;
        if requested.is_empty() || !self.is_production(branch) {
            return Ok(None);
        }
        let server_names = &self.domains.server_names;
        let mut rejected: Vec<(&DomainName, String)> = requested
            .iter()
            .filter(|domain| server_names.contains(domain.as_str()))
            .map(|domain| (domain, server_domain_message(domain, server_names.domain())))
            .collect();
        let taken = self.store.taken_domains(self.repository.app().map(|app| app.id), requested).await?;
        rejected.extend(taken.iter().map(|(domain, by)| {
            // The other app is only named if the caller can see it.
            let earlier = AppName::new(by).is_ok_and(|by| self.by.can_see(&by));
            (domain, match earlier {
                true => format!(
                    "domain `{domain}` belongs to app {by}; release it with  picloud domains release {domain} --app {by}"
                ),
                false => format!("domain `{domain}` belongs to another app; an admin can release it"),
            })
        }));
        if rejected.is_empty() {
            return Ok(None);
        }
        let text = match self.snapshot(commit).await {
            Ok((Snapshot { manifest: Some(File::Bytes(text)), .. }, _)) => text,
            // Without the manifest the diagnostics have no spans.
            Ok(_) | Err(SnapshotError::Rejected(_) | SnapshotError::NoMemory(_)) => Bytes::new(),
            Err(SnapshotError::Read(error)) => return Err(DeployError::Read(error)),
        };
        let mut diagnostics = Diagnostics::default();
        for (domain, message) in rejected {
            let span = domain_span(&text, domain);
            diagnostics.add(Diagnostic::error(manifest::FILE_NAME, span, message));
        }
        Ok(Some(diagnostics))
    }

    /// Verifies the domains that the app does not hold yet.
    pub(super) async fn verify_domains(&self, candidate: &mut Candidate) -> Result<(), DeployError> {
        let mut requested = candidate.prepared.manifest.app.domains.clone();
        if requested.is_empty() {
            return Ok(());
        }
        let verifier = &self.domains.verifier;
        match self.repository.app() {
            Some(app) => {
                let held = self.store.domains(app.id).await?;
                requested.retain(|name| !held.iter().any(|held| held.name == *name && held.proof.is_some()));
            }
            // The challenge contains the app id, which is not known before the app exists.
            None if verifier.is_required() => return Ok(()),
            None => {}
        }
        candidate.verified_domains = verifier.verified(self.repository.id(), requested).await;
        Ok(())
    }

    async fn load_earlier(&self, commit: Oid) -> Result<Result<Option<Prepared>, OutOfMemory>, DeployError> {
        let Some(app) = self.repository.app() else { return Ok(Ok(None)) };
        match Prepared::load(self.store, app, commit, self.scripts).await {
            Ok(prepared) => Ok(Ok(Some(prepared))),
            Err(LoadError::NoMemory(error)) => Ok(Err(error)),
            Err(LoadError::Store(error)) => Err(error.into()),
            Err(LoadError::Read(error)) => Err(error.into()),
            // A revision stored by an older version that this one cannot read is validated again.
            Err(
                LoadError::Absent
                | LoadError::Manifest(_)
                | LoadError::Routes(_)
                | LoadError::Secrets(_)
                | LoadError::Panicked,
            ) => Ok(Ok(None)),
        }
    }

    /// The rejection of a ref that is kept without being served, if the pushed objects contain the value of a
    /// secret.
    pub(super) async fn leaked(
        &self,
        cache: &mut ExaminationCache,
    ) -> Result<Option<Rejection>, DeployError> {
        let result = match cache.pack_leaks.take() {
            Some(result) => result,
            None => match self.deadline.check() {
                Ok(()) => self.leaks_of(None, &mut cache.searched).await?,
                Err(rejection) => return Ok(Some(rejection)),
            },
        };
        Ok(cache.pack_leaks.insert(result).clone().err().map(|rejection| self.rejection("", rejection)))
    }

    /// Searches a served commit, or all pushed objects, for values of secrets. Nothing else is reported then,
    /// since diagnostics show lines.
    async fn leaks_of(
        &self,
        commit: Option<ObjectId>,
        searched: &mut SearchCache,
    ) -> Result<Result<(), CommitRejection>, DeployError> {
        let commit = commit.map(|commit| (commit, &self.limits.tree));
        let search = self.secrets.search();
        Ok(match leaks(self.quarantine, self.pack, commit, search, searched, self.deadline).await? {
            Ok(diagnostics) if diagnostics.is_empty() => Ok(()),
            Ok(diagnostics) => Err(self.reject_with(diagnostics)),
            Err(rejection) => Err(CommitRejection::Other(rejection)),
        })
    }

    /// The rejection of a command whose own text contains the value of a secret; `what` names the text.
    pub(super) fn leaked_in(&self, what: &str, text: &str) -> Option<Rejection> {
        let diagnostic = leak_in(what, text, self.secrets.search())?;
        Some(self.rejection("", self.reject_with(diagnostic.into())))
    }

    /// Reports diagnostics.
    fn reject_with(&self, diagnostics: Diagnostics) -> CommitRejection {
        let rejection = CommitRejection::Diagnostics {
            errors: diagnostics.errors(),
            files: diagnostics.errors_by_file().len(),
            first: diagnostics
                .iter()
                .find(|diagnostic| diagnostic.severity == Severity::Error)
                .cloned()
                .map(Box::new),
        };
        self.events.send(Event::Diagnostics(diagnostics));
        rejection
    }

    fn rejection(&self, branch: &str, rejection: CommitRejection) -> Rejection {
        match rejection {
            CommitRejection::Diagnostics { errors, files, first } => {
                let app = self.repository.app();
                let live = app.and_then(|app| self.activation.live_deploy(&app.name, branch));
                Rejection::Diagnostics { errors, files, first, live }
            }
            CommitRejection::Other(rejection) => rejection,
        }
    }

    fn send_plan(&self, branch: &str, prepared: &Prepared) {
        let live = self.repository.app().and_then(|app| self.activation.live(&app.name, branch));
        let plan = plan(live.as_deref().map(RevisionContent::of), prepared.content());
        let scheduled = self.is_production(branch)
            || self.repository.app().is_some_and(|app| self.activation.is_scheduled(&app.name, branch));
        let upcoming = scheduled.then(|| due_times(&prepared.manifest));
        self.events.send(Event::Planned(Planned { plan, upcoming }));
    }
}

fn server_domain_message(name: &DomainName, domain: Option<&str>) -> String {
    match domain.is_some_and(|domain| name.is_within(domain)) {
        true => format!("domain `{name}` belongs to this server; every app already has a name below it"),
        false => {
            format!("domain `{name}` belongs to this server: its API and repositories are served there")
        }
    }
}
