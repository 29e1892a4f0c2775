//! The live table: what every app serves now.
//!
//! A request reads two pointers and takes no lock: the map of apps, and the app's table of branches. A swap
//! builds a new table of branches and replaces the app's pointer, so its cost does not depend on the number
//! of apps, and other apps are not affected. Only added or removed apps replace the map, and changed domains
//! the map of domains.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use manifest_schema::label::{app_label, is_plain};
use manifest_schema::name::{AppName, DomainName};
use runtime::{HostCall, Revision, SealingKey, SealingKeyId};
use store::{AppId, Environment, NamespaceName};

use crate::executor::{AppCpu, CpuPermit, SlotPermit, Slots};
use crate::limits::GrantedLimits;
use crate::memory::{Account, MemoryBudget, OutOfMemory, Purpose};
use crate::rate_limit::RateLimit;
use crate::recording::DropCounters;
use crate::request_metrics::{RejectReason, RequestCounts, RequestMetrics};
use crate::scripts::{AppScripts, Scripts};
use crate::secrets::SealingKeys;
use crate::state::{Namespace, State};

/// The maximum number of apps with metrics of their own. Further apps share one set, so that the number of
/// time series is bounded.
pub const METRIC_APPS_MAX: usize = 1000;

/// How often rejections for lack of memory are logged per app.
const MEMORY_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A branch with a live revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The git name, without `refs/heads/`.
    pub name: String,
    /// The label in host names.
    pub label: String,
    /// Whether it is the production branch.
    pub production: bool,
    /// Whether its schedules are enabled: always for production, on request for previews.
    pub scheduled: bool,
    /// The environment whose secrets it reads.
    pub environment: Environment,
}

/// A live revision of a branch.
#[derive(Clone, Debug)]
pub struct Live {
    /// The revision.
    pub revision: Arc<Revision>,
    /// The branch.
    pub branch: Branch,
    /// The number of its deploy.
    pub deploy: u64,
    executor: Arc<BranchExecutor>,
    metrics: Arc<RequestMetrics>,
    records: Arc<DropCounters>,
    scripts: AppScripts,
    limits: Arc<ArcSwap<GrantedLimits>>,
    memory_log: Arc<RateLimit>,
    sealing_keys: Option<SealingKeys>,
    namespace: Option<Arc<Namespace>>,
}

impl Live {
    /// The state of the branch, if the server keeps one.
    pub(crate) fn namespace(&self) -> Option<&Arc<Namespace>> {
        self.namespace.as_ref()
    }

    /// The key of `crypto::seal` with this id, or the newest one.
    pub(crate) fn sealing_key(
        &self,
        id: Option<SealingKeyId>,
    ) -> HostCall<Result<Option<SealingKey>, String>> {
        match &self.sealing_keys {
            Some(keys) => keys.key(self.revision.app_id(), self.branch.production, id),
            None => HostCall::Ready(Err("this server has no key to seal with".to_owned())),
        }
    }

    /// The current limits of the app.
    pub fn limits(&self) -> Arc<GrantedLimits> {
        self.limits.load_full()
    }

    /// The metrics of the app.
    pub fn metrics(&self) -> &RequestMetrics {
        &self.metrics
    }

    /// The app's counters of dropped records.
    pub(crate) fn records(&self) -> &Arc<DropCounters> {
        &self.records
    }

    /// The memory account of the app.
    pub fn memory(&self) -> &Account {
        self.scripts.account()
    }

    /// The scripts of the app.
    pub fn scripts(&self) -> &AppScripts {
        &self.scripts
    }

    /// Counts a request rejected for lack of memory, and logs it at a limited rate.
    pub fn report_out_of_memory(&self, purpose: Purpose, error: &OutOfMemory) {
        self.metrics.count_rejection(RejectReason::Memory);
        if self.memory_log.allow() {
            let (app, purpose) = (self.revision.app(), purpose.as_str());
            tracing::warn!(%app, purpose, %error, "requests rejected: out of memory");
        }
    }

    /// Acquires a slot of the app if one is free and there are no waiters.
    pub fn try_acquire_slot(&self) -> Option<SlotPermit> {
        self.executor.slots.try_acquire(self.concurrency())
    }

