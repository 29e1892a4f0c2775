use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use git_receiver::{MemoryPool, OutOfMemoryError};
use store::Object;
use tokio::sync::Notify;

use crate::memory::Reservation;

/// How much is taken of the app's account at a time.
const STEP: u64 = 1024 * 1024;

/// How long a request waits for memory: its own, as its client takes what was read before, or that of others.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Streams of at most so many bytes count together with so many others.
const SMALL_STREAM_MAX: usize = 1024;
const COUNTED_TOGETHER: usize = 64;

/// What one request to a repository holds of its app's memory: at least as much as it began with, until it has ended.
#[derive(Debug)]
pub(crate) struct RequestMemory {
    least: u64,
    /// What is in use.
    used: AtomicU64,
    /// What is held, for those that look without the lock.
    capacity: AtomicU64,
    held: Mutex<Reservation>,
    /// How many wait for a release.
    waiting: AtomicUsize,
    released: Notify,
}

impl RequestMemory {
    pub(crate) fn new(held: Reservation) -> Arc<Self> {
        let least = held.bytes();
        Arc::new(Self {
            least,
            used: AtomicU64::new(0),
            capacity: AtomicU64::new(least),
            held: Mutex::new(held),
            waiting: AtomicUsize::new(0),
            released: Notify::new(),
        })
    }

    /// Holds so many bytes for what is about to be read, and waits for them.
    ///
    /// # Errors
    /// They are too many, or not given back in time.
    pub(super) async fn room(self: &Arc<Self>, bytes: u64) -> Result<Room, OutOfMemoryError> {
        if self.reserve(bytes).is_err() {
            let waiting = tokio::time::timeout(WAIT_MAX, self.wait_for(bytes));
            waiting.await.unwrap_or_else(|_| self.reserve(bytes))?;
        }
        Ok(Room { memory: Arc::clone(self), bytes })
    }

    async fn wait_for(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut released = pin!(self.released.notified());
            // From here on no release is missed.
            released.as_mut().enable();
            let Err(refused) = self.reserve(bytes) else { return Ok(()) };
            let (account, purpose, missing) = {
                let held = self.held();
                let missing = (self.used.load(Ordering::Relaxed) + bytes).saturating_sub(held.bytes());
                (held.account().clone(), held.purpose(), missing)
            };
            tokio::select! {
                () = released => {}
                more = account.reserve(purpose, missing) => match more {
                    Ok(more) => {
                        let mut held = self.held();
                        held.absorb(more);
                        self.capacity.store(held.bytes(), Ordering::Relaxed);
                    }
                    // More than all that the app can have; what is released is less than that.
                    Err(_) => return Err(refused),
                },
            }
        }
    }

    /// Nothing panics while the lock is held.
    fn held(&self) -> MutexGuard<'_, Reservation> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryPool for RequestMemory {
    fn reserve(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        let used = self.used.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        if used <= self.capacity.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut held = self.held();
        let missing = self.used.load(Ordering::Relaxed).saturating_sub(held.bytes());
        // Where a whole step does not fit, what is missing can.
        let grown = match missing {
            0 => Ok(()),
            missing => held.try_grow(missing.max(STEP)).or_else(|_| held.try_grow(missing)),
        };
        self.capacity.store(held.bytes(), Ordering::Relaxed);
        grown.map_err(|error| {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            OutOfMemoryError(Arc::new(error))
        })
    }

    fn release(&self, bytes: u64) {
        // Who waits says so before looking at what is used: one of the two sees the other.
        let used = self.used.fetch_sub(bytes, Ordering::SeqCst).saturating_sub(bytes);
        let capacity = self.capacity.load(Ordering::Relaxed);
        if capacity > self.least && used.saturating_add(2 * STEP) < capacity {
            let mut held = self.held();
            let used = self.used.load(Ordering::Relaxed);
            held.shrink_to(used.saturating_add(STEP).max(self.least));
            self.capacity.store(held.bytes(), Ordering::Relaxed);
        }
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.released.notify_waiters();
        }
    }
}

/// One that waits for a release, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that are held for what is read.
pub(super) struct Room {
    memory: Arc<RequestMemory>,
    bytes: u64,
}

impl Room {
    /// Keeps so many of them for streams that were read; each gives back its own when its last part is dropped.
    ///
    /// # Errors
    /// They are more, and there is no room for them.
    pub(super) fn into_streams(mut self, bytes: u64) -> Result<Arc<RequestMemory>, OutOfMemoryError> {
        if bytes > self.bytes {
            self.memory.reserve(bytes - self.bytes)?;
            self.bytes = bytes;
        }
        self.bytes -= bytes;
        Ok(Arc::clone(&self.memory))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.memory.release(self.bytes);
    }
}

