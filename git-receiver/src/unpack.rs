//! Unpacks a pack (gitformat-pack), bounded in everything, in two steps: [`read`] inflates the entries as they come,
//! [`resolve`] applies the deltas, names and checks every object. Between the two the caller fetches the bases that the
//! pack leaves out (a thin pack). Blocking: it inflates and hashes.

use std::collections::HashMap;
use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, Decompress, FlushDecompress, Status};
use gix_hash::ObjectId;
use gix_object::Kind;

use crate::check::{self, BadObject};
use crate::connectivity::{Disconnected, Links};
use crate::delta::{self, DamagedDelta};
use crate::{Limits, Object};

/// Why a pack is refused, in git's kind of words. Nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The request is beyond its limit.
    #[error("the push is larger than {} MiB", limit / 1024 / 1024)]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The pack ends early, or was never sent.
    #[error("early end of the pack")]
    Truncated,
    /// The pack does not begin as one.
    #[error("bad pack header")]
    Header,
    /// More objects than one push may hold.
    #[error("the pack has {found} objects, more than {limit}")]
    TooManyObjects {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// An object beyond its limit.
    #[error("an object takes {size} bytes, more than {limit}")]
    ObjectTooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// All objects together are beyond their limit.
    #[error("the objects take more than {} MiB together", limit / 1024 / 1024)]
    InflatedTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// An entry of no known type.
    #[error("an entry of the pack has unknown type {0}")]
    EntryType(u8),
    /// A zlib stream that is none, or not of the size its entry says.
    #[error("an entry of the pack cannot be inflated")]
    Inflate,
    /// The pack's checksum is not that of its bytes.
    #[error("pack checksum mismatch")]
    Checksum,
    /// Something stands behind the pack.
    #[error("garbage behind the pack")]
    Trailing,
    /// A delta is damaged.
    #[error("{0}")]
    Delta(String),
    /// Deltas whose base is neither in the pack nor in the repository.
    #[error("pack has {0} unresolved deltas")]
    Unresolved(usize),
    /// A chain of deltas beyond its limit.
    #[error("a chain of more than {0} deltas")]
    DeltaDepth(usize),
    /// An object that `git fsck --strict` would not accept.
    #[error("object {id}: {why}")]
    BadObject {
        /// The object.
        id: ObjectId,
        /// What is wrong, in fsck's terms.
        why: String,
    },
    /// Bytes made to share their name with others.
    #[error("an object looks like a SHA-1 collision attack")]
    Collision,
    /// An object names what is not there.
    #[error(transparent)]
    Disconnected(#[from] Disconnected),
    /// The client uses another object format.
    #[error("only object format sha1 is understood")]
    ObjectFormat,
    /// The unpacking itself died.
    #[error("unpacking failed inside the server")]
    Died,
}

impl From<DamagedDelta> for UnpackError {
    fn from(error: DamagedDelta) -> Self {
        Self::Delta(error.to_string())
    }
}

/// The entries of a pack, inflated, deltas not yet applied.
pub(crate) struct Entries {
    entries: Vec<Entry>,
    /// The bytes of everything inflated so far, with what the deltas declare.
    total: u64,
}

struct Entry {
    offset: usize,
    body: Body,
    inflated: Vec<u8>,
    /// The zlib stream as it came.
    zlib: Bytes,
}

enum Body {
    Whole(Kind),
    /// On the entry at this offset.
    OfsDelta(usize),
    RefDelta(ObjectId),
}

impl Entries {
    /// The bases of deltas that are not whole objects of the pack. Some may turn out to be results of other deltas.
    pub(crate) fn foreign_bases(&self) -> Vec<ObjectId> {
        let mut bases: Vec<ObjectId> = self
            .entries
            .iter()
            .filter_map(|entry| if let Body::RefDelta(base) = entry.body { Some(base) } else { None })
            .collect();
        bases.sort_unstable();
        bases.dedup();
        bases
    }
}

/// The objects of a pack and what they name.
pub(crate) struct Unpacked {
    pub(crate) objects: Vec<Object>,
    pub(crate) links: Links,
}

/// Reads and inflates the entries of `pack`, checking counts, sizes and checksum.
pub(crate) fn read(pack: &Bytes, limits: &Limits) -> Result<Entries, UnpackError> {
    let header = pack.get(..12).ok_or(UnpackError::Truncated)?;
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if &header[..4] != b"PACK" || !matches!(number(4), 2 | 3) {
        return Err(UnpackError::Header);
    }
    let count = number(8) as usize;
    if count > limits.objects {
        return Err(UnpackError::TooManyObjects { found: count, limit: limits.objects });
    }
    let mut cursor = Cursor { pack, at: 12 };
    let mut entries = Entries { entries: Vec::with_capacity(count), total: 0 };
    for _ in 0..count {
        let entry = cursor.entry(limits, &mut entries.total)?;
        entries.entries.push(entry);
    }
    let trailer = pack.get(cursor.at..cursor.at + 20).ok_or(UnpackError::Truncated)?;
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    hasher.update(&pack[..cursor.at]);
    let sum = hasher.try_finalize().map_err(|_| UnpackError::Collision)?;
    if sum.as_slice() != trailer {
        return Err(UnpackError::Checksum);
    }
    if pack.len() > cursor.at + 20 {
        return Err(UnpackError::Trailing);
    }
    Ok(entries)
}

struct Cursor<'a> {
    pack: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, UnpackError> {
        let byte = *self.pack.get(self.at).ok_or(UnpackError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn entry(&mut self, limits: &Limits, total: &mut u64) -> Result<Entry, UnpackError> {
        let offset = self.at;
        let (kind, size) = self.head()?;
        let body = match kind {
            1 => Body::Whole(Kind::Commit),
            2 => Body::Whole(Kind::Tree),
            3 => Body::Whole(Kind::Blob),
            4 => Body::Whole(Kind::Tag),
            6 => Body::OfsDelta(offset.checked_sub(self.distance()?).ok_or(DamagedDelta)?),
            7 => {
                let id = self.pack.get(self.at..self.at + 20).ok_or(UnpackError::Truncated)?;
                self.at += 20;
                Body::RefDelta(ObjectId::from_bytes_or_panic(id))
            }
            other => return Err(UnpackError::EntryType(other)),
        };
        count(size, limits, total)?;
        let start = self.at;
        let inflated = self.inflate(size)?;
        if !matches!(body, Body::Whole(_)) {
            // What a delta says it will become counts before anything is built from it.
            count(delta::sizes(&inflated)?.1, limits, total)?;
        }
        Ok(Entry { offset, body, inflated, zlib: self.pack.slice(start..self.at) })
    }

    /// Type and size: three bits and four, then seven more a byte.
    fn head(&mut self) -> Result<(u8, u64), UnpackError> {
        let first = self.byte()?;
        let mut size = u64::from(first & 0x0f);
        let mut byte = first;
        let mut shift = 4;
        while byte & 0x80 != 0 {
            if shift > 57 {
                return Err(UnpackError::Header);
            }
            byte = self.byte()?;
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        Ok((first >> 4 & 7, size))
    }

    /// How far back the base of an ofs-delta begins.
    fn distance(&mut self) -> Result<usize, UnpackError> {
        let mut byte = self.byte()?;
        let mut distance = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            distance = distance.checked_add(1).and_then(|d| d.checked_mul(128)).ok_or(DamagedDelta)?;
            distance |= usize::from(byte & 0x7f);
        }
        Ok(distance)
    }

    /// Inflates exactly `size` bytes; never more, whatever the stream holds.
    fn inflate(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        let size = usize::try_from(size).map_err(|_| UnpackError::Inflate)?;
        let mut out = vec![0; size];
        let mut stream = Decompress::new(true);
        // A byte of room behind the end makes a stream that goes on show itself.
        let mut beyond = [0];
        loop {
            let (read, written) = (to_usize(stream.total_in()), to_usize(stream.total_out()));
            let room = if written < size { &mut out[written..] } else { &mut beyond[..] };
            let input = &self.pack[self.at + read..];
            let status =
                stream.decompress(input, room, FlushDecompress::None).map_err(|_| UnpackError::Inflate)?;
            let (read_now, written_now) = (to_usize(stream.total_in()), to_usize(stream.total_out()));
            if written_now > size {
                return Err(UnpackError::Inflate);
            }
            match status {
                Status::StreamEnd if written_now == size => {
                    self.at += read_now;
                    return Ok(out);
                }
                Status::StreamEnd => return Err(UnpackError::Inflate),
                _ if (read_now, written_now) == (read, written) => {
                    return Err(if input.is_empty() { UnpackError::Truncated } else { UnpackError::Inflate });
                }
                _ => {}
            }
        }
    }
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn count(size: u64, limits: &Limits, total: &mut u64) -> Result<(), UnpackError> {
    if size > limits.object_bytes {
        return Err(UnpackError::ObjectTooLarge { size, limit: limits.object_bytes });
    }
    *total += size;
    if *total > limits.inflated_bytes {
        return Err(UnpackError::InflatedTooLarge { limit: limits.inflated_bytes });
    }
    Ok(())
}

/// Applies the deltas, names and checks every object. `bases` are the objects of the repository that the pack builds on,
/// `shallow` the commits whose parents need not be there.
pub(crate) fn resolve(
    entries: Entries,
    bases: &[Object],
    shallow: &[ObjectId],
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    let mut resolver = Resolver::new(&entries);
    let mut total = entries.total;
    let mut waiting = Vec::new();
    for entry in &entries.entries {
        if let Body::Whole(kind) = entry.body {
            let id = name(kind, &entry.inflated)?;
            resolver.keep(id, kind, &entry.inflated, entry.zlib.clone(), shallow)?;
            waiting.push(Built {
                kind,
                content: Content::Borrowed(&entry.inflated),
                id,
                offset: Some(entry.offset),
                depth: 0,
            });
        }
    }
    for base in bases {
        // A thin pack names its bases instead of sending them, so they are part of what is inflated for it.
        count(base.size, limits, &mut total)?;
        let content = base.content().map_err(|error| UnpackError::Delta(error.to_string()))?;
        let built =
            Built { kind: base.kind, content: Content::Owned(content), id: base.id, offset: None, depth: 0 };
        waiting.push(built);
    }
    // Depth first, so that what is built is let go as soon as nothing builds on it any more.
    while let Some(base) = waiting.pop() {
        for index in resolver.deltas_on(&base) {
            let depth = base.depth + 1;
            if depth > limits.delta_depth {
                return Err(UnpackError::DeltaDepth(limits.delta_depth));
            }
            let entry = &entries.entries[index];
            let content = delta::apply(base.content.bytes(), &entry.inflated)?;
            let id = name(base.kind, &content)?;
            let zlib = compress(&content);
            resolver.keep(id, base.kind, &content, zlib, shallow)?;
            let content = Content::Owned(content);
            waiting.push(Built { kind: base.kind, content, id, offset: Some(entry.offset), depth });
        }
    }
    match resolver.on_offset.values().chain(resolver.on_id.values()).map(Vec::len).sum() {
        0 => Ok(Unpacked { objects: resolver.objects, links: resolver.links }),
        unresolved => Err(UnpackError::Unresolved(unresolved)),
    }
}

/// An object that deltas may build on.
struct Built<'a> {
    kind: Kind,
    content: Content<'a>,
    id: ObjectId,
    /// Where its entry begins; `None` for an object of the repository.
    offset: Option<usize>,
    depth: usize,
}

enum Content<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl Content<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// What is still to be built, by what it builds on, and what is built.
struct Resolver {
    on_offset: HashMap<usize, Vec<usize>>,
    on_id: HashMap<ObjectId, Vec<usize>>,
    known: HashMap<ObjectId, Kind>,
    objects: Vec<Object>,
    links: Links,
}

impl Resolver {
    fn new(entries: &Entries) -> Self {
        let mut on_offset: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut on_id: HashMap<ObjectId, Vec<usize>> = HashMap::new();
        for (index, entry) in entries.entries.iter().enumerate() {
            match entry.body {
                Body::Whole(_) => {}
                Body::OfsDelta(offset) => on_offset.entry(offset).or_default().push(index),
                Body::RefDelta(id) => on_id.entry(id).or_default().push(index),
            }
        }
        let objects = Vec::with_capacity(entries.entries.len());
        Self { on_offset, on_id, known: HashMap::new(), objects, links: Links::default() }
    }

    /// Takes the deltas that build on `base`: each is taken once, so that a circle of them is never entered.
    fn deltas_on(&mut self, base: &Built<'_>) -> Vec<usize> {
        let by_offset = base.offset.and_then(|offset| self.on_offset.remove(&offset));
        let by_id = self.on_id.remove(&base.id);
        by_offset.into_iter().chain(by_id).flatten().collect()
    }

    fn keep(
        &mut self,
        id: ObjectId,
        kind: Kind,
        content: &[u8],
        zlib: Bytes,
        shallow: &[ObjectId],
    ) -> Result<(), UnpackError> {
        if self.known.insert(id, kind).is_some() {
            return Ok(());
        }
        let named =
            check::object(kind, content).map_err(|BadObject(why)| UnpackError::BadObject { id, why })?;
        self.links.add(id, kind, named, shallow.contains(&id));
        self.objects.push(Object { id, kind, size: content.len() as u64, zlib });
        Ok(())
    }
}

fn name(kind: Kind, content: &[u8]) -> Result<ObjectId, UnpackError> {
    gix_object::compute_hash(gix_hash::Kind::Sha1, kind, content).map_err(|_| UnpackError::Collision)
}

/// Compresses what came as a delta. Quickly: it is a part of the time of a push, and deltas are small.
fn compress(content: &[u8]) -> Bytes {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(content).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of an entry: type and size.
    fn head(kind: u8, size: usize) -> Vec<u8> {
        let mut rest = size >> 4;
        let mut out = vec![kind << 4 | (size & 15) as u8 | if rest > 0 { 0x80 } else { 0 }];
        while rest > 0 {
            let low = (rest & 0x7f) as u8;
            rest >>= 7;
            out.push(low | if rest > 0 { 0x80 } else { 0 });
        }
        out
    }

    fn entry(kind: u8, declared: usize, base: &[u8], content: &[u8]) -> Vec<u8> {
        [head(kind, declared), base.to_vec(), compress(content).to_vec()].concat()
    }

    fn blob(content: &[u8]) -> Vec<u8> {
        entry(3, content.len(), &[], content)
    }

    fn pack(entries: &[Vec<u8>]) -> Bytes {
        let count = u32::try_from(entries.len()).unwrap().to_be_bytes();
        let mut bytes = [b"PACK\0\0\0\x02".to_vec(), count.to_vec(), entries.concat()].concat();
        let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
        hasher.update(&bytes);
        bytes.extend_from_slice(hasher.try_finalize().unwrap().as_slice());
        bytes.into()
    }

    fn unpack(pack: &Bytes, bases: &[Object]) -> Result<Vec<Object>, UnpackError> {
        let limits = Limits {
            objects: 100,
            object_bytes: 4096,
            inflated_bytes: 16_384,
            delta_depth: 3,
            ..Limits::default()
        };
        let entries = read(pack, &limits)?;
        Ok(resolve(entries, bases, &[], &limits)?.objects)
    }

    fn contents(objects: &[Object]) -> Vec<Vec<u8>> {
        objects.iter().map(|object| object.content().unwrap()).collect()
    }

    /// Appends `tail` to a base of `length` bytes.
    fn append(length: u8, tail: &[u8]) -> Vec<u8> {
        let tail_length = u8::try_from(tail.len()).unwrap();
        [&[length, length + tail_length, 0x90, length, tail_length][..], tail].concat()
    }

    #[test]
    fn whole_objects_and_deltas_of_both_kinds_are_unpacked() {
        let base = blob(b"base");
        let id = name(Kind::Blob, b"base").unwrap();
        let delta = append(4, b"+1");
        let by_offset = entry(6, delta.len(), &[u8::try_from(base.len()).unwrap()], &delta);
        let delta = append(4, b"+2");
        let by_name = entry(7, delta.len(), id.as_slice(), &delta);
        let mut found = contents(&unpack(&pack(&[base, by_offset, by_name]), &[]).unwrap());
        found.sort();
        assert_eq!(found, [b"base".to_vec(), b"base+1".to_vec(), b"base+2".to_vec()]);
    }

    #[test]
    fn a_thin_pack_builds_on_what_the_repository_has() {
        let id = name(Kind::Blob, b"base").unwrap();
        let delta = append(4, b"+1");
        let thin = pack(&[entry(7, delta.len(), id.as_slice(), &delta)]);
        assert_eq!(unpack(&thin, &[]).unwrap_err(), UnpackError::Unresolved(1));
        let base = Object { id, kind: Kind::Blob, size: 4, zlib: compress(b"base") };
        assert_eq!(
            contents(&unpack(&thin, &[base]).unwrap()),
            [b"base+1"],
            "the base itself is not part of the push"
        );
    }

    #[test]
    fn damaged_packs_are_refused() {
        let good = pack(&[blob(b"a")]);
        assert!(unpack(&good, &[]).is_ok());
        for end in 0..good.len() {
            assert!(unpack(&good.slice(..end), &[]).is_err(), "cut at {end}");
        }
        for at in 0..good.len() {
            let mut damaged = good.to_vec();
            damaged[at] ^= 0x10;
            assert!(unpack(&damaged.into(), &[]).is_err(), "damaged at {at}");
        }
        let behind = [good.as_ref(), b"x"].concat();
        assert_eq!(unpack(&behind.into(), &[]).unwrap_err(), UnpackError::Trailing);
    }

    #[test]
    fn a_size_that_lies_is_never_believed() {
        let large = vec![b'x'; 4000];
        for declared in [10, 3999, 4001] {
            let lying = pack(&[entry(3, declared, &[], &large)]);
            assert!(
                matches!(unpack(&lying, &[]), Err(UnpackError::Inflate | UnpackError::Truncated)),
                "{declared}"
            );
        }
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_before_it_is_built() {
        let huge = pack(&[blob(&vec![b'x'; 5000])]);
        assert!(matches!(unpack(&huge, &[]), Err(UnpackError::ObjectTooLarge { size: 5000, .. })));
        let many = pack(&(0..101u8).map(|n| blob(&[n])).collect::<Vec<_>>());
        assert!(matches!(unpack(&many, &[]), Err(UnpackError::TooManyObjects { found: 101, .. })));
        let together = pack(&(0..5u8).map(|n| blob(&[n; 4000])).collect::<Vec<_>>());
        assert!(matches!(unpack(&together, &[]), Err(UnpackError::InflatedTooLarge { .. })));
        // Each delta makes 4000 bytes of the same base; their sum is declared before any is applied.
        let base = blob(&[b'x'; 4000]);
        let id = name(Kind::Blob, &[b'x'; 4000]).unwrap();
        let copy = [0xa0, 0x1f, 0xa0, 0x1f, 0xb0, 0xa0, 0x0f];
        let bomb: Vec<_> = std::iter::once(base)
            .chain((0..50).map(|_| entry(7, copy.len(), id.as_slice(), &copy)))
            .collect();
        assert!(matches!(unpack(&pack(&bomb), &[]), Err(UnpackError::InflatedTooLarge { .. })));
    }

    #[test]
    fn circles_and_long_chains_of_deltas_end() {
        let delta = append(1, b"+");
        let itself = pack(&[entry(6, delta.len(), &[0], &delta)]);
        assert!(unpack(&itself, &[]).is_err());
        let mut entries = vec![blob(b"a")];
        for length in 1..6u8 {
            let before = entries.last().unwrap().len();
            let delta = append(length, b"+");
            entries.push(entry(6, delta.len(), &[u8::try_from(before).unwrap()], &delta));
        }
        assert_eq!(unpack(&pack(&entries), &[]).unwrap_err(), UnpackError::DeltaDepth(3));
    }

    #[test]
    fn objects_that_fsck_refuses_fail_the_pack() {
        let tree = [&b"100644 .git\0"[..], &[7; 20]].concat();
        let pack = pack(&[entry(2, tree.len(), &[], &tree)]);
        assert!(matches!(unpack(&pack, &[]), Err(UnpackError::BadObject { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = unpack(&bytes.clone().into(), &[]);
            let _ = unpack(&pack(&[bytes]), &[]);
        }
    }
}
