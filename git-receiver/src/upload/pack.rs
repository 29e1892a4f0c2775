//! Sends a pack (gitformat-pack): every object with the stream that is stored, deltas as deltas where the client can build
//! them. Only what lies on something that the client does not get is compressed again.
//!
//! A delta comes after its base, since go-git and isomorphic-git build objects as they read them. One that is read before its base
//! waits for it: in memory as long as there are few, and else it is read again in the end.

use std::io;
use std::sync::Arc;

use gix_hash::{Hasher, ObjectId};
use gix_hashtable::{HashMap, HashSet};
use gix_object::Kind;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::UploadError;
use super::unread::Unread;
use super::walk::Selection;
use crate::memory::{MemoryPool, Reservation};
use crate::pkt_line::{BAND_MAX, band_head};
use crate::report::fatal;
use crate::unpack::compress;
use crate::{CorruptObjectError, Object, Repository, RepositoryError, content};

/// How many of the objects that were read before are sent with those that are read.
const OBJECTS_AT_ONCE: usize = 4096;

/// How many bytes of what was compressed again are gathered before they are sent, and how many objects are read for it at once.
const ALONE_BYTES: usize = 1024 * 1024;
const ALONE_AT_ONCE: usize = 16;

/// How many bytes of deltas wait for their bases in memory.
const WAITING_BYTES: usize = 4 * 1024 * 1024;

/// The band of the sideband that carries the pack.
const PACK_BAND: u8 = 1;

/// The most bytes of a frame of `side-band`, which takes 1000 with its head.
const BAND_SMALL_MAX: usize = 990;

/// The most bytes of an entry before its stream: type and size, and the name of a base.
const ENTRY_HEAD_MAX: usize = 10 + 20;

/// The types of entries that are deltas: on an entry of the pack by its distance, and on an object by its name.
const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

/// How the pack is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Band {
    /// Not at all.
    None,
    /// `side-band`: frames of at most 1000 bytes.
    Small,
    /// `side-band-64k`.
    Large,
}

/// What the client can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    /// Deltas on objects that it has and the pack has not (`thin-pack`).
    pub(super) thin: bool,
    /// Deltas that know their base by its distance (`ofs-delta`).
    pub(super) ofs_delta: bool,
}

impl Format {
    /// Takes a word of the client's; `false` where it says nothing of the format.
    pub(super) fn take(&mut self, word: &str) -> bool {
        match word {
            "thin-pack" => self.thin = true,
            "ofs-delta" => self.ofs_delta = true,
            _ => return false,
        }
        true
    }
}

/// Sends what was selected as a pack.
pub(super) async fn send<R: Repository>(
    repository: &R,
    selection: Selection,
    format: Format,
    band: Band,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let sent = send_all(repository, selection, format, band, output).await;
    let why = match &sent {
        Err(UploadError::Repository(RepositoryError::OutOfMemory(why))) => why.to_string(),
        Err(UploadError::Repository(_) | UploadError::Corrupt(_)) => {
            "the server cannot read its repository".to_owned()
        }
        _ => return sent,
    };
    if band != Band::None {
        output.write_all(&fatal(&why)).await?;
    }
    sent
}

/// While a part of the pack is sent, the next objects are read; not while it is made of others, so that no more than two portions
/// are there at once.
async fn send_all<R: Repository>(
    repository: &R,
    selection: Selection,
    format: Format,
    band: Band,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let Selection { objects, had, read, held: _held, .. } = selection;
    let mut writer = Writer::new(&objects, had, format, &repository.memory())?;
    let mut unread = Unread::new(repository, objects, &read);
    let mut found = unread.next().await?;
    // What was read before is sent in between, so that reading keeps up.
    let mut read = read.into_iter();
    while !found.is_empty() || read.len() > 0 {
        found.extend(read.by_ref().take(OBJECTS_AT_ONCE));
        writer = make_some(repository, writer, found, band, output).await?;
        ((), found) = tokio::try_join!(writer.send_piece(band, output), unread.next())?;
    }
    // What the walk came to last is mostly what others lie on.
    let mut postponed = std::mem::take(&mut writer.postponed);
    while !postponed.is_empty() {
        let before = postponed.len();
        postponed.reverse();
        for some in postponed.chunks(OBJECTS_AT_ONCE) {
            let mut unread = Unread::new(repository, some.to_vec(), &[]);
            loop {
                let found = unread.next().await?;
                if found.is_empty() {
                    break;
                }
                writer = make_some(repository, writer, found, band, output).await?;
                writer.send_piece(band, output).await?;
            }
        }
        postponed = std::mem::take(&mut writer.postponed);
        if postponed.len() == before {
            // A ring of deltas, which no intact repository has.
            return Err(CorruptObjectError(postponed[0]).into());
        }
    }
    write(&writer.finish()?, band, output).await
}

