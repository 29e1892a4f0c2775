use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use store::AppId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns of reading from repositories, of an app and in all. What reads for long takes them, so that it leaves the database to
/// others; a turn lasts as long as one query does, and nobody has one who waits for a client.
#[derive(Clone, Debug)]
pub struct ReadTurns {
    node: Arc<Semaphore>,
    of_app: usize,
    apps: Arc<Mutex<HashMap<AppId, Weak<Semaphore>>>>,
}

/// The turns of one app.
#[derive(Clone, Debug)]
pub(super) struct AppTurns {
    app: Arc<Semaphore>,
    node: Arc<Semaphore>,
}

/// A turn, given back on drop.
#[derive(Debug)]
#[must_use = "the turn is over as soon as it is dropped"]
pub(super) struct Turn {
    _app: OwnedSemaphorePermit,
    _node: OwnedSemaphorePermit,
}

impl ReadTurns {
    /// So many at once, and so many of one app.
    pub fn new(all: usize, of_app: usize) -> Self {
        Self { node: Arc::new(Semaphore::new(all)), of_app, apps: Arc::default() }
    }

    pub(super) fn of(&self, app: AppId) -> AppTurns {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let known = apps.get(&app).and_then(Weak::upgrade);
        let turns = known.unwrap_or_else(|| {
            let turns = Arc::new(Semaphore::new(self.of_app));
            apps.retain(|_, turns| turns.strong_count() > 0);
            apps.insert(app, Arc::downgrade(&turns));
            turns
        });
        AppTurns { app: turns, node: Arc::clone(&self.node) }
    }
}

impl AppTurns {
    /// Waits for a turn, in order of arrival.
    pub(super) async fn next(&self) -> Turn {
        const OPEN: &str = "these semaphores are never closed";
        let app = Arc::clone(&self.app).acquire_owned().await.expect(OPEN);
        Turn { _app: app, _node: Arc::clone(&self.node).acquire_owned().await.expect(OPEN) }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use uuid::Uuid;

    use super::*;

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn an_app_has_a_part_of_the_turns() {
        let turns = ReadTurns::new(3, 2);
        let of = |app| turns.of(AppId::from_uuid(Uuid::from_u128(app)));
        let (app, other) = (of(1), of(2));
        let first = now(app.next()).unwrap();
        let second = now(of(1).next()).unwrap();
        assert!(now(app.next()).is_none(), "all of one app share them");
        let third = now(other.next()).unwrap();
        assert!(now(other.next()).is_none(), "all are taken");
        drop(first);
        assert!(now(other.next()).is_some());
        drop((second, third));
        assert!(now(app.next()).is_some());
    }
}
