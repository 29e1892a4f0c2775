//! The deploy pipeline: unpack, read, check, plan, commit in one transaction, activate.
//!
//! [`Deployer::admit`] waits for memory, and [`Deployer::receive`] runs the pipeline: [`mod@intent`]
//! interprets a command and [`authorize`] checks the pusher's rights, [`snapshot`] reads the files of its
//! commit, [`leaks`] searches for secrets, [`mod@check`] validates and [`mod@plan`] compares with the live
//! revision, within the [`deadline`]; [`report`] defines the events and reports.
//!
//! [`rollback`] and the end of old [`previews`] are pushes made by the server; [`setting`] sets limits and
//! secrets, which is a deploy too; [`lifecycle`] stops, renames and deletes apps; [`domains`] verifies and
//! releases domains.

mod admission;
mod authorize;
mod candidate;
mod check;
mod commit;
mod deadline;
mod decision;
mod domains;
mod intent;
mod leak_search;
mod leaks;
mod libraries;
mod lifecycle;
mod limits;
mod plan;
mod previews;
mod push_secrets;
mod report;
mod rollback;
mod setting;
mod snapshot;
mod templates;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use git_receiver::{
    Command, CommandError, ConnectivityError, Kind, ObjectId, PackBytes, QuarantineView, Repository as _,
    Request, UnpackError, UnpackedPush,
};
use manifest_schema::label::branch_label;
use manifest_schema::name::AppName;
use store::{Actor, App, AppId, NamespaceName, Oid, PushReceipt, RefChange, Store, StoreError};
use tracing::Instrument as _;

pub use admission::AdmittedPush;
pub(crate) use check::check_for;
pub use check::{Checked, check};
pub(crate) use deadline::PushDeadline;
pub use domains::{Domain, DomainPolicy, HoldDomainError, PendingDomain, VerifyDomainError};
pub use intent::CHECK_REF;
pub(crate) use libraries::link_loaded;
pub use lifecycle::{RenameAppError, StopAppError, UndeleteError};
pub use limits::DeployLimits;
pub use plan::{Change, ChangeKind, Changes, Plan, Planned, UpcomingRuns};
pub(crate) use plan::{RevisionContent, due_times, plan};
use push_secrets::PushSecrets;
pub use report::{Activated, Event, EventSender, Outcome, PushReport, RefReport, Rejection, ShallowBoundary};
pub use rollback::{MESSAGE_CHARS_MAX, RollbackError, RolledBack};
pub use setting::{LimitsError, UnsetSecretError};
pub use snapshot::{FILE_BYTES_MAX, File, Snapshot};
pub(crate) use snapshot::{TEMPLATES_SINCE, is_template};

use crate::TRACE_TARGET;
use crate::activation::{Activation, PushedRevisions};
use crate::clock::Clock;
use crate::limits::GrantedLimits;
use crate::nodes::{LocalChange, Peers};
use crate::repository::{AppRepository, DEPLOY_REFS, Pushed, RequestMemory, deploy_ref, oid};
use crate::scripts::AppScripts;
use crate::secrets::{SecretError, Vault};
use crate::state::StateTarget;
use crate::tokens::{Caller, Right};
use candidate::{DeployError, Examination, ExaminationCache, Examined};
use commit::Commit;
use decision::{
    Action, Committed, Decision, Served, action_for, reject_address_conflicts, reject_matching,
    unserved_report,
};
use intent::Intent;

/// How many commits are walked to check whether an update is a fast-forward.
const FAST_FORWARD_COMMITS_MAX: usize = 100_000;

/// How often a push is unpacked if objects are garbage-collected meanwhile.
const UNPACK_ATTEMPTS_MAX: u32 = 3;

/// How many shallow commits are listed.
const SHALLOW_COMMITS_MAX: usize = 8;

/// The trace span of a stage.
macro_rules! stage {
    ($name:literal) => {
        tracing::trace_span!(target: TRACE_TARGET, $name)
    };
}

/// The pusher and their rights.
#[derive(Clone, Debug)]
pub struct Pusher {
    /// The authenticated caller.
    pub caller: Caller,
    /// The actor in the deploy history.
    pub actor: Actor,
    /// Whether a push to an unknown name can create the app.
    pub creates: bool,
    /// The message of the deploys.
    pub message: Option<String>,
}

