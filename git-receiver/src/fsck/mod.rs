//! Checks that objects are well-formed, as `git fsck --strict` does, and collects their references. What fsck reports as an
//! error is rejected, its warnings are passed to the user, its infos are accepted. Four of its warnings are rejected too, as
//! with `receive.fsckObjects`: names that lead out of a directory or into a repository (`.`, `..`, `.git`, `a/b`) can
//! mislead other clients.
//!
//! - `tree`, `commit`: the objects themselves
//! - `dotgit`: names of blobs that git reads itself, and the aliases of `.git`
//! - `gitmodules`, with `config` and `submodule_url`, and `gitattributes`: the contents of such blobs

mod commit;
mod config;
mod dotgit;
mod gitattributes;
mod gitmodules;
#[cfg(test)]
mod msg_ids;
mod submodule_url;
#[cfg(test)]
mod tests;
mod tree;

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

pub(crate) use dotgit::BlobToFsck;
pub(crate) use tree::{Mode, next_entry};

/// How many bytes of a value are shown in a message.
const SHOWN_MAX: usize = 200;

/// An fsck error: message id and explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FsckError(pub(crate) String);

/// A reference from one object to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectRef {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    /// It is the parent of a commit.
    pub(crate) is_parent: bool,
    /// The target is a blob that git reads itself under this name; [`fsck_blob`] checks it.
    pub(crate) blob_to_fsck: Option<BlobToFsck>,
}

impl ObjectRef {
    fn new(id: ObjectId, kind: Kind) -> Self {
        Self { id, kind, is_parent: false, blob_to_fsck: None }
    }
}

/// An fsck warning about an accepted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum FsckWarning {
    /// A very long entry name.
    #[error("largePathname: contains excessively large pathname")]
    LargePathname,
    /// An entry with the null id.
    #[error("nullSha1: contains entries pointing to null sha1")]
    NullSha1,
    /// A NUL in a commit message.
    #[error("nulInCommit: NUL byte in the commit object body")]
    NulInCommit,
    /// A mode with a leading zero, as early GitHub wrote them.
    #[error("zeroPaddedFilemode: contains zero-padded file modes")]
    ZeroPaddedFilemode,
}

/// The result for an accepted object.
#[derive(Debug, Default)]
pub(crate) struct FsckReport {
    /// Its references, without submodules.
    pub(crate) refs: Vec<ObjectRef>,
    /// The fsck warnings, each once.
    pub(crate) warnings: Vec<FsckWarning>,
}

fn bad<T>(why: impl Into<String>) -> Result<T, FsckError> {
    Err(FsckError(why.into()))
}

/// The start of `bytes`, escaped for a message.
fn shown(bytes: &[u8]) -> String {
    let beginning = &bytes[..bytes.len().min(SHOWN_MAX)];
    beginning.to_str_lossy().escape_debug().to_string()
}

/// Checks an object.
pub(crate) fn fsck_object(kind: Kind, content: &[u8]) -> Result<FsckReport, FsckError> {
    match kind {
        Kind::Blob => Ok(FsckReport::default()),
        Kind::Tree => tree::fsck_tree(content),
        Kind::Commit => commit::fsck_commit(content),
        Kind::Tag => commit::fsck_tag(content).map(|refs| FsckReport { refs, warnings: Vec::new() }),
    }
}

/// Checks a blob that a tree refers to under a special name.
pub(crate) fn fsck_blob(blob: BlobToFsck, content: &[u8]) -> Result<(), FsckError> {
    match blob {
        BlobToFsck::Gitmodules => gitmodules::fsck_gitmodules(content),
        BlobToFsck::Gitattributes => gitattributes::fsck_gitattributes(content),
    }
}
