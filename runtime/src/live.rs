//! What every app serves now.
//!
//! A request reads two pointers and takes no lock: the map of apps, and the app's own table of branches. A swap builds
//! that table aside and replaces the app's one pointer, so it costs the same however many apps there are, and no other
//! app notices. Only an app that is new or gone replaces the map itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use manifest_schema::name::AppName;

use crate::gate::{Gate, Permit, Turn};
use crate::revision::Revision;

/// A revision that is live on a branch.
#[derive(Clone, Debug)]
pub struct Live {
    /// The revision.
    pub revision: Arc<Revision>,
    /// The number of the deploy that made it live.
    pub deploy: u64,
    gate: Arc<Gate>,
}

impl Live {
    /// Takes one of the places among the app's running executions, if one is free and nobody waits for it. Places are the
    /// app's, not the revision's: a swap frees none, and previews share them with production.
    pub fn enter_now(&self) -> Option<Permit> {
        self.gate.enter_now(self.concurrency())
    }

    /// Takes a place, waiting for it. `None` where as many wait as may run.
    pub async fn enter(&self) -> Option<Permit> {
        self.gate.enter(self.concurrency()).await
    }

    fn concurrency(&self) -> u32 {
        self.revision.manifest().limits.concurrency
    }

    /// Waits for the right to keep a processor busy for longer than a slice. No app has all of them.
    pub async fn turn(&self) -> Turn {
        self.gate.turn().await
    }
}

/// What every app serves now, by branch label (a branch as addresses write it).
#[derive(Default)]
pub struct LiveTable {
    apps: ArcSwap<HashMap<String, Arc<Slot>>>,
    /// Held while the map of apps or a slot is replaced; readers never take it.
    changing: Mutex<()>,
}

/// One app's place in the table.
#[derive(Debug, Default)]
struct Slot {
    gate: Arc<Gate>,
    branches: ArcSwap<Branches>,
}

#[derive(Clone, Debug, Default)]
struct Branches {
    production: Option<String>,
    by_label: BTreeMap<String, Arc<Live>>,
}

impl LiveTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is live on a branch, given by its label.
    pub fn get(&self, app: &str, label: &str) -> Option<Arc<Live>> {
        self.apps.load().get(app)?.branches.load().by_label.get(label).cloned()
    }

    /// What is live in production.
    pub fn get_production(&self, app: &str) -> Option<Arc<Live>> {
        self.apps.load().get(app)?.branches.load().production()
    }

    /// What is live in production, of every app, in no order.
    pub fn production(&self) -> Vec<Arc<Live>> {
        self.apps.load().values().filter_map(|slot| slot.branches.load().production()).collect()
    }

    /// Makes `revision` live on a branch, in place of what was. Requests that have taken the old one end on it.
    pub fn replace(&self, app: &AppName, label: &str, production: bool, revision: Revision, deploy: u64) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = self.slot(app);
        let mut branches = Branches::clone(&slot.branches.load());
        let live = Live { revision: Arc::new(revision), deploy, gate: Arc::clone(&slot.gate) };
        branches.by_label.insert(label.to_owned(), Arc::new(live));
        if production {
            branches.production = Some(label.to_owned());
        } else if branches.production.as_deref() == Some(label) {
            branches.production = None;
        }
        slot.branches.store(Arc::new(branches));
    }

    /// Ends every branch of `app` whose label is not among `labels`; with none left, the app itself.
    pub fn retain(&self, app: &AppName, labels: &BTreeSet<String>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = self.apps.load().get(app.as_str()).cloned() else { return };
        let mut branches = Branches::clone(&slot.branches.load());
        branches.by_label.retain(|label, _| labels.contains(label));
        branches.production.take_if(|label| !labels.contains(label));
        let gone = branches.by_label.is_empty();
        slot.branches.store(Arc::new(branches));
        if gone {
            let mut apps = HashMap::clone(&self.apps.load());
            apps.remove(app.as_str());
            self.apps.store(Arc::new(apps));
        }
    }

    /// The app's slot; `changing` is held.
    fn slot(&self, app: &AppName) -> Arc<Slot> {
        if let Some(slot) = self.apps.load().get(app.as_str()) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::default());
        let mut apps = HashMap::clone(&self.apps.load());
        apps.insert(app.to_string(), Arc::clone(&slot));
        self.apps.store(Arc::new(apps));
        slot
    }
}

impl Branches {
    fn production(&self) -> Option<Arc<Live>> {
        self.by_label.get(self.production.as_ref()?).cloned()
    }
}

impl fmt::Debug for LiveTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTable").field("apps", &self.apps.load().len()).finish()
    }
}
