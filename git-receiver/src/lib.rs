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
pub mod command;
mod connectivity;
mod content;
mod delta;
mod fsck;
mod memory;
mod pack;
mod pack_end;
mod parse;
mod pkt_line;
pub mod quarantine;
mod reachability;
pub mod receive;
pub mod report;
#[cfg(test)]
mod test_repo;
mod unpack;
pub mod upload;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

pub use advertise::{Protocol, Transport, advertise_receive, advertise_upload};
pub use capability::Capabilities;
pub use command::{CheckedCommand, Command, CommandError};
pub use connectivity::ConnectivityError;
pub use fsck::FsckWarning;
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

/// A read-only view of one repository. Every object that a stored object refers to is stored too, except the parents of
/// shallow commits and the commits of submodules.
pub trait Repository: Send + Sync {
    /// The ref that HEAD points to, such as `refs/heads/main`. It does not have to exist.
    fn head(&self) -> Option<&str>;
    /// The memory pool of the request that reads the repository. The objects it reads can be counted there as well.
    fn memory(&self) -> Arc<dyn MemoryPool> {
        memory::unbounded_memory()
    }
    /// All refs, in any order.
    fn refs(&self) -> impl Future<Output = Result<Vec<Reference>, RepositoryError>> + Send;
    /// The shallow commits: their parents are not stored.
    fn shallow(&self) -> impl Future<Output = Result<Vec<ObjectId>, RepositoryError>> + Send;
    /// Kind and delta depth of those of `ids` that are stored.
    fn object_info(
        &self,
        ids: &[ObjectId],
    ) -> impl Future<Output = Result<HashMap<ObjectId, ObjectInfo>, RepositoryError>> + Send;
    /// Those of `ids` that are stored, in stored form (deltified or not), in any order. The repository can leave some out to
    /// bound memory, but never all of them; the caller requests the rest again.
    fn objects(&self, ids: &[ObjectId]) -> impl Future<Output = Result<Vec<Object>, RepositoryError>> + Send;
    /// All of `ids` that are stored, together with their delta bases down to the undeltified objects, each once, in any
    /// order.
    fn objects_and_bases(
        &self,
        ids: &[ObjectId],
    ) -> impl Future<Output = Result<Vec<Object>, RepositoryError>> + Send;
    /// At most `limit` stored commits whose ids are greater than `after`, ordered by id, for walks of a long history. `None`
    /// if the repository cannot list its commits.
    fn commits(
        &self,
        after: Option<ObjectId>,
        most: usize,
    ) -> impl Future<Output = Result<Option<Vec<Object>>, RepositoryError>> + Send {
        let _ = (after, most);
        async { Ok(None) }
    }
    /// A batch of objects in storage order, starting at `position` (0 is the start), for callers that send most of a large
    /// repository. The repository can leave objects out, such as large ones. `None` if it has no storage order.
    fn objects_in_storage_order(
        &self,
        position: u64,
    ) -> impl Future<Output = Result<Option<StoredBatch>, RepositoryError>> + Send {
        let _ = position;
        async { Ok(None) }
    }
}

/// A batch of consecutively stored objects.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    /// The objects.
    pub objects: Vec<Object>,
    /// The position after the batch.
    pub next: u64,
}

/// Metadata of a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its kind.
    pub kind: Kind,
    /// The length of its delta chain; 0 if it is not deltified.
    pub depth: u32,
}

/// A ref and its target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The full name.
    pub name: String,
    /// The object it points to, not peeled.
    pub target: ObjectId,
}

/// An error of a repository.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The repository or its storage cannot be read.
    #[error("the repository cannot be read: {0}")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request would exceed its memory pool.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemoryError),
}

impl RepositoryError {
    /// Wraps the error of a storage backend.
    pub fn unreadable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unreadable(why.into())
    }
}

impl From<CorruptObjectError> for RepositoryError {
    fn from(damaged: CorruptObjectError) -> Self {
        Self::unreadable(damaged)
    }
}

/// A git object in stored form: the zlib stream of its content, or of a delta against another object.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// The object id.
    pub id: ObjectId,
    /// The kind of the resulting object, also for a delta.
    pub kind: Kind,
    /// The delta base; `None` if the stream is the content itself.
    pub base: Option<ObjectId>,
    /// The length of the delta chain; 0 if the object is not deltified.
    pub depth: u32,
    /// The size of the inflated stream, of the content or of the delta.
    pub size: u64,
    /// The zlib stream.
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

/// A stored object whose bytes do not match its id.
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

/// The limits of one push. The defaults suit repositories of scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request, after HTTP content decoding.
    pub request_bytes: u64,
    /// Ref updates of one push.
    pub commands: usize,
    /// Bytes kept of everything before the pack: commands, push options and shallow lines.
    pub head_bytes: usize,
    /// Objects in a pack.
    pub objects: usize,
    /// Bytes of one inflated object.
    pub object_bytes: u64,
    /// Bytes of all inflated objects together, including the results of deltas.
    pub inflated_bytes: u64,
    /// Length of a delta chain in the received pack.
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