    /// Waits for a slot of the app. `None`: the queue is full.
    pub async fn acquire_slot(&self) -> Option<SlotPermit> {
        self.executor.slots.acquire(self.concurrency()).await
    }

    /// The concurrency limit: that of the manifest for production, half of it for all previews together.
    pub fn concurrency(&self) -> u32 {
        match self.revision.limits().concurrency {
            of_production if self.branch.production => of_production,
            limit => (limit / 2).max(1),
        }
    }

    /// Waits for a CPU permit of the app's production, or of its previews. No app has all permits.
    pub async fn acquire_cpu(&self) -> CpuPermit {
        self.executor.cpu.acquire().await
    }
}

/// The state of a branch.
#[derive(Clone, Debug)]
pub enum LiveState {
    /// A live revision.
    Live(Arc<Live>),
    /// A branch whose revision this node cannot serve now.
    Unserved,
    /// A branch of an app that is stopped.
    Stopped,
}

impl LiveState {
    /// The revision, if it is live.
    pub fn live(self) -> Option<Arc<Live>> {
        match self {
            Self::Live(live) => Some(live),
            Self::Unserved | Self::Stopped => None,
        }
    }
}

/// The branches of an app that should be served according to the store. Requests to unserved ones get another
/// response than requests to unknown ones.
#[derive(Clone, Debug, Default)]
pub struct KnownBranches {
    /// All labels.
    pub labels: BTreeSet<String>,
    /// The label of the production branch, if it is among them.
    pub production: Option<String>,
    /// The verified domains of production.
    pub domains: Vec<DomainName>,
    /// Whether the app is stopped: then none is live.
    pub stopped: bool,
}

/// The live revisions of all apps by branch label.
pub struct LiveTable {
    apps: ArcSwap<HashMap<String, Arc<AppEntry>>>,
    /// The apps whose label differs from their name, by label.
    labels: ArcSwap<HashMap<String, Arc<AppEntry>>>,
    /// The apps by custom domain of their production.
    domains: ArcSwap<HashMap<String, Arc<AppEntry>>>,
    /// Locked while a map or entry is replaced; readers do not take it.
    write_lock: Mutex<()>,
    /// The metrics of the apps beyond [`METRIC_APPS_MAX`].
    shared_metrics: Arc<RequestMetrics>,
    scripts: Scripts,
    sealing_keys: OnceLock<SealingKeys>,
    state: OnceLock<State>,
}

/// The executor resources of an app's production, or of all its previews. They are separate, so that previews
/// cannot affect production.
#[derive(Debug)]
struct BranchExecutor {
    slots: Arc<Slots>,
    cpu: Arc<AppCpu>,
}

impl BranchExecutor {
    fn new(cpu: AppCpu) -> Arc<Self> {
        Arc::new(Self { slots: Arc::default(), cpu: Arc::new(cpu) })
    }
}

/// The entry of an app.
#[derive(Debug)]
struct AppEntry {
    production: Arc<BranchExecutor>,
    previews: Arc<BranchExecutor>,
    metrics: Arc<RequestMetrics>,
    records: Arc<DropCounters>,
    limits: Arc<ArcSwap<GrantedLimits>>,
    memory_log: Arc<RateLimit>,
    branches: ArcSwap<Branches>,
}

/// The metrics of one app, or of all apps without metrics of their own.
#[derive(Clone, Debug)]
pub struct AppMetrics {
    /// The app; `None`: all other apps.
    pub app: Option<String>,
    /// The counters.
    pub counts: RequestCounts,
    /// The number of running executions.
    pub running: u32,
    /// The number of waiting executions.
    pub waiting: u32,
}

#[derive(Clone, Debug, Default)]
struct Branches {
    /// The label of the production branch, live or not.
    production: Option<String>,
    by_label: BTreeMap<String, Arc<Live>>,
    /// The labels of branches that should be live and are not.
    unserved: BTreeSet<String>,
    /// The verified domains of production.
    domains: Vec<DomainName>,
    stopped: bool,
}

