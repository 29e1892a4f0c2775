//! The timers of one connection: timestamps that its socket and hyper set, checked by one periodic timer.
//!
//! Requests are far more frequent than timeouts, so a wait does not set a timer but stores a timestamp. hyper's only sign that it waits
//! for a head is the timer that it requests, hence [`HeadTimer`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::edge::min_rate::MinRate;

/// How long nothing must be left to write before a client counts as caught up.
const CATCH_UP_TIME: Duration = Duration::from_millis(50);

/// The timestamps of one connection. Only its own task uses them; they are atomic because the task moves between threads.
#[derive(Debug)]
pub(super) struct ConnectionTimers {
    born: Instant,
    /// When the connection began to wait for a request.
    idle: Timestamp,
    /// When the first byte of a head arrived that is still incomplete.
    head: Timestamp,
    /// When a write blocked that is still blocked.
    blocked: Timestamp,
    /// When the client began to lag: it has not read everything since.
    lagging: Timestamp,
    /// The bytes written since then.
    written: AtomicU64,
    /// When the last byte for a lagging client was written. More can follow at once: responses are written in chunks.
    flushed: Timestamp,
    /// Whether a response is deferred, to be written together with those of other connections.
    deferred: AtomicBool,
    /// When the client sent its last byte.
    eof: Timestamp,
}

/// Milliseconds since the connection was opened, plus one; 0 where unset.
#[derive(Debug, Default)]
struct Timestamp(AtomicU64);

impl Timestamp {
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

impl ConnectionTimers {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            idle: Timestamp::default(),
            head: Timestamp::default(),
            blocked: Timestamp::default(),
            lagging: Timestamp::default(),
            written: AtomicU64::new(0),
            flushed: Timestamp::default(),
            deferred: AtomicBool::new(false),
            eof: Timestamp::default(),
        }
    }

    fn at(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn elapsed(&self, since: &Timestamp) -> Option<Duration> {
        Some(Duration::from_millis(self.at(Instant::now()).saturating_sub(since.get()?)))
    }

    /// How long the connection has waited for the first byte of a request.
    pub(super) fn idle_time(&self) -> Option<Duration> {
        if self.head.get().is_some() { None } else { self.elapsed(&self.idle) }
    }

    /// How long a head has been incomplete.
    pub(super) fn head_age(&self) -> Option<Duration> {
        self.elapsed(&self.head)
    }

    /// How long the client has read nothing of its response.
    pub(super) fn blocked_time(&self) -> Option<Duration> {
        self.elapsed(&self.blocked)
    }

    /// Whether the client has read nothing of its response for `window`, or less than `rate` within it. Each window is counted separately.
    pub(super) fn reads_slower_than(&self, rate: MinRate, window: Duration) -> bool {
        if self.blocked_time().is_some_and(|time| time >= window) {
            return true;
        }
        if self.elapsed(&self.flushed).is_some_and(|time| time >= CATCH_UP_TIME) {
            self.lagging.clear();
            self.flushed.clear();
        }
        if self.elapsed(&self.lagging).is_none_or(|time| time < window) {
            return false;
        }
        self.lagging.set(self.at(Instant::now()));
        self.written.swap(0, Ordering::Relaxed) < rate.bytes_in(window)
    }

    /// Whether every response is written and no byte of another request has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.idle_time().is_some() && self.blocked_time().is_none() && !self.deferred.load(Ordering::Relaxed)
    }

    /// Whether the client has closed its side.
    pub(super) fn is_eof(&self) -> bool {
        self.eof.get().is_some()
    }

    /// Bytes arrived; 0 is the end of the stream.
    pub(super) fn bytes_read(&self, bytes: usize) {
        if bytes == 0 {
            self.eof.set(0);
        } else if self.idle.get().is_some() && self.head.get().is_none() {
            self.head.set(self.at(Instant::now()));
        }
    }

    /// A write blocked.
    pub(super) fn write_blocked(&self) {
        if self.blocked.get().is_some() {
            return;
        }
        let now = self.at(Instant::now());
        self.blocked.set(now);
        let paused = self.elapsed(&self.flushed).is_some_and(|time| time >= CATCH_UP_TIME);
        self.flushed.clear();
        if self.lagging.get().is_none() || paused {
            self.lagging.set(now);
            self.written.store(0, Ordering::Relaxed);
        }
    }

    /// A response is deferred.
    pub(super) fn write_deferred(&self) {
        self.deferred.store(true, Ordering::Relaxed);
    }

    /// A write completed.
    pub(super) fn write_completed(&self, bytes: usize) {
        self.blocked.clear();
        self.deferred.store(false, Ordering::Relaxed);
        if self.lagging.get().is_some() {
            self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Nothing is left to write.
    pub(super) fn flush_completed(&self) {
        if self.lagging.get().is_some() && self.flushed.get().is_none() {
            self.flushed.set(self.at(Instant::now()));
        }
    }

    /// The first byte of a head has arrived.
    pub(super) fn begin_head(&self) {
        self.head.set(self.at(Instant::now()));
    }

    /// The head is complete, or was none.
    pub(super) fn end_head(&self) {
        self.head.clear();
    }

    fn begin_idle(&self, now: Instant) {
        self.head.clear();
        self.idle.set(self.at(now));
    }

    fn end_idle(&self) {
        self.head.clear();
        self.idle.clear();
    }
}

/// The timer for hyper, which creates a sleep when it begins to wait for a head and drops it when the head is complete.
#[derive(Debug)]
pub(super) struct HeadTimer(pub(super) Arc<ConnectionTimers>);

/// A sleep that never completes; it marks the wait for a head.
struct HeadSleep(Arc<ConnectionTimers>);

impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(Instant::now())
    }

    fn sleep_until(&self, now: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.0.begin_idle(now);
        Box::pin(HeadSleep(Arc::clone(&self.0)))
    }

    fn reset(&self, _: &mut Pin<Box<dyn hyper::rt::Sleep>>, now: Instant) {
        self.0.begin_idle(now);
    }
}

