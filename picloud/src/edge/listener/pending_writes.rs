//! The chunks of responses that hyper has buffered for an HTTP/2 connection and not yet written.
//!
//! hyper accepts a chunk as soon as the flow-control window of the stream has one byte, and ends the stream with the last chunk. A client that
//! then keeps its window closed would go unnoticed, so each chunk is counted until hyper has written and dropped it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::streams::{self, CHUNK};
use crate::edge::response_body::ResponseBody;

/// The number of intervals that chunks are counted in.
const INTERVALS: usize = 3;

/// Counts the chunks that are not written yet.
#[derive(Clone, Default)]
pub(super) struct PendingWrites(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// The current interval.
    interval: AtomicUsize,
    /// The number of chunks of each interval.
    chunks: [AtomicUsize; INTERVALS],
}

/// A chunk that is counted until it is dropped.
struct TrackedChunk {
    bytes: Bytes,
    interval: usize,
    counts: Arc<Counts>,
}

impl PendingWrites {
    fn count(&self, bytes: Bytes) -> Bytes {
        let counts = Arc::clone(&self.0);
        let interval = counts.interval.load(Ordering::Relaxed);
        counts.chunks[interval].fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(TrackedChunk { bytes, interval, counts })
    }

    /// Begins the next interval. Returns whether there is a chunk from before the last two intervals.
    pub(super) fn next_interval_is_overdue(&self) -> bool {
        let next = (self.0.interval.load(Ordering::Relaxed) + 1) % INTERVALS;
        self.0.interval.store(next, Ordering::Relaxed);
        self.0.chunks[next].load(Ordering::Relaxed) > 0
    }
}

impl AsRef<[u8]> for TrackedChunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for TrackedChunk {
    fn drop(&mut self) {
        self.counts.chunks[self.interval].fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response body in counted chunks.
pub(super) struct TrackedBody {
    body: ResponseBody,
    /// The rest of the current frame of `body`.
    rest: Bytes,
    writes: PendingWrites,
}

impl TrackedBody {
    pub(super) fn new(body: ResponseBody, writes: &PendingWrites) -> Self {
        Self { body, rest: Bytes::new(), writes: writes.clone() }
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let polled = Pin::new(&mut this.body).poll_frame(context);
            streams::waits_for_body(polled.is_pending());
            match polled.map_ok(Frame::into_data) {
                Poll::Ready(Some(Ok(Ok(data)))) => this.rest = data,
                Poll::Ready(Some(Ok(Err(other)))) => return Poll::Ready(Some(Ok(other))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let chunk = this.rest.split_to(this.rest.len().min(CHUNK));
        streams::chunk_sent(chunk.len());
        Poll::Ready(Some(Ok(Frame::data(this.writes.count(chunk)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // hyper reads it before the first chunk.
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn chunk_is_counted_until_it_is_dropped() {
        let writes = PendingWrites::default();
        let whole: Vec<u8> = (0..CHUNK * 2 + 5).map(|at| (at % 251) as u8).collect();
        let mut body = TrackedBody::new(ResponseBody::Full(whole.clone().into()), &writes);
        assert_eq!(body.size_hint().exact(), Some(whole.len() as u64));
        let mut sent = Vec::new();
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            let chunk = frame.unwrap().into_data().unwrap();
            sent.extend_from_slice(&chunk);
            kept.push(chunk);
        }
        assert!(sent == whole && body.is_end_stream() && kept.len() == 3);
        assert!(!writes.next_interval_is_overdue() && !writes.next_interval_is_overdue());
        kept.truncate(1);
        assert!(writes.next_interval_is_overdue(), "one chunk is three intervals old");
        kept.clear();
        assert!((0..INTERVALS).all(|_| !writes.next_interval_is_overdue()));
    }
}
