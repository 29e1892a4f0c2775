//! Health check of the database.

use std::sync::Arc;
use std::time::Duration;

use store::{Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// The write timeout after which the database counts as down. Nothing else waits longer for the write lock.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a result is cached, so that frequent checks do not load the database.
const RESULT_TTL: Duration = Duration::from_secs(10);

/// Checks whether the database accepts writes. Cheap to clone; clones share the result.
#[derive(Clone, Debug)]
pub struct DatabaseHealth {
    store: Store,
    cached: Arc<Mutex<Option<CachedResult>>>,
}

#[derive(Clone, Debug)]
struct CachedResult {
    at: Instant,
    result: Result<Duration, Arc<StoreError>>,
}

impl DatabaseHealth {
    /// Creates a health check for the database of `store`.
    pub fn new(store: Store) -> Self {
        Self { store, cached: Arc::default() }
    }

    /// The time the database took to write a row. Concurrent callers share one probe.
    ///
    /// # Errors
    /// The write failed.
    pub async fn check(&self) -> Result<Duration, Arc<StoreError>> {
        let mut cached = self.cached.lock().await;
        if let Some(cached) = cached.as_ref().filter(|cached| cached.at.elapsed() < RESULT_TTL) {
            return cached.result.clone();
        }
        let began = Instant::now();
        let written = timeout(WRITE_TIMEOUT, self.store.probe_write()).await;
        let result = match written.unwrap_or(Err(StoreError::Unresponsive(WRITE_TIMEOUT))) {
            Ok(()) => Ok(began.elapsed()),
            Err(error) => {
                tracing::error!(%error, "the database does not accept writes");
                Err(Arc::new(error))
            }
        };
        *cached = Some(CachedResult { at: Instant::now(), result: result.clone() });
        result
    }
}
