//! The state that all connections share: limits, permits, and the shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::active::ActiveConnections;
use crate::edge::min_rate::MinRate;
use crate::edge::shutdown::Shutdown;
use crate::metrics::{CloseReason, EdgeMetrics};

/// The maximum size of a request head; beyond it, and beyond hyper's own limit of 100 header fields, the response is 431. nginx and Apache
/// accept 32 KiB and 8 KiB per line.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The minimum interval between two checks of a connection's timers.
pub(super) const TIMER_CHECK_MIN: Duration = Duration::from_millis(10);

/// How often a full server is logged.
const FULL_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long to wait for a permit before evicting another connection. Meanwhile others get old enough to be evicted.
const EVICT_INTERVAL: Duration = Duration::from_millis(10);

/// How long to pause after a failed accept.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// How many connections can be open at once. Further ones wait in the kernel's accept queue.
    pub(crate) max_connections: usize,
    /// The maximum time from the first to the last byte of a request head.
    pub(crate) header_timeout: Duration,
    /// The maximum time in which a client reads nothing of its response.
    pub(crate) write_timeout: Duration,
    /// The minimum rate at which a client reads its response, averaged over `write_timeout`.
    pub(crate) min_rate: MinRate,
    /// The maximum time a connection stays open without a request.
    pub(crate) idle_timeout: Duration,
    /// How long to keep accepting connections after the readiness check fails.
    pub(crate) shutdown_delay: Duration,
    /// How long an idle connection stays open after that for a final request.
    pub(crate) final_request_timeout: Duration,
    /// How long running requests can take after that.
    pub(crate) shutdown_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(30),
            min_rate: MinRate::default(),
            // Longer than the keep-alive of proxies (two minutes in Caddy), so that no request meets a connection that is closing.
            idle_timeout: Duration::from_secs(180),
            shutdown_delay: Duration::ZERO,
            // Longer than the pauses of busy clients, shorter than a restart. Clients with longer pauses find the connection closed, as
            // after the idle timeout.
            final_request_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// The state that all connections share.
pub(super) struct ListenerState {
    pub(super) limits: ConnectionLimits,
    pub(super) shutdown: Arc<Shutdown>,
    pub(super) numbers: Arc<EdgeMetrics>,
    /// When a full server was last logged.
    full_logged_at: Mutex<Option<Instant>>,
    pub(super) permits: Arc<Semaphore>,
    /// The number of idle connections.
    pub(super) idle: AtomicUsize,
    /// The number of connections that hold HTTP/1.1 buffers.
    pub(super) buffered: AtomicUsize,
    /// Evicts the connection that has been idle for longest.
    pub(super) evict_idle: Notify,
    /// The connections with a request.
    pub(super) active: ActiveConnections,
}

/// The permit of an open connection, released on drop.
pub(super) type ConnectionPermit = OwnedSemaphorePermit;

impl ListenerState {
    pub(super) fn new(limits: ConnectionLimits, shutdown: Arc<Shutdown>, numbers: Arc<EdgeMetrics>) -> Self {
        Self {
            limits,
            shutdown,
            numbers,
            full_logged_at: Mutex::new(None),
            permits: Arc::new(Semaphore::new(limits.max_connections)),
            idle: AtomicUsize::new(0),
            buffered: AtomicUsize::new(0),
            evict_idle: Notify::new(),
            active: ActiveConnections::default(),
        }
    }

    /// Acquires a permit for a new connection. At the limit it evicts the connection that has been idle for longest; where none is idle,
    /// slow connections of the network that has most of them. So neither idle nor slow clients lock others out.
    pub(super) async fn acquire_permit(&self) -> Option<ConnectionPermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return Some(permit);
            }
            if self.idle.load(Ordering::Relaxed) > 0 {
                self.evict_idle.notify_one();
            } else {
                self.numbers.observe_closed(CloseReason::Slow, self.active.evict_slow());
            }
            self.log_full();
            let released = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(EVICT_INTERVAL, released).await {
                return permit.ok();
            }
        }
    }

    fn log_full(&self) {
        let mut logged_at = self.full_logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_none_or(|at| at.elapsed() >= FULL_LOG_INTERVAL) {
            *logged_at = Some(Instant::now());
            let (max_connections, idle) = (self.limits.max_connections, self.idle.load(Ordering::Relaxed));
            tracing::warn!(
                max_connections,
                idle,
                "connection limit reached; evicting idle and slow connections (--max-connections)"
            );
        }
    }
}

/// Counts something until it is dropped.
pub(super) struct CountGuard<'a>(&'a AtomicUsize);

impl<'a> CountGuard<'a> {
    pub(super) fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
