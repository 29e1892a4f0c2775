//! Runs the streams of one HTTP/2 connection, one for each request, as hyper's executor.
//!
//! hyper only limits their number. This adds a minimum rate at which the client reads a response, since flow control is the client's, and
//! a limit of streams that the client resets.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::edge::min_rate::{MinRate, RateMeter};

/// How many more streams a client can reset than it completes.
const RESETS_MAX: usize = 200;

/// The maximum size of a chunk of a response: one DATA frame.
pub(super) const CHUNK: usize = 16 * 1024;

tokio::task_local! {
    static STREAM: StreamState;
}

/// The state of the running stream.
#[derive(Default)]
struct StreamState {
    /// Whether the response has started.
    response_started: Cell<bool>,
    /// Whether the server has not produced the next chunk yet.
    waits_for_body: Cell<bool>,
    /// The bytes passed to hyper since the last check.
    sent_bytes: Cell<usize>,
}

// Outside of a stream these do nothing.

/// Records that the response of the running stream has started.
pub(super) fn response_started() {
    let _ = STREAM.try_with(|stream| stream.response_started.set(true));
}

/// Records whether the server has not produced the next chunk yet.
pub(super) fn waits_for_body(waits: bool) {
    let _ = STREAM.try_with(|stream| stream.waits_for_body.set(waits));
}

/// Records that a chunk was passed to hyper, which polls for it when the flow-control window is open.
pub(super) fn chunk_sent(bytes: usize) {
    let _ = STREAM.try_with(|stream| stream.sent_bytes.set(stream.sent_bytes.get() + bytes));
}

/// Runs and counts the streams of one connection.
#[derive(Clone)]
pub(super) struct StreamExecutor(Arc<StreamCounts>);

struct StreamCounts {
    born: Instant,
    open: AtomicUsize,
    had_request: AtomicBool,
    /// When the last stream ended, in milliseconds since the connection was opened.
    idle_since: AtomicU64,
    resets: AtomicUsize,
    reset_flood: Notify,
    write_timeout: Duration,
    min_rate: MinRate,
}

impl StreamExecutor {
    /// Requires that the client reads each response no slower than `min_rate`, averaged over `write_timeout`.
    pub(super) fn new(write_timeout: Duration, min_rate: MinRate) -> Self {
        Self(Arc::new(StreamCounts {
            born: Instant::now(),
            open: AtomicUsize::new(0),
            had_request: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            resets: AtomicUsize::new(0),
            reset_flood: Notify::new(),
            write_timeout,
            min_rate,
        }))
    }

    /// How long there has been no stream; `None` while there is one.
    pub(super) fn idle_time(&self) -> Option<Duration> {
        let age_ms = self.0.age_ms();
        let idle = age_ms.saturating_sub(self.0.idle_since.load(Ordering::Relaxed));
        (self.0.open.load(Ordering::Relaxed) == 0).then(|| Duration::from_millis(idle))
    }

    /// Whether the client has ever sent a request.
    pub(super) fn had_request(&self) -> bool {
        self.0.had_request.load(Ordering::Relaxed)
    }

    /// Completes when the client has reset too many streams.
    pub(super) async fn reset_flood(&self) {
        self.0.reset_flood.notified().await;
    }
}

impl StreamCounts {
    fn age_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn opened(self: &Arc<Self>) -> OpenGuard {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.had_request.store(true, Ordering::Relaxed);
        OpenGuard(Arc::clone(self))
    }

    /// StreamCounts a stream that has ended; without a response, the client has reset it.
    fn ended(&self, has_response: bool) {
        let step = |resets: usize| Some(if has_response { resets.saturating_sub(1) } else { resets + 1 });
        let before = self.resets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        if before.is_ok_and(|before| !has_response && before >= RESETS_MAX) {
            self.reset_flood.notify_one();
        }
    }
}

/// StreamCounts an open stream until it is dropped.
struct OpenGuard(Arc<StreamCounts>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.age_ms(), Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let open = self.0.opened();
        tokio::spawn(STREAM.scope(StreamState::default(), async move {
            run(stream, open.0.write_timeout, open.0.min_rate).await;
            open.0.ended(STREAM.with(|stream| stream.response_started.get()));
        }));
    }
}

/// Runs a stream until it ends, or drops it, which resets it, when the client reads its response too slowly.
async fn run(stream: impl Future<Output = ()>, window: Duration, min_rate: MinRate) {
    let mut stream = pin!(stream);
    // Created on the first wait: most streams end before.
    let (mut meter, mut timer): (Option<RateMeter>, Option<Pin<Box<Sleep>>>) = (None, None);
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let (waits_for_client, sent_bytes) = STREAM.with(|stream| {
            let waits = stream.response_started.get() && !stream.waits_for_body.get();
            (waits, stream.sent_bytes.take())
        });
        if !waits_for_client {
            meter = None;
            return Poll::Pending;
        }
        let meter = meter.get_or_insert_with(|| RateMeter::starting_now(min_rate, window, CHUNK));
        meter.add(sent_bytes);
        loop {
            if !meter.is_met() {
                return Poll::Ready(());
            }
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(meter.window_end())));
            if timer.deadline() != meter.window_end() {
                timer.as_mut().reset(meter.window_end());
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}
