//! The first pass over a pack: every stream is inflated once, whole objects are checked, the checksum is computed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use gix_hash::ObjectId;

use super::UnpackError;
use super::entries::{Body, Entries, count};
use super::found::{BATCH_BYTES, Batch, Findings, check_all};
use crate::memory::Reservation;
use crate::pack::PackBytes;
use crate::{Limits, MemoryPool};

/// How long a pack is before it is worth more threads than one.
const LONG: u64 = 256 * 1024;

/// How many batches may wait to be checked.
const BATCHES_WAITING: usize = 8;

/// What the batches take that wait, that one which is filled, and the one that is checked.
const BATCHES_BYTES: u64 = (BATCHES_WAITING as u64 + 2) * 2 * BATCH_BYTES as u64;

/// How much of a file is hashed at once.
const PIECE: u64 = 256 * 1024;

/// A pack of which all is known but what its deltas stand for.
pub(crate) struct Scanned {
    pub(super) entries: Entries,
    /// The objects that came whole.
    pub(super) whole: Findings,
}

/// Reads `bytes` once. The parents of the commits `shallow` need not be anywhere. Blocking.
pub(crate) fn scan(
    bytes: PackBytes,
    shallow: &HashSet<ObjectId>,
    limits: &Limits,
    memory: &Arc<dyn MemoryPool>,
) -> Result<Scanned, UnpackError> {
    if bytes.length() < LONG {
        return scan_alone(&bytes, shallow, limits, memory);
    }
    let mut batches = Reservation::new(memory);
    batches.try_grow(BATCHES_BYTES)?;
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BATCHES_WAITING);
        let check = move || check_all(&receiver, shallow, memory);
        let Ok(checking) = thread::Builder::new().spawn_scoped(scope, check) else {
            // The system gives no more threads.
            return scan_alone(&bytes, shallow, limits, memory);
        };
        let summing = thread::Builder::new().spawn_scoped(scope, || checksum(&bytes));
        let mut batch = Batch::default();
        let mut large = Findings::of(memory);
        let mut sink = |entry, kind, content: &[u8]| {
            if content.len() > BATCH_BYTES {
                // Waiting, a few of them would fill the memory.
                return large.add(entry, kind, content, 0, shallow).map(|_| ());
            }
            // Whoever does not take it any more has found a fault, which is told below.
            if batch.add(entry, kind, content, &sender) { Ok(()) } else { Err(UnpackError::Panicked) }
        };
        let entries = Entries::read(bytes.clone(), limits, memory, &mut sink);
        let _ = sender.send(batch);
        drop(sender);
        let whole = checking.join().unwrap_or(Err(UnpackError::Panicked));
        let sum = match summing {
            Ok(summing) => summing.join().unwrap_or(Err(UnpackError::Panicked)),
            Err(_) => checksum(&bytes),
        };
        match (entries, whole) {
            (Ok(entries), Ok(mut whole)) => {
                whole.append(large);
                sum.map(|()| Scanned { entries, whole })
            }
            (Err(UnpackError::Panicked), Err(fault)) | (Err(fault), _) | (_, Err(fault)) => Err(fault),
        }
    })
}

/// The same on one thread.
fn scan_alone(
    bytes: &PackBytes,
    shallow: &HashSet<ObjectId>,
    limits: &Limits,
    memory: &Arc<dyn MemoryPool>,
) -> Result<Scanned, UnpackError> {
    let mut whole = Findings::of(memory);
    let mut sink = |entry, kind, content: &[u8]| whole.add(entry, kind, content, 0, shallow).map(|_| ());
    let entries = Entries::read(bytes.clone(), limits, memory, &mut sink)?;
    checksum(bytes)?;
    Ok(Scanned { entries, whole })
}

/// Holds a pack to its last bytes, which are the checksum of all others.
fn checksum(bytes: &PackBytes) -> Result<(), UnpackError> {
    let end = bytes.length().checked_sub(20).ok_or(UnpackError::Truncated)?;
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < end {
        let piece = bytes.read(at, end.min(at + PIECE), &mut buffer)?;
        hasher.update(piece);
        at += piece.len() as u64;
    }
    let sum = hasher.try_finalize().map_err(|_| UnpackError::Collision)?;
    let said = bytes.read(end, bytes.length(), &mut buffer)?;
    if sum.as_slice() == said { Ok(()) } else { Err(UnpackError::Checksum) }
}

/// What was inflated for a pack so far, and how much it may be.
pub(crate) struct Inflated<'l> {
    total: u64,
    limits: &'l Limits,
}

impl Inflated<'_> {
    /// Counts `size` bytes more.
    pub(crate) fn add(&mut self, size: u64) -> Result<(), UnpackError> {
        count(size, self.limits, &mut self.total)
    }
}

impl Scanned {
    /// Holds so many bytes more, until the push is unpacked.
    pub(crate) fn hold(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.entries.hold(bytes)
    }

    /// What was inflated so far, with what the deltas declare.
    pub(crate) fn inflated<'l>(&self, limits: &'l Limits) -> Inflated<'l> {
        Inflated { total: self.entries.total, limits }
    }

    /// The bases of deltas that are not whole objects of the pack. Some may turn out to be results of other deltas.
    pub(crate) fn foreign_bases(&self) -> Vec<ObjectId> {
        let by_name = |body| if let Body::RefDelta(base) = body { Some(base) } else { None };
        let mut bases: Vec<ObjectId> =
            self.entries.list.iter().filter_map(|entry| by_name(entry.body)).collect();
        bases.sort_unstable();
        bases.dedup();
        if !bases.is_empty() {
            let whole: HashSet<ObjectId> = self.whole.found.iter().map(|found| found.id).collect();
            bases.retain(|base| !whole.contains(base));
        }
        bases
    }
}
