//! The first pass over a pack: inflates every stream once, checks the undeltified objects and verifies the checksum.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use gix_hash::ObjectId;

use super::UnpackError;
use super::entries::{Entries, EntryKind, count};
use super::pack_index::{BATCH_BYTES, Batch, PackIndex, index_batches};
use crate::memory::Reservation;
use crate::pack::PackBytes;
use crate::{Limits, MemoryPool};

/// Packs from this size on are scanned on several threads.
const PARALLEL_BYTES_MIN: u64 = 256 * 1024;

/// How many batches can wait for the index thread.
const BATCH_QUEUE_MAX: usize = 8;

/// The memory of the queued batches, of the one being filled and of the one being checked.
const BATCH_QUEUE_BYTES: u64 = (BATCH_QUEUE_MAX as u64 + 2) * 2 * BATCH_BYTES as u64;

/// How much of a file is hashed at once.
const HASH_CHUNK_BYTES: u64 = 256 * 1024;

/// A pack with inflated entries and unresolved deltas.
pub(crate) struct Scanned {
    pub(super) entries: Entries,
    /// The undeltified objects.
    pub(super) undeltified: PackIndex,
}

/// Scans `bytes`. The parents of the commits in `shallow` can be missing. Blocking.
pub(crate) fn scan(
    bytes: PackBytes,
    shallow: &HashSet<ObjectId>,
    limits: &Limits,
    memory: &Arc<dyn MemoryPool>,
) -> Result<Scanned, UnpackError> {
    if bytes.length() < PARALLEL_BYTES_MIN {
        return scan_on_one_thread(&bytes, shallow, limits, memory);
    }
    let mut batches = Reservation::new(memory);
    batches.try_grow(BATCH_QUEUE_BYTES)?;
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BATCH_QUEUE_MAX);
        let check = move || index_batches(&receiver, shallow, memory);
        let Ok(index_thread) = thread::Builder::new().spawn_scoped(scope, check) else {
            // The system does not start more threads.
            return scan_on_one_thread(&bytes, shallow, limits, memory);
        };
        let checksum_thread = thread::Builder::new().spawn_scoped(scope, || checksum(&bytes));
        let mut batch = Batch::default();
        let mut large_objects = PackIndex::of(memory);
        let mut sink = |entry, kind, content: &[u8]| {
            if content.len() > BATCH_BYTES {
                // A queue of large contents would exhaust the memory.
                return large_objects.add(entry, kind, content, 0, shallow).map(|_| ());
            }
            // The index thread stopped at an error, which is reported below.
            if batch.add(entry, kind, content, &sender) { Ok(()) } else { Err(UnpackError::Panicked) }
        };
        let entries = Entries::read(bytes.clone(), limits, memory, &mut sink);
        let _ = sender.send(batch);
        drop(sender);
        let undeltified = index_thread.join().unwrap_or(Err(UnpackError::Panicked));
        let verified = match checksum_thread {
            Ok(checksum_thread) => checksum_thread.join().unwrap_or(Err(UnpackError::Panicked)),
            Err(_) => checksum(&bytes),
        };
        match (entries, undeltified) {
            (Ok(entries), Ok(mut undeltified)) => {
                undeltified.append(large_objects);
                verified.map(|()| Scanned { entries, undeltified })
            }
            (Err(UnpackError::Panicked), Err(error)) | (Err(error), _) | (_, Err(error)) => Err(error),
        }
    })
}

/// Scans without additional threads.
fn scan_on_one_thread(
    bytes: &PackBytes,
    shallow: &HashSet<ObjectId>,
    limits: &Limits,
    memory: &Arc<dyn MemoryPool>,
) -> Result<Scanned, UnpackError> {
    let mut undeltified = PackIndex::of(memory);
    let mut sink =
        |entry, kind, content: &[u8]| undeltified.add(entry, kind, content, 0, shallow).map(|_| ());
    let entries = Entries::read(bytes.clone(), limits, memory, &mut sink)?;
    checksum(bytes)?;
    Ok(Scanned { entries, undeltified })
}

/// Verifies the trailing checksum.
fn checksum(bytes: &PackBytes) -> Result<(), UnpackError> {
    let end = bytes.length().checked_sub(20).ok_or(UnpackError::Truncated)?;
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < end {
        let piece = bytes.read(at, end.min(at + HASH_CHUNK_BYTES), &mut buffer)?;
        hasher.update(piece);
        at += piece.len() as u64;
    }
    let verified = hasher.try_finalize().map_err(|_| UnpackError::Collision)?;
    let declared = bytes.read(end, bytes.length(), &mut buffer)?;
    if verified.as_slice() == declared { Ok(()) } else { Err(UnpackError::Checksum) }
}

/// The inflated bytes of a pack so far, and their limits.
pub(crate) struct InflatedCounter<'l> {
    total: u64,
    limits: &'l Limits,
}

impl InflatedCounter<'_> {
    /// Adds `size` bytes.
    pub(crate) fn add(&mut self, size: u64) -> Result<(), UnpackError> {
        count(size, self.limits, &mut self.total)
    }
}

impl Scanned {
    /// Reserves `bytes` until the push is unpacked.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.entries.reserve(bytes)
    }

    /// The inflated bytes so far, including the declared results of deltas.
    pub(crate) fn inflated<'l>(&self, limits: &'l Limits) -> InflatedCounter<'l> {
        InflatedCounter { total: self.entries.total, limits }
    }

    /// The bases of ref-deltas that are not undeltified objects of the pack. Some can be results of other deltas.
    pub(crate) fn external_bases(&self) -> Vec<ObjectId> {
        let by_name = |body| if let EntryKind::RefDelta(base) = body { Some(base) } else { None };
        let mut bases: Vec<ObjectId> =
            self.entries.list.iter().filter_map(|entry| by_name(entry.kind)).collect();
        bases.sort_unstable();
        bases.dedup();
        if !bases.is_empty() {
            let undeltified: HashSet<ObjectId> =
                self.undeltified.objects.iter().map(|found| found.id).collect();
            bases.retain(|base| !undeltified.contains(base));
        }
        bases
    }
}
