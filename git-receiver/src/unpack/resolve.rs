//! Applies the deltas of a pack, names and checks every object.
//!
//! The work is shared by threads: each takes the next object that came whole, or base that the repository has, and follows
//! everything that is built on it. What an object is built of is never waited for.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use gix_hash::ObjectId;
use gix_object::Kind;

use super::UnpackError;
use super::compress::Compressor;
use super::entries::{Body, Entries, count};
use crate::check::{self, BadObject};
use crate::connectivity::Links;
use crate::{Limits, Object, delta};

/// The most threads that one pack is unpacked by.
const THREADS_MAX: usize = 8;

/// How many entries a pack has at least for each thread: starting one takes as long as unpacking some of them.
const ENTRIES_A_THREAD: usize = 500;

/// The objects of a pack and what they name.
pub(crate) struct Unpacked {
    pub(crate) objects: Vec<Object>,
    pub(crate) links: Links,
}

/// Applies the deltas, names and checks every object. `bases` are the objects of the repository that the pack builds on,
/// `shallow` the commits whose parents need not be there.
pub(crate) fn resolve(
    entries: Entries,
    bases: &[Object],
    shallow: &[ObjectId],
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    let mut total = entries.total;
    for base in bases {
        // A thin pack names its bases instead of sending them, so they are part of what is inflated for it.
        count(base.size, limits, &mut total)?;
    }
    let work = Work::new(&entries, bases, shallow, limits.delta_depth);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (entries.entries.len() / ENTRIES_A_THREAD).clamp(1, cores.min(THREADS_MAX));
    let made = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| work.run())).collect();
        let mut made = vec![work.run()];
        made.extend(others.into_iter().map(|other| other.join().unwrap_or(Err(UnpackError::Died))));
        made.into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let deltas = entries.entries.iter().filter(|entry| !matches!(entry.body, Body::Whole(_))).count();
    match deltas - work.applied.into_inner() {
        0 => Ok(collected(made)),
        unresolved => Err(UnpackError::Unresolved(unresolved)),
    }
}

/// What is to be done, shared by the threads.
struct Work<'a> {
    entries: &'a Entries,
    bases: &'a [Object],
    /// The commits whose parents need not be there.
    shallow: HashSet<ObjectId>,
    depth_max: usize,
    /// The deltas by the entry that they build on, …
    on_offset: HashMap<usize, Vec<usize>>,
    /// … or the object.
    on_id: HashMap<ObjectId, Vec<usize>>,
    /// Which entries were built on their base. Each is once, so that a circle of deltas is never entered.
    taken: Vec<AtomicBool>,
    /// The next entry or base to begin with.
    next: AtomicUsize,
    applied: AtomicUsize,
    /// One thread has failed: the others need not go on.
    failed: AtomicBool,
}

/// An object that deltas may build on.
struct Built {
    kind: Kind,
    content: Vec<u8>,
    id: ObjectId,
    /// Where its entry begins; `None` for an object of the repository.
    offset: Option<usize>,
    depth: usize,
}

/// What one thread made.
#[derive(Default)]
struct Made {
    objects: Vec<Object>,
    links: Links,
}

