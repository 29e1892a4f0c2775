//! A push's way to being live: unpack, read, check, plan, commit in one transaction, swap.
//!
//! [`Deployer::receive`] is the journey, for which [`Deployer::admit`] waits for memory. In its order: [`mod@intent`] says what a command
//! asks, [`snapshot`] reads the files of its commit, [`leaks`] looks for secrets in them, [`mod@check`] validates them, [`mod@plan`] compares them with what is live,
//! within its [`push_time`], and [`report`] holds what is told. [`rollback`] and the end of old [`previews`] are pushes that the server makes itself;
//! [`setting`] sets secrets, which is a deploy too, and limits; [`lifecycle`] stops, renames and deletes apps; [`domains`] proves and
//! releases domains.

mod admission;
mod candidate;
mod check;
mod commit;
mod decision;
mod domains;
mod intent;
mod leak_search;
mod leaks;
mod lifecycle;
mod limits;
mod plan;
mod previews;
mod push_secrets;
mod push_time;
mod report;
mod rollback;
mod setting;
mod snapshot;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use git_receiver::{
    Command, CommandError, ConnectivityError, Kind, ObjectId, PackBytes, QuarantineView, Repository as _,
    Request, UnpackError, UnpackedPush,
};
use manifest_schema::label::branch_label;
use manifest_schema::name::AppName;
use store::{Actor, App, AppId, Oid, PushReceipt, RefChange, Store, StoreError};
use tracing::Instrument as _;

pub use admission::AdmittedPush;
pub(crate) use check::check_for;
pub use check::{Checked, check};
pub use domains::{Domain, DomainPolicy, HoldDomainError, PendingDomain, ProveDomainError};
pub use intent::CHECK_REF;
pub use lifecycle::{NameAppError, StopAppError, UndeleteError};
pub use limits::DeployLimits;
pub use plan::{Change, Changes, Due, Plan, Planned, Sign};
pub(crate) use plan::{Side, due_times, plan};
use push_secrets::PushSecrets;
pub(crate) use push_time::PushTime;
pub use report::{Activated, Deployed, Event, HistoryEnd, Outcome, Rejection, Tell, Verdict};
pub use rollback::{MESSAGE_CHARS_MAX, RollbackError, RolledBack};
pub use setting::{LimitsError, NotUnset};
pub use snapshot::{FILE_MAX, File, Snapshot};

use crate::TRACE_TARGET;
use crate::activation::{Activation, Fresh};
use crate::clock::Clock;
use crate::limits::GrantedLimits;
use crate::nodes::{OwnAct, Peers};
use crate::repository::{AppRepository, DEPLOY_REFS, Pushed, RequestMemory, deploy_ref, oid};
use crate::scripts::AppScripts;
use crate::secrets::{SecretError, Vault};
use crate::tokens::{Caller, Right};
use candidate::{DeployError, Examination, Examined, Seen};
use commit::Commit;
use decision::{Decided, Decision, Served, Settled, reject_shared_addresses, reject_those, served, unmoved};
use intent::{Intent, intent};

/// How many commits are gone through to see whether one follows another.
const HISTORY_MAX: usize = 100_000;

/// How often a push is unpacked where objects on which it may build are deleted meanwhile.
const COLLECTED_TRIES: u32 = 3;

/// How many commits are named at which the history of an app ends.
const HISTORY_ENDS_MAX: usize = 8;

/// A stage of a push, for traces.
macro_rules! stage {
    ($name:literal) => {
        tracing::trace_span!(target: TRACE_TARGET, $name)
    };
}

/// Who pushes and what they may.
#[derive(Clone, Debug)]
pub struct Pusher {
    /// What they may.
    pub caller: Caller,
    /// What the history keeps of them.
    pub actor: Actor,
    /// Whether a push to an unknown name creates the app, where they may.
    pub creates: bool,
    /// What they say about the deploys that they make.
    pub message: Option<String>,
}

impl Pusher {
    /// Whether a push to the unknown name creates the app.
    pub fn may_create(&self, app: &AppName) -> bool {
        self.creates && self.caller.may(Right::Create, app)
    }
}

/// A push that is carried out: who pushes what to which app, over what the store has of it. All of that is read once, and
/// what decides over the push gets it from here.
#[derive(Clone, Copy)]
struct Delivery<'p> {
    name: &'p AppName,
    by: &'p Pusher,
    tell: &'p Tell,
    repository: &'p AppRepository,
    push: &'p UnpackedPush,
    /// Whether all refs are moved or none.
    atomic: bool,
}

