//! A received pack and its objects. The bytes stay where they were received, in memory if they are few and otherwise in a
//! file, and are read on demand.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use gix_hash::ObjectId;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::memory::Reservation;
use crate::quarantine::ReadError;
use crate::{Kind, Object};

/// A streamed pack up to this size is kept in memory.
const IN_MEMORY_MAX: usize = 1024 * 1024;

/// The bytes of a pack. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PackBytes(Storage);

#[derive(Clone, Debug)]
enum Storage {
    Memory(Bytes),
    File { file: Arc<File>, start: u64, length: u64 },
}

/// No bytes: no pack was sent.
impl Default for PackBytes {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<Bytes> for PackBytes {
    fn from(bytes: Bytes) -> Self {
        Self(Storage::Memory(bytes))
    }
}

impl PackBytes {
    /// The pack in `file` from `start` to its end. The file must not be written any more.
    ///
    /// # Errors
    /// The file's length cannot be read.
    pub fn from_file(file: File, start: u64) -> io::Result<Self> {
        let length = file.metadata()?.len().saturating_sub(start);
        Ok(Self(Storage::File { file: Arc::new(file), start, length }))
    }

    /// Spools a stream to its end: a short one into memory, a longer one into an unnamed temporary file. Clients read the
    /// response only after they have sent everything, so up to `limit` bytes beyond the limit are read and discarded. One
    /// excess byte is kept, so that [`length`](Self::length) shows the excess.
    ///
    /// # Errors
    /// The stream fails, or the file cannot be written.
    pub async fn spool(stream: &mut (impl AsyncRead + Unpin), limit: u64) -> io::Result<Self> {
        let mut memory = Vec::new();
        let bound = limit.saturating_add(1);
        (&mut *stream).take(bound.min(IN_MEMORY_MAX as u64)).read_to_end(&mut memory).await?;
        let spooled = if memory.len() < IN_MEMORY_MAX {
            Self(Storage::Memory(memory.into()))
        } else {
            let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
            file.write_all(&memory).await?;
            let rest = bound - memory.len() as u64;
            drop(memory);
            tokio::io::copy(&mut (&mut *stream).take(rest), &mut file).await?;
            file.flush().await?;
            Self::from_file(file.into_std().await, 0)?
        };
        if spooled.length() > limit {
            tokio::io::copy(&mut stream.take(limit), &mut tokio::io::sink()).await?;
        }
        Ok(spooled)
    }

    /// The number of bytes.
    pub fn length(&self) -> u64 {
        match &self.0 {
            Storage::Memory(bytes) => bytes.len() as u64,
            Storage::File { length, .. } => *length,
        }
    }

    /// The bytes from `start` to `end`, copied into `buffer` unless they are in memory; fewer at the end of the pack.
    pub(crate) fn read<'a>(&'a self, start: u64, end: u64, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let end = end.min(self.length());
        let start = start.min(end);
        match &self.0 {
            Storage::Memory(bytes) => Ok(&bytes[to_usize(start)..to_usize(end)]),
            Storage::File { file, start: first, .. } => {
                buffer.resize(to_usize(end - start), 0);
                file.read_exact_at(buffer, first + start)?;
                Ok(buffer)
            }
        }
    }

    /// All bytes, if they are in memory.
    pub(crate) fn in_memory(&self) -> Option<&[u8]> {
        match &self.0 {
            Storage::Memory(bytes) => Some(bytes),
            Storage::File { .. } => None,
        }
    }

    fn stream(&self, start: u64, end: u64) -> io::Result<Bytes> {
        match &self.0 {
            Storage::Memory(bytes) => Ok(bytes.slice(to_usize(start)..to_usize(end))),
            Storage::File { .. } => {
                let mut buffer = Vec::new();
                self.read(start, end, &mut buffer)?;
                Ok(buffer.into())
            }
        }
    }
}

/// A position or length as `usize`; the bytes are in memory, so it fits.
fn to_usize(place: u64) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// The objects of a push that the repository does not have: well-formed, each once, with all their references in the pack or
/// in the repository. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pack(Option<Arc<PackContents>>);

