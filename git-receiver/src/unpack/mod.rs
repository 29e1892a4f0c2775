//! Unpacks a pack (gitformat-pack), bounded in everything, in three steps: [`mod@scan`] inflates the entries as they come and
//! checks what came whole, [`mod@resolve`] applies the deltas, [`Resolved::settle`] decides what is to be stored. Between them the
//! caller asks the repository: for the bases that the pack leaves out (a thin pack), and for what it has already.
//!
//! The pack stays where it is, in memory or in a file. What is held beside it is a bounded part of the inflated deltas
//! ([`entries`]), the contents that are being built, and some hundred bytes an object. Blocking: it inflates and hashes, on as
//! many threads as there are cores.

mod entries;
mod found;
mod paths;
mod resolve;
mod resolved;
mod scan;

use gix_hash::ObjectId;
use gix_object::Kind;

use crate::connectivity::ConnectivityError;
use crate::delta::CorruptDeltaError;
use crate::receive::RequestError;
use crate::{CorruptObjectError, LimitKind, OutOfMemoryError, RepositoryError};

pub use found::FsckWarnings;
pub(crate) use paths::find_larger;
pub(crate) use resolve::resolve;
pub(crate) use resolved::{Bases, Resolved, compress};
pub(crate) use scan::{Scanned, scan};

/// Why a pack was not unpacked: it is refused, in git's kind of words, or the repository cannot be read
/// ([`UnpackError::is_rejection`]). Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The request is beyond its limit.
    #[error("the push is larger than {} MiB", limit / 1024 / 1024)]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The pack ends early, or was never sent.
    #[error("early end of the pack")]
    Truncated,
    /// The pack does not begin as one.
    #[error("bad pack header")]
    Header,
    /// More objects than one push may hold.
    #[error("the pack has {found} objects, more than {limit}")]
    TooManyObjects {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// An object beyond its limit.
    #[error("{} takes {size} bytes, more than {limit}", path.as_deref().unwrap_or("an object"))]
    ObjectTooLarge {
        /// Where it stands in the tree, as far as that could be found out.
        path: Option<String>,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// All objects together are beyond their limit.
    #[error("the objects take more than {} MiB together", limit / 1024 / 1024)]
    InflatedTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// An entry of no known type.
    #[error("an entry of the pack has unknown type {0}")]
    EntryType(u8),
    /// A zlib stream that is none, or not of the size its entry says.
    #[error("an entry of the pack cannot be inflated")]
    Inflate,
    /// The pack's checksum is not that of its bytes.
    #[error("pack checksum mismatch")]
    Checksum,
    /// Something stands behind the pack.
    #[error("garbage behind the pack")]
    Trailing,
    /// A delta is damaged.
    #[error("{0}")]
    Delta(String),
    /// Deltas whose base is neither in the pack nor in the repository.
    #[error("pack has {0} unresolved deltas")]
    Unresolved(usize),
    /// A chain of deltas beyond its limit.
    #[error("a chain of more than {0} deltas")]
    DeltaDepth(usize),
    /// An object that `git fsck --strict` would not accept.
    #[error("object {id}: {why}")]
    BadObject {
        /// The object.
        id: ObjectId,
        /// What is wrong, in fsck's terms.
        why: String,
    },
    /// Bytes made to share their name with others.
    #[error("an object looks like a SHA-1 collision attack")]
    Collision,
    /// An object names what is not there.
    #[error(transparent)]
    ConnectivityError(#[from] ConnectivityError),
    /// What stands before the pack is beyond a limit.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The client uses another object format.
    #[error("only object format sha1 is understood")]
    ObjectFormat,
    /// The server cannot keep the pack or read it back.
    #[error("the server cannot read what it has received: {0}")]
    Spool(String),
    /// The unpacking itself died.
    #[error("unpacking failed inside the server")]
    Panicked,
    /// The repository cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A stored object, on which the pack builds, is damaged.
    #[error(transparent)]
    Corrupt(#[from] CorruptObjectError),
}

impl UnpackError {
    /// Whether the push itself is refused; otherwise the repository is at fault, and its error is for the operator.
    pub fn is_rejection(&self) -> bool {
        !matches!(self, Self::Repository(_) | Self::Corrupt(_))
    }
}

impl UnpackError {
    /// The limit that the push is beyond, where it is refused for one that can be set.
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
