//! The entries of a pack in the order in which they came: where each is, what it is, and the deltas among them inflated as
//! far as there is room.

use std::io;
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};
use gix_hash::ObjectId;
use gix_object::Kind;

use super::UnpackError;
use crate::content::{Content, Inflater};
use crate::delta::{self, CorruptDeltaError};
use crate::memory::Reservation;
use crate::pack::PackBytes;
use crate::{Limits, MemoryPool};

/// How many bytes of inflated deltas are kept until they are applied. The others are inflated twice.
const DELTAS_KEPT_MAX: usize = 64 * 1024 * 1024;

/// How much of a pack in a file is read at once.
const WINDOW: u64 = 256 * 1024;

/// What an entry takes from when it is found until the push is over, apart from what it names.
const ENTRY_BYTES: u64 = 400;

/// Where the inflated delta of an entry is, when it is not kept.
const NOT_KEPT: u32 = u32::MAX;

/// The entries of a pack.
pub(super) struct Entries {
    pub(super) bytes: PackBytes,
    /// In the order of their offsets.
    pub(super) list: Vec<Entry>,
    /// The bytes of everything inflated so far, with what the deltas declare.
    pub(super) total: u64,
    deltas: Vec<u8>,
    /// Where the delta of each entry begins in `deltas`.
    kept: Vec<u32>,
    /// What is held for the entries and their deltas.
    held: Reservation,
    pub(super) memory: Arc<dyn MemoryPool>,
}

pub(super) struct Entry {
    /// Where it begins; other entries know it by that.
    pub(super) offset: u64,
    /// Where its stream begins …
    pub(super) start: u64,
    /// … and ends.
    pub(super) end: u64,
    /// The bytes that its stream inflates to.
    pub(super) size: u64,
    pub(super) body: Body,
}

#[derive(Clone, Copy)]
pub(super) enum Body {
    Whole(Kind),
    /// On the entry at this offset.
    OfsDelta(u64),
    RefDelta(ObjectId),
}

/// What takes the contents of the objects that came whole: the entry's index, its kind, its content.
pub(super) type Sink<'s> = dyn FnMut(u32, Kind, &[u8]) -> Result<(), UnpackError> + 's;

impl Entries {
    /// Reads the entries of `bytes`, checking counts and sizes, and hands the contents of whole objects to `sink`.
    pub(super) fn read(
        bytes: PackBytes,
        limits: &Limits,
        memory: &Arc<dyn MemoryPool>,
        sink: &mut Sink<'_>,
    ) -> Result<Self, UnpackError> {
        let mut buffer = Vec::new();
        let header = bytes.read(0, 12, &mut buffer)?;
        let header: [u8; 12] = header.try_into().map_err(|_| UnpackError::Truncated)?;
        let [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, a, b, c, d] = header else {
            return Err(UnpackError::Header);
        };
        let count = u32::from_be_bytes([a, b, c, d]);
        let found = usize::try_from(count).unwrap_or(usize::MAX);
        // An entry takes two bytes at least.
        if u64::from(count) > bytes.length() {
            return Err(UnpackError::Truncated);
        }
        if found > limits.objects {
            return Err(UnpackError::TooManyObjects { found, limit: limits.objects });
        }
        let mut held = Reservation::new(memory);
        held.try_grow(u64::from(count) * ENTRY_BYTES)?;
        let room =
            DELTAS_KEPT_MAX.min(usize::try_from(bytes.length().saturating_mul(4)).unwrap_or(usize::MAX));
        let mut entries = Self {
            bytes: bytes.clone(),
            list: Vec::with_capacity(found),
            total: 0,
            deltas: Vec::with_capacity(room),
            kept: vec![NOT_KEPT; found],
            held,
            memory: Arc::clone(memory),
        };
        let mut cursor = Cursor::new(&bytes, memory);
        for index in 0..count {
            let entry = cursor.entry(limits, &mut entries.total)?;
            match entry.body {
                Body::Whole(kind) => sink(index, kind, &cursor.inflated)?,
                Body::OfsDelta(_) | Body::RefDelta(_) => {
                    // What a delta says it will become counts before anything is built from it.
                    self::count(delta::sizes(&cursor.inflated)?.1, limits, &mut entries.total)?;
                    entries.keep(index as usize, &cursor.inflated);
                }
            }
            entries.list.push(entry);
        }
        match bytes.length().checked_sub(cursor.input.at) {
            None | Some(..20) => Err(UnpackError::Truncated),
            Some(20) => Ok(entries),
            Some(_) => Err(UnpackError::Trailing),
        }
    }

