//! A connection that speaks HTTP/2 without TLS, from its preface to its end.

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

use super::house::{Counted, HEAD_BYTES_MAX, House, LOOK_MIN};
use super::socket::Socket;
use super::spoken::Conversation;
use super::streams::{PIECE, Streams, answered};
use super::unsent::{Pieces, Unsent};
use crate::edge::Edge;
use crate::edge::reply::without_forbidden_content;

/// The most requests of one connection at once. RFC 9113 section 6.5.2 advises against fewer.
const STREAMS_MAX: u32 = 100;

/// The most streams that a client may have reset before hyper has seen them (CVE-2023-44487).
const UNSEEN_RESETS_MAX: usize = 20;

/// The most streams that this side may have to reset for a client's mistakes (RUSTSEC-2024-0003).
const MISTAKES_MAX: usize = 100;

/// How many bytes of one answer hyper takes before the client has room for them.
const SEND_BUFFER: usize = PIECE;

/// The most bytes of one body, and of all bodies of a connection, that a client may send before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// How often a client is asked whether it is still there, and how long it may take to say so. One that vanished without
/// a word is noticed by nothing else while its requests are worked on.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIME_MAX: Duration = Duration::from_secs(20);

/// How often a connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a client that was told to go may take to close the connection.
const GOING: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    conversation: &Arc<Conversation>,
    edge: &Arc<Edge>,
    house: &Arc<House>,
) {
    let bounds = &house.bounds;
    let pulse = &conversation.pulse;
    let streams = Streams::new(bounds.answer, bounds.min_rate);
    let unsent = Unsent::default();
    let (answering, peer) = (Arc::clone(edge), Arc::clone(&conversation.peer));
    let counted = unsent.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (edge, peer, counted) = (Arc::clone(&answering), Arc::clone(&peer), counted.clone());
        async move {
            let head = request.method() == Method::HEAD;
            let response = edge.answer(request, &peer).await;
            answered();
            let response = without_forbidden_content(response, head);
            Ok::<_, Infallible>(response.map(|content| Pieces::of(content, &counted)))
        }
    });
    let mut connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(MISTAKES_MAX)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME_MAX)
        .serve_connection(TokioIo::new(Socket::of_frames(stream, pulse)), service);
    let (last_answers, closing) = (house.stopping.last_answers(), house.stopping.closing());
    let (mut told_last, mut told_closing) = (pin!(last_answers.told()), pin!(closing.told()));
    let mut asked_to_go = pin!(conversation.asked());
    let mut told_are_set = false;
    let mut overrun = pin!(streams.overrun());
    let look_every = bounds.idle.min(bounds.answer).min(LOOK_EVERY).max(LOOK_MIN);
    let mut look = pin!(tokio::time::sleep(look_every));
    // Half the time that the last pieces of an answer have: no client that keeps the rate takes longer for what hyper has of it.
    let tail_span = (bounds.answer + bounds.min_rate.time_of(2 * PIECE as u64)) / 2;
    let mut tail_looked_at = Instant::now();
    let mut gives_way = None;
    let mut going: Option<Instant> = None;
    poll_fn(|context| {
        loop {
            if Pin::new(&mut connection).poll(context).is_ready() {
                return Poll::Ready(());
            }
            // Who opens requests only to drop them is not worth another word, nor is one of many that take long over theirs.
            if overrun.as_mut().poll(context).is_ready() || asked_to_go.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut told_are_set, true) {
                let _ = (told_last.as_mut().poll(context), told_closing.as_mut().poll(context));
            }
            // A client that has asked for nothing yet is told with its first answer, and does not come back for nothing.
            let stop = closing.is_taken() || last_answers.is_taken() && streams.any();
            let asked = gives_way.as_mut().is_some_and(|(_, asked): &mut (_, Pin<Box<Notified<'_>>>)| {
                asked.as_mut().poll(context).is_ready()
            });
            if (stop || asked) && going.is_none() {
                gives_way = None;
                going = Some(Instant::now());
                Pin::new(&mut connection).graceful_shutdown();
                continue;
            }
            if look.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            look.as_mut().reset(Instant::now() + look_every.min(GOING));
            if pulse.takes_too_little(bounds.min_rate, bounds.answer) {
                return Poll::Ready(());
            }
            if tail_looked_at.elapsed() >= tail_span {
                tail_looked_at = Instant::now();
                if unsent.is_overdue() {
                    return Poll::Ready(());
                }
            }
            match (streams.idle(), going) {
                // While others are answered, a slow client may still send what it began before it heard.
                (Some(_), Some(since))
                    if since.elapsed() >= GOING && last_answers.is_taken() == closing.is_taken() =>
                {
                    return Poll::Ready(());
                }
                (Some(idle), None) if idle >= bounds.idle => {
                    going = Some(Instant::now());
                    Pin::new(&mut connection).graceful_shutdown();
                }
                (Some(_), None) if gives_way.is_none() => {
                    gives_way = Some((Counted::one_more(&house.idle), Box::pin(house.give_way.notified())));
                }
                (None, _) => gives_way = None,
                _ => {}
            }
        }
    })
    .await;
}