impl Pusher {
    /// Whether a push to this unknown name creates the app.
    pub fn can_create(&self, app: &AppName) -> bool {
        self.creates && self.caller.can(Right::Create, app)
    }
}

/// The context of a push: who pushes what to which app, over which state of the store. The state is read
/// once, and every decision about the push uses it.
#[derive(Clone, Copy)]
struct PushContext<'p> {
    name: &'p AppName,
    by: &'p Pusher,
    events: &'p EventSender,
    repository: &'p AppRepository,
    push: &'p UnpackedPush,
    /// Whether all refs are updated or none.
    atomic: bool,
}

/// A push that failed as a whole.
struct FailedPush {
    /// Whether it failed after the pack was unpacked.
    unpacked: bool,
    error: DeployError,
}

impl FailedPush {
    fn unpacking<E>(error: E, kind: impl Fn(E) -> DeployError) -> Self {
        Self { unpacked: false, error: kind(error) }
    }

    /// Rejects all commands.
    fn reject(self, app: &AppName, commands: &[Command]) -> PushReport {
        let rejection = self.error.rejection(app);
        let reports = RefReport::reject_all(commands, &rejection);
        PushReport { unpacked: if self.unpacked { Ok(()) } else { Err(rejection) }, reports }
    }
}

/// Carries out pushes.
#[derive(Clone, Debug)]
pub struct Deployer {
    store: Store,
    activation: Activation,
    vault: Vault,
    peers: Option<Peers>,
    limits: DeployLimits,
    domains: DomainPolicy,
    clock: Clock,
}

impl Deployer {
    /// Creates a deployer over `store` with `limits` and the domain policy `domains` that activates through
    /// `activation` and takes times from `clock`. With `peers`, a push waits until they serve it too.
    pub fn new(
        store: Store,
        activation: Activation,
        vault: Vault,
        peers: Option<Peers>,
        limits: DeployLimits,
        domains: DomainPolicy,
        clock: Clock,
    ) -> Self {
        Self { store, activation, vault, peers, limits, domains, clock }
    }

    /// Unpacks a push to the app `name` and carries it out. Every ref is either updated and served, or nothing of
    /// it changes. The future must run to its end: dropping it can leave a committed push that
    /// this node serves only after its next start.
    pub async fn receive(
        &self,
        name: &AppName,
        push: AdmittedPush,
        limits: &git_receiver::Limits,
        by: &Pusher,
        events: &EventSender,
    ) -> PushReport {
        let AdmittedPush { request, pack, app, memory } = push;
        let pack = match pack {
            Ok(pack) => pack,
            Err(error) => {
                return FailedPush::unpacking(error, DeployError::Pack).reject(name, &request.commands);
            }
        };
        let mut attempts_left = UNPACK_ATTEMPTS_MAX;
        loop {
            attempts_left -= 1;
            let repository = match self.open_repository(name, &request, app, &memory).await {
                Ok(repository) => repository,
                Err(error) => {
                    return FailedPush::unpacking(error, DeployError::Store).reject(name, &request.commands);
                }
            };
            let attempt = self.try_receive(name, &repository, &request, pack.clone(), limits, by, events);
            let result = attempt.await;
            // Updated refs were decided on the state before the garbage collection.
            let failed = result.as_ref().map_or(true, |reports| reports.iter().all(RefReport::is_rejected));
            if failed && self.was_garbage_collected(&repository).await {
                if attempts_left > 0 {
                    continue;
                }
                let failed = FailedPush { unpacked: true, error: DeployError::Collected };
                return failed.reject(name, &request.commands);
            }
            return match result {
                Ok(reports) => PushReport { unpacked: Ok(()), reports },
                Err(failed) => failed.reject(name, &request.commands),
            };
        }
    }

    /// The app's current repository, not that of the beginning of the upload. A missing app is created as
    /// `new_app`.
    async fn open_repository(
        &self,
        name: &AppName,
        request: &Request,
        new_app: AppId,
        memory: &Arc<RequestMemory>,
    ) -> Result<AppRepository, StoreError> {
        let repository = AppRepository::for_new_app(self.store.clone(), self.store.app(name).await?, new_app);
        let repository = repository.with_shared_memory(Arc::clone(memory));
        // Deploy refs are many, and limit pushes name none.
        let names_deploy_ref = request.commands.iter().any(|command| command.name.starts_with(DEPLOY_REFS));
        Ok(if names_deploy_ref { repository } else { repository.without_deploy_refs() })
    }

