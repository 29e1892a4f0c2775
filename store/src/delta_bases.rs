//! Finds delta bases that are still to be read.

use std::collections::HashSet;

use crate::id::Oid;
use crate::model::Object;

/// From this number of objects on, most of them are likely to be each other's delta bases: they are read on their
/// own, and chains are followed only from the few bases that are missing.
pub(crate) const BULK_READ_MIN: usize = 100;

/// The delta bases that are not among the objects, each once.
pub(crate) fn missing(objects: &[Object]) -> Vec<Oid> {
    let mut seen = names(objects);
    objects.iter().filter_map(|object| object.base).filter(|base| seen.insert(*base)).collect()
}

/// Those of `oids` that are not among the objects.
pub(crate) fn unread(oids: &[Oid], objects: &[Object]) -> Vec<Oid> {
    let read = names(objects);
    oids.iter().filter(|oid| !read.contains(oid)).copied().collect()
}

/// Adds the objects that are not present yet: chains may overlap.
pub(crate) fn add(objects: &mut Vec<Object>, chains: Vec<Object>) {
    let read = names(objects);
    objects.extend(chains.into_iter().filter(|object| !read.contains(&object.oid)));
}

/// The total size of the streams in bytes.
pub(crate) fn bytes(objects: &[Object]) -> u64 {
    objects.iter().map(|object| object.zlib.len() as u64).sum()
}

fn names(objects: &[Object]) -> HashSet<Oid> {
    objects.iter().map(|object| object.oid).collect()
}
