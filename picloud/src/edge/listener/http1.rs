//! A connection that speaks HTTP/1.1 or 1.0, from the first byte of a request until it is idle or at its end.

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

use super::closing::close;
use super::house::{Counted, HEAD_BYTES_MAX, House, LOOK_MIN};
use super::pulse::HeadTimer;
use super::socket::Socket;
use super::spoken::Conversation;
use crate::edge::Edge;
use crate::edge::reply::without_forbidden_content;

/// The most bytes that hyper holds of a request or an answer before it waits for the other side.
const BUFFER_MAX: usize = HEAD_BYTES_MAX;

/// How long after a request its buffers are kept for the next one. Then the connection waits without any.
const QUIET: Duration = Duration::from_secs(2);

/// The same where more than [`CROWD`] connections hold buffers, some 16 KiB each: what so many have given back lies in pieces
/// that the allocator seldom returns, so the peak is what counts.
const QUIET_IN_A_CROWD: Duration = Duration::from_millis(200);

/// How many connections may keep their buffers for long.
const CROWD: usize = 512;

/// The answer to a head that does not come to its end (RFC 9110 section 15.5.9).
const SLOW_HEAD: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Why a connection is not served any longer.
enum End {
    /// Everything was said, or the client left.
    Said,
    /// It is idle.
    Quiet,
    /// A head is overdue.
    SlowHead,
    /// The client does not take its answer, or too slowly.
    SlowReader,
    /// There is no place for another one, and its client takes long over many.
    GivesWay,
}

/// Serves a connection. Given back is one that is idle.
pub(super) async fn serve(
    stream: TcpStream,
    conversation: &Arc<Conversation>,
    edge: &Arc<Edge>,
    house: &Arc<House>,
) -> Option<TcpStream> {
    let _counted = Counted::one_more(&house.serving);
    let pulse = Arc::clone(&conversation.pulse);
    let (answering, peer) = (Arc::clone(edge), Arc::clone(&conversation.peer));
    let last_answers = house.stopping.last_answers();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (edge, peer) = (Arc::clone(&answering), Arc::clone(&peer));
        // hyper moves what it is given, and this takes 3 KB.
        Box::pin(async move {
            let head = request.method() == Method::HEAD;
            let mut response = without_forbidden_content(edge.answer(request, &peer).await, head);
            if last_answers.is_taken() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(HeadTimer(Arc::clone(&pulse)))
        // The time itself is looked after by `ended`.
        .header_read_timeout(Duration::ZERO)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_MAX)
        // One write of one piece: copying an answer behind its head takes less than telling the kernel of two.
        .writev(false)
        .serve_connection(TokioIo::new(Socket::in_company(stream, &pulse, house)), service);
    let end = ended(&mut connection, conversation, house).await;
    let idle = pulse.between_requests().is_some();
    let parts = connection.into_parts();
    let (stream, all_read) = (parts.io.into_inner().stream, parts.read_buf.is_empty());
    // What is still to be said takes no buffers.
    drop(parts.read_buf);
    match end {
        End::Quiet if all_read => return Some(stream),
        // Less than a head came right behind another request, and no more since then.
        End::Quiet | End::SlowHead => {
            let _ = stream.try_write(SLOW_HEAD);
            close(stream).await;
        }
        End::SlowReader | End::GivesWay => {
            // Else the kernel would keep for minutes what nobody takes.
            let _ = stream.set_zero_linger();
        }
        End::Said if idle || pulse.has_ended() => {}
        End::Said => close(stream).await,
    }
    None
}

async fn ended<S, B>(
    connection: &mut http1::Connection<TokioIo<Socket>, S>,
    conversation: &Conversation,
    house: &House,
) -> End
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: std::error::Error + Send + Sync + 'static,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (bounds, pulse) = (&house.bounds, &*conversation.pulse);
    let quiet = || {
        let crowded = house.serving.load(Ordering::Relaxed) > CROWD;
        if crowded { QUIET_IN_A_CROWD } else { QUIET }.min(bounds.idle)
    };
    let look_every = || quiet().min(bounds.head).min(bounds.answer).max(LOOK_MIN);
    let mut look = pin!(tokio::time::sleep(look_every()));
    let mut told = pin!(house.stopping.last_answers().told());
    let mut asked = pin!(conversation.asked());
    // All know this task after they were polled once, and need not be polled again before they have something to say:
    // most take locks that all connections share.
    let (mut look_is_set, mut told_is_set) = (false, false);
    poll_fn(|context| {
        // One that ends badly is the client's matter.
        if Pin::new(&mut *connection).poll(context).is_ready() {
            return Poll::Ready(End::Said);
        }
        if !std::mem::replace(&mut told_is_set, true) {
            let _ = (told.as_mut().poll(context), asked.as_mut().poll(context));
        }
        if conversation.gives_way() {
            return Poll::Ready(End::GivesWay);
        }
        // It waits for its last request, or to be closed, where that is looked after. hyper's own way of stopping would close
        // it behind an answer that says nothing of it.
        if house.stopping.last_answers().is_taken() && pulse.is_idle() {
            return Poll::Ready(End::Quiet);
        }
        while !look_is_set || look.is_elapsed() {
            look_is_set = true;
            if look.as_mut().poll(context).is_pending() {
                break;
            }
            if pulse.takes_too_little(bounds.min_rate, bounds.answer) {
                return Poll::Ready(End::SlowReader);
            }
            if pulse.in_head().is_some_and(|time| time >= bounds.head) {
                return Poll::Ready(End::SlowHead);
            }
            if pulse.blocked().is_none() && pulse.between_requests().is_some_and(|time| time >= quiet()) {
                return Poll::Ready(End::Quiet);
            }
            look.as_mut().reset(Instant::now() + look_every());
            look_is_set = false;
        }
        Poll::Pending
    })
    .await
}
