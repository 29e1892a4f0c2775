//! A resolved pack. It selects which objects are stored, and in which form: as received, unless the delta chain would become
//! too long.

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use gix_hash::ObjectId;
use gix_object::Kind;

use super::UnpackError;
use super::entries::{Entries, EntryKind, StreamReader};
use super::pack_index::{FsckWarnings, PackIndex, PackedObject};
use crate::ObjectInfo;
use crate::connectivity::ObjectRefs;
use crate::content::Content;
use crate::memory::Reservation;
use crate::pack::{Pack, PackEntry};

/// The longest delta chain in a repository: all of it is read for one object. git's default for `pack.depth`.
const DELTA_DEPTH_MAX: u32 = 50;

/// The largest stored delta, inflated. This bounds the bytes that are read for one object.
const DELTA_BYTES_MAX: u64 = 256 * 1024;

/// The memory of an object that waits for storage.
const STORED_ENTRY_BYTES: u64 = 200;

/// The contents of delta bases in the repository.
pub(crate) type Bases = HashMap<ObjectId, (Kind, Vec<u8>)>;

/// A pack with all deltas resolved.
pub(crate) struct Resolved {
    pub(super) entries: Entries,
    pub(super) bases: Bases,
    pub(super) index: PackIndex,
}

impl Resolved {
    /// The ids of all objects in the pack; duplicates are possible.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ObjectId> {
        self.index.objects.iter().map(|found| found.id)
    }

    /// Whether the pack contains a commit.
    pub(crate) fn has_commits(&self) -> bool {
        self.index.objects.iter().any(|found| found.kind == Kind::Commit)
    }

    /// Those of `ids` that are commits in the pack.
    pub(crate) fn commits_among(&self, ids: &[ObjectId]) -> Vec<ObjectId> {
        let wanted: HashSet<ObjectId> = ids.iter().copied().collect();
        let commits = self.index.objects.iter().filter(|found| found.kind == Kind::Commit);
        let found: HashSet<ObjectId> =
            commits.map(|found| found.id).filter(|id| wanted.contains(id)).collect();
        found.into_iter().collect()
    }

    /// The fsck warnings.
    pub(crate) fn warnings(&self) -> FsckWarnings {
        self.index.warnings.clone()
    }

    /// The objects of the pack and their references.
    pub(crate) fn refs(&self) -> &ObjectRefs {
        &self.index.refs
    }

    /// The delta bases in the repository.
    pub(crate) fn bases(&self) -> impl Iterator<Item = ObjectId> {
        self.bases.keys().copied()
    }

    /// Passes the contents of those of `ids` that are in the pack to `each`. Blocking.
    pub(crate) fn each_content(
        &self,
        ids: &[ObjectId],
        mut each: impl FnMut(ObjectId, &[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let entries = self.entries_by_id();
        let entries_of_ids = ids.iter().filter_map(|id| Some((*id, *entries.get(id)?)));
        for (id, entry) in entries_of_ids {
            each(id, &self.reconstruct(entry, &entries)?.bytes)?;
        }
        Ok(())
    }

    /// Selects the objects to store. `known` has the objects of the pack and the delta bases that the repository has.
    /// Blocking.
    pub(crate) fn select_for_storage(
        self,
        known: &HashMap<ObjectId, ObjectInfo>,
    ) -> Result<Pack, UnpackError> {
        let mut ids = vec![ObjectId::null(gix_hash::Kind::Sha1); self.entries.list.len()];
        for found in &self.index.objects {
            ids[found.entry as usize] = found.id;
        }
        // Of duplicates, the one with the shortest delta chain is kept. Its base has an even shorter chain, so that no
        // object depends on itself, and in this order a base precedes its deltas.
        let mut kept = self.index.objects.clone();
        kept.sort_unstable_by_key(|found| (found.depth, found.entry));
        let mut depths: HashMap<ObjectId, u32> = HashMap::with_capacity(kept.len());
        kept.retain(|found| !known.contains_key(&found.id) && depths.insert(found.id, 0).is_none());
        let entries = LazyCell::new(|| self.entries_by_id());
        let mut reservation = Reservation::new(&self.entries.memory);
        reservation.try_grow(kept.len() as u64 * STORED_ENTRY_BYTES)?;
        let mut stored = Vec::with_capacity(kept.len());
        for PackedObject { entry, id, kind, .. } in kept {
            let at = &self.entries.list[entry as usize];
            let base = match at.kind {
                EntryKind::Undeltified(_) => None,
                EntryKind::OfsDelta(offset) => self.entries.index_at(offset).map(|base| ids[base]),
                EntryKind::RefDelta(base) => Some(base),
            };
            let depth = base.map_or(0, |base| {
                known.get(&base).map(|known| known.depth).or(depths.get(&base).copied()).unwrap_or(0) + 1
            });
            let (start, end) = (at.start, at.end);
            let (object, recompressed) = if depth > DELTA_DEPTH_MAX || depth > 0 && at.size > DELTA_BYTES_MAX
            {
                let content = self.reconstruct(entry, &entries)?.bytes;
                let (size, stream) = (content.len() as u64, compress(&content));
                reservation.try_grow(stream.len() as u64)?;
                (PackEntry { id, kind, base: None, depth: 0, size, start, end }, Some(stream))
            } else {
                (PackEntry { id, kind, base, depth, size: at.size, start, end }, None)
            };
            depths.insert(id, object.depth);
            stored.push((entry, object, recompressed));
        }
        stored.sort_unstable_by_key(|(entry, ..)| *entry);
        let mut packed = Vec::with_capacity(stored.len());
        let mut streams = HashMap::new();
        for (index, (_, object, recompressed)) in (0u32..).zip(stored) {
            packed.push(object);
            streams.extend(recompressed.map(|stream| (index, stream)));
        }
        drop(entries);
        let dangling = self.index.refs.dangling().filter(|id| !known.contains_key(id)).collect();
        Ok(Pack::new(self.entries.bytes, packed, streams, dangling, reservation))
    }

    /// The entry of every object; of duplicates, the one with the shortest delta chain.
    fn entries_by_id(&self) -> HashMap<ObjectId, u32> {
        let mut found: Vec<&PackedObject> = self.index.objects.iter().collect();
        found.sort_unstable_by_key(|found| std::cmp::Reverse(found.depth));
        found.into_iter().map(|found| (found.id, found.entry)).collect()
    }

    /// The content of an entry, from the bottom of its delta chain.
    fn reconstruct(&self, entry: u32, entries: &HashMap<ObjectId, u32>) -> Result<Content, UnpackError> {
        let mut reader = StreamReader::new();
        let mut chain = Vec::new();
        let mut index = entry as usize;
        let mut content = loop {
            let base = match self.entries.list[index].kind {
                EntryKind::Undeltified(_) => break self.entries.undeltified(index, &mut reader)?,
                EntryKind::OfsDelta(offset) => self.entries.index_at(offset),
                EntryKind::RefDelta(id) => match (entries.get(&id), self.bases.get(&id)) {
                    (Some(base), _) => Some(*base as usize),
                    (None, Some((_, content))) => {
                        chain.push(index);
                        let clone = || Ok::<_, UnpackError>(content.clone());
                        break Content::with_reservation(&self.entries.memory, content.len() as u64, clone)?;
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

/// Compresses an object for storage, at the default level: it is read far more often than written.
pub(crate) fn compress(content: &[u8]) -> Bytes {
    let mut stream = Compress::new(Compression::default(), true);
    // Text compresses to about half; the buffer grows if that is not enough.
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
