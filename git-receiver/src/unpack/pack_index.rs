//! The index of a pack: each object is hashed and checked once, on the thread that reconstructed it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use gix_hash::ObjectId;
use gix_object::Kind;

use super::UnpackError;
use crate::MemoryPool;
use crate::connectivity::ObjectRefs;
use crate::fsck::{self, FsckError, FsckReport, FsckWarning};
use crate::memory::Reservation;

/// The size of a batch of contents for the checking thread. Larger contents are checked where they are inflated.
pub(super) const BATCH_BYTES: usize = 256 * 1024;

/// The object of an entry.
#[derive(Clone, Copy)]
pub(super) struct PackedObject {
    pub(super) entry: u32,
    pub(super) id: ObjectId,
    pub(super) kind: Kind,
    /// The length of its delta chain within the pack.
    pub(super) depth: u32,
}

/// The memory of a reference between objects.
const REF_BYTES: u64 = 200;

/// The objects indexed so far and their references.
pub(super) struct PackIndex {
    pub(super) objects: Vec<PackedObject>,
    pub(super) refs: ObjectRefs,
    pub(super) warnings: FsckWarnings,
    reservation: Reservation,
}

/// How many warnings of a push are kept.
const WARNINGS_MAX: usize = 20;

/// The fsck warnings of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckWarnings {
    /// The first warnings, with their objects.
    pub shown: Vec<(ObjectId, FsckWarning)>,
    /// The number of all warnings.
    pub count: usize,
}

impl FsckWarnings {
    fn add(&mut self, id: ObjectId, warning: FsckWarning) {
        self.count += 1;
        if self.shown.len() < WARNINGS_MAX {
            self.shown.push((id, warning));
        }
    }

    fn append(&mut self, other: Self) {
        self.count += other.count;
        self.shown.extend(other.shown);
        self.shown.truncate(WARNINGS_MAX);
    }
}

impl PackIndex {
    /// An empty index.
    pub(super) fn of(memory: &Arc<dyn MemoryPool>) -> Self {
        Self {
            objects: Vec::new(),
            refs: ObjectRefs::default(),
            warnings: FsckWarnings::default(),
            reservation: Reservation::new(memory),
        }
    }

    /// Hashes and checks the content of an entry.
    pub(super) fn add(
        &mut self,
        entry: u32,
        kind: Kind,
        content: &[u8],
        depth: u32,
        shallow: &HashSet<ObjectId>,
    ) -> Result<ObjectId, UnpackError> {
        let id = super::name(kind, content)?;
        let FsckReport { refs, warnings } = fsck::fsck_object(kind, content)
            .map_err(|FsckError(message)| UnpackError::Fsck { id, message })?;
        warnings.into_iter().for_each(|warning| self.warnings.add(id, warning));
        // Most entries of a tree are in the previous version of the tree too, so that only new references count.
        let new = self.refs.add(id, kind, refs, shallow.contains(&id));
        self.reservation.try_grow(new as u64 * REF_BYTES)?;
        self.objects.push(PackedObject { entry, id, kind, depth });
        Ok(id)
    }

    /// Merges `other`.
    pub(super) fn append(&mut self, other: Self) {
        self.objects.extend(other.objects);
        self.refs.append(other.refs);
        self.warnings.append(other.warnings);
        self.reservation.absorb(other.reservation);
    }
}

/// Contents to be checked by another thread.
#[derive(Default)]
pub(super) struct Batch {
    contents: Vec<u8>,
    /// Entry, kind and end of each content; it starts at the end of the previous one.
    parts: Vec<(u32, Kind, usize)>,
}

impl Batch {
    /// Adds a content, and sends the batch once it is full; `false` if the receiver is gone.
    pub(super) fn add(&mut self, entry: u32, kind: Kind, content: &[u8], sender: &SyncSender<Self>) -> bool {
        self.contents.extend_from_slice(content);
        self.parts.push((entry, kind, self.contents.len()));
        self.contents.len() < BATCH_BYTES || sender.send(std::mem::take(self)).is_ok()
    }
}

/// Indexes all received batches.
pub(super) fn index_batches(
    batches: &Receiver<Batch>,
    shallow: &HashSet<ObjectId>,
    memory: &Arc<dyn MemoryPool>,
) -> Result<PackIndex, UnpackError> {
    let mut index = PackIndex::of(memory);
    for batch in batches {
        let mut start = 0;
        for (entry, kind, end) in batch.parts {
            index.add(entry, kind, &batch.contents[start..end], 0, shallow)?;
            start = end;
        }
    }
    Ok(index)
}
