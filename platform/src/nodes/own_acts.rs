//! What this node does to apps itself: it serves that without hearing of it, unless it does not know what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manifest_schema::name::AppName;

/// The acts of this node. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnActs(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many are under way, by app.
    under_way: BTreeMap<AppName, usize>,
    /// The apps that one of them may have changed without serving it.
    unread: BTreeSet<AppName>,
}

impl OwnActs {
    /// An act on the app begins.
    pub(crate) fn begin(&self, app: &AppName) -> OwnAct {
        *self.state().under_way.entry(app.clone()).or_default() += 1;
        OwnAct { acts: self.clone(), app: app.clone(), is_served: false }
    }

    /// Whether one is under way that will serve what comes of it.
    pub(super) fn is_under_way(&self, app: &AppName) -> bool {
        self.state().under_way.contains_key(app)
    }

    /// The apps that have to be read again.
    pub(super) fn take_unread(&self) -> BTreeSet<AppName> {
        std::mem::take(&mut self.state().unread)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An act that is under way. Where it ends before it is served, the app is read again: the answer to its COMMIT may be lost,
/// the store be away, or whoever asked for it have gone halfway.
#[derive(Debug)]
pub(crate) struct OwnAct {
    acts: OwnActs,
    app: AppName,
    is_served: bool,
}

impl OwnAct {
    /// All that came of it is served, or nothing came of it.
    pub(crate) fn served(mut self) {
        self.is_served = true;
    }
}

impl Drop for OwnAct {
    fn drop(&mut self) {
        let mut state = self.acts.state();
        if let Some(count) = state.under_way.get_mut(&self.app) {
            *count -= 1;
            if *count == 0 {
                state.under_way.remove(&self.app);
            }
        }
        if !self.is_served {
            state.unread.insert(self.app.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_read_again_where_an_act_was_not_served() {
        let acts = OwnActs::default();
        let app = AppName::new("hello").unwrap();
        let (served, lost) = (acts.begin(&app), acts.begin(&app));
        served.served();
        assert!(acts.is_under_way(&app) && acts.take_unread().is_empty());
        drop(lost);
        assert!(!acts.is_under_way(&app));
        assert_eq!(acts.take_unread().into_iter().collect::<Vec<_>>(), [app]);
        assert!(acts.take_unread().is_empty());
    }
}
