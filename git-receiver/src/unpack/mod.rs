//! Unpacks a pack (gitformat-pack) within limits, in three steps: [`mod@scan`] inflates the entries and checks the
//! undeltified objects, [`mod@resolve`] applies the deltas, and [`Resolved::select_for_storage`] selects the objects to
//! store. Between the steps the caller reads from the repository: the delta bases of a thin pack, and which objects exist
//! already.
//!
//! The pack stays in memory or in its file. Besides it, memory holds a bounded cache of inflated deltas ([`entries`]), the
//! contents that are being reconstructed, and some hundred bytes per object. All functions block: they inflate and hash, on
//! as many threads as there are cores.

mod entries;
mod oversized;
mod pack_index;
mod resolve;
mod resolved;
mod scan;

use gix_hash::ObjectId;
use gix_object::Kind;

use crate::connectivity::ConnectivityError;
use crate::delta::CorruptDeltaError;
use crate::receive::RequestError;
use crate::{CorruptObjectError, LimitKind, OutOfMemoryError, RepositoryError};

pub(crate) use oversized::find_oversized;
pub use pack_index::FsckWarnings;
pub(crate) use resolve::resolve;
pub(crate) use resolved::{Bases, Resolved, compress};
pub(crate) use scan::{Scanned, scan};

/// Why a pack was not unpacked: either it is rejected, in git's wording, or the repository cannot be read
/// ([`UnpackError::is_rejection`]). Nothing is stored.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The pack exceeds the limit on request bytes.
    #[error("the push is larger than {} MiB", limit / 1024 / 1024)]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The pack ends early, or is missing.
    #[error("early end of the pack")]
    Truncated,
    /// The pack header or an entry header is malformed.
    #[error("bad pack header")]
    Header,
    /// The pack exceeds the limit on objects.
    #[error("the pack has {found} objects, more than {limit}")]
    TooManyObjects {
        /// The number of objects.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// An object exceeds the limit on object bytes.
    #[error("{} takes {size} bytes, more than {limit}", path.as_deref().unwrap_or("an object"))]
    ObjectTooLarge {
        /// The path of the object, if it is known.
        path: Option<String>,
        /// The size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// All objects together exceed the limit on inflated bytes.
    #[error("the objects take more than {} MiB together", limit / 1024 / 1024)]
    InflatedTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// An entry has an unknown type.
    #[error("unknown object type {0} in the pack")]
    EntryType(u8),
    /// A zlib stream is malformed, or has another size than declared.
    #[error("cannot inflate an entry of the pack")]
    Inflate,
    /// The trailing checksum does not match.
    #[error("pack checksum mismatch")]
    Checksum,
    /// There are bytes after the pack.
    #[error("pack has junk at the end")]
    Trailing,
    /// A delta is malformed or does not match its base.
    #[error("{0}")]
    Delta(String),
    /// Deltas whose base is neither in the pack nor in the repository.
    #[error("pack has {0} unresolved deltas")]
    Unresolved(usize),
    /// A delta chain exceeds the limit.
    #[error("a delta chain is longer than {0}")]
    DeltaDepth(usize),
    /// `git fsck --strict` rejects an object.
    #[error("object {id}: {message}")]
    Fsck {
        /// The object.
        id: ObjectId,
        /// The fsck message.
        message: String,
    },
    /// SHA-1 collision detection found an attack.
    #[error("an object looks like a SHA-1 collision attack")]
    Collision,
    /// The connectivity check failed.
    #[error(transparent)]
    Connectivity(#[from] ConnectivityError),
    /// The lines before the pack exceed a limit.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The client uses another object format.
    #[error("only object format sha1 is supported")]
    ObjectFormat,
    /// The server cannot spool the pack or read it back.
    #[error("the server cannot store or read the pack: {0}")]
    Spool(String),
    /// An unpack thread panicked.
    #[error("internal error while unpacking")]
    Panicked,
    /// The repository cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A delta base in the repository is corrupt.
    #[error(transparent)]
    Corrupt(#[from] CorruptObjectError),
}

impl UnpackError {
    /// Whether the push is at fault. Otherwise the repository is, and the error is for the operator.
    pub fn is_rejection(&self) -> bool {
        !matches!(self, Self::Repository(_) | Self::Corrupt(_))
    }
}

impl UnpackError {
    /// The configurable limit that the push exceeds, if that is the reason.
    pub fn limit(&self) -> Option<LimitKind> {
        Some(match self {
            Self::TooLarge { .. } => LimitKind::RequestBytes,
            Self::TooManyObjects { .. } => LimitKind::Objects,
            Self::ObjectTooLarge { .. } => LimitKind::ObjectBytes,
            Self::InflatedTooLarge { .. } => LimitKind::InflatedBytes,
            Self::Request(fault) => return fault.limit(),
            _ => return None,
        })
    }
}

impl From<OutOfMemoryError> for UnpackError {
    fn from(error: OutOfMemoryError) -> Self {
        Self::Repository(error.into())
    }
}

impl From<CorruptDeltaError> for UnpackError {
    fn from(error: CorruptDeltaError) -> Self {
        Self::Delta(error.to_string())
    }
}

impl From<std::io::Error> for UnpackError {
    fn from(error: std::io::Error) -> Self {
        Self::Spool(error.to_string())
    }
}

fn name(kind: Kind, content: &[u8]) -> Result<ObjectId, UnpackError> {
    gix_object::compute_hash(gix_hash::Kind::Sha1, kind, content).map_err(|_| UnpackError::Collision)
}

#[cfg(test)]
mod tests;
