//! The entries of a pack, in pack order, with their positions and kinds. Inflated deltas are cached up to a limit.

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

/// How many bytes of inflated deltas are cached until they are applied. The others are inflated twice.
const CACHED_DELTA_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much of a pack file is read at once.
const WINDOW_BYTES: u64 = 256 * 1024;

/// The memory of an entry until the push is finished, without its references.
const ENTRY_BYTES: u64 = 400;

/// The value of `cached_at` for a delta that is not cached.
const NOT_CACHED: u32 = u32::MAX;

/// The entries of a pack.
pub(super) struct Entries {
    pub(super) bytes: PackBytes,
    /// Sorted by offset.
    pub(super) list: Vec<Entry>,
    /// The inflated bytes so far, including the declared results of deltas.
    pub(super) total: u64,
    deltas: Vec<u8>,
    /// Where the delta of each entry starts in `deltas`.
    cached_at: Vec<u32>,
    /// Reserved for the entries and the cached deltas.
    reservation: Reservation,
    pub(super) memory: Arc<dyn MemoryPool>,
}

pub(super) struct Entry {
    /// Where the entry starts in the pack; ofs-deltas refer to it.
    pub(super) offset: u64,
    /// Where its zlib stream starts.
    pub(super) start: u64,
    /// Where its zlib stream ends.
    pub(super) end: u64,
    /// The size of the inflated stream.
    pub(super) size: u64,
    pub(super) kind: EntryKind,
}

#[derive(Clone, Copy)]
pub(super) enum EntryKind {
    Undeltified(Kind),
    /// A delta against the entry at this offset.
    OfsDelta(u64),
    RefDelta(ObjectId),
}

/// Receives the contents of undeltified objects: entry index, kind, content.
pub(super) type Sink<'s> = dyn FnMut(u32, Kind, &[u8]) -> Result<(), UnpackError> + 's;

impl Entries {
    /// Reads the entries of `bytes`, checks counts and sizes, and passes the contents of undeltified objects to `sink`.
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
        // An entry takes at least two bytes.
        if u64::from(count) > bytes.length() {
            return Err(UnpackError::Truncated);
        }
        if found > limits.objects {
            return Err(UnpackError::TooManyObjects { found, limit: limits.objects });
        }
        let mut reservation = Reservation::new(memory);
        reservation.try_grow(u64::from(count) * ENTRY_BYTES)?;
        let capacity = CACHED_DELTA_BYTES_MAX
            .min(usize::try_from(bytes.length().saturating_mul(4)).unwrap_or(usize::MAX));
        let mut entries = Self {
            bytes: bytes.clone(),
            list: Vec::with_capacity(found),
            total: 0,
            deltas: Vec::with_capacity(capacity),
            cached_at: vec![NOT_CACHED; found],
            reservation,
            memory: Arc::clone(memory),
        };
        let mut cursor = Cursor::new(&bytes, memory);
        for index in 0..count {
            let entry = cursor.entry(limits, &mut entries.total)?;
            match entry.kind {
                EntryKind::Undeltified(kind) => sink(index, kind, &cursor.inflated)?,
                EntryKind::OfsDelta(_) | EntryKind::RefDelta(_) => {
                    // The declared size of a delta's result counts before anything is allocated for it.
                    self::count(delta::sizes(&cursor.inflated)?.1, limits, &mut entries.total)?;
                    entries.cache_delta(index as usize, &cursor.inflated);
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

    /// Reserves `bytes` for as long as the entries exist.
    pub(super) fn reserve(&mut self, bytes: u64) -> Result<(), UnpackError> {
        Ok(self.reservation.try_grow(bytes)?)
    }

    fn cache_delta(&mut self, index: usize, delta: &[u8]) {
        let fits = self.deltas.len() + delta.len() <= self.deltas.capacity();
        if fits && self.reservation.try_grow(delta.len() as u64).is_ok() {
            // The capacity is far below `u32::MAX`.
            self.cached_at[index] = u32::try_from(self.deltas.len()).unwrap_or(NOT_CACHED);
            self.deltas.extend_from_slice(delta);
        }
    }

    /// The delta of the entry at `index`, inflated into `reader` unless it is cached.
    pub(super) fn delta<'a>(
        &'a self,
        index: usize,
        reader: &'a mut StreamReader,
    ) -> Result<&'a [u8], UnpackError> {
        let entry = &self.list[index];
        if self.cached_at[index] == NOT_CACHED {
            reader.inflated = self.inflate(index, reader)?;
            return Ok(&reader.inflated);
        }
        let start = self.cached_at[index] as usize;
        let end = start + usize::try_from(entry.size).map_err(|_| UnpackError::Inflate)?;
        Ok(&self.deltas[start..end])
    }

    /// Inflates the stream of the entry at `index`.
    fn inflate(&self, index: usize, reader: &mut StreamReader) -> Result<Vec<u8>, UnpackError> {
        let entry = &self.list[index];
        let stream = self.bytes.read(entry.start, entry.end, &mut reader.stream)?;
        reader.inflater.inflate(stream, entry.size).map_err(|_| UnpackError::Inflate)
    }

    /// The content of the undeltified entry at `index`.
    pub(super) fn undeltified(
        &self,
        index: usize,
        reader: &mut StreamReader,
    ) -> Result<Content, UnpackError> {
        Content::with_reservation(&self.memory, self.list[index].size, || self.inflate(index, reader))
    }

    /// Applies the delta of the entry at `index` to `base`.
    pub(super) fn apply(
        &self,
        index: usize,
        base: &[u8],
        reader: &mut StreamReader,
    ) -> Result<Content, UnpackError> {
        let delta = self.delta(index, reader)?;
        let (_, size) = delta::sizes(delta)?;
        Content::with_reservation(&self.memory, size, || Ok(delta::apply(base, delta)?))
    }

    /// The index of the entry at `offset`.
    pub(super) fn index_at(&self, offset: u64) -> Option<usize> {
        self.list.binary_search_by_key(&offset, |entry| entry.offset).ok()
    }
}

/// Per-thread buffers for inflating entries again.
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

/// Adds `size` to `total`, and checks the limits of one object and of all.
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

/// Reads a pack sequentially.
struct Cursor<'a> {
    input: Input<'a>,
    /// Reused, because creating an inflater takes longer than inflating most entries.
    stream: Decompress,
    /// The inflated stream of the latest entry.
    inflated: Vec<u8>,
    reservation: Reservation,
}

