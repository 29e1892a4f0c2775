//! What stored objects name. They were judged when they came ([`check`](crate::check)), and are only read here.

use gix_hash::ObjectId;
use gix_object::{CommitRefIter, TagRefIter};

use crate::check::{Mode, next_entry};
use crate::{CorruptObjectError, Kind};

/// What a walk has to know of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) tree: ObjectId,
    /// Those that it names, whether they are stored or not.
    pub(crate) parents: Vec<ObjectId>,
    /// When it was committed, in seconds since 1970.
    pub(crate) time: i64,
}

/// Reads the commit `id`.
pub(crate) fn commit(id: ObjectId, content: &[u8]) -> Result<Commit, CorruptObjectError> {
    let mut fields = CommitRefIter::from_bytes(content, gix_hash::Kind::Sha1);
    let tree = fields.tree_id().map_err(|_| CorruptObjectError(id))?;
    let time = fields.committer().map_or(0, |committer| committer.seconds());
    Ok(Commit { tree, parents: fields.parent_ids().collect(), time })
}

/// Hands everything in the tree `id` to `each`, links to other repositories left out.
pub(crate) fn tree(
    id: ObjectId,
    content: &[u8],
    mut each: impl FnMut(ObjectId, Kind),
) -> Result<(), CorruptObjectError> {
    let mut rest = content;
    while let Some(entry) = next_entry(&mut rest).map_err(|_| CorruptObjectError(id))? {
        match entry.mode {
            Mode::Tree => each(entry.id, Kind::Tree),
            Mode::Submodule => {}
            Mode::Regular | Mode::Executable | Mode::Symlink => each(entry.id, Kind::Blob),
        }
    }
    Ok(())
}

/// What the tag `id` points to.
pub(crate) fn tag(id: ObjectId, content: &[u8]) -> Result<ObjectId, CorruptObjectError> {
    TagRefIter::from_bytes(content, gix_hash::Kind::Sha1).target_id().map_err(|_| CorruptObjectError(id))
}
