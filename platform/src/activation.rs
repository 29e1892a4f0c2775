//! Keeps the live table true to the store: at start, after a push here or at another node, and whenever news were missed.
//!
//! There is one mechanism, [`Activation::sync`]: read what is live of an app from the store, and make the table say the
//! same. A push hands over the revisions it has just built, so that they need not be read back.
//!
//! Readings of an app come one after the other, so that the last one is right. The generation of the app, another one after
//! every push, tells whether there is anything to be read. It is compared for being the same and never for being higher:
//! where the database was set back (a standby that is promoted, a backup), what is served may be what is lost.

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

/// How many apps are read at once where many are.
const APPS_AT_ONCE: usize = 8;

/// How many turns there are to read apps. Apps that share one wait for each other.
const TURNS: usize = 64;

/// How often it is tried again to serve what cannot be served.
pub const RETRY: Duration = Duration::from_secs(15);

/// How long reading all apps anew may take.
pub(crate) const SYNC_MAX: Duration = Duration::from_secs(120);

/// How many apps that cannot be served are named, and how many letters are said of each.
const NAMED_MAX: usize = 10;
const FAULT_MAX: usize = 200;

/// Revisions that a push has just built, by branch.
pub(crate) type Fresh = BTreeMap<String, (Oid, DeployNumber, Prepared)>;

/// How far this node is with an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenUp {
    /// The app.
    pub app: AppId,
    /// The generation that was read and is served.
    pub generation: Generation,
    /// Why some of it cannot be served; what was served before still is.
    pub fault: Option<String>,
}

/// How far this node is with an app, and when the reading began that brought it there.
#[derive(Clone, Debug)]
struct Taken {
    up: TakenUp,
    read_at: Instant,
}

/// How far an app was swapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swapped {
    /// As far as it can be.
    All,
    /// There was no memory for some of it.
    WithoutRoom,
}

/// Brings the live table in step with the store.
#[derive(Clone, Debug)]
pub struct Activation {
    store: Store,
    table: Arc<LiveTable>,
    vault: Vault,
    /// What every app is granted that has no limits of its own.
    limits: GrantedLimits,
    taken: Arc<Mutex<BTreeMap<AppName, Taken>>>,
    /// Each app has its turns at one of them.
    turns: Arc<[tokio::sync::Mutex<()>; TURNS]>,
    changed: watch::Sender<()>,
}

impl Activation {
    /// An activation from `store` into `table`, with the secrets in `vault`. Apps are granted `limits`, unless they have
    /// others of their own.
    pub fn new(store: Store, table: Arc<LiveTable>, vault: Vault, limits: GrantedLimits) -> Self {
        let turns = Arc::new(std::array::from_fn(|_| tokio::sync::Mutex::new(())));
        Self { store, table, vault, limits, taken: Arc::default(), turns, changed: watch::Sender::new(()) }
    }

    /// What every app is granted that has no limits of its own.
    pub fn limits(&self) -> &GrantedLimits {
        &self.limits
    }

    /// Tells whenever what is live may have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// How far this node is with every app.
    pub fn taken_up(&self) -> BTreeMap<AppName, TakenUp> {
        self.taken().iter().map(|(name, taken)| (name.clone(), taken.up.clone())).collect()
    }

    /// Why this node cannot serve what it should, if so: how many apps it cannot, and why, for the first of them.
    pub fn trouble(&self) -> Option<String> {
        let taken = self.taken();
        let faulty: Vec<(&AppName, &String)> =
            taken.iter().filter_map(|(name, taken)| Some((name, taken.up.fault.as_ref()?))).collect();
        if faulty.is_empty() {
            return None;
        }
        let mut text =
            format!("cannot serve the latest revision of {} of {} apps: ", faulty.len(), taken.len());
        for (at, (name, fault)) in faulty.iter().take(NAMED_MAX).enumerate() {
            let between = if at == 0 { "" } else { "; " };
            let end = fault.char_indices().nth(FAULT_MAX).map_or(fault.len(), |(end, _)| end);
            let cut = if end < fault.len() { "..." } else { "" };
            let _ = write!(text, "{between}{name}: {}{cut}", &fault[..end]);
        }
        if faulty.len() > NAMED_MAX {
            let _ = write!(text, "; and {} more", faulty.len() - NAMED_MAX);
        }
        Some(text)
    }

    /// Tries again and again to serve what cannot be served, for as long as the node runs. While everything is served it
    /// waits for that to change.
    pub async fn retry(self) {
        let mut changes = self.changes();
        loop {
            while self.trouble().is_none() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
            sleep(RETRY).await;
            let synced = timeout(SYNC_MAX, self.sync_all()).await;
            if let Err(error) = synced.unwrap_or(Err(StoreError::Silent(SYNC_MAX))) {
                tracing::debug!(%error, "cannot try again what is not served");
            }
        }
    }

