//! Sends a pack (gitformat-pack): every object with its stored zlib stream, deltas as deltas if the client can resolve them.
//! Only deltas whose base is not sent are undeltified and recompressed.
//!
//! A delta follows its base, because go-git and isomorphic-git resolve objects while they read. A delta that is read before
//! its base is deferred: in memory up to a limit, otherwise it is read again at the end.

use std::io;
use std::sync::Arc;

use gix_hash::{Hasher, ObjectId};
use gix_hashtable::{HashMap, HashSet};
use gix_object::Kind;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::UploadError;
use super::object_reader::ObjectReader;
use super::walk::Selection;
use crate::memory::{MemoryPool, Reservation};
use crate::pkt_line::{SIDEBAND_DATA_MAX, sideband_header};
use crate::report::fatal;
use crate::unpack::compress;
use crate::{CorruptObjectError, Object, Repository, RepositoryError, content};

/// How many of the objects that the walk already read are sent per batch.
const BATCH_OBJECTS: usize = 4096;

/// How many bytes of recompressed objects are buffered before they are sent.
const RECOMPRESS_BYTES: usize = 1024 * 1024;

/// How many objects are read at once for recompression.
const RECOMPRESS_OBJECTS: usize = 16;

/// How many bytes of deferred deltas are kept in memory.
const DEFERRED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The sideband that carries the pack.
const PACK_SIDEBAND: u8 = 1;

/// The most data bytes of a `side-band` packet, which has 1000 bytes with its header.
const SIDEBAND_SMALL_DATA_MAX: usize = 990;

/// The most bytes of an entry before its stream: type and size, and a base id.
const ENTRY_HEADER_MAX: usize = 10 + 20;

/// The entry type of a delta that refers to its base by offset.
const OFS_DELTA: u8 = 6;

/// The entry type of a delta that refers to its base by id.
const REF_DELTA: u8 = 7;

/// The framing of the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sideband {
    /// No sideband.
    None,
    /// `side-band`: packets of at most 1000 bytes.
    Small,
    /// `side-band-64k`.
    Large,
}

/// The pack features that the client supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    /// Deltas against objects outside the pack that the client has (`thin-pack`).
    pub(super) thin: bool,
    /// Deltas that refer to their base by offset (`ofs-delta`).
    pub(super) ofs_delta: bool,
}

impl Format {
    /// Parses a capability; `false` for any other capability.
    pub(super) fn take(&mut self, word: &str) -> bool {
        match word {
            "thin-pack" => self.thin = true,
            "ofs-delta" => self.ofs_delta = true,
            _ => return false,
        }
        true
    }
}

/// Sends the selected objects as a pack.
pub(super) async fn send<R: Repository>(
    repository: &R,
    selection: Selection,
    format: Format,
    sideband: Sideband,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let sent = send_all(repository, selection, format, sideband, output).await;
    let why = match &sent {
        Err(UploadError::Repository(RepositoryError::OutOfMemory(why))) => why.to_string(),
        Err(UploadError::Repository(_) | UploadError::Corrupt(_)) => {
            "the server cannot read its repository".to_owned()
        }
        _ => return sent,
    };
    if sideband != Sideband::None {
        output.write_all(&fatal(&why)).await?;
    }
    sent
}

