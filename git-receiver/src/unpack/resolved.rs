//! A pack of which all objects are known. It decides what is stored of them, and how: as it was received, unless the repository
//! has it already or too many deltas would lie on each other.

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use gix_hash::ObjectId;
use gix_object::Kind;

use super::UnpackError;
use super::entries::{Body, Entries, StreamReader};
use super::found::{Findings, Found, FsckWarnings};
use crate::ObjectInfo;
use crate::connectivity::Links;
use crate::content::Content;
use crate::memory::Reservation;
use crate::pack::{Pack, Packed};

/// The most deltas that lie on each other in a repository: to read an object, all of them are. As many as git has in a pack.
const DEPTH_MAX: u32 = 50;

/// The most bytes of a delta, inflated. So what has to be read for an object is bounded too.
const DELTA_BYTES_MAX: u64 = 256 * 1024;

/// What an object takes that is to be stored, until it is.
const STORED_BYTES: u64 = 200;

/// The contents of objects that the repository has, and on which the pack builds.
pub(crate) type Bases = HashMap<ObjectId, (Kind, Vec<u8>)>;

/// A pack of which all objects are known.
pub(crate) struct Resolved {
    pub(super) entries: Entries,
    pub(super) bases: Bases,
    pub(super) findings: Findings,
}

