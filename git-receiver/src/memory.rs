//! Bounds the memory of one request.
//!
//! Only memory that grows with client input or repository size is reserved. Small or constant amounts are not counted.

use std::fmt;
use std::sync::Arc;

/// The memory that a request can reserve.
pub trait MemoryPool: Send + Sync {
    /// Reserves `bytes`.
    ///
    /// # Errors
    /// The pool is exhausted.
    fn reserve(&self, bytes: u64) -> Result<(), OutOfMemoryError>;

    /// Releases `bytes`.
    fn release(&self, bytes: u64);

    /// Whether `bytes` could be reserved, for optional caches.
    fn has_capacity(&self, bytes: u64) -> bool {
        self.reserve(bytes).map(|()| self.release(bytes)).is_ok()
    }
}

/// The memory pool of a request is exhausted.
#[derive(Clone, Debug, thiserror::Error)]
#[error("out of memory: {0}")]
pub struct OutOfMemoryError(pub Arc<dyn std::error::Error + Send + Sync>);

/// A memory pool without a limit.
pub fn unbounded_memory() -> Arc<dyn MemoryPool> {
    Arc::new(Unbounded)
}

struct Unbounded;

impl MemoryPool for Unbounded {
    fn reserve(&self, _: u64) -> Result<(), OutOfMemoryError> {
        Ok(())
    }

    fn release(&self, _: u64) {}
}

/// Reservations grow in steps of this many bytes, so that small additions are cheap.
const STEP_BYTES: u64 = 64 * 1024;

/// Reserved bytes, released on drop.
pub(crate) struct Reservation {
    memory: Arc<dyn MemoryPool>,
    used: u64,
    held: u64,
}

impl Reservation {
    /// An empty reservation.
    pub(crate) fn new(memory: &Arc<dyn MemoryPool>) -> Self {
        Self { memory: Arc::clone(memory), used: 0, held: 0 }
    }

    /// Reserves `bytes` more.
    ///
    /// # Errors
    /// The pool is exhausted; earlier bytes stay reserved.
    pub(crate) fn try_grow(&mut self, bytes: u64) -> Result<(), OutOfMemoryError> {
        let used = self.used.saturating_add(bytes);
        if used > self.held {
            let grown = (used - self.held).max(STEP_BYTES);
            self.memory.reserve(grown)?;
            self.held += grown;
        }
        self.used = used;
        Ok(())
    }

    /// Takes over the bytes of `other`.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.used += std::mem::take(&mut other.used);
        self.held += std::mem::take(&mut other.held);
    }

    /// Changes the reservation to exactly `bytes`.
    ///
    /// # Errors
    /// The pool is exhausted; earlier bytes stay reserved.
    pub(crate) fn try_resize(&mut self, bytes: u64) -> Result<(), OutOfMemoryError> {
        if bytes > self.held {
            self.memory.reserve(bytes - self.held)?;
        } else {
            self.memory.release(self.held - bytes);
        }
        (self.used, self.held) = (bytes, bytes);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.release(self.held);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("used", &self.used).field("held", &self.held).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A pool of `limit` bytes that records the current and the peak reservation.
    #[derive(Default)]
    pub(crate) struct LimitedPool {
        pub(crate) limit: u64,
        pub(crate) held: AtomicU64,
        pub(crate) peak: AtomicU64,
    }

    impl MemoryPool for LimitedPool {
        fn reserve(&self, bytes: u64) -> Result<(), OutOfMemoryError> {
            let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if held > self.limit {
                self.held.fetch_sub(bytes, Ordering::Relaxed);
                let error = std::io::Error::other(format!("{held} bytes of {}", self.limit));
                return Err(OutOfMemoryError(Arc::new(error)));
            }
            self.peak.fetch_max(held, Ordering::Relaxed);
            Ok(())
        }

        fn release(&self, bytes: u64) {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }

        fn has_capacity(&self, bytes: u64) -> bool {
            self.held.load(Ordering::Relaxed) + bytes <= self.limit
        }
    }

    #[test]
    fn reserved_memory_is_released() {
        let pool = Arc::new(LimitedPool { limit: 150_000, ..LimitedPool::default() });
        let memory: Arc<dyn MemoryPool> = Arc::clone(&pool) as Arc<dyn MemoryPool>;
        let mut reservation = Reservation::new(&memory);
        (0..100).for_each(|_| reservation.try_grow(100).unwrap());
        assert_eq!(pool.held.load(Ordering::Relaxed), STEP_BYTES, "in one step");
        reservation.try_grow(STEP_BYTES).unwrap();
        assert_eq!(pool.held.load(Ordering::Relaxed), 2 * STEP_BYTES);
        assert!(reservation.try_grow(100_000).is_err());
        reservation.try_grow(STEP_BYTES - 10_000).unwrap();
        reservation.try_resize(1000).unwrap();
        assert_eq!(pool.held.load(Ordering::Relaxed), 1000);
        drop(reservation);
        assert_eq!(pool.held.load(Ordering::Relaxed), 0);
    }
}
