//! Applies the deltas of a pack; every resulting object is hashed and checked.
//!
//! Threads share the work: each takes the next base, an undeltified object of the pack or an object of the repository, and
//! resolves all deltas that descend from it. No thread ever waits for a base.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::UnpackError;
use super::entries::{Entries, EntryKind, StreamReader};
use super::pack_index::{PackIndex, PackedObject};
use super::resolved::{Bases, Resolved};
use super::scan::Scanned;
use crate::Limits;
use crate::content::Content;

/// The most threads for one pack.
const THREADS_MAX: usize = 8;

/// The minimum number of deltas per thread: starting a thread takes as long as applying some of them.
const DELTAS_PER_THREAD_MIN: usize = 500;

/// Applies the deltas. `bases` are the delta bases in the repository; the parents of the commits in `shallow` can be
/// missing. Blocking.
pub(crate) fn resolve(
    scanned: Scanned,
    bases: Bases,
    shallow: &HashSet<ObjectId>,
    limits: &Limits,
) -> Result<Resolved, UnpackError> {
    let Scanned { entries, undeltified } = scanned;
    let queue = DeltaQueue::new(&entries, &bases, &undeltified.objects, shallow, limits.delta_depth);
    let deltas = queue.deltas;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (deltas / DELTAS_PER_THREAD_MIN).clamp(1, cores.min(THREADS_MAX));
    let indexed = thread::scope(|scope| {
        // If the system does not start more threads, the existing ones do all the work.
        let start = |_| thread::Builder::new().spawn_scoped(scope, || queue.run()).ok();
        let others: Vec<_> = (1..threads).map_while(start).collect();
        let mut indexed = vec![queue.run()];
        indexed.extend(others.into_iter().map(|other| other.join().unwrap_or(Err(UnpackError::Panicked))));
        indexed.into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let applied: usize = indexed.iter().map(|indexed| indexed.objects.len()).sum();
    if applied < deltas {
        return Err(UnpackError::Unresolved(deltas - applied));
    }
    drop(queue);
    let mut index = undeltified;
    indexed.into_iter().for_each(|indexed| index.append(indexed));
    Ok(Resolved { entries, bases, index })
}

/// An object that deltas can build on.
struct ResolvedBase {
    kind: Kind,
    content: Content,
    id: ObjectId,
    /// Its entry, if it is in the pack.
    entry: Option<u32>,
    depth: u32,
}

/// The work, shared by all threads.
struct DeltaQueue<'a> {
    entries: &'a Entries,
    shallow: &'a HashSet<ObjectId>,
    depth_max: usize,
    deltas: usize,
    /// Delta bases in the repository; the walks start here.
    bases: Vec<(&'a ObjectId, &'a (Kind, Vec<u8>))>,
    /// Undeltified objects with deltas; the walks continue here.
    undeltified: Vec<PackedObject>,
    /// Deltas by the entry of their base, for ofs-deltas.
    on_entry: Vec<(u32, u32)>,
    /// Deltas by the id of their base, for ref-deltas.
    on_id: Vec<(ObjectId, u32)>,
    /// The number of direct and indirect ofs-deltas of each entry.
    descendants: Vec<u32>,
    /// Which entries are claimed by a thread. Each is claimed once, so that a cycle of deltas is never entered.
    claimed: Vec<AtomicBool>,
    /// The index of the next base.
    next: AtomicUsize,
    /// A thread failed, so that the others stop.
    failed: AtomicBool,
}

impl<'a> DeltaQueue<'a> {
    fn new(
        entries: &'a Entries,
        bases: &'a Bases,
        undeltified: &[PackedObject],
        shallow: &'a HashSet<ObjectId>,
        depth_max: usize,
    ) -> Self {
        let (mut on_entry, mut on_id) = (Vec::new(), Vec::new());
        let mut descendants = vec![0u32; entries.list.len()];
        let mut deltas = 0;
        // The base of an ofs-delta precedes it, so that in reverse order each count is complete before it is added to its
        // base.
        let count = u32::try_from(entries.list.len()).unwrap_or(u32::MAX);
        for (index, entry) in (0..count).rev().zip(entries.list.iter().rev()) {
            match entry.kind {
                EntryKind::Undeltified(_) => continue,
                EntryKind::OfsDelta(offset) => {
                    // An offset where no entry starts: the delta is reported as unresolved.
                    if let Some(base) = entries.index_at(offset).filter(|base| *base < index as usize) {
                        descendants[base] = descendants[base].saturating_add(1 + descendants[index as usize]);
                        on_entry.push((u32::try_from(base).unwrap_or(u32::MAX), index));
                    }
                }
                EntryKind::RefDelta(id) => on_id.push((id, index)),
            }
            deltas += 1;
        }
        on_entry.sort_unstable();
        on_id.sort_unstable();
        let mut queue = Self {
            entries,
            shallow,
            depth_max,
            deltas,
            bases: bases.iter().collect(),
            undeltified: Vec::new(),
            on_entry,
            on_id,
            descendants,
            claimed: entries.list.iter().map(|_| AtomicBool::new(false)).collect(),
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        };
        queue.undeltified = undeltified.iter().filter(|found| queue.has_deltas(found)).copied().collect();
        queue
    }

    fn has_deltas(&self, found: &PackedObject) -> bool {
        !equal_range(&self.on_entry, &found.entry).is_empty()
            || !equal_range(&self.on_id, &found.id).is_empty()
    }

    /// The work of one thread.
    fn run(&self) -> Result<PackIndex, UnpackError> {
        let mut indexed = PackIndex::of(&self.entries.memory);
        let mut reader = StreamReader::new();
        while !self.failed.load(Ordering::Relaxed) {
            let begun = match self.nth_base(self.next.fetch_add(1, Ordering::Relaxed), &mut reader) {
                Ok(None) => return Ok(indexed),
                Ok(Some(base)) => self.resolve_descendants(base, &mut reader, &mut indexed),
                Err(error) => Err(error),
            };
            if let Err(error) = begun {
                self.failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(indexed)
    }

    /// The base at `index`, first those of the repository and then those of the pack; `None` after the last one.
    fn nth_base(&self, index: usize, reader: &mut StreamReader) -> Result<Option<ResolvedBase>, UnpackError> {
        if let Some((id, (kind, content))) = self.bases.get(index) {
            let clone = || Ok::<_, UnpackError>(content.clone());
            let content = Content::with_reservation(&self.entries.memory, content.len() as u64, clone)?;
            return Ok(Some(ResolvedBase { kind: *kind, content, id: **id, entry: None, depth: 0 }));
        }
        let Some(found) = self.undeltified.get(index - self.bases.len()) else { return Ok(None) };
        let content = self.entries.undeltified(found.entry as usize, reader)?;
        Ok(Some(ResolvedBase { kind: found.kind, content, id: found.id, entry: Some(found.entry), depth: 0 }))
    }

    /// Resolves all descendants of `base`, depth first. Of the deltas of one base, the one with the most descendants comes
    /// last, after which the base is freed: at most a logarithmic number of contents is in memory.
    fn resolve_descendants(
        &self,
        base: ResolvedBase,
        reader: &mut StreamReader,
        indexed: &mut PackIndex,
    ) -> Result<(), UnpackError> {
        let mut waiting: Vec<(u32, Rc<ResolvedBase>)> = Vec::new();
        self.push_deltas(base, &mut waiting);
        while let Some((index, base)) = waiting.pop() {
            let depth = base.depth + 1;
            if depth as usize > self.depth_max {
                return Err(UnpackError::DeltaDepth(self.depth_max));
            }
            let content = self.entries.apply(index as usize, &base.content.bytes, reader)?;
            let kind = base.kind;
            drop(base);
            let id = indexed.add(index, kind, &content.bytes, depth, self.shallow)?;
            self.push_deltas(ResolvedBase { kind, content, id, entry: Some(index), depth }, &mut waiting);
        }
        Ok(())
    }

    /// Claims the deltas of `base` and pushes them, the one with the most descendants first.
    fn push_deltas(&self, base: ResolvedBase, waiting: &mut Vec<(u32, Rc<ResolvedBase>)>) {
        let by_entry = base.entry.map_or(&[][..], |entry| equal_range(&self.on_entry, &entry));
        let by_id = equal_range(&self.on_id, &base.id);
        if by_entry.is_empty() && by_id.is_empty() {
            return;
        }
        let base = Rc::new(base);
        let first = waiting.len();
        let deltas = by_entry.iter().map(|(_, index)| *index).chain(by_id.iter().map(|(_, index)| *index));
        let free = deltas.filter(|index| !self.claimed[*index as usize].swap(true, Ordering::Relaxed));
        waiting.extend(free.map(|index| (index, Rc::clone(&base))));
        waiting[first..].sort_by_key(|(index, _)| std::cmp::Reverse(self.descendants[*index as usize]));
    }
}

/// The range of the sorted `pairs` with this key.
fn equal_range<'p, K: Ord>(pairs: &'p [(K, u32)], key: &K) -> &'p [(K, u32)] {
    let start = pairs.partition_point(|(found, _)| found < key);
    let length = pairs[start..].iter().take_while(|(found, _)| found == key).count();
    &pairs[start..start + length]
}
