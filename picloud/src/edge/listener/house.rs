//! What all connections share: the bounds, the places, and whether the node is stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::spoken::Spoken;
use crate::edge::pace::MinRate;
use crate::edge::stopping::Stopping;
use crate::numbers::{Closed, Numbers};

/// The largest head of a request, in bytes; a longer one is answered 431. nginx and Apache take 32 KiB and 8 KiB a line. More
/// than 100 header lines are answered so as well: that is hyper's own bound, for which it has room without asking for memory.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The least time between two looks at what a connection waits for, whatever the bounds say.
pub(super) const LOOK_MIN: Duration = Duration::from_millis(10);

/// How often it is logged that all places are taken.
const FULL_LOGGED_EVERY: Duration = Duration::from_secs(60);

/// How long a connection waits for a place before more room is made: others grow old enough to be closed meanwhile.
const ROOM_PAUSE: Duration = Duration::from_millis(10);

/// How long accepting pauses when it fails.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionBounds {
    /// How many may be open at once; more wait in the kernel's queue.
    pub(crate) connections: usize,
    /// The longest a client may take from the first byte of a head to its last.
    pub(crate) head: Duration,
    /// The longest a client may take nothing of its answer …
    pub(crate) answer: Duration,
    /// … and the least rate at which it takes it, averaged over that time.
    pub(crate) min_rate: MinRate,
    /// The longest a connection may be open without a request.
    pub(crate) idle: Duration,
    /// How long connections are still taken when the node is told to stop and has said that it is not ready.
    pub(crate) unready: Duration,
    /// How long a connection without a request stays open after that, for one more.
    pub(crate) last_request: Duration,
    /// How long running requests may go on after that.
    pub(crate) drain: Duration,
}

impl Default for ConnectionBounds {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head: Duration::from_secs(20),
            answer: Duration::from_secs(30),
            min_rate: MinRate::default(),
            // Longer than proxies keep theirs (Caddy two minutes), so that no request meets a connection that is closing.
            idle: Duration::from_secs(180),
            unready: Duration::ZERO,
            // Longer than clients that are in use pause, shorter than a restart may take. Who asks less often finds the connection
            // closed, as it would be one day anyhow.
            last_request: Duration::from_secs(5),
            drain: Duration::from_secs(10),
        }
    }
}

/// What all connections share.
pub(super) struct House {
    pub(super) bounds: ConnectionBounds,
    pub(super) stopping: Arc<Stopping>,
    pub(super) numbers: Arc<Numbers>,
    /// When it was last logged that there was no place.
    full: Mutex<Option<Instant>>,
    pub(super) places: Arc<Semaphore>,
    /// How many connections wait without a request.
    pub(super) idle: AtomicUsize,
    /// How many hold what HTTP/1.1 takes to be spoken.
    pub(super) serving: AtomicUsize,
    /// Tells the one that has waited longest to give way.
    pub(super) give_way: Notify,
    /// Those on which something is said.
    pub(super) spoken: Spoken,
}

impl House {
    pub(super) fn new(bounds: ConnectionBounds, stopping: Arc<Stopping>, numbers: Arc<Numbers>) -> Self {
        Self {
            bounds,
            stopping,
            numbers,
            full: Mutex::new(None),
            places: Arc::new(Semaphore::new(bounds.connections)),
            idle: AtomicUsize::new(0),
            serving: AtomicUsize::new(0),
            give_way: Notify::new(),
            spoken: Spoken::default(),
        }
    }

    /// A place for one more connection. Where there is none, the connection that has been idle for longest gives way, so
    /// that nobody is kept out by those who want nothing. Where none is idle, the address from which most heads and bodies are still to
    /// come gives way: slow ones from one address keep out nobody else.
    pub(super) async fn place(&self) -> Option<Place> {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(place);
            }
            if self.idle.load(Ordering::Relaxed) > 0 {
                self.give_way.notify_one();
            } else {
                self.numbers.closed(Closed::Slow, self.spoken.make_room());
            }
            self.log_full();
            let freed = Arc::clone(&self.places).acquire_owned();
            if let Ok(place) = tokio::time::timeout(ROOM_PAUSE, freed).await {
                return place.ok();
            }
        }
    }

    fn log_full(&self) {
        let mut logged = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|logged| logged.elapsed() >= FULL_LOGGED_EVERY) {
            *logged = Some(Instant::now());
            let (connections, idle) = (self.bounds.connections, self.idle.load(Ordering::Relaxed));
            tracing::warn!(
                connections,
                idle,
                "all connections are in use; for new ones, idle ones and slow ones are closed (--connections)"
            );
        }
    }
}

/// A place among the open connections, given back on drop.
pub(super) type Place = OwnedSemaphorePermit;

/// One of those that are counted, until it is dropped.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(super) fn one_more(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
