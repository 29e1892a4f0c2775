use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use git_receiver::{MemoryPool, OutOfMemoryError};
use store::Object;
use tokio::sync::Notify;

use crate::memory::Reservation;

/// The step in which the reservation grows.
const STEP_BYTES: u64 = 1024 * 1024;

/// How long a request waits for memory, released by itself or by others.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Streams up to this size are accounted in groups.
const SMALL_STREAM_BYTES_MAX: usize = 1024;
const SMALL_STREAM_GROUP: usize = 64;

/// The memory of one request to a repository: at least its initial reservation until it ends.
#[derive(Debug)]
pub(crate) struct RequestMemory {
    minimum: u64,
    /// The bytes in use.
    used: AtomicU64,
    /// The reserved bytes, readable without the lock.
    capacity: AtomicU64,
    held: Mutex<Reservation>,
    /// The number of waiters for a release.
    waiting: AtomicUsize,
    released: Notify,
}

impl RequestMemory {
    pub(crate) fn new(held: Reservation) -> Arc<Self> {
        let minimum = held.bytes();
        Arc::new(Self {
            minimum,
            used: AtomicU64::new(0),
            capacity: AtomicU64::new(minimum),
            held: Mutex::new(held),
            waiting: AtomicUsize::new(0),
            released: Notify::new(),
        })
    }

    /// Reserves `bytes` for a read, waiting for a release if necessary.
    ///
    /// # Errors
    /// They exceed the limit, or were not released in time.
    pub(super) async fn acquire(self: &Arc<Self>, bytes: u64) -> Result<ReadReservation, OutOfMemoryError> {
        if self.reserve(bytes).is_err() {
            let waiting = tokio::time::timeout(WAIT_TIMEOUT, self.wait_for(bytes));
            waiting.await.unwrap_or_else(|_| self.reserve(bytes))?;
        }
        Ok(ReadReservation { memory: Arc::clone(self), bytes })
    }

    async fn wait_for(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut released = pin!(self.released.notified());
            // From here on no release is missed.
            released.as_mut().enable();
            let Err(error) = self.reserve(bytes) else { return Ok(()) };
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
                    // More than the app's whole share, which no release can provide.
                    Err(_) => return Err(error),
                },
            }
        }
    }

    /// No code panics while holding the lock.
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
        // If a whole step does not fit, the missing bytes can.
        let grown = match missing {
            0 => Ok(()),
            missing => held.try_grow(missing.max(STEP_BYTES)).or_else(|_| held.try_grow(missing)),
        };
        self.capacity.store(held.bytes(), Ordering::Relaxed);
        grown.map_err(|error| {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            OutOfMemoryError(Arc::new(error))
        })
    }

    fn release(&self, bytes: u64) {
        // A waiter registers before it checks the usage, so that one of the two sees the other.
        let used = self.used.fetch_sub(bytes, Ordering::SeqCst).saturating_sub(bytes);
        let capacity = self.capacity.load(Ordering::Relaxed);
        if capacity > self.minimum && used.saturating_add(2 * STEP_BYTES) < capacity {
            let mut held = self.held();
            let used = self.used.load(Ordering::Relaxed);
            held.shrink_to(used.saturating_add(STEP_BYTES).max(self.minimum));
            self.capacity.store(held.bytes(), Ordering::Relaxed);
        }
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.released.notify_waiters();
        }
    }
}

/// Counts a waiter until it is dropped.
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

/// Reserved bytes of a read.
pub(super) struct ReadReservation {
    memory: Arc<RequestMemory>,
    bytes: u64,
}

impl ReadReservation {
    /// Converts to the actual size of the read streams; each stream releases its bytes when its last part is
    /// dropped.
    ///
    /// # Errors
    /// They are more than reserved, and do not fit.
    pub(super) fn into_streams(mut self, bytes: u64) -> Result<Arc<RequestMemory>, OutOfMemoryError> {
        if bytes > self.bytes {
            self.memory.reserve(bytes - self.bytes)?;
            self.bytes = bytes;
        }
        self.bytes -= bytes;
        Ok(Arc::clone(&self.memory))
    }
}

impl Drop for ReadReservation {
    fn drop(&mut self) {
        self.memory.release(self.bytes);
    }
}

