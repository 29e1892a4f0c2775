//! From a pushed commit to a revision that can be served: validated now, or known from an earlier push.

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
use store::{DomainProof, Environment, NewRevision, Oid, Store, StoreError};
use uuid::Uuid;

use super::check::{Checked, check_for, refuse_unset};
use super::domains::DomainPolicy;
use super::leaks::{Searched, leak_in, leaks};
use super::limits::DeployLimits;
use super::plan::{Planned, Side, due_times, plan};
use super::push_secrets::PushSecrets;
use super::push_time::PushTime;
use super::report::{Event, HistoryEnd, Rejection, Tell};
use super::snapshot::{File, Snapshot, SnapshotError, of_commit};
use crate::activation::Activation;
use crate::limits::GrantedLimits;
use crate::memory::{OutOfMemory, Reservation};
use crate::repository::{AppRepository, oid};
use crate::revision::{LoadError, Prepared};
use crate::scripts::{AppScripts, CheckError};
use crate::tokens::Caller;

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
    /// What the push builds on lies before where the history of the app ends.
    #[error("missing necessary objects: {}", .0.missing)]
    HistoryEnds(HistoryEnd),
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
            && refused.is_rejection()
        {
            return Rejection::Unpack { why: refused.to_string(), limit: refused.limit() };
        }
        if let Self::HistoryEnds(end) = self {
            return Rejection::HistoryEnds(end.clone());
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
            Self::Unpack(UnpackError::Repository(RepositoryError::OutOfMemory(refused)))
            | Self::Read(ReadError::Repository(RepositoryError::OutOfMemory(refused))) => refused,
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
    /// Of the domains that it names, those that the app does not hold yet and that were proven to be its own.
    pub(super) proven: Vec<(DomainName, DomainProof)>,
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
    pub(super) domains: &'a DomainPolicy,
    /// Who pushes.
    pub(super) by: &'a Caller,
    /// The name of the app.
    pub(super) name: &'a AppName,
    /// What the app is granted.
    pub(super) granted: &'a GrantedLimits,
    /// The scripts of the app that is pushed to.
    pub(super) scripts: &'a AppScripts,
    pub(super) repository: &'a AppRepository,
    pub(super) quarantine: &'a QuarantineView<'a, AppRepository>,
    pub(super) pack: &'a Pack,
    /// What the app's secrets are.
    pub(super) secrets: &'a PushSecrets,
    pub(super) tell: &'a Tell,
    /// How long it is looked at.
    pub(super) time: &'a PushTime,
}

/// What was found out about the commits of a push, so that none is looked at once for each command that names it.
#[derive(Default)]
pub(super) struct Seen {
    /// By commit, and whether it is for production.
    commits: HashMap<(ObjectId, bool), Found>,
    /// Why nothing is kept of what came, apart from the files of commits that are served.
    rest: Option<Result<(), Refused>>,
    searched: Searched,
}

/// What was found out about a commit.
#[derive(Clone)]
enum Found {
    /// What to store; `None` when an earlier push stored it.
    Valid {
        prepared: Box<Prepared>,
        new: Option<NewRevision>,
    },
    NoManifest,
    Refused(Refused),
}

/// Why a commit is refused, whatever it was to be served as.
#[derive(Clone)]
enum Refused {
    /// It has so many errors in so many files, which were told.
    Diagnostics {
        errors: usize,
        files: usize,
        first: Option<Box<Diagnostic>>,
    },
    Other(Rejection),
}

