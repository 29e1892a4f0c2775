//! Keeps the live table in sync with the store: at start, after a push to this or another node, and after
//! missed notifications.
//!
//! There is one mechanism, [`Activation::sync`]: read the app's live branches from the store and make the
//! table match. A push passes the revisions it has just built, so that they are not read back.
//!
//! Syncs of one app are serialized, so that the last one wins. The app's generation, which changes with every
//! push, tells whether a read is needed. Generations are compared for equality, never for order: after a
//! failover or a restore, the database can hold an older state than the one served.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::GrantedLimits;
use crate::live::{Branch, KnownBranches, Live, LiveTable};
use manifest_schema::label::branch_label;
use manifest_schema::name::AppName;
use runtime::{Revision, Secrets};
use store::{App, AppId, DeployNumber, Domain, Environment, Generation, LiveBranch, Oid, Store, StoreError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::revision::{LoadError, Prepared};
use crate::scripts::{AppScripts, Scripts};
use crate::secrets::{AppSecrets, SecretError, Vault};
use crate::state::State;

/// How many apps are synced concurrently.
const CONCURRENT_APPS_MAX: usize = 8;

/// Number of lock shards for syncs. Apps in one shard wait for each other.
const LOCK_SHARDS: usize = 64;

/// How often activation is retried for apps that cannot be served.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(15);

/// Timeout of a sync of all apps.
pub(crate) const SYNC_TIMEOUT: Duration = Duration::from_secs(120);

/// How many unserved apps are listed, and how many characters of each error are shown.
const LISTED_APPS_MAX: usize = 10;
const ERROR_CHARS_MAX: usize = 200;

/// Revisions that a push has just built, by branch.
pub(crate) type PushedRevisions = BTreeMap<String, (Oid, DeployNumber, Prepared)>;

/// The generation of an app that this node has applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedGeneration {
    /// The app.
    pub app: AppId,
    /// The generation that was read from the store.
    pub generation: Generation,
    /// Why a branch cannot be served; its previous revision still is.
    pub error: Option<String>,
}

/// An applied generation, and when its read began.
#[derive(Clone, Debug)]
struct Applied {
    generation: AppliedGeneration,
    read_at: Instant,
}

/// The result of swapping in an app's revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SwapResult {
    /// Everything that can be served is served.
    Complete,
    /// Some revisions did not fit into memory.
    OutOfMemory,
}

/// Syncs the live table with the store.
#[derive(Clone, Debug)]
pub struct Activation {
    store: Store,
    table: Arc<LiveTable>,
    vault: Vault,
    /// The default limits of apps.
    limits: GrantedLimits,
    applied: Arc<Mutex<BTreeMap<AppName, Applied>>>,
    /// Serializes syncs per app; an app is hashed to one of them.
    sync_locks: Arc<[tokio::sync::Mutex<()>; LOCK_SHARDS]>,
    changed: watch::Sender<()>,
}

impl Activation {
    /// Creates an activation from `store` into `table`, with the secrets in `vault`. Apps are granted
    /// `limits` unless they have their own.
    pub fn new(store: Store, table: Arc<LiveTable>, vault: Vault, limits: GrantedLimits) -> Self {
        let sync_locks = Arc::new(std::array::from_fn(|_| tokio::sync::Mutex::new(())));
        Self {
            store,
            table,
            vault,
            limits,
            applied: Arc::default(),
            sync_locks,
            changed: watch::Sender::new(()),
        }
    }

    /// The limits of apps that have none of their own.
    pub fn limits(&self) -> &GrantedLimits {
        &self.limits
    }

    /// Notifies when the live table can have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The applied generation of every app.
    pub fn applied(&self) -> BTreeMap<AppName, AppliedGeneration> {
        self.lock_applied().iter().map(|(name, applied)| (name.clone(), applied.generation.clone())).collect()
    }

