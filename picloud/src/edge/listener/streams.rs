//! The streams of one HTTP/2 connection, which hyper hands over to be run, one for each request.
//!
//! hyper bounds how many there are, and nothing else of them: a client may take an answer as slowly as it likes, since
//! flow control is its own to grant, and may open requests only to drop them.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How many more requests a client may drop than it takes answers.
const DROPPED_MAX: usize = 200;

tokio::task_local! {
    /// Whether the request of this stream was answered, so that what remains is the client's to take.
    static ANSWERED: Cell<bool>;
}

/// Notes that the request of the stream that is running is answered.
pub(super) fn answered() {
    // Outside of a stream there is nothing to note.
    let _ = ANSWERED.try_with(|answered| answered.set(true));
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
}

impl Streams {
    /// No streams, each of which may go on for `answer` without the client taking anything of its answer.
    pub(super) fn new(answer: Duration) -> Self {
        Self(Arc::new(Counts {
            born: Instant::now(),
            open: AtomicUsize::new(0),
            any: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            dropped: AtomicUsize::new(0),
            overrun: Notify::new(),
            answer,
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
        tokio::spawn(ANSWERED.scope(Cell::new(false), async move {
            run(stream, open.0.answer).await;
            open.0.ended(ANSWERED.with(Cell::get));
        }));
    }
}

/// Runs a stream to its end, or until the client has taken nothing of the answer for `patience`: hyper looks at a stream
/// again only when there is room for more of it. What is dropped is reset.
async fn run(stream: impl Future<Output = ()>, patience: Duration) {
    let mut stream = pin!(stream);
    let mut patience_ends = pin!(tokio::time::sleep(patience));
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if !ANSWERED.with(Cell::get) {
            return Poll::Pending;
        }
        if !patience_ends.is_elapsed() {
            patience_ends.as_mut().reset(Instant::now() + patience);
        }
        patience_ends.as_mut().poll(context)
    })
    .await;
}