    /// What is live on a branch.
    pub(crate) fn live(&self, app: &AppName, branch: &str) -> Option<Arc<Revision>> {
        Some(Arc::clone(&self.table.get(app.as_str(), &branch_label(app, branch))?.revision))
    }

    /// The scripts of all apps.
    pub fn scripts(&self) -> &Scripts {
        self.table.scripts()
    }

    /// The scripts of an app, whether anything of it is live or not, in its share of the memory.
    pub(crate) fn scripts_of(&self, app: AppId, granted: &GrantedLimits) -> AppScripts {
        let (scripts, memory) = (self.table.scripts().of(app), self.table.memory());
        scripts.account().set_share(granted.memory_share.unwrap_or_else(|| memory.default_share()));
        scripts
    }

    /// Whether the schedules of a branch run by the clock.
    pub(crate) fn is_scheduled(&self, app: &AppName, branch: &str) -> bool {
        self.table.get(app.as_str(), &branch_label(app, branch)).is_some_and(|live| live.branch.scheduled)
    }

    /// The deploy that is live on a branch.
    pub(crate) fn live_deploy(&self, app: &AppName, branch: &str) -> Option<DeployNumber> {
        DeployNumber::new(self.table.get(app.as_str(), &branch_label(app, branch))?.deploy)
    }

    /// Makes every app's live branches say what the store says. Apps whose generation is served already are not read.
    ///
    /// # Errors
    /// The store cannot be read. A revision that cannot be served is logged, and is a fault of its app.
    pub async fn sync_all(&self) -> Result<(), StoreError> {
        let apps = self.store.apps().await?;
        let there: BTreeSet<&AppName> = apps.iter().map(|app| &app.name).collect();
        let gone: Vec<AppName> = self.taken().keys().filter(|name| !there.contains(name)).cloned().collect();
        let differ = apps.iter().filter(|app| !self.is_served(app)).map(|app| app.name.clone());
        let mut reading = JoinSet::new();
        for name in gone.into_iter().chain(differ) {
            if reading.len() >= APPS_AT_ONCE {
                joined(reading.join_next().await)?;
            }
            let this = self.clone();
            reading.spawn(async move { this.sync_named(&name).await });
        }
        while !reading.is_empty() {
            joined(reading.join_next().await)?;
        }
        Ok(())
    }

