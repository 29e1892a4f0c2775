//! How many bytes of the disk the rows of an app take: what its quota is about, and what `apps.disk_bytes` adds up.
//!
//! A row counts its streams and texts, and [`ROW_BYTES`] for everything else of it. The migration that has added the column says the
//! same in SQL.

use crate::record::{NewRevision, Object};

/// What a row takes beside its streams and texts: columns of a fixed length, headers, and its part of indexes and of pages that
/// are not full. Measured of objects: 90 to 170 bytes in SQLite, 600 where a stream takes a third of a page.
pub const ROW_BYTES: u64 = 200;

fn row<const N: usize>(texts: [&str; N]) -> u64 {
    ROW_BYTES + texts.iter().map(|text| text.len() as u64).sum::<u64>()
}

/// An object.
pub(crate) fn object(object: &Object) -> u64 {
    ROW_BYTES + object.zlib.len() as u64
}

pub(crate) fn revision(revision: &NewRevision) -> u64 {
    row([&revision.sdk, &revision.subject, &revision.author])
}

pub(crate) fn deploy(branch: &str, by: &str, because: Option<&str>, message: Option<&str>) -> u64 {
    row([branch, by, because.unwrap_or_default(), message.unwrap_or_default()])
}

/// A branch or a tag.
pub(crate) fn reference(name: &str) -> u64 {
    row([name])
}

/// A commit whose parents were never sent.
pub(crate) fn shallow() -> u64 {
    row([])
}
