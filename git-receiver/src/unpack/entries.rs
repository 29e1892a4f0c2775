//! The entries of a pack as they come: inflated, deltas not yet applied.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use gix_hash::ObjectId;
use gix_object::Kind;

use super::UnpackError;
use crate::Limits;
use crate::delta::{self, DamagedDelta};

/// The entries of a pack, inflated, deltas not yet applied.
pub(crate) struct Entries {
    pub(super) entries: Vec<Entry>,
    /// The bytes of everything inflated so far, with what the deltas declare.
    pub(super) total: u64,
}

pub(super) struct Entry {
    pub(super) offset: usize,
    pub(super) body: Body,
    inflated: Mutex<Vec<u8>>,
    /// The zlib stream as it came.
    pub(super) zlib: Bytes,
}

pub(super) enum Body {
    Whole(Kind),
    /// On the entry at this offset.
    OfsDelta(usize),
    RefDelta(ObjectId),
}

impl Entry {
    /// Takes what was inflated, content or delta, so that it is let go as soon as it was used: once, by whoever builds the
    /// entry.
    pub(super) fn take_inflated(&self) -> Vec<u8> {
        std::mem::take(&mut *self.inflated.lock().unwrap_or_else(PoisonError::into_inner))
    }
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
    let mut cursor = Cursor { pack, at: 12, stream: Decompress::new(true) };
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
    /// One for all entries: making one anew takes longer than inflating most of them.
    stream: Decompress,
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
        Ok(Entry { offset, body, inflated: Mutex::new(inflated), zlib: self.pack.slice(start..self.at) })
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
        let stream = &mut self.stream;
        stream.reset(true);
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

/// Counts `size` bytes more, and holds them and all before to their limits.
pub(super) fn count(size: u64, limits: &Limits, total: &mut u64) -> Result<(), UnpackError> {
    if size > limits.object_bytes {
        return Err(UnpackError::ObjectTooLarge { size, limit: limits.object_bytes });
    }
    *total += size;
    if *total > limits.inflated_bytes {
        return Err(UnpackError::InflatedTooLarge { limit: limits.inflated_bytes });
    }
    Ok(())
}
