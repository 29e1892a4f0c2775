//! Parses stored objects for the objects they refer to. They passed [`fsck`](crate::fsck) when they were received.

use gix_hash::ObjectId;
use gix_object::{CommitRefIter, TagRefIter};

use crate::fsck::{Mode, next_entry};
use crate::{CorruptObjectError, Kind};

/// The fields of a commit that a revision walk needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) tree: ObjectId,
    /// All parents in the commit, stored or not.
    pub(crate) parents: Vec<ObjectId>,
    /// The committer time, in seconds since 1970.
    pub(crate) time: i64,
}

/// Parses the commit `id`.
pub(crate) fn commit(id: ObjectId, content: &[u8]) -> Result<Commit, CorruptObjectError> {
    let mut fields = CommitRefIter::from_bytes(content, gix_hash::Kind::Sha1);
    let tree = fields.tree_id().map_err(|_| CorruptObjectError(id))?;
    let time = fields.committer().map_or(0, |committer| committer.seconds());
    Ok(Commit { tree, parents: fields.parent_ids().collect(), time })
}

/// Passes every entry of the tree `id` to `each`, except submodules.
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

/// The target of the tag `id`.
pub(crate) fn tag(id: ObjectId, content: &[u8]) -> Result<ObjectId, CorruptObjectError> {
    TagRefIter::from_bytes(content, gix_hash::Kind::Sha1).target_id().map_err(|_| CorruptObjectError(id))
}