    /// Unpacks a push over the repository and carries it out.
    #[expect(clippy::too_many_arguments, reason = "the parts of a push")]
    async fn try_receive(
        &self,
        name: &AppName,
        repository: &AppRepository,
        request: &Request,
        pack: PackBytes,
        limits: &git_receiver::Limits,
        by: &Pusher,
        events: &EventSender,
    ) -> Result<Vec<RefReport>, FailedPush> {
        let unpacking = git_receiver::unpack(repository, request, pack, limits);
        let push = match unpacking.instrument(stage!("unpack")).await {
            Ok(push) => push,
            Err(UnpackError::Connectivity(ConnectivityError::Missing { missing, referrer })) => {
                let unpack_error =
                    UnpackError::Connectivity(ConnectivityError::Missing { missing, referrer });
                let end = shallow_boundary(repository, missing).await;
                let error = end.map_or(DeployError::Unpack(unpack_error), DeployError::ShallowHistory);
                return Err(FailedPush { unpacked: false, error });
            }
            Err(error) => return Err(FailedPush::unpacking(error, DeployError::Unpack)),
        };
        let atomic = request.capabilities.atomic();
        let context = PushContext { name, by, events, repository, push: &push, atomic };
        self.carry_out(&context).await.map_err(|error| FailedPush { unpacked: true, error })
    }

