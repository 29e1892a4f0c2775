//! Finds the path of an oversized object in the trees of its pack, for the error message.

use std::collections::HashMap;

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

use super::UnpackError;
use super::entries::{EntryKind, StreamReader};
use super::resolved::Resolved;
use crate::delta;
use crate::fsck::next_entry;

/// The most path components that are followed upwards.
const PATH_DEPTH_MAX: usize = 64;

/// The longest shown path component, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Size and path of the first object of more than `limit` bytes. The path is known if a tree of the pack refers to the
/// object. Blocking.
pub(crate) fn find_oversized(pack: &Resolved, limit: u64) -> Option<(u64, Option<String>)> {
    let mut reader = StreamReader::new();
    let mut found = pack.index.objects.clone();
    found.sort_unstable_by_key(|found| found.entry);
    let (id, size) = found.iter().find_map(|found| {
        let index = found.entry as usize;
        let size = match pack.entries.list[index].kind {
            EntryKind::Undeltified(_) => pack.entries.list[index].size,
            _ => delta::sizes(pack.entries.delta(index, &mut reader).ok()?).ok()?.1,
        };
        (size > limit).then_some((found.id, size))
    })?;
    Some((size, path_of(pack, id).ok().flatten()))
}

/// The path from the topmost tree in the pack: a new file is in new trees, up to the root.
fn path_of(pack: &Resolved, id: ObjectId) -> Result<Option<String>, UnpackError> {
    let of_kind = |kind| pack.index.objects.iter().filter(move |found| found.kind == kind);
    let trees: Vec<ObjectId> = of_kind(Kind::Tree).map(|found| found.id).collect();
    let mut parents: HashMap<ObjectId, (ObjectId, String)> =
        trees.iter().chain([&id]).map(|id| (*id, (*id, String::new()))).collect();
    pack.each_content(&trees, |tree, mut content| {
        while let Ok(Some(entry)) = next_entry(&mut content) {
            if let Some(above) = parents.get_mut(&entry.id)
                && above.1.is_empty()
            {
                let name = &entry.name[..entry.name.len().min(NAME_BYTES_MAX)];
                *above = (tree, name.to_str_lossy().into_owned());
            }
        }
        Ok(())
    })?;
    let mut parts = Vec::new();
    let mut at = id;
    while let Some((above, name)) = parents.get(&at).filter(|(_, name)| !name.is_empty()) {
        parts.push(name.as_str());
        at = *above;
        if parts.len() == PATH_DEPTH_MAX {
            break;
        }
    }
    parts.reverse();
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}
