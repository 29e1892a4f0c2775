//! What every app serves now.
//!
//! A request reads two pointers and takes no lock: the map of apps, and the app's own table of branches. A swap builds
//! that table aside and replaces the app's one pointer, so it costs the same however many apps there are, and no other
//! app notices. Only an app that is new or gone replaces the map itself, and one whose domains change that of the domains.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use manifest_schema::label::{app_label, is_plain};
use manifest_schema::name::{AppName, DomainName};
use runtime::Revision;
use store::{AppId, Environment};

use crate::executor::{AppCpu, CpuPermit, SlotPermit, Slots};
use crate::limits::GrantedLimits;
use crate::memory::{Account, MemoryBudget, OutOfMemory, Purpose};
use crate::recording::RecordShare;
use crate::scripts::{AppScripts, Scripts};
use crate::tally::{Counts, RejectReason, Tally};
use crate::throttle::Throttle;

/// The most apps that are counted by themselves. What more there are is counted together, so that whoever keeps the numbers
/// need not fear how many apps come and go.
pub const TALLIED_MAX: usize = 1000;

/// How often the log says that there was no memory for an app's requests.
const MEMORY_LOG_EVERY: Duration = Duration::from_secs(10);

/// A branch on which something is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// As git names it, without `refs/heads/`.
    pub name: String,
    /// As addresses write it.
    pub label: String,
    /// Whether it is the production branch.
    pub production: bool,
    /// Whether its schedules run by the clock: those of production always do, those of a preview where it was asked for.
    pub scheduled: bool,
    /// Whose secrets it reads.
    pub environment: Environment,
}

/// A revision that is live on a branch.
#[derive(Clone, Debug)]
pub struct Live {
    /// The revision.
    pub revision: Arc<Revision>,
    /// Where.
    pub branch: Branch,
    /// The number of the deploy that made it live.
    pub deploy: u64,
    executor: Arc<BranchExecutor>,
    tally: Arc<Tally>,
    records: Arc<RecordShare>,
    scripts: AppScripts,
    limits: Arc<ArcSwap<GrantedLimits>>,
    memory_log: Arc<Throttle>,
}

impl Live {
    /// What the app is granted now.
    pub fn limits(&self) -> Arc<GrantedLimits> {
        self.limits.load_full()
    }

    /// What is counted of the app.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What of the app there was no room to record.
    pub(crate) fn records(&self) -> &Arc<RecordShare> {
        &self.records
    }

    /// What the app holds of the node's memory.
    pub fn memory(&self) -> &Account {
        self.scripts.account()
    }

    /// What its scripts are compiled to.
    pub fn scripts(&self) -> &AppScripts {
        &self.scripts
    }

    /// A request had no room in memory: it is counted, and the log says so now and then.
    pub fn note_out_of_memory(&self, purpose: Purpose, error: &OutOfMemory) {
        self.tally.rejected(RejectReason::Memory);
        if self.memory_log.passes() {
            let (app, purpose) = (self.revision.app(), purpose.as_str());
            tracing::warn!(%app, purpose, %error, "requests are turned away for want of memory");
        }
    }

    /// Takes one of the slots of the app if one is free and nobody waits for it.
    pub fn try_acquire_slot(&self) -> Option<SlotPermit> {
        self.executor.slots.try_acquire(self.concurrency())
    }

    /// Takes a slot of the app, waiting for it. `None` where as many wait as there are slots.
    pub async fn acquire_slot(&self) -> Option<SlotPermit> {
        self.executor.slots.acquire(self.concurrency()).await
    }

    /// How many executions can run at once: of production as many as its manifest says, and of all previews together half as many as
    /// theirs says.
    pub fn concurrency(&self) -> u32 {
        match self.revision.limits().concurrency {
            of_production if self.branch.production => of_production,
            limit => (limit / 2).max(1),
        }
    }

    /// Waits for one of the CPU permits of production of the app, or of its previews. No app has all of them.
    pub async fn acquire_cpu(&self) -> CpuPermit {
        self.executor.cpu.acquire().await
    }
}

/// What is at an address of an app.
#[derive(Clone, Debug)]
pub enum Found {
    /// A revision that is live.
    Live(Arc<Live>),
    /// A branch whose revision this node cannot serve, for now.
    Unserved,
    /// A branch of an app that is stopped.
    Stopped,
}

