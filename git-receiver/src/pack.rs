//! A pack as it was received, and the objects that were found in it. Its bytes stay where they arrived, in memory while they
//! are few, else in a file, and are read when they are needed.

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

/// How much of a pack that comes as a stream is kept in memory.
const IN_MEMORY_MAX: usize = 1024 * 1024;

/// The bytes of a pack. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PackBytes(Place);

#[derive(Clone, Debug)]
enum Place {
    Memory(Bytes),
    File { file: Arc<File>, start: u64, length: u64 },
}

/// None, where no pack was sent.
impl Default for PackBytes {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<Bytes> for PackBytes {
    fn from(bytes: Bytes) -> Self {
        Self(Place::Memory(bytes))
    }
}

impl PackBytes {
    /// The pack that stands in `file` from `start` to its end. Nobody may write it any more.
    ///
    /// # Errors
    /// The file's length cannot be read.
    pub fn from_file(file: File, start: u64) -> io::Result<Self> {
        let length = file.metadata()?.len().saturating_sub(start);
        Ok(Self(Place::File { file: Arc::new(file), start, length }))
    }

    /// Takes in a stream to its end: a short one in memory, a longer one in a nameless file. What is beyond `most` bytes is
    /// read, up to as much again, and thrown away, since a client reads its answer only when it has sent everything; one byte
    /// of it is kept, by which it shows.
    ///
    /// # Errors
    /// The stream breaks, or the file cannot be written.
    pub async fn spool(stream: &mut (impl AsyncRead + Unpin), most: u64) -> io::Result<Self> {
        let mut memory = Vec::new();
        let bound = most.saturating_add(1);
        (&mut *stream).take(bound.min(IN_MEMORY_MAX as u64)).read_to_end(&mut memory).await?;
        let taken = if memory.len() < IN_MEMORY_MAX {
            Self(Place::Memory(memory.into()))
        } else {
            let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
            file.write_all(&memory).await?;
            let rest = bound - memory.len() as u64;
            drop(memory);
            tokio::io::copy(&mut (&mut *stream).take(rest), &mut file).await?;
            file.flush().await?;
            Self::from_file(file.into_std().await, 0)?
        };
        if taken.length() > most {
            tokio::io::copy(&mut stream.take(most), &mut tokio::io::sink()).await?;
        }
        Ok(taken)
    }

    /// How many there are.
    pub fn length(&self) -> u64 {
        match &self.0 {
            Place::Memory(bytes) => bytes.len() as u64,
            Place::File { length, .. } => *length,
        }
    }

    /// The bytes in `range`, into `buffer` where they are not in memory; fewer where the pack ends.
    pub(crate) fn read<'a>(&'a self, start: u64, end: u64, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let end = end.min(self.length());
        let start = start.min(end);
        match &self.0 {
            Place::Memory(bytes) => Ok(&bytes[index(start)..index(end)]),
            Place::File { file, start: first, .. } => {
                buffer.resize(index(end - start), 0);
                file.read_exact_at(buffer, first + start)?;
                Ok(buffer)
            }
        }
    }

    /// All of them, where they are in memory.
    pub(crate) fn in_memory(&self) -> Option<&[u8]> {
        match &self.0 {
            Place::Memory(bytes) => Some(bytes),
            Place::File { .. } => None,
        }
    }

    fn stream(&self, start: u64, end: u64) -> io::Result<Bytes> {
        match &self.0 {
            Place::Memory(bytes) => Ok(bytes.slice(index(start)..index(end))),
            Place::File { .. } => {
                let mut buffer = Vec::new();
                self.read(start, end, &mut buffer)?;
                Ok(buffer.into())
            }
        }
    }
}

/// A place among bytes that are in memory, or of a buffer's length.
fn index(place: u64) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// The objects of a push: well-formed, each once, none that the repository had before, and with everything they name among
/// them or in the repository. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pack(Option<Arc<Objects>>);