    /// Why this node is not ready: how many apps it cannot serve, and the errors of the first of them.
    pub fn not_ready_reason(&self) -> Option<String> {
        let applied = self.lock_applied();
        let failing: Vec<(&AppName, &String)> = applied
            .iter()
            .filter_map(|(name, applied)| Some((name, applied.generation.error.as_ref()?)))
            .collect();
        if failing.is_empty() {
            return None;
        }
        let mut text =
            format!("cannot serve the latest revision of {} of {} apps: ", failing.len(), applied.len());
        for (index, (name, error)) in failing.iter().take(LISTED_APPS_MAX).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let end = error.char_indices().nth(ERROR_CHARS_MAX).map_or(error.len(), |(end, _)| end);
            let ellipsis = if end < error.len() { "..." } else { "" };
            let _ = write!(text, "{separator}{name}: {}{ellipsis}", &error[..end]);
        }
        if failing.len() > LISTED_APPS_MAX {
            let _ = write!(text, "; and {} more", failing.len() - LISTED_APPS_MAX);
        }
        Some(text)
    }

    /// Retries activation of unserved apps for as long as the node runs. Sleeps while every app is served.
    pub async fn retry(self) {
        let mut changes = self.changes();
        loop {
            while self.not_ready_reason().is_none() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
            sleep(RETRY_INTERVAL).await;
            let synced = timeout(SYNC_TIMEOUT, self.sync_all()).await;
            if let Err(error) = synced.unwrap_or(Err(StoreError::Unresponsive(SYNC_TIMEOUT))) {
                tracing::debug!(%error, "cannot retry activation");
            }
        }
    }

    /// The live revision of a branch.
    pub(crate) fn live(&self, app: &AppName, branch: &str) -> Option<Arc<Revision>> {
        Some(Arc::clone(&self.table.get(app.as_str(), &branch_label(app, branch))?.revision))
    }

    /// The state of apps, if the server keeps one.
    pub(crate) fn state(&self) -> Option<&State> {
        self.table.state()
    }

    /// The scripts of all apps.
    pub fn scripts(&self) -> &Scripts {
        self.table.scripts()
    }

    /// The scripts of an app, live or not, within its memory share.
    pub(crate) fn scripts_of(&self, app: AppId, granted: &GrantedLimits) -> AppScripts {
        let (scripts, memory) = (self.table.scripts().of(app), self.table.memory());
        scripts.account().set_share(granted.memory_share.unwrap_or_else(|| memory.default_share()));
        scripts
    }

    /// Whether the schedules of a branch are enabled.
    pub(crate) fn is_scheduled(&self, app: &AppName, branch: &str) -> bool {
        self.table.get(app.as_str(), &branch_label(app, branch)).is_some_and(|live| live.branch.scheduled)
    }

    /// The live deploy of a branch.
    pub(crate) fn live_deploy(&self, app: &AppName, branch: &str) -> Option<DeployNumber> {
        DeployNumber::new(self.table.get(app.as_str(), &branch_label(app, branch))?.deploy)
    }

    /// Syncs the live branches of every app. Apps whose generation is already served are not read.
    ///
    /// # Errors
    /// The store cannot be read. A revision that cannot be served is logged and becomes the error of its app.
    pub async fn sync_all(&self) -> Result<(), StoreError> {
        let apps = self.store.apps().await?;
        let existing: BTreeSet<&AppName> = apps.iter().map(|app| &app.name).collect();
        let removed: Vec<AppName> =
            self.lock_applied().keys().filter(|name| !existing.contains(name)).cloned().collect();
        let outdated = apps.iter().filter(|app| !self.is_up_to_date(app)).map(|app| app.name.clone());
        let mut syncs = JoinSet::new();
        for name in removed.into_iter().chain(outdated) {
            if syncs.len() >= CONCURRENT_APPS_MAX {
                joined(syncs.join_next().await)?;
            }
            let this = self.clone();
            syncs.spawn(async move { this.sync_named(&name).await });
        }
        while !syncs.is_empty() {
            joined(syncs.join_next().await)?;
        }
        Ok(())
    }

    /// Syncs the live branches of the named app.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn sync_named(&self, name: &AppName) -> Result<(), StoreError> {
        let _lock = self.lock_sync(name).await;
        self.read(name, PushedRevisions::new()).await
    }

    /// Syncs the live branches of `app`, using the revisions a push has just committed. The push must be
    /// served even if the store fails right after the commit. Returns `false` in that case: the app must be
    /// read again.
    pub(crate) async fn sync_with(&self, app: &App, pushed: PushedRevisions) -> bool {
        let committed = Instant::now();
        let _lock = self.lock_sync(&app.name).await;
        let is_newer = self.lock_applied().get(&app.name).is_none_or(|applied| {
            let applied = &applied.generation;
            applied.app == app.id && applied.generation.number < app.generation.number
        });
        // The push returned the app, which need not be read again unless another sync came first.
        let synced = match is_newer {
            true => self.sync(app, pushed.clone()).await,
            false => self.read(&app.name, pushed.clone()).await,
        };
        if let Err(error) = synced {
            tracing::warn!(app = %app.name, %error, "cannot read back a committed push; serving it anyway");
            self.serve_unread(app, pushed, committed);
            return false;
        }
        true
    }

    /// Serves a committed push while the store cannot be read, unless the app was read since the commit. The
    /// app is read once the store is back.
    fn serve_unread(&self, app: &App, pushed: PushedRevisions, committed: Instant) {
        let mut applied = self.lock_applied();
        if applied.get(&app.name).is_some_and(|applied| applied.read_at > committed) {
            return;
        }
        let pushed = if app.stopped_at.is_some() { PushedRevisions::new() } else { pushed };
        for (branch, (commit, deploy, prepared)) in pushed {
            // A revision that reads secrets waits until they can be read.
            let needs_secrets = !prepared.manifest.secrets.required.is_empty();
            if !needs_secrets && let Ok(revision) = prepared.into_revision(app, commit) {
                let previous = self.table.get(app.name.as_str(), &branch_label(&app.name, &branch));
                let scheduled = previous.is_some_and(|previous| previous.branch.scheduled);
                let is_production = branch == app.production_branch;
                let environment = if is_production { Environment::Production } else { Environment::Preview };
                let live_branch =
                    branch_of(app, &LiveBranch { branch, commit, deploy, scheduled, environment });
                let revision = revision.limited_to(&self.limits.with(&app.limits).executions);
                self.table.replace(&app.name, live_branch, revision, deploy.get());
            }
        }
        if let Some(applied) = applied.get_mut(&app.name) {
            applied.generation.generation = Generation::default();
        }
        drop(applied);
        self.changed.send_replace(());
    }

    /// Locks an app for a sync. Syncs are serialized, so that the last one is the newest, whatever the
    /// generation numbers are.
    async fn lock_sync(&self, name: &AppName) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let shard = usize::try_from(hasher.finish() % LOCK_SHARDS as u64).unwrap_or_default();
        self.sync_locks[shard].lock().await
    }

    /// Reads the app; the sync lock is held.
    async fn read(&self, name: &AppName, pushed: PushedRevisions) -> Result<(), StoreError> {
        match self.store.app(name).await? {
            Some(app) if self.is_up_to_date(&app) => Ok(()),
            Some(app) => self.sync(&app, pushed).await,
            None => {
                self.remove(name);
                Ok(())
            }
        }
    }

    /// Reads the live branches, builds the revisions that are not served yet and swaps them in; the sync lock
    /// is held.
    async fn sync(&self, app: &App, pushed: PushedRevisions) -> Result<(), StoreError> {
        if self.swap_in(app, pushed).await? == SwapResult::OutOfMemory {
            // Ended or replaced revisions can have freed memory.
            self.swap_in(app, PushedRevisions::new()).await?;
        }
        Ok(())
    }

    async fn swap_in(&self, app: &App, mut pushed: PushedRevisions) -> Result<SwapResult, StoreError> {
        let read_at = Instant::now();
        let mut first_error = None;
        let mut result = SwapResult::Complete;
        let mut live = match self.store.live_branches(app.id).await {
            Err(error) if !error.is_unavailable() => {
                self.record_read_error(app, &error);
                return Ok(SwapResult::Complete);
            }
            live => live?,
        };
        let granted = self.limits.with(&app.limits);
        // Kept to the end, so that the memory share applies to the loaded scripts.
        let _scripts = self.scripts_of(app.id, &granted);
        // Production goes first in case not everything fits into memory.
        live.sort_by_key(|on| on.branch != app.production_branch);
        let mut built = Vec::new();
        let mut secrets = None;
        // A stopped app holds nothing in memory.
        let served_branches = if app.stopped_at.is_some() { &[][..] } else { &live[..] };
        for on in served_branches {
            let LiveBranch { branch, commit, environment, .. } = on;
            if let Some(served) = self.serving(app, on) {
                // The limits granted at push time are capped by the current ones.
                let revision = served.revision.limited_to(&granted.executions);
                let has_same_limits = revision.has_same_limits(&served.revision);
                if !requires_secrets(&revision) {
                    built.extend((!has_same_limits).then_some((on, revision)));
                    continue;
                }
                // Values are compared, not generations: a restored database can hold other values in the same
                // generation.
                match self.secrets_of(app, *environment, &mut secrets).await? {
                    Ok(opened) if revision.matches_secrets(opened) => {
                        built.extend((!has_same_limits).then_some((on, revision)));
                    }
                    Ok(opened) => built.push((on, revision.with_secrets(opened))),
                    Err(error) => {
                        first_error.get_or_insert_with(|| {
                            format!("{} (branch {branch})", LoadError::Secrets(error))
                        });
                    }
                }
                continue;
            }
            let is_this_commit =
                |(built, _, prepared): &(Oid, DeployNumber, Prepared)| built == commit && prepared.is_of(app);
            let prepared = pushed.remove(branch).filter(is_this_commit).map(|(.., prepared)| prepared);
            let revision = match prepared {
                Some(prepared) => prepared.into_revision(app, *commit).map_err(LoadError::from),
                None => self.load(app, *commit).await,
            };
            let revision = match revision {
                Ok(revision) if requires_secrets(&revision) => {
                    let opened = self.secrets_of(app, *environment, &mut secrets).await?;
                    opened.map(|opened| revision.with_secrets(opened)).map_err(LoadError::Secrets)
                }
                revision => revision,
            };
            match revision {
                Ok(revision) => built.push((on, revision.limited_to(&granted.executions))),
                Err(LoadError::Store(error)) if error.is_unavailable() => return Err(error),
                Err(error) => {
                    if matches!(error, LoadError::NoMemory(_)) {
                        result = SwapResult::OutOfMemory;
                    }
                    tracing::debug!(app = %app.name, branch, %commit, %error, "cannot serve a stored revision");
                    first_error.get_or_insert_with(|| format!("{error} (branch {branch})"));
                }
            }
        }
        let known = match self.known(app, &live, &built).await {
            Err(error) if !error.is_unavailable() => {
                self.record_read_error(app, &error);
                return Ok(SwapResult::Complete);
            }
            known => known?,
        };
        {
            let mut applied = self.lock_applied();
            self.table.grant(&app.name, granted);
            for (on, revision) in built {
                self.table.replace(&app.name, branch_of(app, on), revision, on.deploy.get());
            }
            self.table.retain(&app.name, &known);
            record(&mut applied, app, read_at, first_error);
        }
        self.changed.send_replace(());
        Ok(result)
    }

    /// Records that the app's live branches cannot be read. Served branches stay served; without any, the
    /// production branch is known to exist.
    fn record_read_error(&self, app: &App, error: &StoreError) {
        let mut applied = self.lock_applied();
        if self.table.find_production(app.name.as_str()).is_none() {
            let label = branch_label(&app.name, &app.production_branch);
            let labels = BTreeSet::from([label.clone()]);
            let known =
                KnownBranches { labels, production: Some(label), domains: Vec::new(), stopped: false };
            self.table.retain(&app.name, &known);
        }
        record(&mut applied, app, Instant::now(), Some(error.to_string()));
        drop(applied);
        self.changed.send_replace(());
    }

    /// The branches that should be served. Domains are read only if production can have any: its manifest
    /// names some, or is unknown because it is neither served nor built.
    async fn known(
        &self,
        app: &App,
        live: &[LiveBranch],
        built: &[(&LiveBranch, Revision)],
    ) -> Result<KnownBranches, StoreError> {
        let production = live.iter().find(|on| on.branch == app.production_branch);
        let can_have_domains = production.is_some_and(|on| {
            let built = built.iter().find(|(built, _)| built.branch == on.branch);
            let names_some = |revision: &Revision| !revision.manifest().app.domains.is_empty();
            match (built, self.live(&app.name, &on.branch)) {
                (Some((_, revision)), _) => names_some(revision),
                (None, Some(revision)) => names_some(&revision),
                (None, None) => true,
            }
        });
        let domains = match can_have_domains {
            true => self.store.domains(app.id).await?,
            false => Vec::new(),
        };
        Ok(KnownBranches {
            labels: live.iter().map(|on| branch_label(&app.name, &on.branch)).collect(),
            production: production.map(|on| branch_label(&app.name, &on.branch)),
            domains: domains.into_iter().filter(Domain::is_served).map(|domain| domain.name).collect(),
            stopped: app.stopped_at.is_some(),
        })
    }

    /// Whether the app's current generation is served.
    fn is_up_to_date(&self, app: &App) -> bool {
        self.lock_applied().get(&app.name).is_some_and(|applied| {
            let applied = &applied.generation;
            applied.app == app.id && applied.generation == app.generation && applied.error.is_none()
        })
    }

    /// The served revision, if it is exactly this one.
    fn serving(&self, app: &App, on: &LiveBranch) -> Option<Arc<Live>> {
        self.table.get(app.name.as_str(), &branch_label(&app.name, &on.branch)).filter(|live| {
            live.deploy == on.deploy.get()
                && live.branch == branch_of(app, on)
                && live.revision.commit() == on.commit.to_string()
                && live.revision.app_id() == app.id.as_uuid()
        })
    }

    /// The app's secrets for an environment, or why they cannot be decrypted. They are read once.
    async fn secrets_of<'s>(
        &self,
        app: &App,
        environment: Environment,
        read: &'s mut Option<Result<AppSecrets, SecretError>>,
    ) -> Result<Result<&'s Secrets, String>, StoreError> {
        let opened = match read.take() {
            Some(opened) => opened,
            None => match self.vault.of(app.id).await {
                Err(SecretError::Store(error)) if error.is_unavailable() => return Err(error),
                opened => opened,
            },
        };
        Ok(match read.insert(opened) {
            Ok(opened) => opened.of(environment).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        })
    }

    async fn load(&self, app: &App, commit: Oid) -> Result<Revision, LoadError> {
        let (store, app, scripts) = (self.store.clone(), app.clone(), self.table.scripts().of(app.id));
        load_in_task(async move {
            Ok(Prepared::load(&store, &app, commit, &scripts).await?.into_revision(&app, commit)?)
        })
        .await
    }

    /// Removes an app that no longer exists.
    fn remove(&self, name: &AppName) {
        let mut applied = self.lock_applied();
        self.table.retain(name, &KnownBranches::default());
        applied.remove(name);
        drop(applied);
        self.changed.send_replace(());
    }

    /// Locked while the table changes, so that table and applied generations stay consistent.
    fn lock_applied(&self) -> MutexGuard<'_, BTreeMap<AppName, Applied>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records the applied generation of an app. An error is logged once, however often it recurs.
