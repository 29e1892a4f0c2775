//! Semaphores with a limit per app and one in total. No app can take total permits, and those of an app are
//! granted in order of arrival.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Semaphores of total apps, by key `K`. Cheap to clone; clones share their permits.
#[derive(Clone, Debug)]
pub struct AppSemaphores<K> {
    total: usize,
    node: Arc<Semaphore>,
    per_app: usize,
    apps: Arc<Mutex<HashMap<K, Weak<Semaphore>>>>,
}

/// The semaphore of one app.
#[derive(Clone, Debug)]
pub struct AppSemaphore {
    app: Arc<Semaphore>,
    node: Arc<Semaphore>,
}

/// A permit, released on drop.
#[derive(Debug)]
#[must_use = "the permit is released when it is dropped"]
pub struct AppPermit {
    _app: OwnedSemaphorePermit,
    _node: OwnedSemaphorePermit,
}

impl<K: Clone + Eq + Hash> AppSemaphores<K> {
    /// Creates semaphores with `total` permits, and `per_app` for one app.
    pub fn new(total: usize, per_app: usize) -> Self {
        Self { total, node: Arc::new(Semaphore::new(total)), per_app, apps: Arc::default() }
    }

    /// The semaphore of an app.
    pub fn of(&self, app: &K) -> AppSemaphore {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let known = apps.get(app).and_then(Weak::upgrade);
        let semaphores = known.unwrap_or_else(|| {
            let semaphores = Arc::new(Semaphore::new(self.per_app));
            apps.retain(|_, semaphores| semaphores.strong_count() > 0);
            apps.insert(app.clone(), Arc::downgrade(&semaphores));
            semaphores
        });
        AppSemaphore { app: semaphores, node: Arc::clone(&self.node) }
    }

    /// The number of permits in use.
    pub fn in_use(&self) -> usize {
        self.total.saturating_sub(self.node.available_permits())
    }
}

impl AppSemaphore {
    /// Waits for a permit of the app, and then for one of the total.
    pub async fn acquire(&self) -> AppPermit {
        const NEVER_CLOSED: &str = "the semaphores are never closed";
        let app = Arc::clone(&self.app).acquire_owned().await.expect(NEVER_CLOSED);
        AppPermit { _app: app, _node: Arc::clone(&self.node).acquire_owned().await.expect(NEVER_CLOSED) }
    }

    /// Acquires a permit without waiting.
    pub fn try_acquire(&self) -> Option<AppPermit> {
        let app = Arc::clone(&self.app).try_acquire_owned().ok()?;
        Some(AppPermit { _app: app, _node: Arc::clone(&self.node).try_acquire_owned().ok()? })
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
    fn permits_are_limited_per_app_and_in_total() {
        let semaphores = AppSemaphores::new(3, 2);
        let (app, other) = (semaphores.of(&"app"), semaphores.of(&"other"));
        let first = now(app.acquire()).unwrap();
        let second = now(semaphores.of(&"app").acquire()).unwrap();
        assert!(now(app.acquire()).is_none() && app.try_acquire().is_none(), "total of one app share them");
        let third = now(other.acquire()).unwrap();
        assert!(now(other.acquire()).is_none() && other.try_acquire().is_none(), "none is free");
        assert_eq!(semaphores.in_use(), 3);
        drop(first);
        assert!(now(other.acquire()).is_some());
        drop((second, third));
        assert_eq!(semaphores.in_use(), 0);
        assert!(app.try_acquire().is_some());
    }
}