    /// Holds so many bytes more, as long as the entries are there.
    pub(super) fn hold(&mut self, bytes: u64) -> Result<(), UnpackError> {
        Ok(self.held.try_grow(bytes)?)
    }

    fn keep(&mut self, index: usize, delta: &[u8]) {
        let fits = self.deltas.len() + delta.len() <= self.deltas.capacity();
        if fits && self.held.try_grow(delta.len() as u64).is_ok() {
            // The room is bounded far below what 32 bits count.
            self.kept[index] = u32::try_from(self.deltas.len()).unwrap_or(NOT_KEPT);
            self.deltas.extend_from_slice(delta);
        }
    }

    /// The delta of the entry at `index`, in `buffer` when it was not kept.
    pub(super) fn delta<'a>(
        &'a self,
        index: usize,
        reader: &'a mut StreamReader,
    ) -> Result<&'a [u8], UnpackError> {
        let entry = &self.list[index];
        if self.kept[index] == NOT_KEPT {
            reader.inflated = self.inflate(index, reader)?;
            return Ok(&reader.inflated);
        }
        let start = self.kept[index] as usize;
        let end = start + usize::try_from(entry.size).map_err(|_| UnpackError::Inflate)?;
        Ok(&self.deltas[start..end])
    }

    /// What the stream of the entry at `index` holds.
    fn inflate(&self, index: usize, reader: &mut StreamReader) -> Result<Vec<u8>, UnpackError> {
        let entry = &self.list[index];
        let stream = self.bytes.read(entry.start, entry.end, &mut reader.stream)?;
        reader.inflater.inflate(stream, entry.size).map_err(|_| UnpackError::Inflate)
    }

    /// The content of the entry at `index`, which came whole.
    pub(super) fn whole(&self, index: usize, reader: &mut StreamReader) -> Result<Content, UnpackError> {
        Content::held(&self.memory, self.list[index].size, || self.inflate(index, reader))
    }

    /// What the delta of the entry at `index` makes of `base`.
    pub(super) fn apply(
        &self,
        index: usize,
        base: &[u8],
        reader: &mut StreamReader,
    ) -> Result<Content, UnpackError> {
        let delta = self.delta(index, reader)?;
        let (_, size) = delta::sizes(delta)?;
        Content::held(&self.memory, size, || Ok(delta::apply(base, delta)?))
    }

    /// The entry that begins at `offset`.
    pub(super) fn at(&self, offset: u64) -> Option<usize> {
        self.list.binary_search_by_key(&offset, |entry| entry.offset).ok()
    }
}

/// What one thread needs to inflate entries again.
pub(super) struct StreamReader {
    inflater: Inflater,
    stream: Vec<u8>,
    inflated: Vec<u8>,
}

impl StreamReader {
    pub(super) fn new() -> Self {
        Self { inflater: Inflater::new(), stream: Vec::new(), inflated: Vec::new() }
    }
}

/// Counts `size` bytes more, and holds them and all before to their limits.
pub(super) fn count(size: u64, limits: &Limits, total: &mut u64) -> Result<(), UnpackError> {
    if size > limits.object_bytes {
        return Err(UnpackError::ObjectTooLarge { path: None, size, limit: limits.object_bytes });
    }
    *total = total.saturating_add(size);
    if *total > limits.inflated_bytes {
        return Err(UnpackError::InflatedTooLarge { limit: limits.inflated_bytes });
    }
    Ok(())
}

/// Goes through a pack once.
struct Cursor<'a> {
    input: Input<'a>,
    /// One for all entries: making one anew takes longer than inflating most of them.
    stream: Decompress,
    /// What the latest entry holds.
    inflated: Vec<u8>,
    held: Reservation,
}

/// The bytes of a pack, one after the other.
struct Input<'a> {
    bytes: &'a PackBytes,
    /// Where the next byte stands.
    at: u64,
    /// Some bytes of a file …
    window: Vec<u8>,
    /// … and where they begin.
    window_start: u64,
}

