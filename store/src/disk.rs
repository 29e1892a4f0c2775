//! Disk usage of apps in bytes, which quotas limit and `apps.disk_bytes` sums up.
//!
//! A row counts its streams and texts plus [`ROW_BYTES`]. The migration that added the column has the same rule in
//! SQL.

use crate::model::{NewRevision, Object};

/// Overhead of a row: fixed columns, headers, index entries, and free space of pages. Measured for objects: 90 to 170
/// bytes in SQLite, 600 if a stream takes a third of a page.
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

pub(crate) fn deploy(branch: &str, by: &str, cause: Option<&str>, message: Option<&str>) -> u64 {
    row([branch, by, cause.unwrap_or_default(), message.unwrap_or_default()])
}

/// A branch or a tag.
pub(crate) fn reference(name: &str) -> u64 {
    row([name])
}

/// A shallow commit.
pub(crate) fn shallow() -> u64 {
    row([])
}
