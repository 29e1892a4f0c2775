//! What one connection waits for, and since when: noted by its socket and by hyper, looked at now and then.
//!
//! Requests come and go far more often than anything times out. So nothing here sets a timer: a wait is a time in a cell,
//! and one timer a connection looks at the cells. hyper offers no other sign that it waits for a head than the timer
//! which it asks for, hence [`HeadTimer`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::edge::pace::MinRate;

/// From when on a client that was behind has caught up, where nothing more is to be sent to it.
const CAUGHT_UP: Duration = Duration::from_millis(50);

/// The waits of one connection. Only its own task touches them; they are atomic because that task moves between threads.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    /// No request is being read or answered.
    between: Since,
    /// The first bytes of a head have come, and not yet all of it.
    head: Since,
    /// The client takes nothing of what is sent to it.
    blocked: Since,
    /// The client had no room for what is sent to it, and has not taken all of it since …
    behind: Since,
    /// … but so many bytes.
    taken: AtomicU64,
    /// Nothing is left to be sent to a client that was behind. Often there is more at once: answers come in pieces.
    caught_up: Since,
    /// An answer waits for others, to be sent with them.
    held_back: AtomicBool,
    /// The client has sent its last byte.
    ended: Since,
}

/// Milliseconds of the connection's life at which something began, plus one; 0 while it is not so.
#[derive(Debug, Default)]
struct Since(AtomicU64);

impl Since {
    fn set(&self, at: u64) {
        self.0.store(at + 1, Ordering::Relaxed);
    }

    fn clear(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    fn get(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            between: Since::default(),
            head: Since::default(),
            blocked: Since::default(),
            behind: Since::default(),
            taken: AtomicU64::new(0),
            caught_up: Since::default(),
            held_back: AtomicBool::new(false),
            ended: Since::default(),
        }
    }