/// Takes the streams of `objects` and accounts for them in `memory`. Small ones of one kind, which are mostly
/// dropped together, share an entry: accounting for each would take as long as reading it.
pub(super) fn accounted_streams(objects: &mut [Object], memory: &Arc<RequestMemory>) -> Vec<Bytes> {
    let counted = |stream| Bytes::from_owner(AccountedStream { stream, memory: Arc::clone(memory) });
    let mut streams = vec![Bytes::new(); objects.len()];
    let mut small: [Vec<usize>; 4] = Default::default();
    for (index, object) in objects.iter_mut().enumerate() {
        match object.zlib.len() {
            ..=SMALL_STREAM_BYTES_MAX => small[object.kind as usize].push(index),
            _ => streams[index] = counted(std::mem::take(&mut object.zlib)),
        }
    }
    for group in small.iter().flat_map(|of_kind| of_kind.chunks(SMALL_STREAM_GROUP)) {
        let mut block = Vec::with_capacity(group.iter().map(|index| objects[*index].zlib.len()).sum());
        let ends: Vec<usize> = group
            .iter()
            .map(|index| {
                block.append(&mut std::mem::take(&mut objects[*index].zlib));
                block.len()
            })
            .collect();
        let (block, mut from) = (counted(block), 0);
        for (index, end) in group.iter().zip(ends) {
            streams[*index] = block.slice(from..end);
            from = end;
        }
    }
    streams
}

/// A stream accounted for in its request.
struct AccountedStream {
    stream: Vec<u8>,
    memory: Arc<RequestMemory>,
}

impl AsRef<[u8]> for AccountedStream {
    fn as_ref(&self) -> &[u8] {
        &self.stream
    }
}

impl Drop for AccountedStream {
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

    /// An account of eight steps, and a request that reserves one of them.
    fn request() -> (Account, Arc<RequestMemory>) {
        let account = MemoryBudget::new(32 * STEP_BYTES).node_account();
        let memory = RequestMemory::new(account.try_reserve(Purpose::Fetches, STEP_BYTES).unwrap());
        (account, memory)
    }

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn request_grows_in_steps_and_shrinks_to_initial_reservation() {
        let (account, memory) = request();
        memory.reserve(STEP_BYTES).unwrap();
        assert_eq!(account.used_bytes(), STEP_BYTES, "already reserved");
        memory.reserve(10).unwrap();
        assert_eq!(account.used_bytes(), 2 * STEP_BYTES);
        memory.reserve(6 * STEP_BYTES).unwrap();
        let error = memory.reserve(STEP_BYTES).unwrap_err();
        assert!(error.to_string().contains("of its share"), "{error}");
        memory.reserve(STEP_BYTES - 10).unwrap();
        assert_eq!(account.used_bytes(), 8 * STEP_BYTES, "the missing bytes, if a step does not fit");
        memory.release(8 * STEP_BYTES);
        assert_eq!(account.used_bytes(), STEP_BYTES);
        drop(memory);
        assert_eq!(account.used_bytes(), 0);
    }

    #[tokio::test]
    async fn streams_keep_their_memory_reserved() {
        let (account, memory) = request();
        let object = |number: u8| {
            let kind = if number.is_multiple_of(2) { ObjectKind::Tree } else { ObjectKind::Blob };
            let length =
                if number.is_multiple_of(5) { SMALL_STREAM_BYTES_MAX + 1 } else { usize::from(number) };
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
        let held = memory.acquire(3 * STEP_BYTES).await.unwrap().into_streams(bytes).unwrap();
        let mut streams = accounted_streams(&mut objects.clone(), &held);
        assert!(streams.iter().zip(&objects).all(|(stream, object)| *stream == object.zlib));
        assert_eq!(memory.used.load(Ordering::Relaxed), bytes);
        let large = streams.remove(255).slice(1..3);
        drop(streams);
        assert_eq!(memory.used.load(Ordering::Relaxed), SMALL_STREAM_BYTES_MAX as u64 + 1);
        drop(large);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
        assert!(account.used_bytes() < 2 * STEP_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn reserve_waits_for_own_and_other_releases() {
        let (account, memory) = request();
        let own = memory.acquire(5 * STEP_BYTES).await.unwrap();
        let mut waiting = pin!(memory.acquire(4 * STEP_BYTES));
        assert!(now(waiting.as_mut()).is_none());
        drop(own);
        drop(now(waiting).unwrap().unwrap());
        let others = account.try_reserve(Purpose::Fetches, 6 * STEP_BYTES).unwrap();
        let mut waiting = pin!(memory.acquire(4 * STEP_BYTES));
        assert!(now(waiting.as_mut()).is_none());
        drop(others);
        drop(now(waiting).unwrap().unwrap());
        assert!(memory.acquire(9 * STEP_BYTES).await.is_err(), "more than the share");
        let _others = account.try_reserve(Purpose::Fetches, 6 * STEP_BYTES).unwrap();
        assert!(memory.acquire(4 * STEP_BYTES).await.is_err(), "nothing is released");
    }
}
