//! Turns of work that many want at once: so many of each app, and so many in all. No app has all of them, and those of an app are
//! given in order of arrival.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of all apps, which are known by `K`. Cheap to clone; clones are the same turns.
#[derive(Clone, Debug)]
pub struct Turns<K> {
    all: usize,
    node: Arc<Semaphore>,
    of_app: usize,
    apps: Arc<Mutex<HashMap<K, Weak<Semaphore>>>>,
}

/// The turns of one app.
#[derive(Clone, Debug)]
pub struct AppTurns {
    app: Arc<Semaphore>,
    node: Arc<Semaphore>,
}

/// A turn, given back on drop.
#[derive(Debug)]
#[must_use = "the turn is over as soon as it is dropped"]
pub struct Turn {
    _app: OwnedSemaphorePermit,
    _node: OwnedSemaphorePermit,
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// So many at once, and so many of one app.
    pub fn new(all: usize, of_app: usize) -> Self {
        Self { all, node: Arc::new(Semaphore::new(all)), of_app, apps: Arc::default() }
    }

    /// Those of an app.
    pub fn of(&self, app: &K) -> AppTurns {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let known = apps.get(app).and_then(Weak::upgrade);
        let turns = known.unwrap_or_else(|| {
            let turns = Arc::new(Semaphore::new(self.of_app));
            apps.retain(|_, turns| turns.strong_count() > 0);
            apps.insert(app.clone(), Arc::downgrade(&turns));
            turns
        });
        AppTurns { app: turns, node: Arc::clone(&self.node) }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.all.saturating_sub(self.node.available_permits())
    }
}

impl AppTurns {
    /// Waits for a turn: first among those of the app, and then among all that have theirs.
    pub async fn next(&self) -> Turn {
        const OPEN: &str = "these semaphores are never closed";
        let app = Arc::clone(&self.app).acquire_owned().await.expect(OPEN);
        Turn { _app: app, _node: Arc::clone(&self.node).acquire_owned().await.expect(OPEN) }
    }

    /// A turn, where there is one at once.
    pub fn try_next(&self) -> Option<Turn> {
        let app = Arc::clone(&self.app).try_acquire_owned().ok()?;
        Some(Turn { _app: app, _node: Arc::clone(&self.node).try_acquire_owned().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn an_app_has_a_part_of_the_turns() {
        let turns = Turns::new(3, 2);
        let (app, other) = (turns.of(&"app"), turns.of(&"other"));
        let first = now(app.next()).unwrap();
        let second = now(turns.of(&"app").next()).unwrap();
        assert!(now(app.next()).is_none() && app.try_next().is_none(), "all of one app share them");
        let third = now(other.next()).unwrap();
        assert!(now(other.next()).is_none() && other.try_next().is_none(), "all are taken");
        assert_eq!(turns.taken(), 3);
        drop(first);
        assert!(now(other.next()).is_some());
        drop((second, third));
        assert_eq!(turns.taken(), 0);
        assert!(app.try_next().is_some());
    }
}