    fn at(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn lasts(&self, since: &Since) -> Option<Duration> {
        Some(Duration::from_millis(self.at(Instant::now()).saturating_sub(since.get()?)))
    }

    /// How long the connection has been without a request and without a byte of one.
    pub(super) fn between_requests(&self) -> Option<Duration> {
        if self.head.get().is_some() { None } else { self.lasts(&self.between) }
    }

    /// How long a head has been on its way.
    pub(super) fn in_head(&self) -> Option<Duration> {
        self.lasts(&self.head)
    }

    /// How long the client has taken nothing of its answer.
    pub(super) fn blocked(&self) -> Option<Duration> {
        self.lasts(&self.blocked)
    }

    /// Whether the client has taken nothing of its answer for `span`, or within that less than `rate` asks. What it takes is counted
    /// from the beginning after every span.
    pub(super) fn takes_too_little(&self, rate: MinRate, span: Duration) -> bool {
        if self.blocked().is_some_and(|time| time >= span) {
            return true;
        }
        if self.lasts(&self.caught_up).is_some_and(|time| time >= CAUGHT_UP) {
            self.behind.clear();
            self.caught_up.clear();
        }
        if self.lasts(&self.behind).is_none_or(|time| time < span) {
            return false;
        }
        self.behind.set(self.at(Instant::now()));
        self.taken.swap(0, Ordering::Relaxed) < rate.bytes_in(span)
    }

    /// Whether every answer was sent and no byte of another request has come.
    pub(super) fn is_idle(&self) -> bool {
        self.between_requests().is_some()
            && self.blocked().is_none()
            && !self.held_back.load(Ordering::Relaxed)
    }

    /// Whether the client has sent its last byte.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Bytes came; none is the end.
    pub(super) fn read(&self, bytes: usize) {
        if bytes == 0 {
            self.ended.set(0);
        } else if self.between.get().is_some() && self.head.get().is_none() {
            self.head.set(self.at(Instant::now()));
        }
    }

    /// The client has no room for what is sent to it.
    pub(super) fn cannot_write(&self) {
        if self.blocked.get().is_some() {
            return;
        }
        let now = self.at(Instant::now());
        self.blocked.set(now);
        let paused = self.lasts(&self.caught_up).is_some_and(|time| time >= CAUGHT_UP);
        self.caught_up.clear();
        if self.behind.get().is_none() || paused {
            self.behind.set(now);
            self.taken.store(0, Ordering::Relaxed);
        }
    }

    /// What is to be sent waits for other answers.
    pub(super) fn holds_back(&self) {
        self.held_back.store(true, Ordering::Relaxed);
    }

    /// The client took something.
    pub(super) fn wrote(&self, bytes: usize) {
        self.blocked.clear();
        self.held_back.store(false, Ordering::Relaxed);
        if self.behind.get().is_some() {
            self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Everything that there was to send is sent.
    pub(super) fn flushed(&self) {
        if self.behind.get().is_some() && self.caught_up.get().is_none() {
            self.caught_up.set(self.at(Instant::now()));
        }
    }

    /// The first bytes of a head have come.
    pub(super) fn begin_head(&self) {
        self.head.set(self.at(Instant::now()));
    }

    /// What came was no head, or was all of it.
    pub(super) fn end_head(&self) {
        self.head.clear();
    }

    fn begin_wait(&self, now: Instant) {
        self.head.clear();
        self.between.set(self.at(now));
    }

    fn end_wait(&self) {
        self.head.clear();
        self.between.clear();
    }
}

/// The timer that hyper is given: it asks for one when it begins to wait for a head, and drops it when the head is there.
#[derive(Debug)]
pub(super) struct HeadTimer(pub(super) Arc<Pulse>);

/// A wait for a head, which notes that it is there and never ends by itself.
struct HeadWait(Arc<Pulse>);

impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(Instant::now())
    }

    fn sleep_until(&self, now: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.0.begin_wait(now);
        Box::pin(HeadWait(Arc::clone(&self.0)))
    }

    fn reset(&self, _: &mut Pin<Box<dyn hyper::rt::Sleep>>, now: Instant) {
        self.0.begin_wait(now);
    }
}

impl hyper::rt::Sleep for HeadWait {}

impl Future for HeadWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for HeadWait {
    fn drop(&mut self) {
        self.0.end_wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Timer as _;

    #[test]
    fn a_head_begins_with_its_first_byte_and_ends_with_its_wait() {
        let pulse = Arc::new(Pulse::new());
        let timer = HeadTimer(Arc::clone(&pulse));
        assert!(pulse.between_requests().is_none() && pulse.in_head().is_none());
        let wait = timer.sleep_until(Instant::now());
        assert!(pulse.between_requests().is_some() && pulse.in_head().is_none());
        pulse.read(1);
        assert!(pulse.between_requests().is_none() && pulse.in_head().is_some());
        drop(wait);
        pulse.read(1);
        assert!(pulse.between_requests().is_none() && pulse.in_head().is_none(), "a body is no head");
    }

    #[test]
    fn a_client_that_takes_little_is_behind_until_it_has_taken_all() {
        let (pulse, none) = (Pulse::new(), Duration::ZERO);
        let rate = MinRate { bytes_per_second: 1000 };
        pulse.wrote(1);
        assert!(!pulse.takes_too_little(rate, none), "it never waited");
        pulse.cannot_write();
        assert!(pulse.takes_too_little(rate, none), "it takes nothing");
        pulse.wrote(1);
        let span = Duration::from_millis(2);
        assert!(!pulse.takes_too_little(rate, Duration::from_secs(60)), "the span is not over");
        std::thread::sleep(span);
        assert!(pulse.takes_too_little(rate, span), "one byte of two");
        pulse.wrote(2);
        std::thread::sleep(span);
        assert!(!pulse.takes_too_little(rate, span), "what was taken counts once a span");
        std::thread::sleep(span);
        assert!(pulse.takes_too_little(rate, span));
        // What follows at once belongs to it, and what comes after a pause does not.
        pulse.flushed();
        pulse.cannot_write();
        pulse.wrote(1);
        std::thread::sleep(span);
        assert!(pulse.takes_too_little(rate, span));
        pulse.flushed();
        std::thread::sleep(CAUGHT_UP);
        pulse.cannot_write();
        pulse.wrote(1);
        assert!(!pulse.takes_too_little(rate, CAUGHT_UP));
        pulse.flushed();
        std::thread::sleep(CAUGHT_UP);
        assert!(!pulse.takes_too_little(rate, span));
        assert!(pulse.behind.get().is_none());
    }

    #[test]
    fn a_client_that_takes_something_is_not_blocked() {
        let pulse = Pulse::new();
        pulse.cannot_write();
        assert!(pulse.blocked().is_some());
        pulse.wrote(1);
        pulse.begin_wait(Instant::now());
        assert!(pulse.is_idle());
        pulse.holds_back();
        assert!(!pulse.is_idle(), "an answer is to be sent");
        pulse.wrote(1);
        assert!(pulse.blocked().is_none() && !pulse.has_ended());
        pulse.read(0);
        assert!(pulse.has_ended());
    }
}