#[derive(Debug)]
struct Objects {
    bytes: PackBytes,
    packed: Vec<Packed>,
    /// Indices into `packed`, by name.
    by_id: Vec<u32>,
    /// Streams that were made for objects under which too many deltas lay.
    whole: HashMap<u32, Bytes>,
    /// Those that no other one names.
    loose: Vec<ObjectId>,
    /// What is held for all that.
    _held: Reservation,
}

/// An object and where its stream is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    pub(crate) base: Option<ObjectId>,
    pub(crate) depth: u32,
    pub(crate) size: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Pack {
    /// The objects `packed` of `bytes`, some of which have a stream of their own in `whole`, by their index. None of the others
    /// names those that are `loose`. What is `held` for all that is given back with the last clone.
    pub(crate) fn new(
        bytes: PackBytes,
        packed: Vec<Packed>,
        whole: HashMap<u32, Bytes>,
        loose: Vec<ObjectId>,
        held: Reservation,
    ) -> Self {
        let mut by_id: Vec<u32> = (0..).take(packed.len()).collect();
        by_id.sort_unstable_by_key(|index| packed[*index as usize].id);
        Self(Some(Arc::new(Objects { bytes, packed, by_id, whole, loose, _held: held })))
    }

    fn packed(&self) -> &[Packed] {
        self.0.as_ref().map_or(&[], |objects| &objects.packed)
    }

    fn index_of(&self, id: &ObjectId) -> Option<usize> {
        let objects = self.0.as_ref()?;
        let place =
            objects.by_id.binary_search_by_key(id, |index| objects.packed[*index as usize].id).ok()?;
        Some(objects.by_id[place] as usize)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.packed().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packed().is_empty()
    }

    /// The kind of an object, if it is one of these.
    pub fn kind(&self, id: &ObjectId) -> Option<Kind> {
        Some(self.packed()[self.index_of(id)?].kind)
    }

    /// Those that no other one names: the tips of what is pushed, and what belongs to none of it.
    pub fn dangling(&self) -> &[ObjectId] {
        self.0.as_ref().map_or(&[], |objects| &objects.loose)
    }

    /// The bytes of all their streams.
    pub fn stream_bytes(&self) -> u64 {
        let Some(objects) = &self.0 else { return 0 };
        let streams = (0..).zip(&objects.packed).map(|(index, packed)| match objects.whole.get(&index) {
            Some(zlib) => zlib.len() as u64,
            None => packed.end - packed.start,
        });
        streams.sum()
    }

    /// Their names, in the order of the pack.
    pub fn ids(&self) -> impl Iterator<Item = ObjectId> {
        self.packed().iter().map(|packed| packed.id)
    }

    /// The object at a place in the order of the pack, as it was received.
    ///
    /// # Errors
    /// The pack's file cannot be read.
    ///
    /// # Panics
    /// There are not that many.
    pub fn object(&self, index: usize) -> io::Result<Object> {
        let objects = self.0.as_ref().expect("an empty pack has no objects");
        let Packed { id, kind, base, depth, size, start, end } = objects.packed[index];
        let made = u32::try_from(index).ok().and_then(|index| objects.whole.get(&index));
        let zlib = match made {
            Some(zlib) => zlib.clone(),
            None => objects.bytes.stream(start, end)?,
        };
        Ok(Object { id, kind, base, depth, size, zlib })
    }

    /// Those of `ids` that are among these with everything they are built on here, whose streams are `held`; what is built on or
    /// asked for and is not here is returned apart from them.
    pub(crate) fn objects_and_bases(
        &self,
        ids: &[ObjectId],
        held: &mut Reservation,
    ) -> Result<(Vec<Object>, Vec<ObjectId>), ReadError> {
        let (mut found, mut elsewhere) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        let mut wanted = ids.to_vec();
        while let Some(id) = wanted.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.index_of(&id) {
                Some(index) => {
                    let Packed { start, end, .. } = self.packed()[index];
                    held.try_grow(end - start)?;
                    let object = self.object(index).map_err(ReadError::Pack)?;
                    wanted.extend(object.base);
                    found.push(object);
                }
                None => elsewhere.push(id),
            }
        }
        Ok((found, elsewhere))
    }
}