impl<'a> Work<'a> {
    fn new(entries: &'a Entries, bases: &'a [Object], shallow: &[ObjectId], depth_max: usize) -> Self {
        let mut on_offset: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut on_id: HashMap<ObjectId, Vec<usize>> = HashMap::new();
        for (index, entry) in entries.entries.iter().enumerate() {
            match entry.body {
                Body::Whole(_) => {}
                Body::OfsDelta(offset) => on_offset.entry(offset).or_default().push(index),
                Body::RefDelta(id) => on_id.entry(id).or_default().push(index),
            }
        }
        let taken = entries.entries.iter().map(|_| AtomicBool::new(false)).collect();
        let (next, applied, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let shallow = shallow.iter().copied().collect();
        Self { entries, bases, shallow, depth_max, on_offset, on_id, taken, next, applied, failed }
    }

    /// One thread's part: as much as it gets to.
    fn run(&self) -> Result<Made, UnpackError> {
        let mut made = Made::default();
        let mut compressor = Compressor::new();
        while !self.failed.load(Ordering::Relaxed) {
            let begun = match self.begin(self.next.fetch_add(1, Ordering::Relaxed), &mut made) {
                Ok(None) => return Ok(made),
                Ok(Some(begun)) => begun.map_or(Ok(()), |base| self.follow(base, &mut compressor, &mut made)),
                Err(error) => Err(error),
            };
            if let Err(error) = begun {
                self.failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(made)
    }

    /// What stands at `index`, first the bases and then the entries: `None` behind the last one, `Some(None)` for a delta,
    /// which is built when its base is.
    fn begin(&self, index: usize, made: &mut Made) -> Result<Option<Option<Built>>, UnpackError> {
        if let Some(base) = self.bases.get(index) {
            let content = base.content().map_err(|error| UnpackError::Delta(error.to_string()))?;
            return Ok(Some(Some(Built { kind: base.kind, content, id: base.id, offset: None, depth: 0 })));
        }
        let Some(entry) = self.entries.entries.get(index - self.bases.len()) else { return Ok(None) };
        let Body::Whole(kind) = entry.body else { return Ok(Some(None)) };
        let content = entry.take_inflated();
        let id = made.keep(kind, &content, |_| entry.zlib.clone(), &self.shallow)?;
        Ok(Some(Some(Built { kind, content, id, offset: Some(entry.offset), depth: 0 })))
    }

    /// Builds everything that builds on `base`, depth first, so that what is built is let go as soon as nothing builds on it
    /// any more.
    fn follow(&self, base: Built, compressor: &mut Compressor, made: &mut Made) -> Result<(), UnpackError> {
        let mut waiting = vec![base];
        while let Some(base) = waiting.pop() {
            for index in self.deltas_on(&base) {
                let depth = base.depth + 1;
                if depth > self.depth_max {
                    return Err(UnpackError::DeltaDepth(self.depth_max));
                }
                let entry = &self.entries.entries[index];
                let content = delta::apply(&base.content, &entry.take_inflated())?;
                let id =
                    made.keep(base.kind, &content, |content| compressor.compress(content), &self.shallow)?;
                self.applied.fetch_add(1, Ordering::Relaxed);
                waiting.push(Built { kind: base.kind, content, id, offset: Some(entry.offset), depth });
            }
        }
        Ok(())
    }

    /// Takes the deltas that build on `base`.
    fn deltas_on(&self, base: &Built) -> Vec<usize> {
        let by_offset = base.offset.and_then(|offset| self.on_offset.get(&offset));
        let by_id = self.on_id.get(&base.id);
        let deltas = by_offset.into_iter().chain(by_id).flatten().copied();
        deltas.filter(|index| !self.taken[*index].swap(true, Ordering::Relaxed)).collect()
    }
}

impl Made {
    /// Names and checks an object, and keeps it with what it names.
    fn keep(
        &mut self,
        kind: Kind,
        content: &[u8],
        zlib: impl FnOnce(&[u8]) -> Bytes,
        shallow: &HashSet<ObjectId>,
    ) -> Result<ObjectId, UnpackError> {
        let id = super::name(kind, content)?;
        let named =
            check::object(kind, content).map_err(|BadObject(why)| UnpackError::BadObject { id, why })?;
        self.links.add(id, kind, named, shallow.contains(&id));
        self.objects.push(Object { id, kind, size: content.len() as u64, zlib: zlib(content) });
        Ok(id)
    }
}

/// Everything that the threads made, each object once.
fn collected(made: Vec<Made>) -> Unpacked {
    let count = made.iter().map(|made| made.objects.len()).sum();
    let mut seen = HashSet::with_capacity(count);
    let mut unpacked = Unpacked { objects: Vec::with_capacity(count), links: Links::default() };
    for Made { objects, links } in made {
        unpacked.links.append(links);
        unpacked.objects.extend(objects.into_iter().filter(|object| seen.insert(object.id)));
    }
    unpacked
}
