//! What of the answers of an HTTP/2 connection was handed on to be sent and is not sent yet.
//!
//! hyper takes a piece of an answer as soon as its client has room for one byte, and is done with a stream when it has taken the
//! last; what a client makes of its window after that is seen by nobody. So each piece is counted here until it is dropped,
//! which is when it was written to the socket.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::streams::{self, PIECE};
use crate::edge::reply::Content;

/// Into how many spans of time the pieces are sorted by when they were handed on.
const SPANS: usize = 3;

/// The pieces that are not sent yet.
#[derive(Clone, Default)]
pub(super) struct Unsent(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// Which span it is now.
    span: AtomicUsize,
    /// How many pieces of each span are left.
    pieces: [AtomicUsize; SPANS],
}

/// A piece that is counted until it is dropped.
struct Piece {
    bytes: Bytes,
    span: usize,
    counts: Arc<Counts>,
}

impl Unsent {
    fn count(&self, bytes: Bytes) -> Bytes {
        let counts = Arc::clone(&self.0);
        let span = counts.span.load(Ordering::Relaxed);
        counts.pieces[span].fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Piece { bytes, span, counts })
    }

    /// Begins another span, and says whether there is a piece that was handed on before the last two of them.
    pub(super) fn is_overdue(&self) -> bool {
        let next = (self.0.span.load(Ordering::Relaxed) + 1) % SPANS;
        self.0.span.store(next, Ordering::Relaxed);
        self.0.pieces[next].load(Ordering::Relaxed) > 0
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.counts.pieces[self.span].fetch_sub(1, Ordering::Relaxed);
    }
}

/// The content of an answer, in pieces that are counted.
pub(super) struct Pieces {
    content: Content,
    /// What of the content is not handed on yet.
    rest: Bytes,
    unsent: Unsent,
}

impl Pieces {
    pub(super) fn of(content: Content, unsent: &Unsent) -> Self {
        Self { content, rest: Bytes::new(), unsent: unsent.clone() }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let pieces = self.get_mut();
        if pieces.rest.is_empty() {
            let polled = Pin::new(&mut pieces.content).poll_frame(context);
            streams::waits_for_content(polled.is_pending());
            match polled.map_ok(Frame::into_data) {
                Poll::Ready(Some(Ok(Ok(data)))) => pieces.rest = data,
                Poll::Ready(Some(Ok(Err(other)))) => return Poll::Ready(Some(Ok(other))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let piece = pieces.rest.split_to(pieces.rest.len().min(PIECE));
        streams::handed_on(piece.len());
        Poll::Ready(Some(Ok(Frame::data(pieces.unsent.count(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // It is asked for before the first piece is.
        if self.rest.is_empty() { self.content.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn pieces_are_counted_until_they_are_dropped() {
        let unsent = Unsent::default();
        let whole: Vec<u8> = (0..PIECE * 2 + 5).map(|at| (at % 251) as u8).collect();
        let mut pieces = Pieces::of(Content::Whole(whole.clone().into()), &unsent);
        assert_eq!(pieces.size_hint().exact(), Some(whole.len() as u64));
        let mut sent = Vec::new();
        let mut kept = Vec::new();
        while let Some(frame) = pieces.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            sent.extend_from_slice(&piece);
            kept.push(piece);
        }
        assert!(sent == whole && pieces.is_end_stream() && kept.len() == 3);
        assert!(!unsent.is_overdue() && !unsent.is_overdue());
        kept.truncate(1);
        assert!(unsent.is_overdue(), "one is left since three spans");
        kept.clear();
        assert!((0..SPANS).all(|_| !unsent.is_overdue()));
    }
}