impl LiveTable {
    /// Creates an empty table with this memory budget.
    pub fn new(memory: MemoryBudget) -> Self {
        Self {
            apps: ArcSwap::default(),
            labels: ArcSwap::default(),
            domains: ArcSwap::default(),
            write_lock: Mutex::default(),
            shared_metrics: Arc::default(),
            scripts: Scripts::new(memory),
            sealing_keys: OnceLock::new(),
            state: OnceLock::new(),
        }
    }

    /// Sets the keys of `crypto::seal` for revisions that become live from now on.
    pub fn set_sealing_keys(&self, keys: SealingKeys) {
        // Only set at the start.
        let _ = self.sealing_keys.set(keys);
    }

    /// Sets the state of apps for revisions that become live from now on.
    pub fn set_state(&self, state: State) {
        // Only set at the start.
        let _ = self.state.set(state);
    }

    /// The state of apps, if the server keeps one.
    pub(crate) fn state(&self) -> Option<&State> {
        self.state.get()
    }

    /// The memory budget of the apps.
    pub fn memory(&self) -> &MemoryBudget {
        self.scripts.memory()
    }

    /// The scripts of the apps.
    pub fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// The live revision of a branch, by its label.
    pub fn get(&self, app: &str, label: &str) -> Option<Arc<Live>> {
        self.find(app, label)?.live()
    }

    /// The live revision of production.
    pub fn get_production(&self, app: &str) -> Option<Arc<Live>> {
        self.find_production(app)?.live()
    }

    /// The state of a branch, by its label.
    pub fn find(&self, app: &str, label: &str) -> Option<LiveState> {
        self.apps.load().get(app)?.branches.load().find(label)
    }

    /// The state of production.
    pub fn find_production(&self, app: &str) -> Option<LiveState> {
        self.apps.load().get(app)?.branches.load().find_production()
    }

    /// The state of a branch, or of production, by the labels of app and branch in a host name.
    pub fn find_by_host(&self, app: &str, branch: Option<&str>) -> Option<LiveState> {
        let apps = if is_plain(app) { self.apps.load() } else { self.labels.load() };
        let branches = apps.get(app)?.branches.load();
        match branch {
            Some(label) => branches.find(label),
            None => branches.find_production(),
        }
    }

    /// The state of production of the app with this domain, in lower case.
    pub fn find_by_domain(&self, domain: &str) -> Option<LiveState> {
        self.domains.load().get(domain)?.branches.load().find_production()
    }

    /// Whether any app has a custom domain.
    pub fn has_domains(&self) -> bool {
        !self.domains.load().is_empty()
    }

    /// The live revisions with enabled schedules, of all apps, unordered.
    pub fn scheduled(&self) -> Vec<Arc<Live>> {
        let mut scheduled = Vec::new();
        for entry in self.apps.load().values() {
            let branches = entry.branches.load();
            scheduled.extend(branches.by_label.values().filter(|live| live.branch.scheduled).cloned());
        }
        scheduled
    }

