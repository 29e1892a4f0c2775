//! The other end of a connection, and whether a body is to come from there.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its address, which is the proxy's where there is one.
    pub(super) address: IpAddr,
    bodies: Mutex<Bodies>,
}

/// The bodies that have begun to come and are not whole.
#[derive(Debug)]
struct Bodies {
    open: usize,
    /// When the first of them began, …
    since: Instant,
    /// … and whose it is.
    client: IpAddr,
}

impl Peer {
    /// One that has sent nothing yet.
    pub(super) fn new(address: IpAddr) -> Arc<Self> {
        let bodies = Bodies { open: 0, since: Instant::now(), client: address };
        Arc::new(Self { address, bodies: Mutex::new(bodies) })
    }

    /// Notes that a body of `client` is to come, until what is given back is dropped.
    pub(super) fn begins_body(self: &Arc<Self>, client: IpAddr) -> ComingBody {
        let mut bodies = self.bodies();
        if bodies.open == 0 {
            (bodies.since, bodies.client) = (Instant::now(), client);
        }
        bodies.open += 1;
        ComingBody(Arc::clone(self))
    }

    /// For how long a body has been coming, and whose it is; `None` where none is to come.
    pub(super) fn in_body(&self) -> Option<(Duration, IpAddr)> {
        let bodies = self.bodies();
        (bodies.open > 0).then(|| (bodies.since.elapsed(), bodies.client))
    }

    /// Nothing panics while the lock is held.
    fn bodies(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that is to come.
#[derive(Debug)]
pub(super) struct ComingBody(Arc<Peer>);

impl Drop for ComingBody {
    fn drop(&mut self) {
        self.0.bodies().open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_until_it_is_whole() {
        let [proxy, client, other]: [IpAddr; 3] =
            ["127.0.0.1", "192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let peer = Peer::new(proxy);
        assert!(peer.in_body().is_none());
        let first = peer.begins_body(client);
        let second = peer.begins_body(other);
        assert_eq!(peer.in_body().map(|(_, client)| client), Some(client));
        drop(first);
        assert!(peer.in_body().is_some());
        drop(second);
        assert!(peer.in_body().is_none());
        let _third = peer.begins_body(other);
        assert_eq!(peer.in_body().map(|(_, client)| client), Some(other));
    }
}