impl Found {
    /// The revision, where it is live.
    pub fn live(self) -> Option<Arc<Live>> {
        match self {
            Self::Live(live) => Some(live),
            Self::Unserved | Self::Stopped => None,
        }
    }
}

/// The branches of an app that should be served, as far as the store knows. Those of them that are not live are known
/// all the same: their addresses are the app's, and are answered differently from addresses at which there is nothing.
#[derive(Clone, Debug, Default)]
pub struct KnownBranches {
    /// The labels of all of them.
    pub labels: BTreeSet<String>,
    /// The label of the production branch, if that is one of them.
    pub production: Option<String>,
    /// The domains at which production answers: it names them, and they were proven to be the app's.
    pub domains: Vec<DomainName>,
    /// Whether the app is stopped: none of them is live then.
    pub stopped: bool,
}

/// What every app serves now, by branch label (a branch as addresses write it).
pub struct LiveTable {
    apps: ArcSwap<HashMap<String, Arc<Slot>>>,
    /// The apps whose label is not their name, by label.
    labels: ArcSwap<HashMap<String, Arc<Slot>>>,
    /// Of every app, the domains that its production has of its own.
    domains: ArcSwap<HashMap<String, Arc<Slot>>>,
    /// Held while the map of apps or a slot is replaced; readers never take it.
    changing: Mutex<()>,
    /// What is counted of the apps beyond [`TALLIED_MAX`].
    others: Arc<Tally>,
    scripts: Scripts,
}

/// What production of an app has of the executor, or what all of its previews share: nothing that previews take is production's.
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

/// One app's place in the table.
#[derive(Debug)]
struct Slot {
    production: Arc<BranchExecutor>,
    previews: Arc<BranchExecutor>,
    tally: Arc<Tally>,
    records: Arc<RecordShare>,
    limits: Arc<ArcSwap<GrantedLimits>>,
    memory_log: Arc<Throttle>,
    branches: ArcSwap<Branches>,
}

/// What is counted of one app, or of all those that have no count of their own.
#[derive(Clone, Debug)]
pub struct AppNumbers {
    /// Which; `None`: the others.
    pub app: Option<String>,
    /// What was counted so far.
    pub counts: Counts,
    /// How many executions go on now.
    pub running: u32,
    /// How many requests wait for a place among them.
    pub waiting: u32,
}

#[derive(Clone, Debug, Default)]
struct Branches {
    /// The label of the production branch, live or not.
    production: Option<String>,
    by_label: BTreeMap<String, Arc<Live>>,
    /// The labels of branches that should be live and are not.
    unserved: BTreeSet<String>,
    /// The domains at which production answers.
    domains: Vec<DomainName>,
    stopped: bool,
}

impl LiveTable {
    /// An empty table of apps that hold memory of that budget.
    pub fn new(memory: MemoryBudget) -> Self {
        Self {
            apps: ArcSwap::default(),
            labels: ArcSwap::default(),
            domains: ArcSwap::default(),
            changing: Mutex::default(),
            others: Arc::default(),
            scripts: Scripts::new(memory),
        }
    }

    /// The memory that the apps share.
    pub fn memory(&self) -> &MemoryBudget {
        self.scripts.memory()
    }

    /// The scripts of the apps.
    pub fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// What is live on a branch, given by its label.
    pub fn get(&self, app: &str, label: &str) -> Option<Arc<Live>> {
        self.find(app, label)?.live()
    }

    /// What is live in production.
    pub fn get_production(&self, app: &str) -> Option<Arc<Live>> {
        self.find_production(app)?.live()
    }

    /// What is on a branch, given by its label.
    pub fn find(&self, app: &str, label: &str) -> Option<Found> {
        self.apps.load().get(app)?.branches.load().find(label)
    }

    /// What is in production.
    pub fn find_production(&self, app: &str) -> Option<Found> {
        self.apps.load().get(app)?.branches.load().find_production()
    }

    /// What is at a host: on a branch, or in production. App and branch are given by their labels.
    pub fn find_by_host(&self, app: &str, branch: Option<&str>) -> Option<Found> {
        let apps = if is_plain(app) { self.apps.load() } else { self.labels.load() };
        let branches = apps.get(app)?.branches.load();
        match branch {
            Some(label) => branches.find(label),
            None => branches.find_production(),
        }
    }

    /// What is in production of the app that has the domain, which is given in lower case.
    pub fn find_by_domain(&self, domain: &str) -> Option<Found> {
        self.domains.load().get(domain)?.branches.load().find_production()
    }