    /// The previews that read production secrets, by app and branch.
    pub fn previews_that_read_production(&self) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for entry in self.apps.load().values() {
            let branches = entry.branches.load();
            let reads = branches.by_label.values().filter(|live| {
                let requires = !live.revision.manifest().secrets.required.is_empty();
                requires && !live.branch.production && live.branch.environment == Environment::Production
            });
            found.extend(reads.map(|live| (live.revision.app().to_string(), live.branch.name.clone())));
        }
        found
    }

    /// Up to `limit` names of apps that match `filter`, unordered.
    pub fn app_names(&self, filter: impl Fn(&AppName) -> bool, limit: usize) -> Vec<String> {
        let apps = self.apps.load();
        let names = apps.keys().filter_map(|name| AppName::new(name).ok()).filter(filter);
        names.take(limit).map(|name| name.as_str().to_owned()).collect()
    }

    /// The live revisions of an app, unordered.
    pub fn branches(&self, app: &AppName) -> Vec<Arc<Live>> {
        let apps = self.apps.load();
        apps.get(app.as_str())
            .map_or_else(Vec::new, |entry| entry.branches.load().by_label.values().cloned().collect())
    }

    /// The names of an app's live branches.
    pub fn branch_names(&self, app: &AppName) -> Vec<String> {
        self.branches(app).iter().map(|live| live.branch.name.clone()).collect()
    }

    /// The number of apps with a live branch.
    pub fn apps(&self) -> usize {
        self.apps.load().values().filter(|entry| !entry.branches.load().by_label.is_empty()).count()
    }

    /// The number of apps with live production.
    pub fn apps_in_production(&self) -> usize {
        let is_live = |entry: &&Arc<AppEntry>| {
            let branches = entry.branches.load();
            branches.production.as_ref().is_some_and(|label| branches.by_label.contains_key(label))
        };
        self.apps.load().values().filter(is_live).count()
    }

    /// The metrics of all apps with traffic, by name; those of the other apps come last.
    pub fn metrics(&self) -> Vec<AppMetrics> {
        let apps = self.apps.load();
        let mut numbers = Vec::new();
        let mut shared_metrics =
            AppMetrics { app: None, counts: RequestCounts::default(), running: 0, waiting: 0 };
        for (name, entry) in apps.iter() {
            let (production, previews) = (entry.production.slots.load(), entry.previews.slots.load());
            let (running, waiting) = (production.0 + previews.0, production.1 + previews.1);
            if Arc::ptr_eq(&entry.metrics, &self.shared_metrics) {
                (shared_metrics.running, shared_metrics.waiting) =
                    (shared_metrics.running + running, shared_metrics.waiting + waiting);
            } else if let Some(counts) = entry.metrics.counts() {
                numbers.push(AppMetrics { app: Some(name.clone()), counts, running, waiting });
            }
        }
        numbers.sort_by(|one, other| one.app.cmp(&other.app));
        if let Some(counts) = self.shared_metrics.counts() {
            numbers.push(AppMetrics { counts, ..shared_metrics });
        }
        numbers
    }

    /// Makes `revision` live on a branch. Running requests finish on the previous one.
    pub fn replace(&self, app: &AppName, branch: Branch, revision: Revision, deploy: u64) {
        let _changing = self.write_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(app);
        let mut branches = Branches::clone(&entry.branches.load());
        let (label, production) = (branch.label.clone(), branch.production);
        let namespace = self.state.get().map(|state| {
            let app = AppId::from_uuid(revision.app_id());
            let name = match production {
                true => NamespaceName::Production,
                false => NamespaceName::Preview(branch.name.clone()),
            };
            state.namespace(app, &name, entry.limits.load().state_quota(&name))
        });
        let live = Live {
            scripts: self.scripts.of(AppId::from_uuid(revision.app_id())),
            revision: Arc::new(revision.on_branch(&branch.name)),
            branch,
            deploy,
            executor: Arc::clone(if production { &entry.production } else { &entry.previews }),
            metrics: Arc::clone(&entry.metrics),
            records: Arc::clone(&entry.records),
            limits: Arc::clone(&entry.limits),
            memory_log: Arc::clone(&entry.memory_log),
            sealing_keys: self.sealing_keys.get().cloned(),
            namespace,
        };
        branches.unserved.remove(&label);
        branches.by_label.insert(label.clone(), Arc::new(live));
        if production {
            branches.production = Some(label);
        } else if branches.production.as_ref() == Some(&label) {
            branches.production = None;
        }
        entry.branches.store(Arc::new(branches));
    }

    /// Sets the limits of an app. If nothing of it becomes live, [`LiveTable::retain`] has to remove it.
    pub fn grant(&self, app: &AppName, limits: GrantedLimits) {
        let _changing = self.write_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (entry, limits) = (self.entry(app), Arc::new(limits));
        entry.limits.store(Arc::clone(&limits));
        for live in entry.branches.load().by_label.values() {
            if let Some(namespace) = &live.namespace {
                namespace.set_quota(limits.state_quota(namespace.name()));
            }
        }
    }

    /// Removes every branch of `app` that is not among `known`; without any, the app itself.
    pub fn retain(&self, app: &AppName, known: &KnownBranches) {
        let _changing = self.write_lock.lock().unwrap_or_else(PoisonError::into_inner);
        if known.labels.is_empty() && !self.apps.load().contains_key(app.as_str()) {
            return;
        }
        let entry = self.entry(app);
        let mut branches = Branches::clone(&entry.branches.load());
        branches.by_label.retain(|label, _| !known.stopped && known.labels.contains(label));
        let is_unserved = |label: &&String| !branches.by_label.contains_key(*label);
        branches.unserved = known.labels.iter().filter(is_unserved).cloned().collect();
        branches.production.clone_from(&known.production);
        branches.domains.clone_from(&known.domains);
        branches.stopped = known.stopped;
        entry.branches.store(Arc::new(branches));
        self.update_domains(&entry);
        if known.labels.is_empty() {
            let mut apps = HashMap::clone(&self.apps.load());
            apps.remove(app.as_str());
            self.apps.store(Arc::new(apps));
            let label = app_label(app);
            if self.labels.load().contains_key(&label) {
                let mut labels = HashMap::clone(&self.labels.load());
                labels.remove(&label);
                self.labels.store(Arc::new(labels));
            }
        }
    }

    /// Updates the domains of an app; `write_lock` is held. A domain of another app moves: that app has
    /// released it, and the notification can still be on its way.
    fn update_domains(&self, entry: &Arc<AppEntry>) {
        let branches = entry.branches.load();
        let current = &branches.domains;
        let domains = self.domains.load();
        let is_own = |name: &str| domains.get(name).is_some_and(|other| Arc::ptr_eq(other, entry));
        let owned = domains.values().filter(|other| Arc::ptr_eq(other, entry)).count();
        if owned == current.len() && current.iter().all(|domain| is_own(domain.as_str())) {
            return;
        }
        let mut domains = HashMap::clone(&domains);
        domains.retain(|_, other| !Arc::ptr_eq(other, entry));
        domains.extend(current.iter().map(|domain| (domain.to_string(), Arc::clone(entry))));
        self.domains.store(Arc::new(domains));
    }

    /// The app's entry, created if missing; `write_lock` is held.
    fn entry(&self, app: &AppName) -> Arc<AppEntry> {
        if let Some(entry) = self.apps.load().get(app.as_str()) {
            return Arc::clone(entry);
        }
        let mut apps = HashMap::clone(&self.apps.load());
        let with_own_metrics =
            apps.values().filter(|entry| !Arc::ptr_eq(&entry.metrics, &self.shared_metrics)).count();
        let metrics = if with_own_metrics < METRIC_APPS_MAX {
            Arc::default()
        } else {
            Arc::clone(&self.shared_metrics)
        };
        let entry = Arc::new(AppEntry {
            production: BranchExecutor::new(AppCpu::for_production()),
            previews: BranchExecutor::new(AppCpu::for_previews()),
            metrics,
            records: Arc::default(),
            limits: Arc::default(),
            memory_log: Arc::new(RateLimit::new(MEMORY_LOG_INTERVAL)),
            branches: ArcSwap::default(),
        });
        apps.insert(app.to_string(), Arc::clone(&entry));
        self.apps.store(Arc::new(apps));
        if !is_plain(app.as_str()) {
            let mut labels = HashMap::clone(&self.labels.load());
            labels.insert(app_label(app), Arc::clone(&entry));
            self.labels.store(Arc::new(labels));
        }
        entry
    }
}

impl Branch {
    /// A production branch with this name as its label.
    pub fn production(name: &str) -> Self {
        let (label, environment) = (name.to_owned(), Environment::Production);
        Self { name: name.to_owned(), label, production: true, scheduled: true, environment }
    }

    /// A preview branch with this name and label; `scheduled`: its schedules are enabled.
    pub fn preview(name: &str, label: &str, scheduled: bool) -> Self {
        let (label, environment) = (label.to_owned(), Environment::Preview);
        Self { name: name.to_owned(), label, production: false, scheduled, environment }
    }
}

impl Branches {
    fn find(&self, label: &str) -> Option<LiveState> {
        match self.by_label.get(label) {
            Some(live) => Some(LiveState::Live(Arc::clone(live))),
            None if self.stopped => self.unserved.contains(label).then_some(LiveState::Stopped),
            None => self.unserved.contains(label).then_some(LiveState::Unserved),
        }
    }

    fn find_production(&self) -> Option<LiveState> {
        self.find(self.production.as_ref()?)
    }
}

impl fmt::Debug for LiveTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTable").field("apps", &self.apps.load().len()).finish()
    }
}

#[cfg(test)]
mod tests;
