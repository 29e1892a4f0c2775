//! The life of one connection: it waits, speaks one of the two versions of HTTP, and waits again.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::house::{Counted, House, Place};
use super::{http1, http2};
use crate::edge::Edge;
use crate::numbers::Closed;

/// What an HTTP/2 client begins with (RFC 9113 section 3.4), whether it was told before that it may or not.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the rest of a preface that came in pieces is waited for at a time.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

/// How long a connection is kept open for its first request, when the node stops or has no place for another one: the request may be on
/// the way.
const FIRST_WORD: Duration = Duration::from_millis(500);

/// What a connection brought when it was waited for.
enum Came {
    /// The beginning of HTTP/2, or of what may become it.
    Preface,
    /// Something else.
    Bytes,
    /// Nothing, and it is to be closed.
    Nothing,
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, peer: IpAddr, place: Place, edge: Arc<Edge>, house: Arc<House>) {
    let mut waiting = Some(stream);
    let mut first = true;
    while let Some(stream) = waiting.take() {
        let came = wait_for_bytes(&house, &stream, first).await;
        let may_be_http2 = std::mem::take(&mut first) && matches!(came, Came::Preface);
        if matches!(came, Came::Nothing) {
            break;
        }
        waiting = serving(stream, peer, may_be_http2, &edge, &house).await;
    }
    drop(place);
}

/// Serves a connection that has something to say. Given back is one that is idle. What this takes is kept apart from the
/// connection's task, so that one which waits is small.
fn serving<'a>(
    stream: TcpStream,
    peer: IpAddr,
    may_be_http2: bool,
    edge: &'a Arc<Edge>,
    house: &'a Arc<House>,
) -> Pin<Box<dyn Future<Output = Option<TcpStream>> + Send + 'a>> {
    Box::pin(async move {
        let begun = house.spoken.begin(peer);
        let conversation = &begun.conversation;
        if may_be_http2 {
            let begins = tokio::select! {
                begins = begins_http2(&stream, house.bounds.head) => begins,
                () = conversation.asked() => return None,
            };
            if begins {
                conversation.pulse.end_head();
                Box::pin(http2::serve(stream, conversation, edge, house)).await;
                return None;
            }
        }
        http1::serve(stream, conversation, edge, house).await
    })
}

/// Waits until there is something to read, and takes nothing of it.
async fn wait_for_bytes(house: &House, stream: &TcpStream, first: bool) -> Came {
    let last_patience = if first { FIRST_WORD.min(house.bounds.drain) } else { Duration::ZERO };
    let closing = house.stopping.closing();
    let told = closing.told();
    let told = async {
        told.await;
        tokio::time::sleep(last_patience).await;
    };
    let patience = if closing.is_taken() { last_patience } else { house.bounds.idle };
    let mut seen = [0; PREFACE.len()];
    // A client that has just come is about to send its request.
    let closed_for_others = async {
        if first {
            tokio::time::sleep(FIRST_WORD).await;
        }
        let _idle = Counted::one_more(&house.idle);
        house.give_way.notified().await;
        house.numbers.closed(Closed::Idle, 1);
    };
    tokio::select! {
        // What is there is answered, whatever else is the case.
        biased;
        // A socket may be called readable and have nothing.
        seen_bytes = stream.peek(&mut seen) => match seen_bytes {
            Ok(0) | Err(_) => Came::Nothing,
            Ok(bytes) if seen[..bytes] == PREFACE[..bytes] => Came::Preface,
            Ok(_) => Came::Bytes,
        },
        () = told => Came::Nothing,
        () = closed_for_others => Came::Nothing,
        () = tokio::time::sleep(patience) => Came::Nothing,
    }
}

/// Whether what begins as a preface is one. Nothing is taken from the connection.
async fn begins_http2(stream: &TcpStream, patience: Duration) -> bool {
    let looking = async {
        let mut first = [0; PREFACE.len()];
        loop {
            let seen = stream.peek(&mut first).await?;
            if seen == 0 || first[..seen] != PREFACE[..seen] {
                return Ok::<_, io::Error>(false);
            }
            if seen == PREFACE.len() {
                return Ok(true);
            }
            // The socket stays readable, so that only time tells when there may be more.
            tokio::time::sleep(PREFACE_PAUSE).await;
        }
    };
    matches!(tokio::time::timeout(patience, looking).await, Ok(Ok(true)))
}