impl Input<'_> {
    /// Some of the bytes that come next; none at the end.
    fn ahead(&mut self) -> io::Result<&[u8]> {
        if let Some(all) = self.bytes.in_memory() {
            let at = usize::try_from(self.at).unwrap_or(usize::MAX);
            return Ok(all.get(at..).unwrap_or_default());
        }
        if self.at >= self.window_start + self.window.len() as u64 {
            self.window_start = self.at;
            self.bytes.read(self.at, self.at.saturating_add(WINDOW), &mut self.window)?;
        }
        let at = usize::try_from(self.at - self.window_start).unwrap_or(usize::MAX);
        Ok(self.window.get(at..).unwrap_or_default())
    }

    fn byte(&mut self) -> Result<u8, UnpackError> {
        let byte = *self.ahead()?.first().ok_or(UnpackError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }
}

impl<'a> Cursor<'a> {
    /// Behind the header of the pack.
    fn new(bytes: &'a PackBytes, memory: &Arc<dyn MemoryPool>) -> Self {
        let input = Input { bytes, at: 12, window: Vec::new(), window_start: 0 };
        Self { input, stream: Decompress::new(true), inflated: Vec::new(), held: Reservation::new(memory) }
    }

    fn entry(&mut self, limits: &Limits, total: &mut u64) -> Result<Entry, UnpackError> {
        let offset = self.input.at;
        let (kind, size) = self.head()?;
        let body = match kind {
            1 => Body::Whole(Kind::Commit),
            2 => Body::Whole(Kind::Tree),
            3 => Body::Whole(Kind::Blob),
            4 => Body::Whole(Kind::Tag),
            6 => Body::OfsDelta(offset.checked_sub(self.distance()?).ok_or(CorruptDeltaError)?),
            7 => {
                let mut id = [0; 20];
                for byte in &mut id {
                    *byte = self.input.byte()?;
                }
                Body::RefDelta(ObjectId::Sha1(id))
            }
            other => return Err(UnpackError::EntryType(other)),
        };
        count(size, limits, total)?;
        let start = self.input.at;
        self.inflate(size)?;
        Ok(Entry { offset, start, end: self.input.at, size, body })
    }

    /// Type and size: three bits and four, then seven more a byte.
    fn head(&mut self) -> Result<(u8, u64), UnpackError> {
        let first = self.input.byte()?;
        let mut size = u64::from(first & 0x0f);
        let mut byte = first;
        let mut shift = 4;
        while byte & 0x80 != 0 {
            if shift > 57 {
                return Err(UnpackError::Header);
            }
            byte = self.input.byte()?;
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        Ok((first >> 4 & 7, size))
    }

    /// How far back the base of an ofs-delta begins.
    fn distance(&mut self) -> Result<u64, UnpackError> {
        let mut byte = self.input.byte()?;
        let mut distance = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.input.byte()?;
            distance = distance.checked_add(1).and_then(|d| d.checked_mul(128)).ok_or(CorruptDeltaError)?;
            distance |= u64::from(byte & 0x7f);
        }
        Ok(distance)
    }

    /// Inflates exactly `size` bytes; never more, whatever the stream holds.
    fn inflate(&mut self, size: u64) -> Result<(), UnpackError> {
        let size = usize::try_from(size).map_err(|_| UnpackError::Inflate)?;
        if size > self.inflated.capacity() {
            // One buffer for all, as large as the largest, and the smaller one while it grows.
            self.held.try_resize((self.inflated.capacity() + size) as u64)?;
        }
        let (stream, out) = (&mut self.stream, &mut self.inflated);
        out.clear();
        // A byte of room behind the end makes a stream that goes on show itself.
        out.try_reserve(size.checked_add(1).ok_or(UnpackError::Inflate)?)
            .map_err(|_| UnpackError::Inflate)?;
        stream.reset(true);
        loop {
            let before = (stream.total_in(), out.len());
            let input = self.input.ahead()?;
            let is_end = input.is_empty();
            let status = stream.decompress_vec(input, out, FlushDecompress::Finish);
            let read = stream.total_in() - before.0;
            self.input.at += read;
            match status {
                _ if out.len() > size => return Err(UnpackError::Inflate),
                Ok(Status::StreamEnd) if out.len() == size => return Ok(()),
                Ok(Status::StreamEnd) | Err(_) => return Err(UnpackError::Inflate),
                Ok(_) if (read, out.len()) == (0, before.1) => {
                    return Err(if is_end { UnpackError::Truncated } else { UnpackError::Inflate });
                }
                Ok(_) => {}
            }
        }
    }
}
