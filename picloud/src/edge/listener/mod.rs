//! Accepts connections, within limits, until the shutdown, and serves HTTP on them.
//!
//! An idle connection waits in [`connection`], where it costs little more than its socket. [`http1`] or [`http2`] (with [`streams`],
//! [`pending_writes`] and [`frame_rate_limit`]) serve its requests over a [`socket`] that drives the [`timers`], and [`lingering_close`]
//! closes it. All share one [`state`]: limits, permits, the [`active`] connections, of which slow ones can be evicted, and the shutdown.

mod active;
mod connection;
mod frame_rate_limit;
mod http1;
mod http2;
mod lingering_close;
mod pending_writes;
mod socket;
mod state;
mod streams;
mod timers;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Edge;
use super::shutdown::Shutdown;
use state::{ACCEPT_PAUSE, ConnectionPermit, ListenerState};

pub(crate) use state::ConnectionLimits;

/// The length of the accept queue, as far as the kernel allows (net.core.somaxconn, 4096 on Linux). A client beyond it is not rejected but
/// retries its SYN a second later.
const BACKLOG: u32 = 4096;

/// How often failures to accept are logged.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Binds an address and listens on it.
///
/// # Errors
/// The address is in use, not of this machine, or not permitted.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Otherwise a restarted node could not bind its own address for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// An address of this machine that reaches a listener at `address`, from the network where there is one.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    // Connecting a UDP socket sends nothing; it selects the source address of the default route. The destination is reserved (RFC 5737).
    let outward = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    let ip = match outward {
        Ok(own) if !own.ip().is_unspecified() => own.ip(),
        _ if address.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// Serves `edge` on `listener` until `stop` completes, then shuts down gracefully: every connected client gets one more response, and
/// running requests are drained.
pub(crate) async fn serve(
    listener: TcpListener,
    edge: Arc<Edge>,
    limits: ConnectionLimits,
    shutdown: Arc<Shutdown>,
    stop: impl Future<Output = ()>,
) {
    let state = Arc::new(ListenerState::new(limits, shutdown, Arc::clone(&edge.numbers)));
    let mut stop = pin!(async {
        stop.await;
        state.shutdown.fail_readiness();
        tokio::time::sleep(limits.shutdown_delay).await;
    });
    let mut acceptor = Acceptor::default();
    let serve =
        |stream, peer, permit| connection::serve(stream, peer, permit, Arc::clone(&edge), Arc::clone(&state));
    let open_at_stop = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = acceptor.accept(&state, &listener) => accepted,
            () = &mut stop => break,
        };
        if let Some((stream, peer, permit)) = accepted {
            open_at_stop.spawn(serve(stream, peer, permit));
        }
    }
    state.shutdown.begin_drain();
    open_at_stop.close();
    // Clients whose connection was closed reconnect. Accept them until every connection from before the stop is closed.
    let mut all_closed = pin!(tokio::time::timeout(limits.final_request_timeout, open_at_stop.wait()));
    loop {
        let accepted = tokio::select! {
            accepted = acceptor.accept(&state, &listener) => accepted,
            _ = &mut all_closed => break,
        };
        if let Some((stream, peer, permit)) = accepted {
            tokio::spawn(serve(stream, peer, permit));
        }
    }
    state.shutdown.begin_close();
    // Connections in the accept queue get one response too.
    while let Some(Some((stream, peer, permit))) = acceptor.accept(&state, &listener).now_or_never() {
        tokio::spawn(serve(stream, peer, permit));
    }
    drop(listener);
    let all = u32::try_from(limits.max_connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(limits.shutdown_timeout, state.permits.acquire_many(all)).await.is_err() {
        tracing::warn!("shutdown timeout: aborting running requests");
    }
}

/// Accepts one connection at a time.
#[derive(Default)]
struct Acceptor {
    /// An accepted connection that waits for its permit.
    waiting: Option<(TcpStream, IpAddr)>,
    /// When a failure was last logged.
    failure_logged_at: Option<Instant>,
}

impl Acceptor {
    /// Waits for a connection, then for its permit: others are evicted only for a connection that exists.
    async fn accept(
        &mut self,
        state: &ListenerState,
        listener: &TcpListener,
    ) -> Option<(TcpStream, IpAddr, ConnectionPermit)> {
        if self.waiting.is_none() {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Responses are written whole; Nagle's algorithm would only delay them.
                    let _ = stream.set_nodelay(true);
                    self.waiting = Some((stream, peer.ip()));
                }
                Err(error) => {
                    // Usually the process is out of file descriptors until other connections close.
                    if self.failure_logged_at.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_INTERVAL) {
                        tracing::warn!(%error, "cannot accept connections");
                        self.failure_logged_at = Some(Instant::now());
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    return None;
                }
            }
        }
        let permit = state.acquire_permit().await?;
        let (stream, peer) = self.waiting.take()?;
        Some((stream, peer, permit))
    }
}