impl Examination<'_> {
    /// Reads, checks and plans `commit` for `branch`, telling what it finds.
    pub(super) async fn examine(
        &self,
        branch: &str,
        commit: ObjectId,
        seen: &mut Seen,
    ) -> Result<Examined, DeployError> {
        let key = (commit, self.is_production(branch));
        if !seen.commits.contains_key(&key)
            && let Err(rejection) = self.time.check()
        {
            return Ok(Examined::Rejected(rejection));
        }
        let summary = self.quarantine.commit(commit).await.map_err(DeployError::Read)?;
        self.tell.send(Event::Candidate {
            branch: branch.to_owned(),
            commit: oid(commit),
            subject: self.secrets.redact(&summary.subject),
            author: self.secrets.redact(&summary.author),
        });
        let found = match seen.commits.get(&key) {
            Some(found) => found.clone(),
            None => {
                let found = self.look_at(key, summary, &mut seen.searched).await?;
                seen.commits.insert(key, found.clone());
                found
            }
        };
        let (prepared, new) = match found {
            Found::Valid { prepared, new } => (*prepared, new),
            Found::NoManifest => return Ok(Examined::NoManifest),
            Found::Refused(refused) => return Ok(Examined::Rejected(self.rejection(branch, refused))),
        };
        if let Some(diagnostics) = self.domain_diagnostics(branch, commit, &prepared).await? {
            return Ok(Examined::Rejected(self.rejection(branch, self.faulty(diagnostics))));
        }
        self.tell_plan(branch, &prepared);
        Ok(Examined::Candidate(Box::new(Candidate {
            commit: oid(commit),
            new,
            prepared,
            proven: Vec::new(),
        })))
    }

    /// Reads and checks a commit.
    async fn look_at(
        &self,
        (commit, production): (ObjectId, bool),
        summary: CommitSummary,
        searched: &mut Searched,
    ) -> Result<Found, DeployError> {
        let environment = if production { Environment::Production } else { Environment::Preview };
        if let Err(leaked) = self.leaks_of(Some(commit), searched).await? {
            return Ok(Found::Refused(leaked));
        }
        let known = match self.validated_before(oid(commit)).await? {
            Ok(known) => known,
            Err(refused) => return Ok(Found::Refused(Refused::Other(Rejection::NoMemory(refused)))),
        };
        if let Some(prepared) = known {
            let mut diagnostics = Diagnostics::default();
            refuse_unset(&prepared.manifest, self.secrets.of(environment), environment, &mut diagnostics);
            if !diagnostics.is_empty() {
                return Ok(Found::Refused(self.faulty(diagnostics)));
            }
            return Ok(Found::Valid { prepared: Box::new(prepared), new: None });
        }
        let started = Instant::now();
        let (snapshot, _held) = match self.snapshot(commit).await {
            Ok(snapshot) => snapshot,
            Err(SnapshotError::Refused(limit)) => {
                let diagnostic = Diagnostic::error("the commit", None, limit.to_string());
                let flag = match limit {
                    TreeLimitError::Path { .. } => Some("--path-bytes"),
                    TreeLimitError::Files { .. } => Some("--tree-entries"),
                    TreeLimitError::Depth { .. } => None,
                };
                let diagnostic = match flag {
                    Some(flag) => diagnostic
                        .with_help(format!("the operator can allow more with  picloud serve {flag}")),
                    None => diagnostic,
                };
                return Ok(Found::Refused(self.faulty(diagnostic.into())));
            }
            Err(SnapshotError::Read(error)) => return Err(DeployError::Read(error)),
            Err(SnapshotError::NoMemory(refused)) => {
                return Ok(Found::Refused(Refused::Other(Rejection::NoMemory(refused))));
            }
        };
        self.tell.send(Event::Read {
            files: snapshot.files,
            scripts: snapshot.scripts.len(),
            bytes: snapshot.bytes(),
            took: started.elapsed(),
        });
        if snapshot.manifest.is_none() && !production {
            return Ok(Found::NoManifest);
        }
        let started = Instant::now();
        let (ceiling, secrets) = (self.granted.ceiling(self.name), Arc::clone(self.secrets.of(environment)));
        let (scripts, time) = (self.scripts.clone(), self.time.clone());
        // Off the async workers: compiling may take a while and cannot be cancelled. A preview is compiled when somebody asks for it.
        let checking = tokio::task::spawn_blocking(move || {
            check_for(&scripts, production, &snapshot, &ceiling, Some((&secrets, environment)), &time)
        });
        let Checked { prepared, warnings } = match checking.await.map_err(|_| DeployError::CheckDied)? {
            Ok(checked) => checked,
            Err(CheckError::Diagnostics(diagnostics)) => return Ok(Found::Refused(self.faulty(diagnostics))),
            Err(CheckError::NoMemory(refused)) => {
                return Ok(Found::Refused(Refused::Other(Rejection::NoMemory(refused))));
            }
        };
        self.tell.send(Event::Compiled {
            scripts: prepared.sources.len(),
            sdk: prepared.manifest.sdk,
            took: started.elapsed(),
        });
        if !warnings.is_empty() {
            self.tell.send(Event::Diagnostics(warnings));
        }
        let new = NewRevision {
            commit: oid(commit),
            sdk: prepared.manifest.sdk.to_string(),
            // It came before they were secrets: else it would have been refused.
            subject: self.secrets.redact(&summary.subject),
            author: self.secrets.redact(&summary.author),
            validated_at: Utc::now(),
        };
        Ok(Found::Valid { prepared: Box::new(prepared), new: Some(new) })
    }

    async fn snapshot(&self, commit: ObjectId) -> Result<(Snapshot, Reservation), SnapshotError> {
        of_commit(self.quarantine, commit, &self.limits.tree, self.scripts.account()).await
    }

    fn is_production(&self, branch: &str) -> bool {
        branch == self.repository.production_branch()
    }

    /// The domains that the app cannot have, each told at its place. Previews have none and may name any.
    async fn domain_diagnostics(
        &self,
        branch: &str,
        commit: ObjectId,
        prepared: &Prepared,
    ) -> Result<Option<Diagnostics>, DeployError> {
        let wanted = &prepared.manifest.app.domains;
        if wanted.is_empty() || !self.is_production(branch) {
            return Ok(None);
        }
        let own_names = &self.domains.own_names;
        let mut refused: Vec<(&DomainName, String)> = wanted
            .iter()
            .filter(|domain| own_names.contains(domain.as_str()))
            .map(|domain| (domain, of_server(domain, own_names.domain())))
            .collect();
        let taken = self.store.taken_domains(self.repository.app().map(|app| app.id), wanted).await?;
        refused.extend(taken.iter().map(|(domain, by)| {
            // Who has nothing to do with the other app does not learn of it.
            let known = AppName::new(by).is_ok_and(|by| self.by.knows(&by));
            (domain, match known {
                true => format!(
                    "domain `{domain}` is that of the app {by}; release it there with  picloud domains release {domain} --app {by}"
                ),
                false => format!("domain `{domain}` is another app's; an admin can release it there"),
            })
        }));
        if refused.is_empty() {
            return Ok(None);
        }
        let text = match self.snapshot(commit).await {
            Ok((Snapshot { manifest: Some(File::Bytes(text)), .. }, _)) => text,
            // Then the diagnostics have no span.
            Ok(_) | Err(SnapshotError::Refused(_) | SnapshotError::NoMemory(_)) => Bytes::new(),
            Err(SnapshotError::Read(error)) => return Err(DeployError::Read(error)),
        };
        let mut diagnostics = Diagnostics::default();
        for (domain, words) in refused {
            let span = domain_span(&text, domain);
            diagnostics.add(Diagnostic::error(manifest::FILE_NAME, span, words));
        }
        Ok(Some(diagnostics))
    }

    /// Finds out which of its domains are proven that the app does not hold yet.
    pub(super) async fn prove_domains(&self, candidate: &mut Candidate) -> Result<(), DeployError> {
        let mut wanted = candidate.prepared.manifest.app.domains.clone();
        if wanted.is_empty() {
            return Ok(());
        }
        let prover = &self.domains.prover;
        match self.repository.app() {
            Some(app) => {
                let held = self.store.domains(app.id).await?;
                wanted.retain(|name| !held.iter().any(|held| held.name == *name && held.proof.is_some()));
            }
            // Nobody could know the id that it gets just now.
            None if prover.is_required() => return Ok(()),
            None => {}
        }
        candidate.proven = prover.proven(self.repository.id(), wanted).await;
        Ok(())
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

    /// Why a ref is refused that is kept and serves nothing: what came with the push holds the value of a secret.
    pub(super) async fn leaked(&self, seen: &mut Seen) -> Result<Option<Rejection>, DeployError> {
        let rest = match seen.rest.take() {
            Some(rest) => rest,
            None => match self.time.check() {
                Ok(()) => self.leaks_of(None, &mut seen.searched).await?,
                Err(rejection) => return Ok(Some(rejection)),
            },
        };
        Ok(seen.rest.insert(rest).clone().err().map(|refused| self.rejection("", refused)))
    }

    /// Whether a commit that is served, or anything that came, holds the value of a secret. Nothing else is told of it then, since
    /// diagnostics show lines.
    async fn leaks_of(
        &self,
        commit: Option<ObjectId>,
        searched: &mut Searched,
    ) -> Result<Result<(), Refused>, DeployError> {
        let commit = commit.map(|commit| (commit, &self.limits.tree));
        let search = self.secrets.search();
        Ok(match leaks(self.quarantine, self.pack, commit, search, searched, self.time).await? {
            Ok(diagnostics) if diagnostics.is_empty() => Ok(()),
            Ok(diagnostics) => Err(self.faulty(diagnostics)),
            Err(rejection) => Err(Refused::Other(rejection)),
        })
    }

    /// Why a command is refused whose own text, which is kept, holds the value of a secret; `what` that text is.
    pub(super) fn leaked_in(&self, what: &str, text: &str) -> Option<Rejection> {
        let diagnostic = leak_in(what, text, self.secrets.search())?;
        Some(self.rejection("", self.faulty(diagnostic.into())))
    }

    /// Tells the diagnostics.
    fn faulty(&self, diagnostics: Diagnostics) -> Refused {
        let refused = Refused::Diagnostics {
            errors: diagnostics.errors(),
            files: diagnostics.errors_by_file().len(),
            first: diagnostics
                .iter()
                .find(|diagnostic| diagnostic.severity == Severity::Error)
                .cloned()
                .map(Box::new),
        };
        self.tell.send(Event::Diagnostics(diagnostics));
        refused
    }

    fn rejection(&self, branch: &str, refused: Refused) -> Rejection {
        match refused {
            Refused::Diagnostics { errors, files, first } => {
                let app = self.repository.app();
                let live = app.and_then(|app| self.activation.live_deploy(&app.name, branch));
                Rejection::Diagnostics { errors, files, first, live }
            }
            Refused::Other(rejection) => rejection,
        }
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

fn of_server(name: &DomainName, domain: Option<&str>) -> String {
    match domain.is_some_and(|domain| name.is_within(domain)) {
        true => format!("domain `{name}` is this server's; an app has its name below it anyway"),
        false => format!("domain `{name}` is this server's: people reach its API and its repositories there"),
    }
}
