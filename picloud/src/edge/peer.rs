//! The peer of a connection, and the request bodies that it has not sent completely.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The peer of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// The address of the peer: of the proxy, where there is one.
    pub(super) address: IpAddr,
    bodies: Mutex<PendingBodies>,
}

/// The bodies that are incomplete.
#[derive(Debug)]
struct PendingBodies {
    count: usize,
    /// When the oldest of them began.
    since: Instant,
    /// The client of the oldest.
    client: IpAddr,
}

impl Peer {
    pub(super) fn new(address: IpAddr) -> Arc<Self> {
        let bodies = PendingBodies { count: 0, since: Instant::now(), client: address };
        Arc::new(Self { address, bodies: Mutex::new(bodies) })
    }

    /// Registers an incomplete body of `client` until the guard is dropped.
    pub(super) fn begin_body(self: &Arc<Self>, client: IpAddr) -> PendingBody {
        let mut bodies = self.bodies();
        if bodies.count == 0 {
            (bodies.since, bodies.client) = (Instant::now(), client);
        }
        bodies.count += 1;
        PendingBody(Arc::clone(self))
    }

    /// The age and the client of the oldest incomplete body.
    pub(super) fn pending_body(&self) -> Option<(Duration, IpAddr)> {
        let bodies = self.bodies();
        (bodies.count > 0).then(|| (bodies.since.elapsed(), bodies.client))
    }

    /// No code panics while it holds the lock, so a poisoned lock cannot occur.
    fn bodies(&self) -> MutexGuard<'_, PendingBodies> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registers an incomplete body until it is dropped.
#[derive(Debug)]
pub(super) struct PendingBody(Arc<Peer>);

impl Drop for PendingBody {
    fn drop(&mut self) {
        self.0.bodies().count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_pending_until_guard_is_dropped() {
        let [proxy, client, other]: [IpAddr; 3] =
            ["127.0.0.1", "192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let peer = Peer::new(proxy);
        assert!(peer.pending_body().is_none());
        let first = peer.begin_body(client);
        let second = peer.begin_body(other);
        assert_eq!(peer.pending_body().map(|(_, client)| client), Some(client));
        drop(first);
        assert!(peer.pending_body().is_some());
        drop(second);
        assert!(peer.pending_body().is_none());
        let _third = peer.begin_body(other);
        assert_eq!(peer.pending_body().map(|(_, client)| client), Some(other));
    }
}