/// Reads the next objects while a batch is sent, but not while a batch is encoded, so that at most two batches are in
/// memory.
async fn send_all<R: Repository>(
    repository: &R,
    selection: Selection,
    format: Format,
    sideband: Sideband,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let Selection { objects, client_has, read, reservation: _reservation, .. } = selection;
    let mut writer = PackWriter::new(&objects, client_has, format, &repository.memory())?;
    let mut unread = ObjectReader::new(repository, objects, &read);
    let mut found = unread.next().await?;
    // Objects that the walk already read are interleaved, so that reading keeps ahead of sending.
    let mut read = read.into_iter();
    while !found.is_empty() || read.len() > 0 {
        found.extend(read.by_ref().take(BATCH_OBJECTS));
        writer = write_batch(repository, writer, found, sideband, output).await?;
        ((), found) = tokio::try_join!(writer.flush_buffer(sideband, output), unread.next())?;
    }
    // Objects at the end of the selection are mostly bases of the others.
    let mut postponed = std::mem::take(&mut writer.postponed);
    while !postponed.is_empty() {
        let before = postponed.len();
        postponed.reverse();
        for some in postponed.chunks(BATCH_OBJECTS) {
            let mut unread = ObjectReader::new(repository, some.to_vec(), &[]);
            loop {
                let found = unread.next().await?;
                if found.is_empty() {
                    break;
                }
                writer = write_batch(repository, writer, found, sideband, output).await?;
                writer.flush_buffer(sideband, output).await?;
            }
        }
        postponed = std::mem::take(&mut writer.postponed);
        if postponed.len() == before {
            // A cycle of deltas, which an intact repository cannot have.
            return Err(CorruptObjectError(postponed[0]).into());
        }
    }
    write(&writer.finish()?, sideband, output).await
}

