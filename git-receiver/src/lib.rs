//! The server side of git over gix plumbing: receive-pack for pushes and upload-pack for fetches.
//!
//! The crate works on bytes and async readers, and reads a repository through a read-only trait, [`Repository`]. It returns a
//! push as a value, [`Push`]; the caller decides what to store. This in-memory repository receives a push and advertises the
//! new ref:
//!
//! ```
//! use std::collections::HashMap;
//!
//! use git_receiver::{
//!     Limits, Object, ObjectId, ObjectInfo, Protocol, Received, Reference, Repository, RepositoryError,
//!     Transport, advertise_upload, receive, report,
//! };
//!
//! #[derive(Default)]
//! struct MemoryRepository {
//!     objects: HashMap<ObjectId, Object>,
//!     refs: Vec<Reference>,
//! }
//!
//! impl Repository for MemoryRepository {
//!     fn head(&self) -> Option<&str> {
//!         Some("refs/heads/main")
//!     }
//!
//!     async fn refs(&self) -> Result<Vec<Reference>, RepositoryError> {
//!         Ok(self.refs.clone())
//!     }
//!
//!     async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
//!         Ok(Vec::new())
//!     }
//!
//!     async fn object_info(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, ObjectInfo>, RepositoryError> {
//!         let info = |object: &Object| ObjectInfo { kind: object.kind, depth: object.depth };
//!         Ok(ids.iter().filter_map(|id| Some((*id, info(self.objects.get(id)?)))).collect())
//!     }
//!
//!     async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
//!         Ok(ids.iter().filter_map(|id| self.objects.get(id)).cloned().collect())
//!     }
//!
//!     async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
//!         let mut found: HashMap<ObjectId, Object> = HashMap::new();
//!         let mut pending = ids.to_vec();
//!         while let Some(object) = pending.pop().and_then(|id| self.objects.get(&id)) {
//!             pending.extend(object.base);
//!             found.insert(object.id, object.clone());
//!         }
//!         Ok(found.into_values().collect())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // `git push` of a tag of the blob "hello\n": one command, a flush packet and the pack.
//! let null = "0".repeat(40);
//! let blob = "ce013625030ba8dba906f756967f9e9ca394464a";
//! let command = format!("{null} {blob} refs/tags/hello\0report-status");
//! let pack = b"PACK\0\0\0\x02\0\0\0\x016x\x9c\xcbH\xcd\xc9\xc9\xe7\x02\0\x08K\x02\x1f\
//!     \xde\x04\x12@\x1fJ\x9e_\x05A\x1fD\xea\xf9\xc8mF\x09gF";
//! let body = [format!("{:04x}{command}0000", command.len() + 4).as_bytes(), pack].concat();
//!
//! let mut repository = MemoryRepository::default();
//! let Received::Push(push) = receive(&repository, body.as_slice(), &Limits::default()).await? else {
//!     return Err("not a push".into());
//! };
//! let unpacked = push.unpacked?;
//! for index in 0..unpacked.pack.len() {
//!     let object = unpacked.pack.object(index)?;
//!     repository.objects.insert(object.id, object);
//! }
//! let mut results = Vec::new();
//! for checked in &unpacked.commands {
//!     let name = &checked.command.name;
//!     if let (Ok(()), Some(target)) = (&checked.result, checked.command.new) {
//!         repository.refs.push(Reference { name: name.clone(), target });
//!     }
//!     results.push((name.as_str(), checked.result.clone().map_err(|error| error.to_string())));
//! }
//! let response = report::report(&push.request.capabilities, Ok(()), &results);
//! assert_eq!(response.as_ref(), b"000eunpack ok\n0017ok refs/tags/hello\n0000");
//!
//! let refs = advertise_upload(&repository, Transport::Http, Protocol::V0, "example/1.0").await?;
//! assert!(String::from_utf8_lossy(&refs).contains(&format!("{blob} refs/tags/hello\0")));
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! A push, in the order in which data passes through the modules:
//!
//! - [`advertise`]: the ref advertisement, for pushes and fetches
//! - [`pkt_line`]: packets and the sideband
//! - [`mod@receive`]: drives a push from a request body or a connection to a [`Push`]
//! - [`command`]: ref update commands, and git's rules for ref names and targets
//! - [`capability`]: the client's capabilities
//! - [`pack_end`]: finds the end of a pack on a connection that stays open
//! - [`pack`]: the bytes of a received pack, and its objects
//! - [`mod@unpack`]: inflates the entries, resolves the deltas ([`delta`]) and selects the objects to store
//! - [`mod@fsck`]: checks each object as `git fsck --strict` does
//! - [`connectivity`]: checks that all references of the pack resolve
//! - [`quarantine`]: reads commits and files of the push before it is stored
//! - [`report`]: encodes the response
//!
//! [`mod@upload`] serves fetches. [`reachability`] computes the live objects for garbage collection. [`content`] reconstructs
//! objects from deltas, [`parse`] reads the references of stored objects, [`memory`] bounds the memory of a request.
//!
//! A push over HTTP: request body -> [`read_request`] -> [`PackBytes`] -> [`unpack()`] (scan, thin pack bases, resolve,
//! connectivity, fsck of special blobs, selection) -> [`UnpackedPush`] -> the caller stores it -> [`report::report`].
//!
//! Both services work over stateless HTTP requests and over one connection per exchange. `examples/bare-host` is a small git
//! server over repositories on disk that supports both. The protocols are those of gitprotocol-pack, gitprotocol-v2,
//! gitprotocol-http, gitprotocol-common and gitformat-pack.
//!
//! # Invariants
//!
//! - This crate never writes to a repository. A push has no effect until the caller stores it.
//! - An [`UnpackedPush`] never contains an object that fails fsck or the connectivity check, that the repository has already,
//!   or that depends on itself through deltas.
//! - Object ids are SHA-1, and never computed without collision detection.
//! - Memory for pushed objects is never allocated by a declared size before it is checked against the [`Limits`].
//! - Stored objects are never recompressed, except deltas whose chain is too long to store or whose base is not sent.
//! - This crate never reads the clock, never opens network connections, never starts processes and never logs.
//! - Client input never causes a panic or an unbounded loop (see `fuzz/`).

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
    #[error("cannot read the repository: {0}")]
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
#[error("object {0} is corrupt")]
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