/// Makes objects a part of the pack, and sends what is too much to be kept.
async fn make_some<R: Repository>(
    repository: &R,
    writer: Writer,
    objects: Vec<Object>,
    band: Band,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<Writer, UploadError> {
    let writing = tokio::task::spawn_blocking(move || writer.add_all(&objects));
    let (mut writer, alone) = writing.await.map_err(io::Error::other)??;
    for some in alone.chunks(ALONE_AT_ONCE) {
        content::each(repository, some, |id, kind, content| {
            writer.entry(id, type_of(kind), content.len() as u64, &[], &compress(content))?;
            writer.add_waiting(id)
        })
        .await?;
        if writer.piece.len() >= ALONE_BYTES {
            writer.send_piece(band, output).await?;
        }
    }
    Ok(writer)
}

/// Writes a piece of the pack, as it is framed, without another copy of it.
async fn write(
    piece: &[u8],
    band: Band,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let most = match band {
        Band::None => return Ok(output.write_all(piece).await?),
        Band::Small => BAND_SMALL_MAX,
        Band::Large => BAND_MAX,
    };
    for some in piece.chunks(most) {
        output.write_all(&band_head(PACK_BAND, some.len())).await?;
        output.write_all(some).await?;
    }
    Ok(())
}

/// Writes a pack, piece by piece.
struct Writer {
    format: Format,
    /// What the client has.
    had: HashSet,
    /// Where the entries of the objects begin, once they were written.
    places: HashMap<ObjectId, Option<u64>>,
    /// Deltas that wait in memory, by their bases, …
    waiting: HashMap<ObjectId, Vec<Object>>,
    /// … the bytes of their streams, and what is held for them.
    waiting_bytes: usize,
    waiting_held: Reservation,
    /// Deltas that are to be read again once their bases were written.
    postponed: Vec<ObjectId>,
    hasher: Hasher,
    /// What was not sent yet, …
    piece: Vec<u8>,
    /// … what is held for it …
    held: Reservation,
    /// … and how many bytes were before it.
    taken: u64,
}

impl Writer {
    /// Writes the header of a pack of these objects.
    fn new(
        objects: &[ObjectId],
        had: HashSet,
        format: Format,
        memory: &Arc<dyn MemoryPool>,
    ) -> Result<Self, UploadError> {
        let (held, waiting_held) = (Reservation::new(memory), Reservation::new(memory));
        let count =
            u32::try_from(objects.len()).map_err(|_| UploadError::Refused("too many objects".to_owned()))?;
        Ok(Self {
            format,
            had,
            places: objects.iter().map(|id| (*id, None)).collect(),
            waiting: HashMap::default(),
            waiting_bytes: 0,
            waiting_held,
            postponed: Vec::new(),
            hasher: gix_hash::hasher(gix_hash::Kind::Sha1),
            piece: [&b"PACK\0\0\0\x02"[..], &count.to_be_bytes()].concat(),
            held,
            taken: 0,
        })
    }

    /// Adds objects as they are stored, and names those of which the client could make nothing. Blocking.
    fn add_all(mut self, objects: &[Object]) -> Result<(Self, Vec<ObjectId>), UploadError> {
        let bytes: usize = objects.iter().map(|object| object.zlib.len() + ENTRY_HEAD_MAX).sum();
        self.make_room(bytes)?;
        let mut alone = Vec::new();
        for object in objects {
            if !self.add(object)? {
                alone.push(object.id);
            }
        }
        Ok((self, alone))
    }

    /// Makes the piece hold so many bytes more.
    fn make_room(&mut self, bytes: usize) -> Result<(), UploadError> {
        let length = self.piece.len() + bytes;
        if length > self.piece.capacity() {
            // Twice as many, so that a piece that grows is copied seldom, and both pieces while it is.
            let (had, capacity) = (self.piece.capacity(), length.max(self.piece.len() * 2));
            self.held.try_resize((had + capacity) as u64)?;
            self.piece.reserve_exact(capacity - self.piece.len());
            self.held.try_resize(self.piece.capacity() as u64)?;
        }
        Ok(())
    }

    /// What was written since it was last called.
    fn take_piece(&mut self) -> Vec<u8> {
        self.hasher.update(&self.piece);
        self.taken += self.piece.len() as u64;
        std::mem::take(&mut self.piece)
    }

    /// Sends what was written.
    async fn send_piece(
        &mut self,
        band: Band,
        output: &mut (impl AsyncWrite + Send + Unpin),
    ) -> Result<(), UploadError> {
        write(&self.take_piece(), band, output).await?;
        self.held.try_resize(0)?;
        Ok(())
    }

    /// The end of the pack, its checksum included.
    fn finish(mut self) -> Result<Vec<u8>, UploadError> {
        if let Some(object) = self.waiting.values().flatten().next() {
            return Err(CorruptObjectError(object.id).into());
        }
        let mut last = self.take_piece();
        let attack = |_| UploadError::Refused("the pack looks like an attack".to_owned());
        last.extend_from_slice(self.hasher.try_finalize().map_err(attack)?.as_slice());
        Ok(last)
    }

    /// Adds an object as it is stored, or has it wait for its base; `false` where the client could make nothing of it. Each is
    /// added once, however often it was read.
    fn add(&mut self, object: &Object) -> Result<bool, UploadError> {
        if self.is_done(object.id) {
            return Ok(true);
        }
        let Some(base) = object.base else {
            self.entry(object.id, type_of(object.kind), object.size, &[], &object.zlib)?;
            self.add_waiting(object.id)?;
            return Ok(true);
        };
        match self.places.get(&base) {
            Some(Some(place)) => {
                let place = *place;
                self.delta(object, base, Some(place))?;
                self.add_waiting(object.id)?;
            }
            Some(None) => self.wait_for(base, object)?,
            None if self.format.thin && self.had.contains(&base) => {
                self.delta(object, base, None)?;
                self.add_waiting(object.id)?;
            }
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Whether an object was written, or is not to be.
    fn is_done(&self, id: ObjectId) -> bool {
        !matches!(self.places.get(&id), Some(None))
    }

    /// Keeps a delta until its base is written, or notes that it is to be read again.
    fn wait_for(&mut self, base: ObjectId, object: &Object) -> Result<(), UploadError> {
        let bytes = object.zlib.len() + ENTRY_HEAD_MAX;
        if self.waiting_bytes + bytes <= WAITING_BYTES {
            self.waiting_bytes += bytes;
            if self.hold_waiting().is_ok() {
                self.waiting.entry(base).or_default().push(object.clone());
                return Ok(());
            }
            self.waiting_bytes -= bytes;
        }
        self.postponed.push(object.id);
        self.hold_waiting()
    }

    /// Holds memory for what waits, and for the names of what is to be read again.
    fn hold_waiting(&mut self) -> Result<(), UploadError> {
        let names = self.postponed.len() * size_of::<ObjectId>();
        Ok(self.waiting_held.try_resize((self.waiting_bytes + names) as u64)?)
    }

    /// Adds the deltas that waited for an object, and those that waited for them.
    fn add_waiting(&mut self, id: ObjectId) -> Result<(), UploadError> {
        let before = self.waiting_bytes;
        let mut written = vec![id];
        while let Some(base) = written.pop() {
            for object in self.waiting.remove(&base).unwrap_or_default() {
                self.waiting_bytes -= object.zlib.len() + ENTRY_HEAD_MAX;
                if !self.is_done(object.id) {
                    let place = self.places.get(&base).copied().flatten();
                    self.delta(&object, base, place)?;
                    written.push(object.id);
                }
            }
        }
        if self.waiting_bytes == before { Ok(()) } else { self.hold_waiting() }
    }

    /// Writes a delta; `place`: where its base begins, if that is in the pack.
    fn delta(&mut self, object: &Object, base: ObjectId, place: Option<u64>) -> Result<(), UploadError> {
        match place.filter(|_| self.format.ofs_delta) {
            Some(place) => {
                let here = self.taken + self.piece.len() as u64;
                self.entry(object.id, OFS_DELTA, object.size, &distance(here - place), &object.zlib)
            }
            None => self.entry(object.id, REF_DELTA, object.size, base.as_slice(), &object.zlib),
        }
    }

    fn entry(
        &mut self,
        id: ObjectId,
        kind: u8,
        size: u64,
        base: &[u8],
        zlib: &[u8],
    ) -> Result<(), UploadError> {
        self.make_room(zlib.len() + ENTRY_HEAD_MAX)?;
        self.places.insert(id, Some(self.taken + self.piece.len() as u64));
        head(&mut self.piece, kind, size);
        self.piece.extend_from_slice(base);
        self.piece.extend_from_slice(zlib);
        Ok(())
    }
}

fn type_of(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    }
}

/// Type and size: three bits and four, then seven more a byte.
fn head(out: &mut Vec<u8>, kind: u8, size: u64) {
    let mut rest = size >> 4;
    let low = u8::try_from(size & 0x0f).unwrap_or_default();
    out.push(kind << 4 | low | if rest > 0 { 0x80 } else { 0 });
    while rest > 0 {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        out.push(low | if rest > 0 { 0x80 } else { 0 });
    }
}

/// How far back a base begins: seven bits a byte, the highest first, each but the last counting from one.
fn distance(back: u64) -> Vec<u8> {
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