/// The streams of `objects`, which are taken from them and count in `memory`. Small ones of one kind, which are mostly let go together,
/// count together: most are a hundred bytes, and counting each would take as long as reading it.
pub(super) fn counted_streams(objects: &mut [Object], memory: &Arc<RequestMemory>) -> Vec<Bytes> {
    let counted = |stream| Bytes::from_owner(CountedStream { stream, memory: Arc::clone(memory) });
    let mut streams = vec![Bytes::new(); objects.len()];
    let mut small: [Vec<usize>; 4] = Default::default();
    for (index, object) in objects.iter_mut().enumerate() {
        match object.zlib.len() {
            ..=SMALL_STREAM_MAX => small[object.kind as usize].push(index),
            _ => streams[index] = counted(std::mem::take(&mut object.zlib)),
        }
    }
    for together in small.iter().flat_map(|of_kind| of_kind.chunks(COUNTED_TOGETHER)) {
        let mut block = Vec::with_capacity(together.iter().map(|index| objects[*index].zlib.len()).sum());
        let ends: Vec<usize> = together
            .iter()
            .map(|index| {
                block.append(&mut std::mem::take(&mut objects[*index].zlib));
                block.len()
            })
            .collect();
        let (block, mut from) = (counted(block), 0);
        for (index, end) in together.iter().zip(ends) {
            streams[*index] = block.slice(from..end);
            from = end;
        }
    }
    streams
}

/// A stream that counts among what its request holds.
struct CountedStream {
    stream: Vec<u8>,
    memory: Arc<RequestMemory>,
}

impl AsRef<[u8]> for CountedStream {
    fn as_ref(&self) -> &[u8] {
        &self.stream
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.memory.release(self.stream.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use store::{ObjectKind, Oid};

    use super::*;
    use crate::memory::{Account, MemoryBudget, Purpose};

    /// An account of eight steps, and a request that holds one of them.
    fn request() -> (Account, Arc<RequestMemory>) {
        let account = MemoryBudget::new(32 * STEP).node_account();
        let memory = RequestMemory::new(account.try_reserve(Purpose::Fetches, STEP).unwrap());
        (account, memory)
    }

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn a_request_grows_in_steps_and_shrinks_to_what_it_began_with() {
        let (account, memory) = request();
        memory.reserve(STEP).unwrap();
        assert_eq!(account.used_bytes(), STEP, "it has that already");
        memory.reserve(10).unwrap();
        assert_eq!(account.used_bytes(), 2 * STEP);
        memory.reserve(6 * STEP).unwrap();
        let refused = memory.reserve(STEP).unwrap_err();
        assert!(refused.to_string().contains("can hold"), "{refused}");
        memory.reserve(STEP - 10).unwrap();
        assert_eq!(account.used_bytes(), 8 * STEP, "what is missing, where a step does not fit");
        memory.release(8 * STEP);
        assert_eq!(account.used_bytes(), STEP);
        drop(memory);
        assert_eq!(account.used_bytes(), 0);
    }

    #[tokio::test]
    async fn streams_keep_the_room_that_they_take() {
        let (account, memory) = request();
        let object = |number: u8| {
            let kind = if number.is_multiple_of(2) { ObjectKind::Tree } else { ObjectKind::Blob };
            let length = if number.is_multiple_of(5) { SMALL_STREAM_MAX + 1 } else { usize::from(number) };
            Object {
                oid: Oid::new([number; 20]),
                kind,
                base: None,
                depth: 0,
                size: 0,
                zlib: vec![number; length],
            }
        };
        let objects: Vec<Object> = (0..=u8::MAX).map(object).collect();
        let bytes = objects.iter().map(|object| object.zlib.len() as u64).sum();
        let held = memory.room(3 * STEP).await.unwrap().into_streams(bytes).unwrap();
        let mut streams = counted_streams(&mut objects.clone(), &held);
        assert!(streams.iter().zip(&objects).all(|(stream, object)| *stream == object.zlib));
        assert_eq!(memory.used.load(Ordering::Relaxed), bytes);
        let large = streams.remove(255).slice(1..3);
        drop(streams);
        assert_eq!(memory.used.load(Ordering::Relaxed), SMALL_STREAM_MAX as u64 + 1);
        drop(large);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
        assert!(account.used_bytes() < 2 * STEP);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_waited_for_whoever_gives_it_back() {
        let (account, memory) = request();
        let own = memory.room(5 * STEP).await.unwrap();
        let mut waiting = pin!(memory.room(4 * STEP));
        assert!(now(waiting.as_mut()).is_none());
        drop(own);
        drop(now(waiting).unwrap().unwrap());
        let others = account.try_reserve(Purpose::Fetches, 6 * STEP).unwrap();
        let mut waiting = pin!(memory.room(4 * STEP));
        assert!(now(waiting.as_mut()).is_none());
        drop(others);
        drop(now(waiting).unwrap().unwrap());
        assert!(memory.room(9 * STEP).await.is_err(), "more than there is");
        let _others = account.try_reserve(Purpose::Fetches, 6 * STEP).unwrap();
        assert!(memory.room(4 * STEP).await.is_err(), "nobody gives it back");
    }
}