    /// Whether any app has a domain of its own.
    pub fn has_domains(&self) -> bool {
        !self.domains.load().is_empty()
    }

    /// What is live on the branches whose schedules run by the clock, of every app, in no order.
    pub fn scheduled(&self) -> Vec<Arc<Live>> {
        let mut scheduled = Vec::new();
        for slot in self.apps.load().values() {
            let branches = slot.branches.load();
            scheduled.extend(branches.by_label.values().filter(|live| live.branch.scheduled).cloned());
        }
        scheduled
    }

    /// The previews that read secrets of production, by app and branch.
    pub fn previews_that_read_production(&self) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for slot in self.apps.load().values() {
            let branches = slot.branches.load();
            let reads = branches.by_label.values().filter(|live| {
                let requires = !live.revision.manifest().secrets.required.is_empty();
                requires && !live.branch.production && live.branch.environment == Environment::Production
            });
            found.extend(reads.map(|live| (live.revision.app().to_string(), live.branch.name.clone())));
        }
        found
    }

    /// The names of apps that `is_wanted`, in no order, at most so many.
    pub fn app_names(&self, is_wanted: impl Fn(&AppName) -> bool, most: usize) -> Vec<String> {
        let apps = self.apps.load();
        let names = apps.keys().filter_map(|name| AppName::new(name).ok()).filter(is_wanted);
        names.take(most).map(|name| name.as_str().to_owned()).collect()
    }

    /// What is live on the branches of an app, in no order.
    pub fn branches(&self, app: &AppName) -> Vec<Arc<Live>> {
        let apps = self.apps.load();
        apps.get(app.as_str())
            .map_or_else(Vec::new, |slot| slot.branches.load().by_label.values().cloned().collect())
    }

    /// The names of those branches.
    pub fn branch_names(&self, app: &AppName) -> Vec<String> {
        self.branches(app).iter().map(|live| live.branch.name.clone()).collect()
    }

    /// Of how many apps something is live.
    pub fn apps(&self) -> usize {
        self.apps.load().values().filter(|slot| !slot.branches.load().by_label.is_empty()).count()
    }

    /// How many apps there are of which production is live.
    pub fn apps_in_production(&self) -> usize {
        let is_live = |slot: &&Arc<Slot>| {
            let branches = slot.branches.load();
            branches.production.as_ref().is_some_and(|label| branches.by_label.contains_key(label))
        };
        self.apps.load().values().filter(is_live).count()
    }

    /// What has been counted of every app that was called, in the order of their names; the others are last.
    pub fn numbers(&self) -> Vec<AppNumbers> {
        let apps = self.apps.load();
        let mut numbers = Vec::new();
        let mut others = AppNumbers { app: None, counts: Counts::default(), running: 0, waiting: 0 };
        for (name, slot) in apps.iter() {
            let (production, previews) = (slot.production.slots.load(), slot.previews.slots.load());
            let (running, waiting) = (production.0 + previews.0, production.1 + previews.1);
            if Arc::ptr_eq(&slot.tally, &self.others) {
                (others.running, others.waiting) = (others.running + running, others.waiting + waiting);
            } else if let Some(counts) = slot.tally.counts() {
                numbers.push(AppNumbers { app: Some(name.clone()), counts, running, waiting });
            }
        }
        numbers.sort_by(|one, other| one.app.cmp(&other.app));
        if let Some(counts) = self.others.counts() {
            numbers.push(AppNumbers { counts, ..others });
        }
        numbers
    }

    /// Makes `revision` live on a branch, in place of what was. Requests that have taken the old one end on it.
    pub fn replace(&self, app: &AppName, branch: Branch, revision: Revision, deploy: u64) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = self.slot(app);
        let mut branches = Branches::clone(&slot.branches.load());
        let (label, production) = (branch.label.clone(), branch.production);
        let live = Live {
            scripts: self.scripts.of(AppId::from_uuid(revision.app_id())),
            revision: Arc::new(revision),
            branch,
            deploy,
            executor: Arc::clone(if production { &slot.production } else { &slot.previews }),
            tally: Arc::clone(&slot.tally),
            records: Arc::clone(&slot.records),
            limits: Arc::clone(&slot.limits),
            memory_log: Arc::clone(&slot.memory_log),
        };
        branches.unserved.remove(&label);
        branches.by_label.insert(label.clone(), Arc::new(live));
        if production {
            branches.production = Some(label);
        } else if branches.production.as_ref() == Some(&label) {
            branches.production = None;
        }
        slot.branches.store(Arc::new(branches));
    }

    /// Notes what an app is granted from now on. One of which nothing will be live is to be ended by [`LiveTable::retain`].
    pub fn grant(&self, app: &AppName, limits: GrantedLimits) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.slot(app).limits.store(Arc::new(limits));
    }

    /// Ends every branch of `app` that is not among `known`; with none of those, the app itself.
    pub fn retain(&self, app: &AppName, known: &KnownBranches) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if known.labels.is_empty() && !self.apps.load().contains_key(app.as_str()) {
            return;
        }
        let slot = self.slot(app);
        let mut branches = Branches::clone(&slot.branches.load());
        branches.by_label.retain(|label, _| !known.stopped && known.labels.contains(label));
        let is_unserved = |label: &&String| !branches.by_label.contains_key(*label);
        branches.unserved = known.labels.iter().filter(is_unserved).cloned().collect();
        branches.production.clone_from(&known.production);
        branches.domains.clone_from(&known.domains);
        branches.stopped = known.stopped;
        slot.branches.store(Arc::new(branches));
        self.settle_domains(&slot);
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

    /// Makes the domains of a slot known, or unknown; `changing` is held. One that another app had goes over: that
    /// app has released it, and the news of it may be on their way.
    fn settle_domains(&self, slot: &Arc<Slot>) {
        let branches = slot.branches.load();
        let wanted = &branches.domains;
        let domains = self.domains.load();
        let mine = |name: &str| domains.get(name).is_some_and(|other| Arc::ptr_eq(other, slot));
        let had = domains.values().filter(|other| Arc::ptr_eq(other, slot)).count();
        if had == wanted.len() && wanted.iter().all(|domain| mine(domain.as_str())) {
            return;
        }
        let mut domains = HashMap::clone(&domains);
        domains.retain(|_, other| !Arc::ptr_eq(other, slot));
        domains.extend(wanted.iter().map(|domain| (domain.to_string(), Arc::clone(slot))));
        self.domains.store(Arc::new(domains));
    }

    /// The app's slot; `changing` is held.
    fn slot(&self, app: &AppName) -> Arc<Slot> {
        if let Some(slot) = self.apps.load().get(app.as_str()) {
            return Arc::clone(slot);
        }
        let mut apps = HashMap::clone(&self.apps.load());
        let tallied = apps.values().filter(|slot| !Arc::ptr_eq(&slot.tally, &self.others)).count();
        let tally = if tallied < TALLIED_MAX { Arc::default() } else { Arc::clone(&self.others) };
        let slot = Arc::new(Slot {
            production: BranchExecutor::new(AppCpu::of_production()),
            previews: BranchExecutor::new(AppCpu::of_previews()),
            tally,
            records: Arc::default(),
            limits: Arc::default(),
            memory_log: Arc::new(Throttle::new(MEMORY_LOG_EVERY)),
            branches: ArcSwap::default(),
        });
        apps.insert(app.to_string(), Arc::clone(&slot));
        self.apps.store(Arc::new(apps));
        if !is_plain(app.as_str()) {
            let mut labels = HashMap::clone(&self.labels.load());
            labels.insert(app_label(app), Arc::clone(&slot));
            self.labels.store(Arc::new(labels));
        }
        slot
    }
}

impl Branch {
    /// The production branch of that name, which is its label too.
    pub fn production(name: &str) -> Self {
        let (label, environment) = (name.to_owned(), Environment::Production);
        Self { name: name.to_owned(), label, production: true, scheduled: true, environment }
    }

    /// A branch of that name and label that is a preview, and whether its schedules run.
    pub fn preview(name: &str, label: &str, scheduled: bool) -> Self {
        let (label, environment) = (label.to_owned(), Environment::Preview);
        Self { name: name.to_owned(), label, production: false, scheduled, environment }
    }
}

impl Branches {
    fn find(&self, label: &str) -> Option<Found> {
        match self.by_label.get(label) {
            Some(live) => Some(Found::Live(Arc::clone(live))),
            None if self.stopped => self.unserved.contains(label).then_some(Found::Stopped),
            None => self.unserved.contains(label).then_some(Found::Unserved),
        }
    }

    fn find_production(&self) -> Option<Found> {
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
