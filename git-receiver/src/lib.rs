//! git's server side over gix plumbing: receive-pack and upload-pack, knowing git and nothing else.
//!
//! It works on bytes and async readers, and reads a repository through its own read-only trait, [`Repository`]. It never
//! writes one: a push is returned as a value, [`Push`], and whoever called decides and stores.
//!
//! Layout, in the order in which a push travels:
//!
//! - [`pkt_line`]: git's frames
//! - [`capability`]: what a client can and wants
//! - [`command`]: which refs it wants to move, and which names are allowed
//! - [`mod@receive`]: the journey of a push, from a request body or a connection to a [`Push`]
//! - [`pack_end`]: where the pack ends on a connection that stays open
//! - [`pack`]: the bytes of a pack as they were received, and the objects that were found in them
//! - [`mod@unpack`] with [`delta`]: the pack, entry by entry, bounded
//! - [`check`]: what makes an object well-formed, as `git fsck --strict` has it
//! - [`connectivity`]: everything that is named is there
//! - [`report`]: the answer
//!
//! and for reading: [`advertise`] lists the refs, [`mod@upload`] answers fetches, [`quarantine`] reads the files of a commit;
//! [`reach`] finds what some objects reach, so that the others can be deleted;
//! [`content`] builds what deltas stand for, [`links`] reads what stored objects name, [`memory`] counts what a request holds.
//!
//! An object is kept as it was received, a delta as a delta: it is inflated to be checked, and never compressed again unless
//! too many deltas would lie on each other.
//!
//! Both services come in two forms: over HTTP, where every request stands alone, and over one connection for the whole
//! exchange. `examples/plain-host` is a small git host that speaks both, over repositories on disk.
//!
//! Followed are git's own documents: gitprotocol-pack, gitprotocol-v2, gitprotocol-http, gitprotocol-common and
//! gitformat-pack. Object names are SHA-1 alone, computed with collision detection.

pub mod advertise;
pub mod capability;
mod check;
pub mod command;
mod connectivity;
mod content;
mod delta;
mod links;
mod memory;
mod pack;
mod pack_end;
mod pkt_line;
pub mod quarantine;
mod reachability;
pub mod receive;
pub mod report;
#[cfg(test)]
mod sample;
mod unpack;
pub mod upload;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

pub use advertise::{Protocol, Transport, advertise_receive, advertise_upload};
pub use capability::Capabilities;
pub use check::FsckWarning;
pub use command::{CheckedCommand, Command, CommandError};
pub use connectivity::ConnectivityError;
pub use gix_hash::ObjectId;
pub use gix_object::Kind;
pub use memory::{MemoryPool, OutOfMemoryError, unbounded_memory};
pub use pack::{Pack, PackBytes};
pub use quarantine::{
    CommitSummary, FileKind, QuarantineView, ReadError, TreeFile, TreeLimitError, TreeLimits,
    tree_entry_names,
};
pub use reachability::{Reachability, undeltified};
pub use receive::{
    Push, ReceiveError, Received, Request, RequestError, UnpackedPush, read_request, receive,
    receive_over_connection, unpack,
};
pub use unpack::{FsckWarnings, UnpackError};
pub use upload::{UploadError, upload, upload_over_connection};

