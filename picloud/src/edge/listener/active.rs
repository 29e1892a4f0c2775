//! The connections with a request, and which of them to evict at the connection limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::timers::ConnectionTimers;
use crate::edge::client_ip::network;
use crate::edge::peer::Peer;

/// The minimum age of an incomplete head or body before its connection can be evicted.
const SLOW_MIN: Duration = Duration::from_secs(1);

/// Of this many slow connections of one network one is evicted at a time.
const EVICT_FRACTION: usize = 64;

/// The maximum number of connections evicted at a time.
const EVICT_MAX: usize = 16;

/// All connections with a request, by the address of their allocation.
#[derive(Debug, Default)]
pub(super) struct ActiveConnections(Mutex<HashMap<usize, Arc<ActiveConnection>>>);

/// A connection with a request.
#[derive(Debug)]
pub(super) struct ActiveConnection {
    pub(super) peer: Arc<Peer>,
    pub(super) timers: Arc<ConnectionTimers>,
    is_evicted: AtomicBool,
    evict: Notify,
}

/// Registers an active connection until it is dropped.
pub(super) struct ActiveGuard<'s> {
    registry: &'s ActiveConnections,
    pub(super) connection: Arc<ActiveConnection>,
}

impl ActiveConnections {
    /// Registers a connection whose first byte has arrived.
    pub(super) fn register(&self, address: IpAddr) -> ActiveGuard<'_> {
        let connection = Arc::new(ActiveConnection {
            peer: Peer::new(address),
            timers: Arc::new(ConnectionTimers::new()),
            is_evicted: AtomicBool::new(false),
            evict: Notify::new(),
        });
        connection.timers.begin_head();
        self.lock().insert(key(&connection), Arc::clone(&connection));
        ActiveGuard { registry: self, connection }
    }

    /// Evicts the slowest connections of the network with most incomplete heads and bodies, unless every network has only one. Returns how
    /// many it evicts.
    pub(super) fn evict_slow(&self) -> usize {
        let connections = self.lock();
        let mut by_network: HashMap<IpAddr, Vec<(Duration, &Arc<ActiveConnection>)>> = HashMap::new();
        for connection in connections.values() {
            if let Some((age, network)) = connection.incomplete().filter(|(age, _)| *age >= SLOW_MIN) {
                by_network.entry(network).or_default().push((age, connection));
            }
        }
        let largest = by_network.into_values().max_by_key(Vec::len).filter(|slow| slow.len() > 1);
        let Some(mut slow) = largest else { return 0 };
        slow.sort_unstable_by_key(|(age, _)| std::cmp::Reverse(*age));
        let evicted = (slow.len() / EVICT_FRACTION).clamp(1, EVICT_MAX);
        for (_, connection) in slow.into_iter().take(evicted) {
            connection.is_evicted.store(true, Ordering::Relaxed);
            connection.evict.notify_one();
        }
        evicted
    }

    /// No code panics while it holds the lock, so a poisoned lock cannot occur.
    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Arc<ActiveConnection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActiveConnection {
    /// Completes when the connection is evicted.
    pub(super) async fn evicted(&self) {
        self.evict.notified().await;
    }

    /// Whether the connection is evicted.
    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    /// The age of an incomplete head or body, and the network that sends it. Of a head only the peer is known; of a body also the client that
    /// a trusted proxy reports.
    fn incomplete(&self) -> Option<(Duration, IpAddr)> {
        if self.is_evicted() {
            return None;
        }
        let head = self.timers.head_age().map(|age| (age, self.peer.address));
        let (age, address) = head.or_else(|| self.peer.pending_body())?;
        Some((age, network(address.to_canonical())))
    }
}

impl Drop for ActiveGuard<'_> {
    fn drop(&mut self) {
        self.registry.lock().remove(&key(&self.connection));
    }
}

/// The address of the allocation, which is unique while the connection is registered.
fn key(connection: &Arc<ActiveConnection>) -> usize {
    Arc::as_ptr(connection) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_with_most_slow_connections_is_evicted_from() {
        let active = ActiveConnections::default();
        let register = |address: &str| active.register(address.parse().unwrap());
        let many = [register("2001:db8::1"), register("2001:db8::2"), register("2001:db8::3")];
        let few = [register("2001:db8:0:1::1"), register("192.0.2.1")];
        let proxied = [register("127.0.0.1"), register("127.0.0.1")];
        for guard in &proxied {
            guard.connection.timers.end_head();
        }
        let evicted = || {
            let all = many.iter().chain(&few).chain(&proxied);
            all.map(|guard| guard.connection.is_evicted()).filter(|is_evicted| *is_evicted).count()
        };
        active.evict_slow();
        assert_eq!(evicted(), 0, "none is slow yet");
        std::thread::sleep(SLOW_MIN);
        active.evict_slow();
        assert!(many.iter().any(|guard| guard.connection.is_evicted()));
        active.evict_slow();
        assert_eq!(evicted(), 2);
        active.evict_slow();
        assert_eq!(evicted(), 2, "each network has one left");
        drop((many, few, proxied));
        assert!(active.lock().is_empty());
    }
}
