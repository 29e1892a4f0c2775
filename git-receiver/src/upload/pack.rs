//! Sends a pack (gitformat-pack): every object as the zlib stream that is stored, nothing compressed again.

use gix_hash::ObjectId;
use gix_object::Kind;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::UploadError;
use crate::pkt_line::write_band;
use crate::report::fatal;
use crate::{Object, Repository};

/// How many objects are read at once.
const OBJECTS_AT_ONCE: usize = 256;

/// The band of the sideband that carries the pack.
const PACK_BAND: u8 = 1;

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

/// Sends the objects as a pack.
pub(super) async fn send<R: Repository>(
    repository: &R,
    objects: &[ObjectId],
    band: Band,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let sent = send_all(repository, objects, band, output).await;
    if let (Err(UploadError::Repository(_) | UploadError::Damaged(_)), true) = (&sent, band != Band::None) {
        output.write_all(&fatal("the server cannot read its repository")).await?;
    }
    sent
}

async fn send_all<R: Repository>(
    repository: &R,
    objects: &[ObjectId],
    band: Band,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    let count =
        u32::try_from(objects.len()).map_err(|_| UploadError::Refused("too many objects".to_owned()))?;
    let mut piece = [&b"PACK\0\0\0\x02"[..], &count.to_be_bytes()].concat();
    for some in objects.chunks(OBJECTS_AT_ONCE) {
        let found = repository.objects(some).await?;
        if found.len() != some.len() {
            let missing = some.iter().find(|id| !found.iter().any(|object| object.id == **id));
            return Err(crate::DamagedObject(*missing.unwrap_or(&some[0])).into());
        }
        for object in found {
            head(&mut piece, &object);
            piece.extend_from_slice(&object.zlib);
        }
        hasher.update(&piece);
        output.write_all(&framed(&piece, band)).await?;
        piece.clear();
    }
    hasher.update(&piece);
    let sum = hasher
        .try_finalize()
        .map_err(|_| UploadError::Refused("the pack looks like an attack".to_owned()))?;
    piece.extend_from_slice(sum.as_slice());
    Ok(output.write_all(&framed(&piece, band)).await?)
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

/// Type and size: three bits and four, then seven more a byte.
fn head(out: &mut Vec<u8>, object: &Object) {
    let kind = match object.kind {
        Kind::Commit => 1u8,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut rest = object.size >> 4;
    let low = u8::try_from(object.size & 0x0f).unwrap_or_default();
    out.push(kind << 4 | low | if rest > 0 { 0x80 } else { 0 });
    while rest > 0 {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        out.push(low | if rest > 0 { 0x80 } else { 0 });
    }
}
