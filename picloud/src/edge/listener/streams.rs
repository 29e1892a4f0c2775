//! The streams of one HTTP/2 connection, which hyper hands over to be run, one for each request.
//!
//! hyper bounds how many there are, and nothing else of them: a client may take an answer as slowly as it likes, since
//! flow control is its own to grant, and may open requests only to drop them.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::edge::pace::{MinRate, Pace};

/// How many more requests a client may drop than it takes answers.
const DROPPED_MAX: usize = 200;

/// The most bytes of an answer that are handed on at a time: as many as go into one frame.
pub(super) const PIECE: usize = 16 * 1024;

tokio::task_local! {
    static STREAM: Stream;
}

/// What the stream that is running waits for.
#[derive(Default)]
struct Stream {
    /// The request was answered, and what remains of the answer is to be sent.
    answered: Cell<bool>,
    /// What the answer consists of is still to come, from this side.
    waits_for_content: Cell<bool>,
    /// The bytes of the answer that were handed on since this was looked at.
    handed_on: Cell<usize>,
}

// Outside of a stream there is nothing to note.

/// Notes that the request of the stream that is running is answered.
pub(super) fn answered() {
    let _ = STREAM.try_with(|stream| stream.answered.set(true));
}

/// Notes whether more of the answer is still to come from this side.
pub(super) fn waits_for_content(waits: bool) {
    let _ = STREAM.try_with(|stream| stream.waits_for_content.set(waits));
}

/// Notes that a piece of the answer was handed on, which happens when there is room for it.
pub(super) fn handed_on(bytes: usize) {
    let _ = STREAM.try_with(|stream| stream.handed_on.set(stream.handed_on.get() + bytes));
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams(Arc<Counts>);

struct Counts {
    born: Instant,
    open: AtomicUsize,
    any: AtomicBool,
    /// Milliseconds of the connection's life at which the last stream ended.
    idle_since: AtomicU64,
    dropped: AtomicUsize,
    overrun: Notify,
    answer: Duration,
    min_rate: MinRate,
}

impl Streams {
    /// No streams. Of each the client takes its answer, in every span of `answer`, no slower than `min_rate`.
    pub(super) fn new(answer: Duration, min_rate: MinRate) -> Self {
        Self(Arc::new(Counts {
            born: Instant::now(),
            open: AtomicUsize::new(0),
            any: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            dropped: AtomicUsize::new(0),
            overrun: Notify::new(),
            answer,
            min_rate,
        }))
    }

    /// How long there has been no request; `None` while there is one.
    pub(super) fn idle(&self) -> Option<Duration> {
        let lived = self.0.lived();
        let idle = lived.saturating_sub(self.0.idle_since.load(Ordering::Relaxed));
        (self.0.open.load(Ordering::Relaxed) == 0).then(|| Duration::from_millis(idle))
    }

    /// Whether there ever was a request.
    pub(super) fn any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// Done when the client has dropped too many requests.
    pub(super) async fn overrun(&self) {
        self.0.overrun.notified().await;
    }
}

impl Counts {
    fn lived(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn opened(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.any.store(true, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    fn ended(&self, answered: bool) {
        let step = |dropped: usize| Some(if answered { dropped.saturating_sub(1) } else { dropped + 1 });
        let before = self.dropped.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        if before.is_ok_and(|before| !answered && before >= DROPPED_MAX) {
            self.overrun.notify_one();
        }
    }
}

/// One open stream, until it is dropped.
struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.lived(), Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let open = self.0.opened();
        tokio::spawn(STREAM.scope(Stream::default(), async move {
            run(stream, open.0.answer, open.0.min_rate).await;
            open.0.ended(STREAM.with(|stream| stream.answered.get()));
        }));
    }
}

/// Runs a stream to its end, or until the client takes too little of its answer. What is dropped is reset.
async fn run(stream: impl Future<Output = ()>, span: Duration, min_rate: MinRate) {
    let mut stream = pin!(stream);
    // Only what takes long needs them.
    let (mut pace, mut span_ends): (Option<Pace>, Option<Pin<Box<Sleep>>>) = (None, None);
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let (waits_for_client, taken) = STREAM.with(|stream| {
            let waits = stream.answered.get() && !stream.waits_for_content.get();
            (waits, stream.handed_on.take())
        });
        if !waits_for_client {
            pace = None;
            return Poll::Pending;
        }
        let pace = pace.get_or_insert_with(|| Pace::from_now(min_rate, span, PIECE));
        pace.add(taken);
        loop {
            if !pace.is_kept() {
                return Poll::Ready(());
            }
            let timer = span_ends.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(pace.span_ends())));
            if timer.deadline() != pace.span_ends() {
                timer.as_mut().reset(pace.span_ends());
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}