impl hyper::rt::Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for HeadSleep {
    fn drop(&mut self) {
        self.0.end_idle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Timer as _;

    #[test]
    fn head_begins_with_first_byte_and_ends_with_its_sleep() {
        let timers = Arc::new(ConnectionTimers::new());
        let timer = HeadTimer(Arc::clone(&timers));
        assert!(timers.idle_time().is_none() && timers.head_age().is_none());
        let wait = timer.sleep_until(Instant::now());
        assert!(timers.idle_time().is_some() && timers.head_age().is_none());
        timers.bytes_read(1);
        assert!(timers.idle_time().is_none() && timers.head_age().is_some());
        drop(wait);
        timers.bytes_read(1);
        assert!(timers.idle_time().is_none() && timers.head_age().is_none(), "a body is not a head");
    }

    #[test]
    fn slow_reader_lags_until_it_has_read_everything() {
        let (timers, none) = (ConnectionTimers::new(), Duration::ZERO);
        let rate = MinRate { bytes_per_second: 1000 };
        timers.write_completed(1);
        assert!(!timers.reads_slower_than(rate, none), "no write blocked");
        timers.write_blocked();
        assert!(timers.reads_slower_than(rate, none), "it reads nothing");
        timers.write_completed(1);
        let window = Duration::from_millis(2);
        assert!(!timers.reads_slower_than(rate, Duration::from_secs(60)), "the window has not ended");
        std::thread::sleep(window);
        assert!(timers.reads_slower_than(rate, window), "one byte of two");
        timers.write_completed(2);
        std::thread::sleep(window);
        assert!(!timers.reads_slower_than(rate, window), "two bytes of two");
        std::thread::sleep(window);
        assert!(timers.reads_slower_than(rate, window));
        // A write that follows at once belongs to the same lag, one after a pause does not.
        timers.flush_completed();
        timers.write_blocked();
        timers.write_completed(1);
        std::thread::sleep(window);
        assert!(timers.reads_slower_than(rate, window));
        timers.flush_completed();
        std::thread::sleep(CATCH_UP_TIME);
        timers.write_blocked();
        timers.write_completed(1);
        assert!(!timers.reads_slower_than(rate, CATCH_UP_TIME));
        timers.flush_completed();
        std::thread::sleep(CATCH_UP_TIME);
        assert!(!timers.reads_slower_than(rate, window));
        assert!(timers.lagging.get().is_none());
    }

    #[test]
    fn reading_client_is_not_blocked() {
        let timers = ConnectionTimers::new();
        timers.write_blocked();
        assert!(timers.blocked_time().is_some());
        timers.write_completed(1);
        timers.begin_idle(Instant::now());
        assert!(timers.is_idle());
        timers.write_deferred();
        assert!(!timers.is_idle(), "a response is deferred");
        timers.write_completed(1);
        assert!(timers.blocked_time().is_none() && !timers.is_eof());
        timers.bytes_read(0);
        assert!(timers.is_eof());
    }
}
