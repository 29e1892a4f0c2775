//! What the entries of a pack turn out to be: each object is named and checked here, once, on whichever thread built it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use gix_hash::ObjectId;
use gix_object::Kind;

use super::UnpackError;
use crate::MemoryPool;
use crate::check::{self, Accepted, BadObject, FsckWarning};
use crate::connectivity::Links;
use crate::memory::Reservation;

/// How many bytes of content travel together to the thread that checks them. A larger content does not travel.
pub(super) const BATCH_BYTES: usize = 256 * 1024;

/// The object that an entry holds.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) entry: u32,
    pub(super) id: ObjectId,
    pub(super) kind: Kind,
    /// How many deltas of the pack lie under it.
    pub(super) depth: u32,
}

/// What each object takes that another one names.
const LINK_BYTES: u64 = 200;

/// What was found so far, and what it names.
pub(super) struct Findings {
    pub(super) found: Vec<Found>,
    pub(super) links: Links,
    pub(super) warnings: FsckWarnings,
    held: Reservation,
}

/// How many warnings of a push are kept.
const WARNINGS_MAX: usize = 20;

/// What fsck warns of in the objects of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckWarnings {
    /// Some of them, by the object.
    pub shown: Vec<(ObjectId, FsckWarning)>,
    /// How many there are.
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

impl Findings {
    /// Nothing, so far.
    pub(super) fn of(memory: &Arc<dyn MemoryPool>) -> Self {
        Self {
            found: Vec::new(),
            links: Links::default(),
            warnings: FsckWarnings::default(),
            held: Reservation::new(memory),
        }
    }

    /// Names and checks the content of an entry.
    pub(super) fn add(
        &mut self,
        entry: u32,
        kind: Kind,
        content: &[u8],
        depth: u32,
        shallow: &HashSet<ObjectId>,
    ) -> Result<ObjectId, UnpackError> {
        let id = super::name(kind, content)?;
        let Accepted { named, warnings } =
            check::object(kind, content).map_err(|BadObject(why)| UnpackError::BadObject { id, why })?;
        warnings.into_iter().for_each(|warning| self.warnings.add(id, warning));
        // Most of a tree is what the one before it names too.
        let new = self.links.add(id, kind, named, shallow.contains(&id));
        self.held.try_grow(new as u64 * LINK_BYTES)?;
        self.found.push(Found { entry, id, kind, depth });
        Ok(id)
    }

    /// Adds all of `other`.
    pub(super) fn append(&mut self, other: Self) {
        self.found.extend(other.found);
        self.links.append(other.links);
        self.warnings.append(other.warnings);
        self.held.absorb(other.held);
    }
}

/// Contents on their way to the thread that checks them.
#[derive(Default)]
pub(super) struct Batch {
    contents: Vec<u8>,
    /// Entry and kind, and where the content ends; it begins where the one before ends.
    parts: Vec<(u32, Kind, usize)>,
}

impl Batch {
    /// Adds a content; what is full is sent. `false`: nobody takes it any more.
    pub(super) fn add(&mut self, entry: u32, kind: Kind, content: &[u8], to: &SyncSender<Self>) -> bool {
        self.contents.extend_from_slice(content);
        self.parts.push((entry, kind, self.contents.len()));
        self.contents.len() < BATCH_BYTES || to.send(std::mem::take(self)).is_ok()
    }
}

/// Checks everything that comes.
pub(super) fn check_all(
    batches: &Receiver<Batch>,
    shallow: &HashSet<ObjectId>,
    memory: &Arc<dyn MemoryPool>,
) -> Result<Findings, UnpackError> {
    let mut findings = Findings::of(memory);
    for batch in batches {
        let mut start = 0;
        for (entry, kind, end) in batch.parts {
            findings.add(entry, kind, &batch.contents[start..end], 0, shallow)?;
            start = end;
        }
    }
    Ok(findings)
}