#[derive(Debug)]
struct PackContents {
    bytes: PackBytes,
    entries: Vec<PackEntry>,
    /// Indices into `entries`, sorted by object id.
    by_id: Vec<u32>,
    /// New streams of objects whose delta chain was too long, by index.
    recompressed: HashMap<u32, Bytes>,
    /// Objects that no other object of the pack refers to.
    dangling: Vec<ObjectId>,
    /// Reserved for all of the above.
    _reservation: Reservation,
}

/// An object and the range of its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackEntry {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    pub(crate) base: Option<ObjectId>,
    pub(crate) depth: u32,
    pub(crate) size: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Pack {
    /// Creates a pack of `entries` in `bytes`. `recompressed` has the streams of objects that are not stored as received, by
    /// index. The reservation is released with the last clone.
    pub(crate) fn new(
        bytes: PackBytes,
        entries: Vec<PackEntry>,
        recompressed: HashMap<u32, Bytes>,
        dangling: Vec<ObjectId>,
        reservation: Reservation,
    ) -> Self {
        let mut by_id: Vec<u32> = (0..).take(entries.len()).collect();
        by_id.sort_unstable_by_key(|index| entries[*index as usize].id);
        Self(Some(Arc::new(PackContents {
            bytes,
            entries,
            by_id,
            recompressed,
            dangling,
            _reservation: reservation,
        })))
    }

    fn entries(&self) -> &[PackEntry] {
        self.0.as_ref().map_or(&[], |objects| &objects.entries)
    }

    fn index_of(&self, id: &ObjectId) -> Option<usize> {
        let objects = self.0.as_ref()?;
        let place =
            objects.by_id.binary_search_by_key(id, |index| objects.entries[*index as usize].id).ok()?;
        Some(objects.by_id[place] as usize)
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The kind of an object, if it is in the pack.
    pub fn kind(&self, id: &ObjectId) -> Option<Kind> {
        Some(self.entries()[self.index_of(id)?].kind)
    }

    /// The dangling objects: no other object of the pack refers to them. These are the pushed tips, and objects that no tip
    /// reaches.
    pub fn dangling(&self) -> &[ObjectId] {
        self.0.as_ref().map_or(&[], |objects| &objects.dangling)
    }

    /// The total size of all zlib streams, in bytes.
    pub fn stream_bytes(&self) -> u64 {
        let Some(objects) = &self.0 else { return 0 };
        let streams =
            (0..).zip(&objects.entries).map(|(index, entries)| match objects.recompressed.get(&index) {
                Some(zlib) => zlib.len() as u64,
                None => entries.end - entries.start,
            });
        streams.sum()
    }

    /// The object ids, in pack order.
    pub fn ids(&self) -> impl Iterator<Item = ObjectId> {
        self.entries().iter().map(|entry| entry.id)
    }

    /// The object at `index` in pack order, in stored form.
    ///
    /// # Errors
    /// The pack's file cannot be read.
    ///
    /// # Panics
    /// `index` is out of bounds.
    pub fn object(&self, index: usize) -> io::Result<Object> {
        let objects = self.0.as_ref().expect("an empty pack has no objects");
        let PackEntry { id, kind, base, depth, size, start, end } = objects.entries[index];
        let recompressed = u32::try_from(index).ok().and_then(|index| objects.recompressed.get(&index));
        let zlib = match recompressed {
            Some(zlib) => zlib.clone(),
            None => objects.bytes.stream(start, end)?,
        };
        Ok(Object { id, kind, base, depth, size, zlib })
    }

    /// Those of `ids` that are in the pack, with their delta bases in the pack, and separately the requested ids and bases
    /// that are not. The streams are counted in `reservation`.
    pub(crate) fn objects_and_bases(
        &self,
        ids: &[ObjectId],
        reservation: &mut Reservation,
    ) -> Result<(Vec<Object>, Vec<ObjectId>), ReadError> {
        let (mut found, mut outside) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        let mut wanted = ids.to_vec();
        while let Some(id) = wanted.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.index_of(&id) {
                Some(index) => {
                    let PackEntry { start, end, .. } = self.entries()[index];
                    reservation.try_grow(end - start)?;
                    let object = self.object(index).map_err(ReadError::Pack)?;
                    wanted.extend(object.base);
                    found.push(object);
                }
                None => outside.push(id),
            }
        }
        Ok((found, outside))
    }
}
