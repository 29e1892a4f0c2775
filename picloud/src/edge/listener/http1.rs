//! Serves HTTP/1.1 and 1.0 on a connection, from the first byte of a request until it is idle or closed.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use axum::http::{HeaderValue, Method, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::active::ActiveConnection;
use super::lingering_close::lingering_close;
use super::socket::Socket;
use super::state::{CountGuard, HEAD_BYTES_MAX, ListenerState, TIMER_CHECK_MIN};
use super::timers::HeadTimer;
use crate::edge::Edge;
use crate::edge::response_body::without_forbidden_body;

/// The maximum size of hyper's read and write buffers.
const BUFFER_MAX: usize = HEAD_BYTES_MAX;

/// How long a connection keeps its buffers after a request, for the next one.
const BUFFER_TTL: Duration = Duration::from_secs(2);

/// The same while more than [`CROWD_MIN`] connections hold buffers of some 16 KiB each: the allocator seldom returns the fragments of
/// released buffers to the system, so the peak counts.
const CROWDED_BUFFER_TTL: Duration = Duration::from_millis(200);

/// How many connections can keep their buffers for [`BUFFER_TTL`].
const CROWD_MIN: usize = 512;

/// The response to an incomplete head after the header timeout (RFC 9110 section 15.5.9).
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Why serving a connection ends.
enum End {
    /// hyper is done: the last response is sent or the client left.
    Complete,
    /// The connection is idle.
    Idle,
    /// The header timeout.
    HeaderTimeout,
    /// The client reads its response too slowly.
    WriteTimeout,
    /// The connection is evicted for another one.
    Evicted,
}

/// Serves a connection and returns it once it is idle.
pub(super) async fn serve(
    stream: TcpStream,
    active: &Arc<ActiveConnection>,
    edge: &Arc<Edge>,
    state: &Arc<ListenerState>,
) -> Option<TcpStream> {
    let _buffered = CountGuard::new(&state.buffered);
    let timers = Arc::clone(&active.timers);
    let (edge, peer) = (Arc::clone(edge), Arc::clone(&active.peer));
    let draining = state.shutdown.draining();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (edge, peer) = (Arc::clone(&edge), Arc::clone(&peer));
        // Boxed: hyper moves the future, which has 3 KB.
        Box::pin(async move {
            let head = request.method() == Method::HEAD;
            let mut response = without_forbidden_body(edge.handle(request, &peer).await, head);
            if draining.has_begun() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(HeadTimer(Arc::clone(&timers)))
        // Only enables the timer: `poll_to_end` enforces the header timeout.
        .header_read_timeout(Duration::ZERO)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_MAX)
        // One write of one buffer: copying the body after its head is cheaper than a vectored write.
        .writev(false)
        .serve_connection(TokioIo::new(Socket::http1(stream, &timers, state)), service);
    let end = poll_to_end(&mut connection, active, state).await;
    let between_requests = timers.idle_time().is_some();
    let parts = connection.into_parts();
    let (stream, buffer_is_empty) = (parts.io.into_inner().stream, parts.read_buf.is_empty());
    // Released before the lingering close.
    drop(parts.read_buf);
    match end {
        End::Idle if buffer_is_empty => return Some(stream),
        // A pipelined head arrived in part, and nothing more since.
        End::Idle | End::HeaderTimeout => {
            let _ = stream.try_write(REQUEST_TIMEOUT);
            lingering_close(stream).await;
        }
        End::WriteTimeout | End::Evicted => {
            // Otherwise the kernel keeps the unsent data for minutes.
            let _ = stream.set_zero_linger();
        }
        End::Complete if between_requests || timers.is_eof() => {}
        End::Complete => lingering_close(stream).await,
    }
    None
}

async fn poll_to_end<S, B>(
    connection: &mut http1::Connection<TokioIo<Socket>, S>,
    active: &ActiveConnection,
    state: &ListenerState,
) -> End
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: std::error::Error + Send + Sync + 'static,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (limits, timers) = (&state.limits, &*active.timers);
    let buffer_ttl = || {
        let is_crowded = state.buffered.load(Ordering::Relaxed) > CROWD_MIN;
        if is_crowded { CROWDED_BUFFER_TTL } else { BUFFER_TTL }.min(limits.idle_timeout)
    };
    let check_interval =
        || buffer_ttl().min(limits.header_timeout).min(limits.write_timeout).max(TIMER_CHECK_MIN);
    let mut check = pin!(tokio::time::sleep(check_interval()));
    let mut draining = pin!(state.shutdown.draining().notified());
    let mut evicted = pin!(active.evicted());
    // After one poll these wake the task, and are not polled again before: most take locks that all connections share.
    let (mut check_is_registered, mut notify_is_registered) = (false, false);
    poll_fn(|context| {
        // Errors of the connection are the client's.
        if Pin::new(&mut *connection).poll(context).is_ready() {
            return Poll::Ready(End::Complete);
        }
        if !std::mem::replace(&mut notify_is_registered, true) {
            let _ = (draining.as_mut().poll(context), evicted.as_mut().poll(context));
        }
        if active.is_evicted() {
            return Poll::Ready(End::Evicted);
        }
        // The caller waits for the final request or closes the connection. hyper's graceful shutdown would close it after a response without
        // `Connection: close`.
        if state.shutdown.draining().has_begun() && timers.is_idle() {
            return Poll::Ready(End::Idle);
        }
        while !check_is_registered || check.is_elapsed() {
            check_is_registered = true;
            if check.as_mut().poll(context).is_pending() {
                break;
            }
            if timers.reads_slower_than(limits.min_rate, limits.write_timeout) {
                return Poll::Ready(End::WriteTimeout);
            }
            if timers.head_age().is_some_and(|age| age >= limits.header_timeout) {
                return Poll::Ready(End::HeaderTimeout);
            }
            if timers.blocked_time().is_none() && timers.idle_time().is_some_and(|time| time >= buffer_ttl())
            {
                return Poll::Ready(End::Idle);
            }
            check.as_mut().reset(Instant::now() + check_interval());
            check_is_registered = false;
        }
        Poll::Pending
    })
    .await
}
