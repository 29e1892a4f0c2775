//! Applies the deltas of a pack; every object that comes of it is named and checked.
//!
//! The work is shared by threads: each takes the next base, an object that came whole or one that the repository has, and
//! follows everything that is built on it. What an object is built of is never waited for.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::UnpackError;
use super::entries::{Body, Entries, StreamReader};
use super::found::{Findings, Found};
use super::resolved::{Bases, Resolved};
use super::scan::Scanned;
use crate::Limits;
use crate::content::Content;

/// The most threads that one pack is unpacked by.
const THREADS_MAX: usize = 8;

/// How many deltas a pack has at least for each thread: starting one takes as long as applying some of them.
const DELTAS_A_THREAD: usize = 500;

/// Applies the deltas. `bases` are the objects of the repository that the pack builds on, `shallow` the commits whose parents
/// need not be there. Blocking.
pub(crate) fn resolve(
    scanned: Scanned,
    bases: Bases,
    shallow: &HashSet<ObjectId>,
    limits: &Limits,
) -> Result<Resolved, UnpackError> {
    let Scanned { entries, whole } = scanned;
    let work = Work::new(&entries, &bases, &whole.found, shallow, limits.delta_depth);
    let deltas = work.deltas;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (deltas / DELTAS_A_THREAD).clamp(1, cores.min(THREADS_MAX));
    let made = thread::scope(|scope| {
        // Where the system gives no more threads, those that there are do all of it.
        let start = |_| thread::Builder::new().spawn_scoped(scope, || work.run()).ok();
        let others: Vec<_> = (1..threads).map_while(start).collect();
        let mut made = vec![work.run()];
        made.extend(others.into_iter().map(|other| other.join().unwrap_or(Err(UnpackError::Panicked))));
        made.into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let applied: usize = made.iter().map(|made| made.found.len()).sum();
    if applied < deltas {
        return Err(UnpackError::Unresolved(deltas - applied));
    }
    drop(work);
    let mut findings = whole;
    made.into_iter().for_each(|made| findings.append(made));
    Ok(Resolved { entries, bases, findings })
}

/// What others may be built on.
struct Built {
    kind: Kind,
    content: Content,
    id: ObjectId,
    /// Its entry, if it is of the pack.
    entry: Option<u32>,
    depth: u32,
}

/// What is to be done, shared by the threads.
struct Work<'a> {
    entries: &'a Entries,
    shallow: &'a HashSet<ObjectId>,
    depth_max: usize,
    deltas: usize,
    /// What to begin with: what the repository has, …
    bases: Vec<(&'a ObjectId, &'a (Kind, Vec<u8>))>,
    /// … and what came whole and has others built on it.
    whole: Vec<Found>,
    /// The deltas by the entry that they build on, …
    on_entry: Vec<(u32, u32)>,
    /// … or the object.
    on_id: Vec<(ObjectId, u32)>,
    /// How many deltas are built on each entry, directly or not, as far as entries say.
    weights: Vec<u32>,
    /// Which entries were built on their base. Each is once, so that a circle of deltas is never entered.
    taken: Vec<AtomicBool>,
    /// The next base to begin with.
    next: AtomicUsize,
    /// One thread has failed: the others need not go on.
    failed: AtomicBool,
}

impl<'a> Work<'a> {
    fn new(
        entries: &'a Entries,
        bases: &'a Bases,
        whole: &[Found],
        shallow: &'a HashSet<ObjectId>,
        depth_max: usize,
    ) -> Self {
        let (mut on_entry, mut on_id) = (Vec::new(), Vec::new());
        let mut weights = vec![0u32; entries.list.len()];
        let mut deltas = 0;
        // A base by offset stands before what builds on it, so backwards every weight is whole when it is added.
        let count = u32::try_from(entries.list.len()).unwrap_or(u32::MAX);
        for (index, entry) in (0..count).rev().zip(entries.list.iter().rev()) {
            match entry.body {
                Body::Whole(_) => continue,
                Body::OfsDelta(offset) => {
                    // What begins at no entry is never built, and so is told as unresolved.
                    if let Some(base) = entries.at(offset).filter(|base| *base < index as usize) {
                        weights[base] = weights[base].saturating_add(1 + weights[index as usize]);
                        on_entry.push((u32::try_from(base).unwrap_or(u32::MAX), index));
                    }
                }
                Body::RefDelta(id) => on_id.push((id, index)),
            }
            deltas += 1;
        }
        on_entry.sort_unstable();
        on_id.sort_unstable();
        let mut work = Self {
            entries,
            shallow,
            depth_max,
            deltas,
            bases: bases.iter().collect(),
            whole: Vec::new(),
            on_entry,
            on_id,
            weights,
            taken: entries.list.iter().map(|_| AtomicBool::new(false)).collect(),
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        };
        work.whole = whole.iter().filter(|found| work.has_deltas(found)).copied().collect();
        work
    }

    fn has_deltas(&self, found: &Found) -> bool {
        !run_of(&self.on_entry, &found.entry).is_empty() || !run_of(&self.on_id, &found.id).is_empty()
    }

    /// One thread's part: as much as it gets to.
    fn run(&self) -> Result<Findings, UnpackError> {
        let mut made = Findings::of(&self.entries.memory);
        let mut reader = StreamReader::new();
        while !self.failed.load(Ordering::Relaxed) {
            let begun = match self.begin(self.next.fetch_add(1, Ordering::Relaxed), &mut reader) {
                Ok(None) => return Ok(made),
                Ok(Some(base)) => self.follow(base, &mut reader, &mut made),
                Err(error) => Err(error),
            };
            if let Err(error) = begun {
                self.failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(made)
    }

    /// The base at `index`, first those of the repository and then the pack's: `None` behind the last one.
    fn begin(&self, index: usize, reader: &mut StreamReader) -> Result<Option<Built>, UnpackError> {
        if let Some((id, (kind, content))) = self.bases.get(index) {
            let clone = || Ok::<_, UnpackError>(content.clone());
            let content = Content::held(&self.entries.memory, content.len() as u64, clone)?;
            return Ok(Some(Built { kind: *kind, content, id: **id, entry: None, depth: 0 }));
        }
        let Some(found) = self.whole.get(index - self.bases.len()) else { return Ok(None) };
        let content = self.entries.whole(found.entry as usize, reader)?;
        Ok(Some(Built { kind: found.kind, content, id: found.id, entry: Some(found.entry), depth: 0 }))
    }

    /// Builds everything that builds on `base`, depth first. An object that most is built on comes last of those with its
    /// base, which is let go then: so at no time are more contents held than the logarithm of their number.
    fn follow(&self, base: Built, reader: &mut StreamReader, made: &mut Findings) -> Result<(), UnpackError> {
        let mut waiting: Vec<(u32, Rc<Built>)> = Vec::new();
        self.wait(base, &mut waiting);
        while let Some((index, base)) = waiting.pop() {
            let depth = base.depth + 1;
            if depth as usize > self.depth_max {
                return Err(UnpackError::DeltaDepth(self.depth_max));
            }
            let content = self.entries.apply(index as usize, &base.content.bytes, reader)?;
            let kind = base.kind;
            drop(base);
            let id = made.add(index, kind, &content.bytes, depth, self.shallow)?;
            self.wait(Built { kind, content, id, entry: Some(index), depth }, &mut waiting);
        }
        Ok(())
    }

    /// Takes the deltas that build on `base`, and puts them behind each other, the heaviest below.
    fn wait(&self, base: Built, waiting: &mut Vec<(u32, Rc<Built>)>) {
        let by_entry = base.entry.map_or(&[][..], |entry| run_of(&self.on_entry, &entry));
        let by_id = run_of(&self.on_id, &base.id);
        if by_entry.is_empty() && by_id.is_empty() {
            return;
        }
        let base = Rc::new(base);
        let first = waiting.len();
        let deltas = by_entry.iter().map(|(_, index)| *index).chain(by_id.iter().map(|(_, index)| *index));
        let free = deltas.filter(|index| !self.taken[*index as usize].swap(true, Ordering::Relaxed));
        waiting.extend(free.map(|index| (index, Rc::clone(&base))));
        waiting[first..].sort_by_key(|(index, _)| std::cmp::Reverse(self.weights[*index as usize]));
    }
}

/// Those of the sorted `pairs` whose first part is `key`.
fn run_of<'p, K: Ord>(pairs: &'p [(K, u32)], key: &K) -> &'p [(K, u32)] {
    let start = pairs.partition_point(|(found, _)| found < key);
    let length = pairs[start..].iter().take_while(|(found, _)| found == key).count();
    &pairs[start..start + length]
}