impl Delivery<'_> {
    /// Whether the pusher may have what a command asks.
    fn allowed(&self, intent: Intent) -> Result<Intent, Rejection> {
        let right = intent.right();
        if !self.by.caller.may(right, self.name) {
            return Err(Rejection::Forbidden(right));
        }
        let creates = self.repository.app().is_none() && !matches!(intent, Intent::Check { .. });
        match creates && !self.by.may_create(self.name) {
            true if self.by.creates => Err(Rejection::UnknownApp),
            true => Err(Rejection::CreationOff),
            false => Ok(intent),
        }
    }

    /// Whether a command would set a protected branch back, or aside, and its pusher may not.
    async fn is_held(
        &self,
        quarantine: &QuarantineView<'_, AppRepository>,
        command: &Command,
    ) -> Result<bool, DeployError> {
        let protected = self.repository.app().is_some_and(|app| app.protected)
            && !self.by.caller.may(Right::ForcePush, self.name);
        match (command.old, command.new) {
            (Some(old), Some(new)) if protected && old != new => {
                Ok(!quarantine.descends(new, old, HISTORY_MAX).await?)
            }
            _ => Ok(false),
        }
    }
}

/// A push that failed as a whole.
struct Failed {
    /// Whether that was after it was unpacked.
    unpacked: bool,
    error: DeployError,
}

impl Failed {
    fn unpacking<E>(error: E, kind: impl Fn(E) -> DeployError) -> Self {
        Self { unpacked: false, error: kind(error) }
    }

    /// The verdict on all of it.
    fn reject(self, app: &AppName, commands: &[Command]) -> Deployed {
        let rejection = self.error.rejection(app);
        let verdicts = Verdict::reject_all(commands, &rejection);
        Deployed { unpacked: if self.unpacked { Ok(()) } else { Err(rejection) }, verdicts }
    }
}

