//! Serves HTTP/2 without TLS on a connection, from its preface until it is closed.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::http::Method;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::active::ActiveConnection;
use super::pending_writes::{PendingWrites, TrackedBody};
use super::socket::Socket;
use super::state::{CountGuard, HEAD_BYTES_MAX, ListenerState, TIMER_CHECK_MIN};
use super::streams::{CHUNK, StreamExecutor, response_started};
use crate::edge::Edge;
use crate::edge::response_body::without_forbidden_body;

/// The maximum number of concurrent streams. RFC 9113 section 6.5.2 recommends at least 100.
const STREAMS_MAX: u32 = 100;

/// The maximum number of streams that a client has reset before hyper accepts them (CVE-2023-44487, rapid reset).
const PENDING_RESETS_MAX: usize = 20;

/// The maximum number of streams that the server resets for protocol errors of the client (RUSTSEC-2024-0003).
const ERROR_RESETS_MAX: usize = 100;

/// How much of one response hyper buffers before the client's flow-control window opens.
const SEND_BUFFER_BYTES: usize = CHUNK;

/// The flow-control windows of one request body and of all bodies of a connection.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// How often to send PING, and how long to wait for the acknowledgement. Nothing else detects a client that vanished during a request.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The maximum interval between two checks of the timers.
const TIMER_CHECK_MAX: Duration = Duration::from_secs(2);

/// How long a client can take to close an idle connection after GOAWAY.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves a connection until it is closed.
pub(super) async fn serve(
    stream: TcpStream,
    active: &Arc<ActiveConnection>,
    edge: &Arc<Edge>,
    state: &Arc<ListenerState>,
) {
    let limits = &state.limits;
    let timers = &active.timers;
    let streams = StreamExecutor::new(limits.write_timeout, limits.min_rate);
    let pending_writes = PendingWrites::default();
    let (edge, peer) = (Arc::clone(edge), Arc::clone(&active.peer));
    let writes = pending_writes.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (edge, peer, writes) = (Arc::clone(&edge), Arc::clone(&peer), writes.clone());
        async move {
            let head = request.method() == Method::HEAD;
            let response = edge.handle(request, &peer).await;
            response_started();
            let response = without_forbidden_body(response, head);
            Ok::<_, Infallible>(response.map(|body| TrackedBody::new(body, &writes)))
        }
    });
    let mut connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(Socket::http2(stream, timers)), service);
    let (draining, closing) = (state.shutdown.draining(), state.shutdown.closing());
    let (mut drain_notified, mut close_notified) = (pin!(draining.notified()), pin!(closing.notified()));
    let mut evicted = pin!(active.evicted());
    let mut notify_is_registered = false;
    let mut reset_flood = pin!(streams.reset_flood());
    let check_interval =
        limits.idle_timeout.min(limits.write_timeout).min(TIMER_CHECK_MAX).max(TIMER_CHECK_MIN);
    let mut check = pin!(tokio::time::sleep(check_interval));
    // Half the time for the last chunks of a response: a client at the minimum rate takes no longer for what hyper has buffered.
    let writes_interval = (limits.write_timeout + limits.min_rate.time_of(2 * CHUNK as u64)) / 2;
    let mut writes_checked_at = Instant::now();
    let mut idle_eviction = None;
    let mut goaway_at: Option<Instant> = None;
    poll_fn(|context| {
        loop {
            if Pin::new(&mut connection).poll(context).is_ready() {
                return Poll::Ready(());
            }
            // No GOAWAY for a client that floods resets, nor for an evicted one.
            if reset_flood.as_mut().poll(context).is_ready() || evicted.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut notify_is_registered, true) {
                let _ = (drain_notified.as_mut().poll(context), close_notified.as_mut().poll(context));
            }
            // A client without a request so far gets GOAWAY with its first response, so that it does not reconnect needlessly.
            let shutting_down = closing.has_begun() || draining.has_begun() && streams.had_request();
            let idle_evicted =
                idle_eviction.as_mut().is_some_and(|(_, evicted): &mut (_, Pin<Box<Notified<'_>>>)| {
                    evicted.as_mut().poll(context).is_ready()
                });
            if (shutting_down || idle_evicted) && goaway_at.is_none() {
                idle_eviction = None;
                goaway_at = Some(Instant::now());
                Pin::new(&mut connection).graceful_shutdown();
                continue;
            }
            if check.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            check.as_mut().reset(Instant::now() + check_interval.min(GOAWAY_TIMEOUT));
            if timers.reads_slower_than(limits.min_rate, limits.write_timeout) {
                return Poll::Ready(());
            }
            if writes_checked_at.elapsed() >= writes_interval {
                writes_checked_at = Instant::now();
                if pending_writes.next_interval_is_overdue() {
                    return Poll::Ready(());
                }
            }
            match (streams.idle_time(), goaway_at) {
                // While others are drained, a slow client can still send what it began before it received GOAWAY.
                (Some(_), Some(since))
                    if since.elapsed() >= GOAWAY_TIMEOUT && draining.has_begun() == closing.has_begun() =>
                {
                    return Poll::Ready(());
                }
                (Some(idle), None) if idle >= limits.idle_timeout => {
                    goaway_at = Some(Instant::now());
                    Pin::new(&mut connection).graceful_shutdown();
                }
                (Some(_), None) if idle_eviction.is_none() => {
                    let evicted = Box::pin(state.evict_idle.notified());
                    idle_eviction = Some((CountGuard::new(&state.idle), evicted));
                }
                (None, _) => idle_eviction = None,
                _ => {}
            }
        }
    })
    .await;
}