impl Resolved {
    /// The names of all objects of the pack, some of them more than once.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ObjectId> {
        self.findings.found.iter().map(|found| found.id)
    }

    /// Whether there is a commit in the pack.
    pub(crate) fn has_commits(&self) -> bool {
        self.findings.found.iter().any(|found| found.kind == Kind::Commit)
    }

    /// Those of `ids` that are commits of the pack.
    pub(crate) fn commits_among(&self, ids: &[ObjectId]) -> Vec<ObjectId> {
        let wanted: HashSet<ObjectId> = ids.iter().copied().collect();
        let commits = self.findings.found.iter().filter(|found| found.kind == Kind::Commit);
        let found: HashSet<ObjectId> =
            commits.map(|found| found.id).filter(|id| wanted.contains(id)).collect();
        found.into_iter().collect()
    }

    /// What fsck warns of in them.
    pub(crate) fn warnings(&self) -> FsckWarnings {
        self.findings.warnings.clone()
    }

    /// What the objects of the pack are and name.
    pub(crate) fn links(&self) -> &Links {
        &self.findings.links
    }

    /// The objects of the repository on which the pack builds.
    pub(crate) fn bases(&self) -> impl Iterator<Item = ObjectId> {
        self.bases.keys().copied()
    }

    /// Hands the contents of those of `ids` that are in the pack to `each`, one after the other. Blocking.
    pub(crate) fn each_content(
        &self,
        ids: &[ObjectId],
        mut each: impl FnMut(ObjectId, &[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let entries = self.entries_by_id();
        let there = ids.iter().filter_map(|id| Some((*id, *entries.get(id)?)));
        for (id, entry) in there {
            each(id, &self.build(entry, &entries)?.bytes)?;
        }
        Ok(())
    }

    /// What is to be stored, `known` being what the repository has of the pack and of what it builds on. Blocking.
    pub(crate) fn settle(self, known: &HashMap<ObjectId, ObjectInfo>) -> Result<Pack, UnpackError> {
        let mut names = vec![ObjectId::null(gix_hash::Kind::Sha1); self.entries.list.len()];
        for found in &self.findings.found {
            names[found.entry as usize] = found.id;
        }
        // Of two entries with the same object the one on fewer deltas is kept. What it builds on lies on fewer still, so that
        // nothing ever builds on itself. In this order a base stands before what builds on it.
        let mut kept = self.findings.found.clone();
        kept.sort_unstable_by_key(|found| (found.depth, found.entry));
        let mut depths: HashMap<ObjectId, u32> = HashMap::with_capacity(kept.len());
        kept.retain(|found| !known.contains_key(&found.id) && depths.insert(found.id, 0).is_none());
        let entries = LazyCell::new(|| self.entries_by_id());
        let mut held = Reservation::new(&self.entries.memory);
        held.try_grow(kept.len() as u64 * STORED_BYTES)?;
        let mut stored = Vec::with_capacity(kept.len());
        for Found { entry, id, kind, .. } in kept {
            let at = &self.entries.list[entry as usize];
            let base = match at.body {
                Body::Whole(_) => None,
                Body::OfsDelta(offset) => self.entries.at(offset).map(|base| names[base]),
                Body::RefDelta(base) => Some(base),
            };
            let depth = base.map_or(0, |base| {
                known.get(&base).map(|known| known.depth).or(depths.get(&base).copied()).unwrap_or(0) + 1
            });
            let (start, end) = (at.start, at.end);
            let (object, whole) = if depth > DEPTH_MAX || depth > 0 && at.size > DELTA_BYTES_MAX {
                let content = self.build(entry, &entries)?.bytes;
                let (size, stream) = (content.len() as u64, compress(&content));
                held.try_grow(stream.len() as u64)?;
                (Packed { id, kind, base: None, depth: 0, size, start, end }, Some(stream))
            } else {
                (Packed { id, kind, base, depth, size: at.size, start, end }, None)
            };
            depths.insert(id, object.depth);
            stored.push((entry, object, whole));
        }
        stored.sort_unstable_by_key(|(entry, ..)| *entry);
        let mut packed = Vec::with_capacity(stored.len());
        let mut compressed = HashMap::new();
        for (index, (_, object, whole)) in (0u32..).zip(stored) {
            packed.push(object);
            compressed.extend(whole.map(|whole| (index, whole)));
        }
        drop(entries);
        let loose = self.findings.links.dangling().filter(|id| !known.contains_key(id)).collect();
        Ok(Pack::new(self.entries.bytes, packed, compressed, loose, held))
    }

    /// The entry of every object: that on the fewest deltas, where there are several.
    fn entries_by_id(&self) -> HashMap<ObjectId, u32> {
        let mut found: Vec<&Found> = self.findings.found.iter().collect();
        found.sort_unstable_by_key(|found| std::cmp::Reverse(found.depth));
        found.into_iter().map(|found| (found.id, found.entry)).collect()
    }

    /// The content of an entry, from the bottom of its chain.
    fn build(&self, entry: u32, entries: &HashMap<ObjectId, u32>) -> Result<Content, UnpackError> {
        let mut reader = StreamReader::new();
        let mut chain = Vec::new();
        let mut index = entry as usize;
        let mut content = loop {
            let base = match self.entries.list[index].body {
                Body::Whole(_) => break self.entries.whole(index, &mut reader)?,
                Body::OfsDelta(offset) => self.entries.at(offset),
                Body::RefDelta(id) => match (entries.get(&id), self.bases.get(&id)) {
                    (Some(base), _) => Some(*base as usize),
                    (None, Some((_, content))) => {
                        chain.push(index);
                        let clone = || Ok::<_, UnpackError>(content.clone());
                        break Content::held(&self.entries.memory, content.len() as u64, clone)?;
                    }
                    (None, None) => None,
                },
            };
            chain.push(index);
            index = base.ok_or(UnpackError::Unresolved(1))?;
        };
        for index in chain.into_iter().rev() {
            content = self.entries.apply(index, &content.bytes, &mut reader)?;
        }
        Ok(content)
    }
}

/// Compresses an object as it is to be stored: well, since it is done once for many readings.
pub(crate) fn compress(content: &[u8]) -> Bytes {
    let mut stream = Compress::new(Compression::default(), true);
    // Half of the content is what text takes; what does not fit makes it grow.
    let mut out = Vec::with_capacity(content.len() / 2 + 64);
    loop {
        let read = usize::try_from(stream.total_in()).unwrap_or(content.len());
        let status = stream.compress_vec(&content[read..], &mut out, FlushCompress::Finish);
        match status.expect("a new stream takes any bytes") {
            Status::StreamEnd => break,
            _ => out.reserve(out.capacity().max(64)),
        }
    }
    out.shrink_to_fit();
    out.into()
}
