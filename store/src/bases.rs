//! Which objects are still to be read, once some are.

use std::collections::HashSet;

use crate::id::Oid;
use crate::record::Object;

/// So many objects asked for at once are taken for neighbours, most of which build on each other: they are read by
/// themselves, and chains are followed only from the few bases that are not among them.
pub(crate) const NEIGHBOURS_MIN: usize = 100;

/// What the objects build on and is not among them, each once.
pub(crate) fn missing(objects: &[Object]) -> Vec<Oid> {
    let mut seen = names(objects);
    objects.iter().filter_map(|object| object.base).filter(|base| seen.insert(*base)).collect()
}

/// Those of `oids` that are not among the objects.
pub(crate) fn unread(oids: &[Oid], objects: &[Object]) -> Vec<Oid> {
    let read = names(objects);
    oids.iter().filter(|oid| !read.contains(oid)).copied().collect()
}

/// Adds those that are not there yet: a chain may lead back to what was read before.
pub(crate) fn add(objects: &mut Vec<Object>, chains: Vec<Object>) {
    let read = names(objects);
    objects.extend(chains.into_iter().filter(|object| !read.contains(&object.oid)));
}

/// The bytes of the streams.
pub(crate) fn bytes(objects: &[Object]) -> u64 {
    objects.iter().map(|object| object.zlib.len() as u64).sum()
}

fn names(objects: &[Object]) -> HashSet<Oid> {
    objects.iter().map(|object| object.oid).collect()
}
