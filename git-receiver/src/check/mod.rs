//! What makes an object well-formed, as `git fsck` has it, and what an object names. What fsck calls an error is refused, what it warns of
//! is told, what it only informs about is accepted. Of its warnings, names that lead out of a folder or into a repository (`.`, `..`,
//! `.git`, `a/b`) are refused too, as git refuses them where `receive.fsckObjects` is set: clients other than git can be misled by them.
//!
//! - `tree`, `commit`: the objects themselves
//! - `dotfile`: names that make git read a blob, and the disguises of `.git`
//! - `modules`, with `config` and `url`, and `attributes`: what such a blob may hold

mod attributes;
mod commit;
mod config;
mod dotfile;
mod modules;
#[cfg(test)]
mod severities;
#[cfg(test)]
mod tests;
mod tree;
mod url;

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

pub(crate) use dotfile::Special;
pub(crate) use tree::{Mode, next_entry};

/// How much of what is wrong is shown.
const SHOWN_MAX: usize = 200;

/// An object that is not well-formed, and why, in fsck's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadObject(pub(crate) String);

/// An object that another one names, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: ObjectId,
    pub(crate) kind: Kind,
    /// It is named as a commit's parent.
    pub(crate) parent: bool,
    /// It is a blob that git reads itself under this name: [`special`] says whether it may.
    pub(crate) special: Option<Special>,
}

impl Named {
    fn plainly(id: ObjectId, kind: Kind) -> Self {
        Self { id, kind, parent: false, special: None }
    }
}

/// What fsck warns of in an object that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum FsckWarning {
    /// A name longer than git itself takes for one.
    #[error("largePathname: contains excessively large pathname")]
    LargePathname,
    /// An entry that points to nothing.
    #[error("nullSha1: contains entries pointing to null sha1")]
    NullSha1,
    /// A message with a NUL.
    #[error("nulInCommit: NUL byte in the commit object body")]
    NulInCommit,
    /// A mode that begins with zero, as early GitHub wrote them.
    #[error("zeroPaddedFilemode: contains zero-padded file modes")]
    ZeroPaddedFilemode,
}

/// An object that is accepted.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// What it names, links to other repositories left out.
    pub(crate) named: Vec<Named>,
    /// What fsck warns of, each once.
    pub(crate) warnings: Vec<FsckWarning>,
}

fn bad<T>(why: impl Into<String>) -> Result<T, BadObject> {
    Err(BadObject(why.into()))
}

/// The beginning of `bytes`, as it can be printed.
fn shown(bytes: &[u8]) -> String {
    let beginning = &bytes[..bytes.len().min(SHOWN_MAX)];
    beginning.to_str_lossy().escape_debug().to_string()
}

/// Checks an object.
pub(crate) fn object(kind: Kind, content: &[u8]) -> Result<Accepted, BadObject> {
    match kind {
        Kind::Blob => Ok(Accepted::default()),
        Kind::Tree => tree::tree(content),
        Kind::Commit => commit::commit(content),
        Kind::Tag => commit::tag(content).map(|named| Accepted { named, warnings: Vec::new() }),
    }
}

/// Checks a blob that a tree names as something special: one that came with the tree, and one that was there before.
pub(crate) fn special(special: Special, content: &[u8]) -> Result<(), BadObject> {
    match special {
        Special::Modules => modules::modules(content),
        Special::Attributes => attributes::attributes(content),
    }
}