/// A read-only view of one repository. Every object that a stored object names is stored too, apart from the parents of
/// shallow commits and the commits of submodules.
pub trait Repository: Send + Sync {
    /// The ref that HEAD points to, such as `refs/heads/main`. It need not exist.
    fn head(&self) -> Option<&str>;
    /// What bounds the memory of the request for which it is read. Objects that were read may count there as well.
    fn memory(&self) -> Arc<dyn MemoryPool> {
        memory::unbounded_memory()
    }
    /// All refs, in any order.
    fn refs(&self) -> impl Future<Output = Result<Vec<Reference>, RepositoryError>> + Send;
    /// The commits whose parents are not stored.
    fn shallow(&self) -> impl Future<Output = Result<Vec<ObjectId>, RepositoryError>> + Send;
    /// What is known of those of `ids` that are stored.
    fn object_info(
        &self,
        ids: &[ObjectId],
    ) -> impl Future<Output = Result<HashMap<ObjectId, ObjectInfo>, RepositoryError>> + Send;
    /// Those of the objects `ids` that are stored, as they are stored, in any order. Some may be left out so that not too
    /// much is in memory at once, but never all: whoever needs the others asks again.
    fn objects(&self, ids: &[ObjectId]) -> impl Future<Output = Result<Vec<Object>, RepositoryError>> + Send;
    /// All of the objects `ids` that are stored, and everything that they are built on, each once, in any order.
    fn objects_and_bases(
        &self,
        ids: &[ObjectId],
    ) -> impl Future<Output = Result<Vec<Object>, RepositoryError>> + Send;
    /// Some of the commits that are stored, at most `most` of those whose name is greater than `after`, in order of their
    /// names: for going through a long history. `None` where the repository cannot list them.
    fn commits(
        &self,
        after: Option<ObjectId>,
        most: usize,
    ) -> impl Future<Output = Result<Option<Vec<Object>>, RepositoryError>> + Send {
        let _ = (after, most);
        async { Ok(None) }
    }
    /// Some of the objects in the order in which they are stored, from `place` on (0: from the first), as they are stored:
    /// for whoever sends most of a large repository. Some may be left out, large ones for example. `None` where the
    /// repository has no such order.
    fn objects_in_storage_order(
        &self,
        position: u64,
    ) -> impl Future<Output = Result<Option<StoredBatch>, RepositoryError>> + Send {
        let _ = position;
        async { Ok(None) }
    }
}

/// Some objects that are stored one after the other.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    /// The objects.
    pub objects: Vec<Object>,
    /// The place behind them.
    pub next: u64,
}

/// What is known of a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its kind.
    pub kind: Kind,
    /// How many deltas lie under it; 0: it is stored whole.
    pub depth: u32,
}

/// A ref and what it points to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The full name.
    pub name: String,
    /// The object, not peeled.
    pub target: ObjectId,
}

/// A repository that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// It, or what it is in, is at fault.
    #[error("the repository cannot be read: {0}")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request would hold more memory than there is for it.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemoryError),
}

impl RepositoryError {
    /// A repository that cannot be read for that reason.
    pub fn unreadable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unreadable(why.into())
    }
}

impl From<CorruptObjectError> for RepositoryError {
    fn from(damaged: CorruptObjectError) -> Self {
        Self::unreadable(damaged)
    }
}

/// A git object as packs and rows hold it: a zlib stream of its content, or of a delta that makes it of another object's.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub id: ObjectId,
    /// Its kind, also where it is a delta.
    pub kind: Kind,
    /// The object that the delta changes; `None`: the stream holds the content itself.
    pub base: Option<ObjectId>,
    /// How many deltas lie under it; 0: it is whole.
    pub depth: u32,
    /// The bytes that the stream inflates to: of the content, or of the delta.
    pub size: u64,
    /// The stream.
    pub zlib: Bytes,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({} bytes", self.kind, self.id, self.size)?;
        match self.base {
            Some(base) => write!(f, ", on {base})"),
            None => write!(f, ")"),
        }
    }
}

/// A stored object whose bytes are not what its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("object {0} is damaged")]
pub struct CorruptObjectError(pub ObjectId);

/// One of the [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// [`Limits::request_bytes`].
    RequestBytes,
    /// [`Limits::commands`].
    Commands,
    /// [`Limits::objects`].
    Objects,
    /// [`Limits::object_bytes`].
    ObjectBytes,
    /// [`Limits::inflated_bytes`].
    InflatedBytes,
}

/// The most of everything that a push may hold. The defaults fit repositories of scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of a request, decompressed as HTTP has it.
    pub request_bytes: u64,
    /// The refs that one push may move.
    pub commands: usize,
    /// The bytes of what stands before the pack, as far as it is kept: commands, options, shallow commits.
    pub head_bytes: usize,
    /// The objects of a pack.
    pub objects: usize,
    /// The bytes of one object, inflated.
    pub object_bytes: u64,
    /// The bytes of all objects together, inflated, the results of deltas among them.
    pub inflated_bytes: u64,
    /// The length of a chain of deltas, as it is received.
    pub delta_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            request_bytes: 32 * MIB,
            commands: 1000,
            head_bytes: 2 * 1024 * 1024,
            objects: 20_000,
            object_bytes: 8 * MIB,
            inflated_bytes: 128 * MIB,
            delta_depth: 512,
        }
    }
}
