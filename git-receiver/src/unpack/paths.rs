//! Where an object of a pack stands in its trees: for people, who know files by their paths.

use std::collections::HashMap;

use gix_hash::ObjectId;
use gix_object::Kind;
use gix_object::bstr::ByteSlice as _;

use super::UnpackError;
use super::entries::{Body, StreamReader};
use super::resolved::Resolved;
use crate::check::next_entry;
use crate::delta;

/// How deep folders are followed upwards.
const DEPTH_MAX: usize = 64;

/// The longest name of a file or a folder that is shown, in bytes.
const NAME_MAX: usize = 200;

/// The first object of more than `limit` bytes: how large it is, and its path, if it has one in the pack. Blocking.
pub(crate) fn find_larger(pack: &Resolved, limit: u64) -> Option<(u64, Option<String>)> {
    let mut reader = StreamReader::new();
    let mut found = pack.findings.found.clone();
    found.sort_unstable_by_key(|found| found.entry);
    let (id, size) = found.iter().find_map(|found| {
        let index = found.entry as usize;
        let size = match pack.entries.list[index].body {
            Body::Whole(_) => pack.entries.list[index].size,
            _ => delta::sizes(pack.entries.delta(index, &mut reader).ok()?).ok()?.1,
        };
        (size > limit).then_some((found.id, size))
    })?;
    Some((size, path_of(pack, id).ok().flatten()))
}

/// Whatever of the pack's trees names something of the pack: a new file stands in new folders, up to the root.
fn path_of(pack: &Resolved, id: ObjectId) -> Result<Option<String>, UnpackError> {
    let of_kind = |kind| pack.findings.found.iter().filter(move |found| found.kind == kind);
    let trees: Vec<ObjectId> = of_kind(Kind::Tree).map(|found| found.id).collect();
    let mut named_by: HashMap<ObjectId, (ObjectId, String)> =
        trees.iter().chain([&id]).map(|id| (*id, (*id, String::new()))).collect();
    pack.each_content(&trees, |tree, mut content| {
        while let Ok(Some(entry)) = next_entry(&mut content) {
            if let Some(above) = named_by.get_mut(&entry.id)
                && above.1.is_empty()
            {
                let name = &entry.name[..entry.name.len().min(NAME_MAX)];
                *above = (tree, name.to_str_lossy().into_owned());
            }
        }
        Ok(())
    })?;
    let mut parts = Vec::new();
    let mut at = id;
    while let Some((above, name)) = named_by.get(&at).filter(|(_, name)| !name.is_empty()) {
        parts.push(name.as_str());
        at = *above;
        if parts.len() == DEPTH_MAX {
            break;
        }
    }
    parts.reverse();
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}