fn record(applied: &mut BTreeMap<AppName, Applied>, app: &App, read_at: Instant, error: Option<String>) {
    let before = applied.get(&app.name).and_then(|before| before.generation.error.as_ref());
    match &error {
        Some(reason) if before != Some(reason) => {
            tracing::error!(app = %app.name, "cannot serve the latest revision: {reason}");
        }
        None if before.is_some() => tracing::info!(app = %app.name, "the latest revision is served again"),
        _ => {}
    }
    let generation = AppliedGeneration { app: app.id, generation: app.generation, error };
    applied.insert(app.name.clone(), Applied { generation, read_at });
}

/// The branch as it stands in the live table.
fn branch_of(app: &App, live: &LiveBranch) -> Branch {
    let production = live.branch == app.production_branch;
    Branch {
        name: live.branch.clone(),
        label: branch_label(&app.name, &live.branch),
        production,
        scheduled: production || live.scheduled,
        environment: live.environment,
    }
}

/// Whether a revision requires secrets.
fn requires_secrets(revision: &Revision) -> bool {
    !revision.manifest().secrets.required.is_empty()
}

/// Loads in a task: if it panics, this revision cannot be served, like after any other error.
async fn load_in_task(
    loading: impl Future<Output = Result<Revision, LoadError>> + Send + 'static,
) -> Result<Revision, LoadError> {
    AbortOnDropHandle::new(tokio::spawn(loading)).await.unwrap_or(Err(LoadError::Panicked))
}

/// The result of one of several tasks. A task that panicked leaves its app unchanged; the next notification
/// retries it.
fn joined(done: Option<Result<Result<(), StoreError>, tokio::task::JoinError>>) -> Result<(), StoreError> {
    match done {
        Some(Ok(read)) => read,
        Some(Err(error)) => {
            tracing::error!(%error, "task that reads an app panicked");
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_while_loading_revision_becomes_its_error() {
        let loaded = load_in_task(async { panic!("unexpected manifest") }).await;
        assert!(matches!(loaded, Err(LoadError::Panicked)), "{loaded:?}");
    }
}
