//! Whether the database does what a node needs of it.

use std::sync::Arc;
use std::time::Duration;

use store::{Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long the database may take to write a row before it counts as away. Nothing else waits longer for its turn to write.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

/// What was found is told for so long, so that those who ask do not make work for the database.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// Finds out whether the database takes writes, when somebody asks. Cheap to clone; all clones know the same.
#[derive(Clone, Debug)]
pub struct DatabaseHealth {
    store: Store,
    known: Arc<Mutex<Option<Known>>>,
}

#[derive(Clone, Debug)]
struct Known {
    at: Instant,
    took: Result<Duration, Arc<StoreError>>,
}

impl DatabaseHealth {
    /// The health of the database of `store`.
    pub fn new(store: Store) -> Self {
        Self { store, known: Arc::default() }
    }

    /// How long it took the database to write a row. Those who ask meanwhile wait for the same answer.
    ///
    /// # Errors
    /// The database took no row.
    pub async fn check(&self) -> Result<Duration, Arc<StoreError>> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.at.elapsed() < KNOWN_FOR) {
            return known.took.clone();
        }
        let began = Instant::now();
        let written = timeout(WRITE_TIME_MAX, self.store.probe_write()).await;
        let took = match written.unwrap_or(Err(StoreError::Silent(WRITE_TIME_MAX))) {
            Ok(()) => Ok(began.elapsed()),
            Err(error) => {
                tracing::error!(%error, "the database takes no writes");
                Err(Arc::new(error))
            }
        };
        *known = Some(Known { at: Instant::now(), took: took.clone() });
        took
    }
}
