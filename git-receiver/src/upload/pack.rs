//! Sends a pack (gitformat-pack): every object with the stream that is stored, deltas as deltas where the client can build
//! them. Only what lies on something that the client does not get is compressed anew.

use std::io;

use gix_hash::{Hasher, ObjectId};
use gix_hashtable::{HashMap, HashSet};
use gix_object::Kind;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::UploadError;
use super::unread::Unread;
use super::walk::Selection;
use crate::pkt_line::write_band;
use crate::report::fatal;
use crate::unpack::compress;
use crate::{Object, Repository, content};

/// How many of the objects that were read before are sent with those that are read.
const OBJECTS_AT_ONCE: usize = 4096;

/// The band of the sideband that carries the pack.
const PACK_BAND: u8 = 1;

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
    if let (Err(UploadError::Repository(_) | UploadError::Damaged(_)), true) = (&sent, band != Band::None) {
        output.write_all(&fatal("the server cannot read its repository")).await?;
    }
    sent
}

/// While some objects are made a part of the pack and sent, the next ones are read.
async fn send_all<R: Repository>(
    repository: &R,
    selection: Selection,
    format: Format,
    band: Band,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let Selection { objects, had, read, .. } = selection;
    let mut writer = Writer::new(&objects, had, format)?;
    let mut unread = Unread::new(repository, objects, &read);
    let mut found = unread.next().await?;
    // What was read before is sent in between, so that reading keeps up.
    let mut read = read.into_iter();
    while !found.is_empty() || read.len() > 0 {
        found.extend(read.by_ref().take(OBJECTS_AT_ONCE));
        let send = send_some(repository, writer, found, band, output);
        (writer, found) = tokio::try_join!(send, unread.next())?;
    }
    let last = writer.finish()?;
    Ok(output.write_all(&framed(&last, band)).await?)
}

async fn send_some<R: Repository>(
    repository: &R,
    writer: Writer,
    objects: Vec<Object>,
    band: Band,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<Writer, UploadError> {
    let writing = tokio::task::spawn_blocking(move || writer.add_all(&objects));
    let (mut writer, alone) = writing.await.map_err(io::Error::other)?;
    for (id, (kind, content)) in content::read::<_, UploadError>(repository, &alone).await? {
        writer.entry(id, type_of(kind), content.len() as u64, &[], &compress(&content));
    }
    let piece = writer.take_piece();
    output.write_all(&framed(&piece, band)).await?;
    Ok(writer)
}

/// Writes a pack, piece by piece.
struct Writer {
    format: Format,
    /// What the client has.
    had: HashSet,
    /// Where the entries of the objects begin, once they were written.
    places: HashMap<ObjectId, Option<u64>>,
    hasher: Hasher,
    /// What was not taken yet …
    piece: Vec<u8>,
    /// … and how many bytes were before it.
    taken: u64,
}

impl Writer {
    /// Writes the header of a pack of these objects.
    fn new(objects: &[ObjectId], had: HashSet, format: Format) -> Result<Self, UploadError> {
        let count =
            u32::try_from(objects.len()).map_err(|_| UploadError::Refused("too many objects".to_owned()))?;
        Ok(Self {
            format,
            had,
            places: objects.iter().map(|id| (*id, None)).collect(),
            hasher: gix_hash::hasher(gix_hash::Kind::Sha1),
            piece: [&b"PACK\0\0\0\x02"[..], &count.to_be_bytes()].concat(),
            taken: 0,
        })
    }

    /// Adds objects as they are stored, and names those of which the client could make nothing. Blocking.
    fn add_all(mut self, objects: &[Object]) -> (Self, Vec<ObjectId>) {
        let alone = objects.iter().filter(|object| !self.add(object)).map(|object| object.id).collect();
        (self, alone)
    }

    /// What was written since it was last called.
    fn take_piece(&mut self) -> Vec<u8> {
        self.hasher.update(&self.piece);
        self.taken += self.piece.len() as u64;
        std::mem::take(&mut self.piece)
    }

    /// The end of the pack, its checksum included.
    fn finish(mut self) -> Result<Vec<u8>, UploadError> {
        let mut last = self.take_piece();
        let attack = |_| UploadError::Refused("the pack looks like an attack".to_owned());
        last.extend_from_slice(self.hasher.try_finalize().map_err(attack)?.as_slice());
        Ok(last)
    }

    /// Adds an object as it is stored; `false` where the client could make nothing of it. Each is added once, however often
    /// it was read.
    fn add(&mut self, object: &Object) -> bool {
        if !matches!(self.places.get(&object.id), Some(None)) {
            return true;
        }
        let Some(base) = object.base else {
            self.entry(object.id, type_of(object.kind), object.size, &[], &object.zlib);
            return true;
        };
        match self.places.get(&base) {
            Some(Some(place)) if self.format.ofs_delta => {
                let here = self.taken + self.piece.len() as u64;
                self.entry(object.id, OFS_DELTA, object.size, &distance(here - place), &object.zlib);
            }
            Some(_) => self.entry(object.id, REF_DELTA, object.size, base.as_slice(), &object.zlib),
            None if self.format.thin && self.had.contains(&base) => {
                self.entry(object.id, REF_DELTA, object.size, base.as_slice(), &object.zlib);
            }
            None => return false,
        }
        true
    }

    fn entry(&mut self, id: ObjectId, kind: u8, size: u64, base: &[u8], zlib: &[u8]) {
        self.places.insert(id, Some(self.taken + self.piece.len() as u64));
        head(&mut self.piece, kind, size);
        self.piece.extend_from_slice(base);
        self.piece.extend_from_slice(zlib);
    }
}

fn framed(piece: &[u8], band: Band) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len() + piece.len() / 100 + 8);
    match band {
        Band::None => out.extend_from_slice(piece),
        Band::Small => piece.chunks(990).for_each(|some| write_band(&mut out, PACK_BAND, some)),
        Band::Large => write_band(&mut out, PACK_BAND, piece),
    }
    out
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