/// Decides over pushes and carries them out.
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
    /// A deployer over `store` that grants at most `limits` and such domains as `domains` allows, swaps through `activation`, and dates by `clock`. With `peers`, a push waits until
    /// they serve it too.
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

    /// Unpacks a push to the app `name` and carries it out. Every ref is either moved and served, or nothing of it has changed. Must run to
    /// its end: dropping it midway can leave a committed push that this node serves only after its next start.
    pub async fn receive(
        &self,
        name: &AppName,
        push: AdmittedPush,
        limits: &git_receiver::Limits,
        by: &Pusher,
        tell: &Tell,
    ) -> Deployed {
        let AdmittedPush { request, pack, app, held } = push;
        let pack = match pack {
            Ok(pack) => pack,
            Err(error) => return Failed::unpacking(error, DeployError::Pack).reject(name, &request.commands),
        };
        let mut left = COLLECTED_TRIES;
        loop {
            left -= 1;
            let repository = match self.repository_of(name, &request, app, &held).await {
                Ok(repository) => repository,
                Err(error) => {
                    return Failed::unpacking(error, DeployError::Store).reject(name, &request.commands);
                }
            };
            let attempt = self.attempt(name, &repository, &request, pack.clone(), limits, by, tell);
            let attempted = attempt.await;
            // What was moved was decided over what was there until then.
            let failed =
                attempted.as_ref().map_or(true, |verdicts| verdicts.iter().all(Verdict::is_rejected));
            if failed && self.was_collected(&repository).await {
                if left > 0 {
                    continue;
                }
                let failed = Failed { unpacked: true, error: DeployError::Collected };
                return failed.reject(name, &request.commands);
            }
            return match attempted {
                Ok(verdicts) => Deployed { unpacked: Ok(()), verdicts },
                Err(failed) => failed.reject(name, &request.commands),
            };
        }
    }

    /// What the store has of the app now, not when the push began to arrive. One that is not there is created as `new_app`.
    async fn repository_of(
        &self,
        name: &AppName,
        request: &Request,
        new_app: AppId,
        held: &Arc<RequestMemory>,
    ) -> Result<AppRepository, StoreError> {
        let repository = AppRepository::to_be(self.store.clone(), self.store.app(name).await?, new_app);
        let repository = repository.sharing(Arc::clone(held));
        // There are many deploys, and most pushes name none of them.
        let names_a_deploy = request.commands.iter().any(|command| command.name.starts_with(DEPLOY_REFS));
        Ok(if names_a_deploy { repository } else { repository.for_pushers() })
    }

    /// Unpacks a push over the repository, and carries it out.
    #[expect(clippy::too_many_arguments, reason = "they are what a push consists of")]
    async fn attempt(
        &self,
        name: &AppName,
        repository: &AppRepository,
        request: &Request,
        pack: PackBytes,
        limits: &git_receiver::Limits,
        by: &Pusher,
        tell: &Tell,
    ) -> Result<Vec<Verdict>, Failed> {
        let unpacking = git_receiver::unpack(repository, request, pack, limits);
        let push = match unpacking.instrument(stage!("unpack")).await {
            Ok(push) => push,
            Err(UnpackError::Connectivity(ConnectivityError::Missing { missing, referrer })) => {
                let refused = UnpackError::Connectivity(ConnectivityError::Missing { missing, referrer });
                let end = history_end(repository, missing).await;
                let error = end.map_or(DeployError::Unpack(refused), DeployError::HistoryEnds);
                return Err(Failed { unpacked: false, error });
            }
            Err(error) => return Err(Failed::unpacking(error, DeployError::Unpack)),
        };
        let atomic = request.capabilities.atomic();
        let delivery = Delivery { name, by, tell, repository, push: &push, atomic };
        self.carry_out(&delivery).await.map_err(|error| Failed { unpacked: true, error })
    }

    /// Whether objects were deleted since the repository was read, or the app: a push that failed over it is to be unpacked once
    /// more.
    async fn was_collected(&self, repository: &AppRepository) -> bool {
        let Some(app) = repository.app() else { return false };
        match self.store.app(&app.name).await {
            Ok(Some(now)) => (now.id, now.collection) != (app.id, app.collection),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Carries out a push that is unpacked, one verdict a ref in the order of the commands.
    async fn carry_out(&self, delivery: &Delivery<'_>) -> Result<Vec<Verdict>, DeployError> {
        let Delivery { name, by, tell, repository, push, atomic } = *delivery;
        let time = PushTime::begin(tell);
        if push.warnings.count > 0 {
            tell.send(Event::Warnings(push.warnings.clone()));
        }
        let app = repository.id();
        let scripts = self.activation.scripts_of(app, &self.granted(repository));
        let mut decisions = self.decide(delivery, &scripts, &time).instrument(stage!("check")).await?;
        reject_shared_addresses(name, &mut decisions);
        self.reject_too_many_refs(repository, &mut decisions).await?;
        self.reject_too_many_previews(repository, &mut decisions).await?;
        let commit = Commit {
            app: name,
            new_app: app,
            by,
            at: self.clock.now(),
            node: self.peers.as_ref().map(|peers| peers.node),
            objects: Pushed(&push.pack),
            collection: repository.app().map(|app| (app.id, app.collection)),
            shallow: push.shallow.iter().map(|id| oid(*id)).collect(),
            unshallow: push.unshallow.iter().map(|id| oid(*id)).collect(),
            atomic,
            granted: self.granted(repository),
        };
        // From here on it is carried out, even if the client leaves.
        if let Err(rejection @ Rejection::Unheard) = time.check() {
            reject_those(&mut decisions, Decision::moves, &rejection);
        }
        let act = self.begin_act(name);
        let committing = commit.carry_out(&self.store, &mut decisions);
        Ok(match committing.instrument(stage!("commit")).await? {
            Some(receipt) => {
                if !commit.shallow.is_empty() {
                    let ends = commit.shallow.iter().copied().take(HISTORY_ENDS_MAX).collect();
                    tell.send(Event::HistoryEnds(ends));
                }
                self.activate(receipt, decisions, act, tell).instrument(stage!("activate")).await
            }
            None => decisions.into_iter().map(unmoved).collect(),
        })
    }

    /// What each command asks, and whether its commit may be served. Changes nothing.
    async fn decide(
        &self,
        delivery: &Delivery<'_>,
        scripts: &AppScripts,
        time: &PushTime,
    ) -> Result<Vec<Decision>, DeployError> {
        let Delivery { name, tell, repository, push, .. } = *delivery;
        let quarantine = QuarantineView::new(repository, &push.pack);
        let reads_production = delivery.by.caller.may(Right::DeployProduction, name);
        let opened = self.secrets_of(repository.app(), reads_production).await?;
        let nothing = PushSecrets::default();
        let examination = Examination {
            store: &self.store,
            activation: &self.activation,
            limits: &self.limits,
            domains: &self.domains,
            by: &delivery.by.caller,
            name,
            granted: &self.granted(repository),
            scripts,
            repository,
            quarantine: &quarantine,
            pack: &push.pack,
            secrets: opened.as_ref().unwrap_or(&nothing),
            tell,
            time,
        };
        let mut seen = Seen::default();
        let mut decisions = Vec::with_capacity(push.commands.len());
        for judged in &push.commands {
            let command = &judged.command;
            let asked =
                intent(judged, repository.production_branch()).and_then(|intent| delivery.allowed(intent));
            let asked = asked.and_then(|intent| match (&opened, &intent) {
                (Err(why), asked) if !matches!(asked, Intent::End | Intent::Delete) => {
                    Err(Rejection::Secrets { why: why.clone() })
                }
                (_, Intent::End | Intent::Delete) => Ok(intent),
                _ => {
                    let message = delivery.by.message.as_deref().unwrap_or_default();
                    let texts =
                        [("the name of a branch or tag", command.name.as_str()), ("the message", message)];
                    match texts.into_iter().find_map(|(what, text)| examination.leaked_in(what, text)) {
                        Some(rejection) => Err(rejection),
                        None => Ok(intent),
                    }
                }
            });
            let outcome = match asked {
                // A mirror pushes the deploys back that it has fetched.
                Err(Rejection::DeployRef) if is_deploy(repository, command).await? => {
                    Decided::Done(Outcome::Unchanged)
                }
                Err(Rejection::Git(CommandError::MissingObject)) => {
                    let end = match command.new {
                        Some(missing) => history_end(repository, missing).await,
                        None => None,
                    };
                    let missing = Rejection::Git(CommandError::MissingObject);
                    Decided::Done(Outcome::Rejected(end.map_or(missing, Rejection::HistoryEnds)))
                }
                Err(Rejection::Git(CommandError::NotACommit(Kind::Tag))) => {
                    Decided::Done(Outcome::Rejected(annotated_tag(&quarantine, command).await?))
                }
                Err(rejection) => Decided::Done(Outcome::Rejected(rejection)),
                Ok(Intent::End | Intent::Delete) => Decided::Move,
                Ok(Intent::Keep) => match examination.leaked(&mut seen).await? {
                    Some(rejection) => Decided::Done(Outcome::Rejected(rejection)),
                    None => Decided::Move,
                },
                Ok(Intent::Production { .. }) if delivery.is_held(&quarantine, command).await? => {
                    Decided::Done(Outcome::Rejected(Rejection::NotForward))
                }
                Ok(Intent::Production { branch, commit }) => {
                    let mut examined = examination.examine(&branch, commit, &mut seen).await?;
                    if let Examined::Candidate(candidate) = &mut examined {
                        examination.prove_domains(candidate).await?;
                    }
                    served(examined, branch, true, tell)
                }
                Ok(Intent::Preview { branch, commit }) => match shares_address(repository, &branch).await? {
                    Some(with) => Decided::Done(Outcome::Rejected(Rejection::SharedAddress { with })),
                    None => {
                        served(examination.examine(&branch, commit, &mut seen).await?, branch, false, tell)
                    }
                },
                Ok(Intent::Check { commit }) => {
                    let branch = repository.production_branch();
                    Decided::Done(match examination.examine(branch, commit, &mut seen).await? {
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
            decisions.push(Decision { change, outcome });
        }
        Ok(decisions)
    }

    /// The secrets of the app, or why they cannot be opened.
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

    /// Rejects the new refs of a push that would leave the app with more than it may have.
    async fn reject_too_many_refs(
        &self,
        repository: &AppRepository,
        decisions: &mut [Decision],
    ) -> Result<(), DeployError> {
        let of_kind = |decisions: &[Decision], wanted: fn(&RefChange) -> bool| {
            decisions.iter().filter(|decision| decision.moves() && wanted(&decision.change)).count()
        };
        let new = of_kind(decisions, |change| change.old.is_none());
        if new == 0 {
            return Ok(());
        }
        let gone = of_kind(decisions, |change| change.new.is_none());
        let there = repository.branches_and_tags().await?.len();
        let most = self.limits.refs;
        let would_be = (there + new).saturating_sub(gone);
        if would_be > most {
            let creates = |decision: &Decision| decision.moves() && decision.change.old.is_none();
            reject_those(decisions, creates, &Rejection::TooManyRefs { would_be, most });
        }
        Ok(())
    }

    /// Rejects the new previews of a push that would leave the app with more than it is granted. Those that are there can be
    /// pushed to, however many they are.
    async fn reject_too_many_previews(
        &self,
        repository: &AppRepository,
        decisions: &mut [Decision],
    ) -> Result<(), DeployError> {
        if !decisions.iter().any(|decision| decision.preview().is_some()) {
            return Ok(());
        }
        let live = match repository.app() {
            Some(app) => self.store.live_of(app.id).await?,
            None => Vec::new(),
        };
        let production = repository.production_branch();
        let there: BTreeSet<&str> =
            live.iter().map(|live| live.branch.as_str()).filter(|branch| *branch != production).collect();
        let is_new = |decision: &Decision| decision.preview().is_some_and(|branch| !there.contains(branch));
        let new = decisions.iter().filter(|decision| is_new(decision)).count();
        let gone = decisions
            .iter()
            .filter_map(Decision::deleted_branch)
            .filter(|branch| there.contains(branch))
            .count();
        let most = self.granted(repository).previews;
        let would_be = (there.len() + new).saturating_sub(gone);
        if new > 0 && would_be > most {
            reject_those(decisions, is_new, &Rejection::TooManyPreviews { would_be, most });
        }
        Ok(())
    }

    /// What the app is granted.
    fn granted(&self, repository: &AppRepository) -> GrantedLimits {
        self.activation.limits().of(repository.app())
    }

    /// Swaps in what was committed and says what became of each ref.
    async fn activate(
        &self,
        receipt: PushReceipt,
        decisions: Vec<Decision>,
        act: Option<OwnAct>,
        tell: &Tell,
    ) -> Vec<Verdict> {
        let mut numbers = receipt.deploys.iter().copied();
        let mut fresh = Fresh::new();
        let mut settle = |decision: Decision| match decision.outcome {
            Decided::Serve { branch, production, candidate } => {
                let deploy = numbers.next().expect("the store numbers every deploy that it was handed");
                let validated_before = candidate.new.is_none();
                fresh.insert(branch.clone(), (candidate.commit, deploy, candidate.prepared));
                Settled::Served(Served {
                    change: decision.change,
                    branch,
                    production,
                    deploy,
                    validated_before,
                    stopped: receipt.app.stopped_at.is_some(),
                    pending: if production {
                        Self::pending(&receipt.app, &receipt.pending)
                    } else {
                        Vec::new()
                    },
                })
            }
            _ => Settled::Unserved(unmoved(decision)),
        };
        let settled: Vec<Settled> = decisions.into_iter().map(&mut settle).collect();
        let started = Instant::now();
        if self.activation.sync_with(&receipt.app, fresh).await
            && let Some(act) = act
        {
            act.served();
        }
        tracing::debug!(app = %receipt.app.name, took = ?started.elapsed(), "swapped");
        let reach = match &self.peers {
            Some(peers) if settled.iter().any(Settled::is_served) => Some(peers.wait_for(&receipt.app).await),
            _ => None,
        };
        if receipt.created && !settled.iter().any(Settled::goes_live) {
            tell.send(Event::ProductionIsElsewhere { production: receipt.app.production_branch });
        }
        settled.into_iter().map(|settled| settled.verdict(reach.clone())).collect()
    }
}

/// What is said to a branch that is to point to an annotated tag.
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

/// Where the history of the app ends, if that can be why `missing` is not there.
async fn history_end(repository: &AppRepository, missing: ObjectId) -> Option<HistoryEnd> {
    let ends = repository.shallow().await.unwrap_or_default();
    let some: Vec<Oid> = ends.into_iter().take(HISTORY_ENDS_MAX).map(oid).collect();
    (!some.is_empty()).then(|| HistoryEnd { missing: oid(missing), ends: some })
}

/// Whether a command asks that the ref of a deploy be as it is.
async fn is_deploy(repository: &AppRepository, command: &Command) -> Result<bool, DeployError> {
    let Some(commit) = command.new else { return Ok(false) };
    let deploys = repository.deploys().await?;
    Ok(deploys.iter().any(|deploy| deploy.commit == oid(commit) && deploy_ref(deploy.number) == command.name))
}

/// Another branch of the app whose address is that of `branch`.
async fn shares_address(repository: &AppRepository, branch: &str) -> Result<Option<String>, DeployError> {
    let Some(app) = repository.app() else { return Ok(None) };
    let label = branch_label(&app.name, branch);
    let refs = repository.branches_and_tags().await?;
    let branches = refs.iter().filter_map(|found| found.name.strip_prefix("refs/heads/"));
    Ok(branches
        .chain([app.production_branch.as_str()])
        .find(|other| *other != branch && branch_label(&app.name, other) == label)
        .map(str::to_owned))
}
