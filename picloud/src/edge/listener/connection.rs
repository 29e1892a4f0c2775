//! The life of one connection: it waits for a request, serves HTTP/1.1 or HTTP/2, and waits again.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::state::{ConnectionPermit, CountGuard, ListenerState};
use super::{http1, http2};
use crate::edge::Edge;
use crate::metrics::CloseReason;

/// The connection preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long to wait for the rest of a partial preface before checking again.
const PREFACE_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long a new connection stays open for its first request during a shutdown or at the connection limit: the request can be on its way.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_millis(500);

/// What arrived first on a waiting connection.
enum FirstBytes {
    /// The HTTP/2 preface, or a part of it.
    Preface,
    /// Anything else.
    Other,
    /// Nothing: close the connection.
    None,
}

/// Serves a connection until it is closed.
pub(super) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    permit: ConnectionPermit,
    edge: Arc<Edge>,
    state: Arc<ListenerState>,
) {
    let mut idle = Some(stream);
    let mut is_new = true;
    while let Some(stream) = idle.take() {
        let bytes = wait_for_bytes(&state, &stream, is_new).await;
        let maybe_http2 = std::mem::take(&mut is_new) && matches!(bytes, FirstBytes::Preface);
        if matches!(bytes, FirstBytes::None) {
            break;
        }
        idle = serve_active(stream, peer, maybe_http2, &edge, &state).await;
    }
    drop(permit);
}

/// Serves a connection with a request and returns it once it is idle. Boxed, so that the task of an idle connection stays small.
fn serve_active<'a>(
    stream: TcpStream,
    peer: IpAddr,
    maybe_http2: bool,
    edge: &'a Arc<Edge>,
    state: &'a Arc<ListenerState>,
) -> Pin<Box<dyn Future<Output = Option<TcpStream>> + Send + 'a>> {
    Box::pin(async move {
        let guard = state.active.register(peer);
        let connection = &guard.connection;
        if maybe_http2 {
            let is_http2 = tokio::select! {
                is_http2 = has_preface(&stream, state.limits.header_timeout) => is_http2,
                () = connection.evicted() => return None,
            };
            if is_http2 {
                connection.timers.end_head();
                Box::pin(http2::serve(stream, connection, edge, state)).await;
                return None;
            }
        }
        http1::serve(stream, connection, edge, state).await
    })
}

/// Waits until the connection is readable, without reading from it.
async fn wait_for_bytes(state: &ListenerState, stream: &TcpStream, is_new: bool) -> FirstBytes {
    let grace =
        if is_new { FIRST_REQUEST_TIMEOUT.min(state.limits.shutdown_timeout) } else { Duration::ZERO };
    let closing = state.shutdown.closing();
    let notified = closing.notified();
    let closed = async {
        notified.await;
        tokio::time::sleep(grace).await;
    };
    let idle_timeout = if closing.has_begun() { grace } else { state.limits.idle_timeout };
    let mut peeked = [0; PREFACE.len()];
    let evicted = async {
        // A new client is about to send its request.
        if is_new {
            tokio::time::sleep(FIRST_REQUEST_TIMEOUT).await;
        }
        let _idle = CountGuard::new(&state.idle);
        state.evict_idle.notified().await;
        state.numbers.observe_closed(CloseReason::Idle, 1);
    };
    tokio::select! {
        // A request that has arrived takes precedence.
        biased;
        // `peek` instead of `readable`, which can report a socket without data.
        result = stream.peek(&mut peeked) => match result {
            Ok(0) | Err(_) => FirstBytes::None,
            Ok(bytes) if peeked[..bytes] == PREFACE[..bytes] => FirstBytes::Preface,
            Ok(_) => FirstBytes::Other,
        },
        () = closed => FirstBytes::None,
        () = evicted => FirstBytes::None,
        () = tokio::time::sleep(idle_timeout) => FirstBytes::None,
    }
}

/// Whether the connection begins with the whole HTTP/2 preface. Nothing is read from it.
async fn has_preface(stream: &TcpStream, timeout: Duration) -> bool {
    let peek = async {
        let mut first = [0; PREFACE.len()];
        loop {
            let bytes = stream.peek(&mut first).await?;
            if bytes == 0 || first[..bytes] != PREFACE[..bytes] {
                return Ok::<_, io::Error>(false);
            }
            if bytes == PREFACE.len() {
                return Ok(true);
            }
            // The socket stays readable, so readiness does not tell when more has arrived.
            tokio::time::sleep(PREFACE_POLL_INTERVAL).await;
        }
    };
    matches!(tokio::time::timeout(timeout, peek).await, Ok(Ok(true)))
}