/// The bytes of a pack, read sequentially.
struct Input<'a> {
    bytes: &'a PackBytes,
    /// The position of the next byte.
    at: u64,
    /// A window of a pack file.
    window: Vec<u8>,
    /// The position of the window.
    window_start: u64,
}

impl Input<'_> {
    /// The buffered bytes at the current position; empty at the end.
    fn ahead(&mut self) -> io::Result<&[u8]> {
        if let Some(all) = self.bytes.in_memory() {
            let at = usize::try_from(self.at).unwrap_or(usize::MAX);
            return Ok(all.get(at..).unwrap_or_default());
        }
        if self.at >= self.window_start + self.window.len() as u64 {
            self.window_start = self.at;
            self.bytes.read(self.at, self.at.saturating_add(WINDOW_BYTES), &mut self.window)?;
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
    /// Starts after the pack header.
    fn new(bytes: &'a PackBytes, memory: &Arc<dyn MemoryPool>) -> Self {
        let input = Input { bytes, at: 12, window: Vec::new(), window_start: 0 };
        Self {
            input,
            stream: Decompress::new(true),
            inflated: Vec::new(),
            reservation: Reservation::new(memory),
        }
    }

    fn entry(&mut self, limits: &Limits, total: &mut u64) -> Result<Entry, UnpackError> {
        let offset = self.input.at;
        let (kind, size) = self.entry_header()?;
        let kind = match kind {
            1 => EntryKind::Undeltified(Kind::Commit),
            2 => EntryKind::Undeltified(Kind::Tree),
            3 => EntryKind::Undeltified(Kind::Blob),
            4 => EntryKind::Undeltified(Kind::Tag),
            6 => EntryKind::OfsDelta(offset.checked_sub(self.base_distance()?).ok_or(CorruptDeltaError)?),
            7 => {
                let mut id = [0; 20];
                for byte in &mut id {
                    *byte = self.input.byte()?;
                }
                EntryKind::RefDelta(ObjectId::Sha1(id))
            }
            other => return Err(UnpackError::EntryType(other)),
        };
        count(size, limits, total)?;
        let start = self.input.at;
        self.inflate(size)?;
        Ok(Entry { offset, start, end: self.input.at, size, kind })
    }

    /// Type and size: three bits and four bits, then seven more per byte.
    fn entry_header(&mut self) -> Result<(u8, u64), UnpackError> {
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

    /// The negative offset of an ofs-delta's base.
    fn base_distance(&mut self) -> Result<u64, UnpackError> {
        let mut byte = self.input.byte()?;
        let mut distance = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.input.byte()?;
            distance = distance.checked_add(1).and_then(|d| d.checked_mul(128)).ok_or(CorruptDeltaError)?;
            distance |= u64::from(byte & 0x7f);
        }
        Ok(distance)
    }

    /// Inflates a stream of exactly `size` bytes, and never writes more.
    fn inflate(&mut self, size: u64) -> Result<(), UnpackError> {
        let size = usize::try_from(size).map_err(|_| UnpackError::Inflate)?;
        if size > self.inflated.capacity() {
            // The buffer is as large as the largest entry; while it grows, the old one exists too.
            self.reservation.try_resize((self.inflated.capacity() + size) as u64)?;
        }
        let (stream, out) = (&mut self.stream, &mut self.inflated);
        out.clear();
        // One spare byte at the end detects a stream that is longer than `size`.
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
