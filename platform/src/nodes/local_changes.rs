//! Changes that this node makes to apps: it serves them without handling their notifications, unless their
//! result is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manifest_schema::name::AppName;

/// The running changes of this node. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalChanges(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The number of running changes by app.
    running: BTreeMap<AppName, usize>,
    /// The apps with changes that were possibly committed and not served.
    unsynced: BTreeSet<AppName>,
}

impl LocalChanges {
    /// Begins a change to the app.
    pub(crate) fn begin(&self, app: &AppName) -> LocalChange {
        *self.state().running.entry(app.clone()).or_default() += 1;
        LocalChange { changes: self.clone(), app: app.clone(), is_served: false }
    }

    /// Whether a change to the app is running, which will serve its result.
    pub(super) fn is_running(&self, app: &AppName) -> bool {
        self.state().running.contains_key(app)
    }

    /// Takes the apps that have to be synced.
    pub(super) fn take_unsynced(&self) -> BTreeSet<AppName> {
        std::mem::take(&mut self.state().unsynced)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running change. If it ends without being served, the app is synced: the reply to its COMMIT was lost,
/// the store failed, or the caller was dropped.
#[derive(Debug)]
pub(crate) struct LocalChange {
    changes: LocalChanges,
    app: AppName,
    is_served: bool,
}

impl LocalChange {
    /// Its result is served, or there was no change.
    pub(crate) fn served(mut self) {
        self.is_served = true;
    }
}

impl Drop for LocalChange {
    fn drop(&mut self) {
        let mut state = self.changes.state();
        if let Some(count) = state.running.get_mut(&self.app) {
            *count -= 1;
            if *count == 0 {
                state.running.remove(&self.app);
            }
        }
        if !self.is_served {
            state.unsynced.insert(self.app.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_is_synced_after_unserved_change() {
        let changes = LocalChanges::default();
        let app = AppName::new("hello").unwrap();
        let (served, lost) = (changes.begin(&app), changes.begin(&app));
        served.served();
        assert!(changes.is_running(&app) && changes.take_unsynced().is_empty());
        drop(lost);
        assert!(!changes.is_running(&app));
        assert_eq!(changes.take_unsynced().into_iter().collect::<Vec<_>>(), [app]);
        assert!(changes.take_unsynced().is_empty());
    }
}