    /// Makes the live branches of the app of that name say what the store says.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn sync_named(&self, name: &AppName) -> Result<(), StoreError> {
        let _turn = self.turn(name).await;
        self.read(name, Fresh::new()).await
    }

    /// Makes the live branches of `app` say what the store says, using what a push has just committed. That push must
    /// be served even when the store goes away right behind it. `false`: it did, and the app is to be read again.
    pub(crate) async fn sync_with(&self, app: &App, fresh: Fresh) -> bool {
        let committed = Instant::now();
        let _turn = self.turn(&app.name).await;
        let follows = self
            .taken()
            .get(&app.name)
            .is_none_or(|taken| taken.up.app == app.id && taken.up.generation.number < app.generation.number);
        // What the push returned need not be asked for again, unless another reading was first.
        let synced = match follows {
            true => self.sync(app, fresh.clone()).await,
            false => self.read(&app.name, fresh.clone()).await,
        };
        if let Err(error) = synced {
            tracing::warn!(app = %app.name, %error, "cannot read back what was committed; serving it all the same");
            self.serve_unread(app, fresh, committed);
            return false;
        }
        true
    }

    /// Serves what was committed while the store cannot be read, unless it was read since then. It will be read once it can be.
    fn serve_unread(&self, app: &App, fresh: Fresh, committed: Instant) {
        let mut taken = self.taken();
        if taken.get(&app.name).is_some_and(|taken| taken.read_at > committed) {
            return;
        }
        let fresh = if app.stopped_at.is_some() { Fresh::new() } else { fresh };
        for (branch, (commit, deploy, prepared)) in fresh {
            // One that reads secrets waits until they can be read.
            let waits = !prepared.manifest.secrets.required.is_empty();
            if !waits && let Ok(revision) = prepared.into_revision(app, commit) {
                let was = self.table.get(app.name.as_str(), &branch_label(&app.name, &branch));
                let scheduled = was.is_some_and(|was| was.branch.scheduled);
                let is_production = branch == app.production_branch;
                let environment = if is_production { Environment::Production } else { Environment::Preview };
                let on = branch_of(app, &LiveBranch { branch, commit, deploy, scheduled, environment });
                let revision = revision.limited_to(&self.limits.with(&app.limits).executions);
                self.table.replace(&app.name, on, revision, deploy.get());
            }
        }
        if let Some(taken) = taken.get_mut(&app.name) {
            taken.up.generation = Generation::default();
        }
        drop(taken);
        self.changed.send_replace(());
    }

    /// The right to read an app and to change the table by it: readings come one after the other, so that the last of them
    /// is the newest, whatever the numbers of generations say.
    async fn turn(&self, name: &AppName) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
        self.turns[at].lock().await
    }

    /// Reads the app; the turn is held.
    async fn read(&self, name: &AppName, fresh: Fresh) -> Result<(), StoreError> {
        match self.store.app(name).await? {
            Some(app) if self.is_served(&app) => Ok(()),
            Some(app) => self.sync(&app, fresh).await,
            None => {
                self.end(name);
                Ok(())
            }
        }
    }

    /// Reads what is live, builds what is not served yet, and swaps it in; the turn is held.
    async fn sync(&self, app: &App, fresh: Fresh) -> Result<(), StoreError> {
        if self.swap_in(app, fresh).await? == Swapped::WithoutRoom {
            // What has ended, or was replaced, may have made room.
            self.swap_in(app, Fresh::new()).await?;
        }
        Ok(())
    }

    async fn swap_in(&self, app: &App, mut fresh: Fresh) -> Result<Swapped, StoreError> {
        let read_at = Instant::now();
        let mut fault = None;
        let mut swapped = Swapped::All;
        let mut live = match self.store.live_of(app.id).await {
            Err(error) if !error.is_unavailable() => {
                self.cannot_read(app, &error);
                return Ok(Swapped::All);
            }
            live => live?,
        };
        let granted = self.limits.with(&app.limits);
        // Held to the end, so that the share is that of what is loaded.
        let _scripts = self.scripts_of(app.id, &granted);
        // Where there is no room for all, production has it.
        live.sort_by_key(|on| on.branch != app.production_branch);
        let mut built = Vec::new();
        let mut secrets = None;
        // Of a stopped app nothing is held in memory.
        let served_branches = if app.stopped_at.is_some() { &[][..] } else { &live[..] };
        for on in served_branches {
            let LiveBranch { branch, commit, environment, .. } = on;
            if let Some(served) = self.serving(app, on) {
                // What it was granted when it was pushed is bounded by what is granted now.
                let revision = served.revision.limited_to(&granted.executions);
                let is_limited_so = revision.limits() == served.revision.limits();
                if !reads_secrets(&revision) {
                    built.extend((!is_limited_so).then_some((on, revision)));
                    continue;
                }
                // Values are compared, not their generation: a database that was set back has others of the same one.
                match self.secrets_of(app, *environment, &mut secrets).await? {
                    Ok(opened) if revision.matches_secrets(opened) => {
                        built.extend((!is_limited_so).then_some((on, revision)));
                    }
                    Ok(opened) => built.push((on, revision.with_secrets(opened))),
                    Err(error) => {
                        fault.get_or_insert_with(|| {
                            format!("{} (branch {branch})", LoadError::Secrets(error))
                        });
                    }
                }
                continue;
            }
            let is_it =
                |(built, _, prepared): &(Oid, DeployNumber, Prepared)| built == commit && prepared.is_of(app);
            let prepared = fresh.remove(branch).filter(is_it).map(|(.., prepared)| prepared);
            let revision = match prepared {
                Some(prepared) => prepared.into_revision(app, *commit).map_err(LoadError::from),
                None => self.load(app, *commit).await,
            };
            let revision = match revision {
                Ok(revision) if reads_secrets(&revision) => {
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
                        swapped = Swapped::WithoutRoom;
                    }
                    tracing::debug!(app = %app.name, branch, %commit, %error, "cannot serve a stored revision");
                    fault.get_or_insert_with(|| format!("{error} (branch {branch})"));
                }
            }
        }
        let known = match self.known(app, &live, &built).await {
            Err(error) if !error.is_unavailable() => {
                self.cannot_read(app, &error);
                return Ok(Swapped::All);
            }
            known => known?,
        };
        {
            let mut taken = self.taken();
            self.table.grant(&app.name, granted);
            for (on, revision) in built {
                self.table.replace(&app.name, branch_of(app, on), revision, on.deploy.get());
            }
            self.table.retain(&app.name, &known);
            note(&mut taken, app, read_at, fault);
        }
        self.changed.send_replace(());
        Ok(swapped)
    }

    /// Notes that it cannot be read what is live of the app. What was served still is; where that is nothing, its
    /// production branch is known to be there.
    fn cannot_read(&self, app: &App, error: &StoreError) {
        let mut taken = self.taken();
        if self.table.find_production(app.name.as_str()).is_none() {
            let label = branch_label(&app.name, &app.production_branch);
            let labels = BTreeSet::from([label.clone()]);
            let known =
                KnownBranches { labels, production: Some(label), domains: Vec::new(), stopped: false };
            self.table.retain(&app.name, &known);
        }
        note(&mut taken, app, Instant::now(), Some(error.to_string()));
        drop(taken);
        self.changed.send_replace(());
    }

    /// The branches that should be served. Domains are asked for where production can have any: it names some, or it is not known
    /// what it names, since it neither is served nor was built.
    async fn known(
        &self,
        app: &App,
        live: &[LiveBranch],
        built: &[(&LiveBranch, Revision)],
    ) -> Result<KnownBranches, StoreError> {
        let production = live.iter().find(|on| on.branch == app.production_branch);
        let may_have_domains = production.is_some_and(|on| {
            let built = built.iter().find(|(built, _)| built.branch == on.branch);
            let names_some = |revision: &Revision| !revision.manifest().app.domains.is_empty();
            match (built, self.live(&app.name, &on.branch)) {
                (Some((_, revision)), _) => names_some(revision),
                (None, Some(revision)) => names_some(&revision),
                (None, None) => true,
            }
        });
        let domains = match may_have_domains {
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

    /// Whether the generation of the app that the store has is served.
    fn is_served(&self, app: &App) -> bool {
        self.taken().get(&app.name).is_some_and(|taken| {
            taken.up.app == app.id && taken.up.generation == app.generation && taken.up.fault.is_none()
        })
    }

    /// What is live on the branch, if it is just this.
    fn serving(&self, app: &App, on: &LiveBranch) -> Option<Arc<Live>> {
        self.table.get(app.name.as_str(), &branch_label(&app.name, &on.branch)).filter(|live| {
            live.deploy == on.deploy.get()
                && live.branch == branch_of(app, on)
                && live.revision.commit() == on.commit.to_string()
                && live.revision.app_id() == app.id.as_uuid()
        })
    }

    /// The secrets of the app for an environment, or why they cannot be opened. They are read once.
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

    /// Nothing of the app is there any more.
    fn end(&self, name: &AppName) {
        let mut taken = self.taken();
        self.table.retain(name, &KnownBranches::default());
        taken.remove(name);
        drop(taken);
        self.changed.send_replace(());
    }

    /// Held while the table is changed, so that it and what is said of it go together.
    fn taken(&self) -> MutexGuard<'_, BTreeMap<AppName, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes how far the node is with an app, and since when. What cannot be served is logged once, however often it is tried.
fn note(taken: &mut BTreeMap<AppName, Taken>, app: &App, read_at: Instant, fault: Option<String>) {
    let before = taken.get(&app.name).and_then(|before| before.up.fault.as_ref());
    match &fault {
        Some(why) if before != Some(why) => {
            tracing::error!(app = %app.name, "cannot serve the latest revision: {why}");
        }
        None if before.is_some() => tracing::info!(app = %app.name, "the latest revision is served again"),
        _ => {}
    }
    let up = TakenUp { app: app.id, generation: app.generation, fault };
    taken.insert(app.name.clone(), Taken { up, read_at });
}

/// The branch as the live table has it.
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

/// Whether a revision is built with secrets.
fn reads_secrets(revision: &Revision) -> bool {
    !revision.manifest().secrets.required.is_empty()
}

/// Loads in a task of its own: where it panics, this revision cannot be served, and that is a fault like any other.
async fn load_in_task(
    loading: impl Future<Output = Result<Revision, LoadError>> + Send + 'static,
) -> Result<Revision, LoadError> {
    AbortOnDropHandle::new(tokio::spawn(loading)).await.unwrap_or(Err(LoadError::Panicked))
}

/// What became of one of several tasks. One that died left its app as it was, and is tried again with the next news.
fn joined(done: Option<Result<Result<(), StoreError>, tokio::task::JoinError>>) -> Result<(), StoreError> {
    match done {
        Some(Ok(read)) => read,
        Some(Err(error)) => {
            tracing::error!(%error, "reading an app came to an early end");
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn revision_whose_loading_panics_cannot_be_served_and_says_why() {
        let loaded = load_in_task(async { panic!("a manifest that nobody thought of") }).await;
        assert!(matches!(loaded, Err(LoadError::Panicked)), "{loaded:?}");
    }
}