/// Encodes a batch of objects, and sends what exceeds the buffer.
async fn write_batch<R: Repository>(
    repository: &R,
    writer: PackWriter,
    objects: Vec<Object>,
    sideband: Sideband,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<PackWriter, UploadError> {
    let writing = tokio::task::spawn_blocking(move || writer.write_all_objects(&objects));
    let (mut writer, recompress) = writing.await.map_err(io::Error::other)??;
    for some in recompress.chunks(RECOMPRESS_OBJECTS) {
        content::for_each(repository, some, |id, kind, content| {
            writer.write_entry(id, entry_type(kind), content.len() as u64, &[], &compress(content))?;
            writer.write_deferred(id)
        })
        .await?;
        if writer.buffer.len() >= RECOMPRESS_BYTES {
            writer.flush_buffer(sideband, output).await?;
        }
    }
    Ok(writer)
}

/// Sends a part of the pack, framed without copying it.
async fn write(
    buffer: &[u8],
    sideband: Sideband,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let most = match sideband {
        Sideband::None => return Ok(output.write_all(buffer).await?),
        Sideband::Small => SIDEBAND_SMALL_DATA_MAX,
        Sideband::Large => SIDEBAND_DATA_MAX,
    };
    for some in buffer.chunks(most) {
        output.write_all(&sideband_header(PACK_SIDEBAND, some.len())).await?;
        output.write_all(some).await?;
    }
    Ok(())
}

/// Encodes a pack into a buffer.
struct PackWriter {
    format: Format,
    /// Objects that the client has.
    client_has: HashSet,
    /// The offsets of the entries; `None` until an object is written.
    offsets: HashMap<ObjectId, Option<u64>>,
    /// Deferred deltas in memory, by their bases.
    deferred: HashMap<ObjectId, Vec<Object>>,
    /// The bytes of their streams.
    deferred_bytes: usize,
    /// Reserved for the deferred deltas.
    deferred_reservation: Reservation,
    /// Deltas that are read again after their bases were written.
    postponed: Vec<ObjectId>,
    hasher: Hasher,
    /// Encoded bytes that were not sent yet.
    buffer: Vec<u8>,
    /// Reserved for the buffer.
    reservation: Reservation,
    /// How many bytes were sent before the buffer.
    flushed_bytes: u64,
}

impl PackWriter {
    /// Writes the header of a pack of `objects`.
    fn new(
        objects: &[ObjectId],
        client_has: HashSet,
        format: Format,
        memory: &Arc<dyn MemoryPool>,
    ) -> Result<Self, UploadError> {
        let (reservation, deferred_reservation) = (Reservation::new(memory), Reservation::new(memory));
        let count =
            u32::try_from(objects.len()).map_err(|_| UploadError::Rejected("too many objects".to_owned()))?;
        Ok(Self {
            format,
            client_has,
            offsets: objects.iter().map(|id| (*id, None)).collect(),
            deferred: HashMap::default(),
            deferred_bytes: 0,
            deferred_reservation,
            postponed: Vec::new(),
            hasher: gix_hash::hasher(gix_hash::Kind::Sha1),
            buffer: [&b"PACK\0\0\0\x02"[..], &count.to_be_bytes()].concat(),
            reservation,
            flushed_bytes: 0,
        })
    }

    /// Writes stored objects, and returns those that the client could not resolve. Blocking.
    fn write_all_objects(mut self, objects: &[Object]) -> Result<(Self, Vec<ObjectId>), UploadError> {
        let bytes: usize = objects.iter().map(|object| object.zlib.len() + ENTRY_HEADER_MAX).sum();
        self.reserve_buffer(bytes)?;
        let mut recompress = Vec::new();
        for object in objects {
            if !self.write_object(object)? {
                recompress.push(object.id);
            }
        }
        Ok((self, recompress))
    }

    /// Makes space for `bytes` more in the buffer.
    fn reserve_buffer(&mut self, bytes: usize) -> Result<(), UploadError> {
        let length = self.buffer.len() + bytes;
        if length > self.buffer.capacity() {
            // Doubling the capacity avoids frequent copies; while the buffer grows, both exist.
            let (client_has, capacity) = (self.buffer.capacity(), length.max(self.buffer.len() * 2));
            self.reservation.try_resize((client_has + capacity) as u64)?;
            self.buffer.reserve_exact(capacity - self.buffer.len());
            self.reservation.try_resize(self.buffer.capacity() as u64)?;
        }
        Ok(())
    }

    /// Takes the encoded bytes.
    fn take_buffer(&mut self) -> Vec<u8> {
        self.hasher.update(&self.buffer);
        self.flushed_bytes += self.buffer.len() as u64;
        std::mem::take(&mut self.buffer)
    }

    /// Sends the encoded bytes.
    async fn flush_buffer(
        &mut self,
        sideband: Sideband,
        output: &mut (impl AsyncWrite + Send + Unpin),
    ) -> Result<(), UploadError> {
        write(&self.take_buffer(), sideband, output).await?;
        self.reservation.try_resize(0)?;
        Ok(())
    }

    /// The end of the pack with its checksum.
    fn finish(mut self) -> Result<Vec<u8>, UploadError> {
        if let Some(object) = self.deferred.values().flatten().next() {
            return Err(CorruptObjectError(object.id).into());
        }
        let mut last = self.take_buffer();
        let attack = |_| UploadError::Rejected("SHA-1 collision attack detected in the pack".to_owned());
        last.extend_from_slice(self.hasher.try_finalize().map_err(attack)?.as_slice());
        Ok(last)
    }

    /// Writes a stored object, or defers it until its base is written; `false` if the client could not resolve it. Each
    /// object is written once, however often it is read.
    fn write_object(&mut self, object: &Object) -> Result<bool, UploadError> {
        if self.is_done(object.id) {
            return Ok(true);
        }
        let Some(base) = object.base else {
            self.write_entry(object.id, entry_type(object.kind), object.size, &[], &object.zlib)?;
            self.write_deferred(object.id)?;
            return Ok(true);
        };
        match self.offsets.get(&base) {
            Some(Some(base_offset)) => {
                let base_offset = *base_offset;
                self.write_delta(object, base, Some(base_offset))?;
                self.write_deferred(object.id)?;
            }
            Some(None) => self.defer(base, object)?,
            None if self.format.thin && self.client_has.contains(&base) => {
                self.write_delta(object, base, None)?;
                self.write_deferred(object.id)?;
            }
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Whether an object is written already, or not part of the pack.
    fn is_done(&self, id: ObjectId) -> bool {
        !matches!(self.offsets.get(&id), Some(None))
    }

    /// Defers a delta until its base is written, in memory or by reading it again.
    fn defer(&mut self, base: ObjectId, object: &Object) -> Result<(), UploadError> {
        let bytes = object.zlib.len() + ENTRY_HEADER_MAX;
        if self.deferred_bytes + bytes <= DEFERRED_BYTES_MAX {
            self.deferred_bytes += bytes;
            if self.resize_deferred_reservation().is_ok() {
                self.deferred.entry(base).or_default().push(object.clone());
                return Ok(());
            }
            self.deferred_bytes -= bytes;
        }
        self.postponed.push(object.id);
        self.resize_deferred_reservation()
    }

    /// Adjusts the reservation for the deferred deltas and the ids to read again.
    fn resize_deferred_reservation(&mut self) -> Result<(), UploadError> {
        let names = self.postponed.len() * size_of::<ObjectId>();
        Ok(self.deferred_reservation.try_resize((self.deferred_bytes + names) as u64)?)
    }

    /// Writes the deltas that were deferred for `id`, and those deferred for them.
    fn write_deferred(&mut self, id: ObjectId) -> Result<(), UploadError> {
        let before = self.deferred_bytes;
        let mut written = vec![id];
        while let Some(base) = written.pop() {
            for object in self.deferred.remove(&base).unwrap_or_default() {
                self.deferred_bytes -= object.zlib.len() + ENTRY_HEADER_MAX;
                if !self.is_done(object.id) {
                    let base_offset = self.offsets.get(&base).copied().flatten();
                    self.write_delta(&object, base, base_offset)?;
                    written.push(object.id);
                }
            }
        }
        if self.deferred_bytes == before { Ok(()) } else { self.resize_deferred_reservation() }
    }

    /// Writes a delta; `base_offset` is set if its base is in the pack.
    fn write_delta(
        &mut self,
        object: &Object,
        base: ObjectId,
        base_offset: Option<u64>,
    ) -> Result<(), UploadError> {
        match base_offset.filter(|_| self.format.ofs_delta) {
            Some(base_offset) => {
                let here = self.flushed_bytes + self.buffer.len() as u64;
                self.write_entry(
                    object.id,
                    OFS_DELTA,
                    object.size,
                    &encode_ofs_delta(here - base_offset),
                    &object.zlib,
                )
            }
            None => self.write_entry(object.id, REF_DELTA, object.size, base.as_slice(), &object.zlib),
        }
    }

    fn write_entry(
        &mut self,
        id: ObjectId,
        kind: u8,
        size: u64,
        base: &[u8],
        zlib: &[u8],
    ) -> Result<(), UploadError> {
        self.reserve_buffer(zlib.len() + ENTRY_HEADER_MAX)?;
        self.offsets.insert(id, Some(self.flushed_bytes + self.buffer.len() as u64));
        write_entry_header(&mut self.buffer, kind, size);
        self.buffer.extend_from_slice(base);
        self.buffer.extend_from_slice(zlib);
        Ok(())
    }
}

fn entry_type(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    }
}

/// Type and size: three bits and four bits, then seven more per byte.
fn write_entry_header(out: &mut Vec<u8>, kind: u8, size: u64) {
    let mut rest = size >> 4;
    let low = u8::try_from(size & 0x0f).unwrap_or_default();
    out.push(kind << 4 | low | if rest > 0 { 0x80 } else { 0 });
    while rest > 0 {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        out.push(low | if rest > 0 { 0x80 } else { 0 });
    }
}

/// The offset of an ofs-delta: seven bits per byte, most significant first, with one added for each further byte.
fn encode_ofs_delta(back: u64) -> Vec<u8> {
    let low = |bits: u64| u8::try_from(bits & 0x7f).unwrap_or_default();
    let mut bytes = vec![low(back)];
    let mut rest = back >> 7;
    while rest > 0 {
        rest -= 1;
        bytes.push(low(rest) | 0x80);
        rest >>= 7;
    }
    bytes.reverse();
    bytes
}