    /// Whether the app or objects of it were deleted since the repository was read: a push that failed
    /// meanwhile is unpacked again.
    async fn was_garbage_collected(&self, repository: &AppRepository) -> bool {
        let Some(app) = repository.app() else { return false };
        match self.store.app(&app.name).await {
            Ok(Some(now)) => (now.id, now.gc_id) != (app.id, app.gc_id),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Carries out an unpacked push. Returns one report per ref in the order of the commands.
    async fn carry_out(&self, context: &PushContext<'_>) -> Result<Vec<RefReport>, DeployError> {
        let PushContext { name, by, events, repository, push, atomic } = *context;
        let deadline = PushDeadline::start(events);
        if push.warnings.count > 0 {
            events.send(Event::Warnings(push.warnings.clone()));
        }
        let app = repository.id();
        let scripts = self.activation.scripts_of(app, &self.granted(repository));
        let mut decisions = self.decide(context, &scripts, &deadline).instrument(stage!("check")).await?;
        reject_address_conflicts(name, &mut decisions);
        self.reject_too_many_refs(repository, &mut decisions).await?;
        self.reject_too_many_previews(repository, &mut decisions).await?;
        let commit = Commit {
            app: name,
            new_app: app,
            by,
            at: self.clock.now(),
            node: self.peers.as_ref().map(|peers| peers.node),
            objects: Pushed(&push.pack),
            gc_id: repository.app().map(|app| (app.id, app.gc_id)),
            shallow: push.shallow.iter().map(|id| oid(*id)).collect(),
            unshallow: push.unshallow.iter().map(|id| oid(*id)).collect(),
            atomic,
            granted: self.granted(repository),
        };
        // From here on the push is carried out even if the client disconnects.
        if let Err(rejection @ Rejection::ClientDisconnected) = deadline.check() {
            reject_matching(&mut decisions, Decision::updates_ref, &rejection);
        }
        let change = self.begin_change(name);
        let committing = commit.carry_out(&self.store, &mut decisions);
        Ok(match committing.instrument(stage!("commit")).await? {
            Some(receipt) => {
                if !commit.shallow.is_empty() {
                    let ends = commit.shallow.iter().copied().take(SHALLOW_COMMITS_MAX).collect();
                    events.send(Event::ShallowHistory(ends));
                }
                self.delete_state_of_previews(receipt.app.id, &decisions).await;
                self.activate(receipt, decisions, change, events).instrument(stage!("activate")).await
            }
            None => decisions.into_iter().map(unserved_report).collect(),
        })
    }

    /// Deletes the state of deleted branches, and what is left of earlier branches with the names of new ones.
    async fn delete_state_of_previews(&self, app: AppId, decisions: &[Decision]) {
        let Some(state) = self.activation.state() else { return };
        let new = |decision: &Decision| decision.change.old.is_none();
        for decision in decisions {
            let created = decision.preview().filter(|_| new(decision));
            let Some(branch) = decision.deleted_branch().or(created) else { continue };
            let of = StateTarget { app, name: NamespaceName::Preview(branch.to_owned()) };
            if let Err(error) = state.delete_namespace(&of).await {
                tracing::warn!(branch, %error, "cannot delete the state of a branch, will retry");
            }
        }
    }

    /// Decides about each command. Changes nothing.
    async fn decide(
        &self,
        context: &PushContext<'_>,
        scripts: &AppScripts,
        deadline: &PushDeadline,
    ) -> Result<Vec<Decision>, DeployError> {
        let PushContext { name, events, repository, push, .. } = *context;
        let quarantine = QuarantineView::new(repository, &push.pack);
        let reads_production = context.by.caller.can(Right::DeployProduction, name);
        let secrets = self.secrets_of(repository.app(), reads_production).await?;
        let no_secrets = PushSecrets::default();
        let examination = Examination {
            store: &self.store,
            activation: &self.activation,
            limits: &self.limits,
            domains: &self.domains,
            by: &context.by.caller,
            name,
            granted: &self.granted(repository),
            scripts,
            repository,
            quarantine: &quarantine,
            pack: &push.pack,
            secrets: secrets.as_ref().unwrap_or(&no_secrets),
            events,
            deadline,
        };
        let mut cache = ExaminationCache::default();
        let mut decisions = Vec::with_capacity(push.commands.len());
        for checked in &push.commands {
            let command = &checked.command;
            let intent = intent::parse(checked, repository.production_branch())
                .and_then(|intent| context.authorize(intent));
            let intent = intent.and_then(|intent| match (&secrets, &intent) {
                (Err(reason), intent) if !matches!(intent, Intent::DeletePreview | Intent::DeleteTag) => {
                    Err(Rejection::Secrets { reason: reason.clone() })
                }
                (_, Intent::DeletePreview | Intent::DeleteTag) => Ok(intent),
                _ => {
                    let message = context.by.message.as_deref().unwrap_or_default();
                    let texts =
                        [("the name of a branch or tag", command.name.as_str()), ("the message", message)];
                    match texts.into_iter().find_map(|(what, text)| examination.leaked_in(what, text)) {
                        Some(rejection) => Err(rejection),
                        None => Ok(intent),
                    }
                }
            });
            let action = match intent {
                // A mirror pushes back the deploy refs that it has fetched.
                Err(Rejection::ReservedRef) if is_existing_deploy(repository, command).await? => {
                    Action::Finished(Outcome::Unchanged)
                }
                Err(Rejection::Git(CommandError::MissingObject)) => {
                    let end = match command.new {
                        Some(missing) => shallow_boundary(repository, missing).await,
                        None => None,
                    };
                    let missing = Rejection::Git(CommandError::MissingObject);
                    Action::Finished(Outcome::Rejected(end.map_or(missing, Rejection::ShallowHistory)))
                }
                Err(Rejection::Git(CommandError::NotACommit(Kind::Tag))) => {
                    Action::Finished(Outcome::Rejected(annotated_tag(&quarantine, command).await?))
                }
                Err(rejection) => Action::Finished(Outcome::Rejected(rejection)),
                Ok(Intent::DeletePreview | Intent::DeleteTag) => Action::Update,
                Ok(Intent::UpdateTag) => match examination.leaked(&mut cache).await? {
                    Some(rejection) => Action::Finished(Outcome::Rejected(rejection)),
                    None => Action::Update,
                },
                Ok(Intent::Production { .. })
                    if context.is_forbidden_by_protection(&quarantine, command).await? =>
                {
                    Action::Finished(Outcome::Rejected(Rejection::NonFastForward))
                }
                Ok(Intent::Production { branch, commit }) => {
                    let mut examined = examination.examine(&branch, commit, &mut cache).await?;
                    if let Examined::Candidate(candidate) = &mut examined {
                        examination.verify_domains(candidate).await?;
                    }
                    action_for(examined, branch, true, events)
                }
                Ok(Intent::Preview { branch, commit }) => {
                    match address_conflict(repository, &branch).await? {
                        Some(with) => {
                            Action::Finished(Outcome::Rejected(Rejection::AddressConflict { with }))
                        }
                        None => action_for(
                            examination.examine(&branch, commit, &mut cache).await?,
                            branch,
                            false,
                            events,
                        ),
                    }
                }
                Ok(Intent::Check { commit }) => {
                    let branch = repository.production_branch();
                    Action::Finished(match examination.examine(branch, commit, &mut cache).await? {
                        Examined::Rejected(rejection) => Outcome::Rejected(rejection),
                        Examined::Candidate(_) | Examined::NoManifest => Outcome::Checked,
                    })
                }
            };
            let change = RefChange {
                name: command.name.clone(),
                old: command.old.map(oid),
                new: command.new.map(oid),
            };
            decisions.push(Decision { change, action });
        }
        Ok(decisions)
    }

    /// The secrets of the app, or why they cannot be decrypted.
    async fn secrets_of(
        &self,
        app: Option<&App>,
        reads_production: bool,
    ) -> Result<Result<PushSecrets, String>, DeployError> {
        let Some(app) = app else { return Ok(Ok(PushSecrets::default())) };
        match self.vault.of(app.id).await {
            Ok(secrets) => {
                Ok(PushSecrets::new(&secrets, reads_production).map_err(|error| error.to_string()))
            }
            Err(SecretError::Store(error)) => Err(error.into()),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Rejects the new refs of a push that exceed the app's limit.
    async fn reject_too_many_refs(
        &self,
        repository: &AppRepository,
        decisions: &mut [Decision],
    ) -> Result<(), DeployError> {
        let count = |decisions: &[Decision], filter: fn(&RefChange) -> bool| {
            decisions.iter().filter(|decision| decision.updates_ref() && filter(&decision.change)).count()
        };
        let new = count(decisions, |change| change.old.is_none());
        if new == 0 {
            return Ok(());
        }
        let deleted = count(decisions, |change| change.new.is_none());
        let existing = repository.branches_and_tags().await?.len();
        let limit = self.limits.refs;
        let would_be = (existing + new).saturating_sub(deleted);
        if would_be > limit {
            let creates = |decision: &Decision| decision.updates_ref() && decision.change.old.is_none();
            reject_matching(decisions, creates, &Rejection::TooManyRefs { would_be, limit });
        }
        Ok(())
    }

    /// Rejects the new previews of a push that exceed the app's limit. Existing previews can be pushed to
    /// beyond the limit.
    async fn reject_too_many_previews(
        &self,
        repository: &AppRepository,
        decisions: &mut [Decision],
    ) -> Result<(), DeployError> {
        if !decisions.iter().any(|decision| decision.preview().is_some()) {
            return Ok(());
        }
        let live = match repository.app() {
            Some(app) => self.store.live_branches(app.id).await?,
            None => Vec::new(),
        };
        let production = repository.production_branch();
        let existing: BTreeSet<&str> =
            live.iter().map(|live| live.branch.as_str()).filter(|branch| *branch != production).collect();
        let is_new =
            |decision: &Decision| decision.preview().is_some_and(|branch| !existing.contains(branch));
        let new = decisions.iter().filter(|decision| is_new(decision)).count();
        let deleted = decisions
            .iter()
            .filter_map(Decision::deleted_branch)
            .filter(|branch| existing.contains(branch))
            .count();
        let limit = self.granted(repository).previews;
        let would_be = (existing.len() + new).saturating_sub(deleted);
        if new > 0 && would_be > limit {
            reject_matching(decisions, is_new, &Rejection::TooManyPreviews { would_be, limit });
        }
        Ok(())
    }

    /// The limits of the app.
    fn granted(&self, repository: &AppRepository) -> GrantedLimits {
        self.activation.limits().of(repository.app())
    }

    /// Notes where an earlier commit meets state of later ones.
    async fn note_kept_state(&self, app: AppId, committed: &mut [Committed]) {
        let Some(state) = self.activation.state() else { return };
        for committed in committed {
            if let Committed::Served(served) = committed
                && served.previously_validated
            {
                let name = match served.production {
                    true => NamespaceName::Production,
                    false => NamespaceName::Preview(served.branch.clone()),
                };
                served.keeps_state = state.has_entries(&StateTarget { app, name }).await;
            }
        }
    }

    /// Activates the committed revisions and reports on each ref.
    async fn activate(
        &self,
        receipt: PushReceipt,
        decisions: Vec<Decision>,
        change: Option<LocalChange>,
        events: &EventSender,
    ) -> Vec<RefReport> {
        let mut numbers = receipt.deploys.iter().copied();
        let mut pushed = PushedRevisions::new();
        let mut commit = |decision: Decision| match decision.action {
            Action::Serve { branch, production, candidate } => {
                let deploy = numbers.next().expect("the store numbers every deploy");
                let previously_validated = candidate.new.is_none();
                pushed.insert(branch.clone(), (candidate.commit, deploy, candidate.prepared));
                Committed::Served(Served {
                    change: decision.change,
                    branch,
                    production,
                    deploy,
                    previously_validated,
                    keeps_state: false,
                    stopped: receipt.app.stopped_at.is_some(),
                    pending: if production {
                        Self::pending(&receipt.app, &receipt.pending)
                    } else {
                        Vec::new()
                    },
                })
            }
            _ => Committed::Unserved(unserved_report(decision)),
        };
        let mut committed: Vec<Committed> = decisions.into_iter().map(&mut commit).collect();
        self.note_kept_state(receipt.app.id, &mut committed).await;
        let started = Instant::now();
        if self.activation.sync_with(&receipt.app, pushed).await
            && let Some(change) = change
        {
            change.served();
        }
        tracing::debug!(app = %receipt.app.name, took = ?started.elapsed(), "activated");
        let propagation = match &self.peers {
            Some(peers) if committed.iter().any(Committed::is_served) => {
                Some(peers.wait_for(&receipt.app).await)
            }
            _ => None,
        };
        if receipt.created && !committed.iter().any(Committed::goes_live) {
            events.send(Event::NotProductionBranch { production: receipt.app.production_branch });
        }
        committed.into_iter().map(|committed| committed.into_report(propagation.clone())).collect()
    }
}

/// The rejection of a branch update to an annotated tag.
async fn annotated_tag(
    quarantine: &QuarantineView<'_, AppRepository>,
    command: &Command,
) -> Result<Rejection, DeployError> {
    let mut tag = None;
    quarantine
        .each(command.new.as_slice(), |_, _, content| {
            let name = content.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"tag "));
            tag = name.map(|name| String::from_utf8_lossy(name).into_owned());
        })
        .await?;
    Ok(match (tag, command.name.strip_prefix("refs/heads/")) {
        (Some(tag), Some(branch)) => {
            Rejection::AnnotatedTag { tag, branch: branch.to_owned(), exists: command.old.is_some() }
        }
        _ => Rejection::Git(CommandError::NotACommit(Kind::Tag)),
    })
}

/// The shallow boundary of the app, if it can be why `missing` is missing.
async fn shallow_boundary(repository: &AppRepository, missing: ObjectId) -> Option<ShallowBoundary> {
    let ends = repository.shallow().await.unwrap_or_default();
    let some: Vec<Oid> = ends.into_iter().take(SHALLOW_COMMITS_MAX).map(oid).collect();
    (!some.is_empty()).then(|| ShallowBoundary { missing: oid(missing), ends: some })
}

/// Whether a command leaves an existing deploy ref unchanged.
async fn is_existing_deploy(repository: &AppRepository, command: &Command) -> Result<bool, DeployError> {
    let Some(commit) = command.new else { return Ok(false) };
    let deploys = repository.deploys().await?;
    Ok(deploys.iter().any(|deploy| deploy.commit == oid(commit) && deploy_ref(deploy.number) == command.name))
}

/// Another branch of the app with the same label as `branch`.
async fn address_conflict(repository: &AppRepository, branch: &str) -> Result<Option<String>, DeployError> {
    let Some(app) = repository.app() else { return Ok(None) };
    let label = branch_label(&app.name, branch);
    let refs = repository.branches_and_tags().await?;
    let branches = refs.iter().filter_map(|found| found.name.strip_prefix("refs/heads/"));
    Ok(branches
        .chain([app.production_branch.as_str()])
        .find(|other| *other != branch && branch_label(&app.name, other) == label)
        .map(str::to_owned))
}
