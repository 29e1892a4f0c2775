//! Accepts connections, within bounds, until told to stop.
//!
//! A connection waits for its first bytes, and between requests, in [`connection`], where it costs its socket and little
//! else. What it then speaks is answered by [`http1`] or [`http2`] (with [`streams`], [`unsent`] and [`frames`]), over a [`socket`] that notes
//! what it waits for ([`pulse`]), until [`closing`] ends it. All of them see one [`house`]: the bounds, the places, those that are
//! [`spoken`] on and can have to give way, and whether the node is stopping.

mod closing;
mod connection;
mod frames;
mod house;
mod http1;
mod http2;
mod pulse;
mod socket;
mod spoken;
mod streams;
mod unsent;

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
use super::stopping::Stopping;
use house::{ACCEPT_PAUSE, House, Place};

pub(crate) use house::ConnectionBounds;

/// How many connections may wait to be accepted, as far as the kernel allows (net.core.somaxconn, 4096 on Linux). One more
/// is not refused but has to knock again a second later.
const BACKLOG: u32 = 4096;

/// How often a failure to accept is told.
const ACCEPT_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Takes an address to listen on.
///
/// # Errors
/// It is in use, is not this machine's, or may not be taken.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Else a node that was stopped could not take its own address again for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// An address of this machine that leads to what listens at `address`, from the network too where there is one.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    // Nothing is sent: this only asks which address the way out begins with. The one that it would lead to is nobody's (RFC 5737).
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

/// Serves `edge` on `listener` until `stop` is done, then answers those that are connected once more and lets running requests
/// finish.
pub(crate) async fn serve(
    listener: TcpListener,
    edge: Arc<Edge>,
    bounds: ConnectionBounds,
    stopping: Arc<Stopping>,
    stop: impl Future<Output = ()>,
) {
    let house = Arc::new(House::new(bounds, stopping, Arc::clone(&edge.numbers)));
    let mut stop = pin!(async {
        stop.await;
        house.stopping.turn_away();
        tokio::time::sleep(bounds.unready).await;
    });
    let mut accepting = Accepting::default();
    let serve =
        |stream, peer, place| connection::serve(stream, peer, place, Arc::clone(&edge), Arc::clone(&house));
    let before_stop = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&house, &listener, &mut accepting) => accepted,
            () = &mut stop => break,
        };
        if let Some((stream, peer, place)) = accepted {
            before_stop.spawn(serve(stream, peer, place));
        }
    }
    house.stopping.begin_last_answers();
    before_stop.close();
    // Clients whose connection was closed come back, and are answered until nobody is left who has not been told.
    let mut all_told = pin!(tokio::time::timeout(bounds.last_request, before_stop.wait()));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&house, &listener, &mut accepting) => accepted,
            _ = &mut all_told => break,
        };
        if let Some((stream, peer, place)) = accepted {
            tokio::spawn(serve(stream, peer, place));
        }
    }
    house.stopping.begin_closing();
    // Whoever was let in by the kernel before now is answered, once.
    while let Some(Some((stream, peer, place))) = accept(&house, &listener, &mut accepting).now_or_never() {
        tokio::spawn(serve(stream, peer, place));
    }
    drop(listener);
    let all = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(bounds.drain, house.places.acquire_many(all)).await.is_err() {
        tracing::warn!("some requests were still running and were cut off");
    }
}

/// What is kept between two connections that are taken.
#[derive(Default)]
struct Accepting {
    /// A connection that waits for its place.
    waiting: Option<(TcpStream, IpAddr)>,
    /// When a failure was last logged.
    failure_logged: Option<Instant>,
}

/// Waits for a connection, then for its place: others are closed only for one that is there.
async fn accept(
    house: &House,
    listener: &TcpListener,
    accepting: &mut Accepting,
) -> Option<(TcpStream, IpAddr, Place)> {
    if accepting.waiting.is_none() {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and complete; waiting to fill packets only delays them.
                let _ = stream.set_nodelay(true);
                accepting.waiting = Some((stream, peer.ip()));
            }
            Err(error) => {
                // Most often the process is out of file descriptors; others must finish first.
                if accepting.failure_logged.is_none_or(|logged| logged.elapsed() >= ACCEPT_TOLD_EVERY) {
                    tracing::warn!(%error, "cannot accept connections");
                    accepting.failure_logged = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return None;
            }
        }
    }
    let place = house.place().await?;
    let (stream, peer) = accepting.waiting.take()?;
    Some((stream, peer, place))
}
