//! The connectivity check: every object that a pack refers to exists and has the expected kind. The repository is closed
//! under reachability, so checking the references of the pack's own objects is enough; nothing is walked.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;

use crate::ObjectInfo;
use crate::fsck::{BlobToFsck, ObjectRef};

/// A reference to an object that is missing or has another kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectivityError {
    /// The object is neither in the pack nor in the repository.
    #[error("missing necessary objects: {missing}, referenced by {referrer}")]
    Missing {
        /// The missing object.
        missing: ObjectId,
        /// The object that refers to it.
        referrer: ObjectId,
    },
    /// The object has another kind than its referrer states.
    #[error("object {id} is a {found}, not a {expected} as {referrer} states")]
    WrongKind {
        /// The object.
        id: ObjectId,
        /// Its kind.
        found: Kind,
        /// The stated kind.
        expected: Kind,
        /// The object that refers to it.
        referrer: ObjectId,
    },
}

/// The objects of a pack and their references.
#[derive(Debug, Default)]
pub(crate) struct ObjectRefs {
    objects: HashMap<ObjectId, Kind>,
    /// One referrer for each target and stated kind, which is enough for the check.
    referrers: HashMap<(ObjectId, Kind), ObjectId>,
    blobs_to_fsck: HashSet<(ObjectId, BlobToFsck)>,
}

impl ObjectRefs {
    /// Adds an object of the pack and its references. Returns the number of references that are new. The parents of a
    /// shallow commit are skipped.
    pub(crate) fn add(&mut self, id: ObjectId, kind: Kind, refs: Vec<ObjectRef>, shallow: bool) -> usize {
        self.objects.insert(id, kind);
        let before = self.referrers.len();
        for target in refs.into_iter().filter(|target| !(shallow && target.is_parent)) {
            self.referrers.entry((target.id, target.kind)).or_insert(id);
            self.blobs_to_fsck.extend(target.blob_to_fsck.map(|blob| (target.id, blob)));
        }
        self.referrers.len() - before
    }

    /// Merges `other`.
    pub(crate) fn append(&mut self, other: Self) {
        self.objects.extend(other.objects);
        self.blobs_to_fsck.extend(other.blobs_to_fsck);
        for (target, referrer) in other.referrers {
            self.referrers.entry(target).or_insert(referrer);
        }
    }

    /// Whether the object is in the pack.
    pub(crate) fn contains(&self, id: &ObjectId) -> bool {
        self.objects.contains_key(id)
    }

    /// The targets outside the pack. A target that is referred to as two kinds is listed twice.
    pub(crate) fn external_targets(&self) -> impl Iterator<Item = ObjectId> {
        self.referrers.keys().map(|(id, _)| *id).filter(|id| !self.objects.contains_key(id))
    }

    /// The dangling objects of the pack: no other object of the pack refers to them.
    pub(crate) fn dangling(&self) -> impl Iterator<Item = ObjectId> {
        self.objects
            .iter()
            .filter(|(id, kind)| !self.referrers.contains_key(&(**id, **kind)))
            .map(|(id, _)| *id)
    }

    /// The blobs that git itself reads under a special name.
    pub(crate) fn blobs_to_fsck(&self) -> impl Iterator<Item = (ObjectId, BlobToFsck)> {
        self.blobs_to_fsck.iter().copied()
    }
}

/// Checks `refs`. `outside` contains the external targets that the repository has.
pub(crate) fn check(
    refs: &ObjectRefs,
    outside: &HashMap<ObjectId, ObjectInfo>,
) -> Result<(), ConnectivityError> {
    for ((id, expected), referrer) in &refs.referrers {
        match refs.objects.get(id).copied().or_else(|| Some(outside.get(id)?.kind)) {
            None => return Err(ConnectivityError::Missing { missing: *id, referrer: *referrer }),
            Some(found) if found != *expected => {
                return Err(ConnectivityError::WrongKind {
                    id: *id,
                    found,
                    expected: *expected,
                    referrer: *referrer,
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: u8) -> ObjectId {
        ObjectId::Sha1([digit; 20])
    }

    fn stored(list: &[(u8, Kind)]) -> HashMap<ObjectId, ObjectInfo> {
        list.iter().map(|(digit, kind)| (id(*digit), ObjectInfo { kind: *kind, depth: 0 })).collect()
    }

    fn commit_of_a_tree_and_a_parent(shallow: bool) -> ObjectRefs {
        let mut refs = ObjectRefs::default();
        let tree = ObjectRef { id: id(2), kind: Kind::Tree, is_parent: false, blob_to_fsck: None };
        let parent = ObjectRef { id: id(3), kind: Kind::Commit, is_parent: true, blob_to_fsck: None };
        refs.add(id(1), Kind::Commit, vec![tree, parent], shallow);
        refs
    }

    #[test]
    fn references_resolve_in_pack_or_repository() {
        let mut refs = commit_of_a_tree_and_a_parent(false);
        refs.add(id(2), Kind::Tree, Vec::new(), false);
        assert_eq!(refs.external_targets().collect::<Vec<_>>(), [id(3)]);
        assert_eq!(check(&refs, &stored(&[(3, Kind::Commit)])), Ok(()));
    }

    #[test]
    fn references_of_several_threads_are_merged() {
        let mut refs = commit_of_a_tree_and_a_parent(false);
        let mut other = ObjectRefs::default();
        other.add(
            id(2),
            Kind::Tree,
            vec![ObjectRef { id: id(3), kind: Kind::Blob, is_parent: false, blob_to_fsck: None }],
            false,
        );
        refs.append(other);
        assert!(refs.external_targets().all(|target| target == id(3)));
        let as_one_kind = check(&refs, &stored(&[(3, Kind::Commit)]));
        assert!(matches!(as_one_kind, Err(ConnectivityError::WrongKind { expected: Kind::Blob, .. })));
    }

    #[test]
    fn repeated_references_are_not_counted() {
        let mut refs = commit_of_a_tree_and_a_parent(false);
        let file =
            |digit| ObjectRef { id: id(digit), kind: Kind::Blob, is_parent: false, blob_to_fsck: None };
        assert_eq!(refs.add(id(2), Kind::Tree, vec![file(4), file(5)], false), 2);
        assert_eq!(refs.add(id(6), Kind::Tree, vec![file(4), file(7)], false), 1);
    }

    #[test]
    fn missing_object_and_wrong_kind_are_rejected() {
        let refs = commit_of_a_tree_and_a_parent(false);
        assert!(matches!(check(&refs, &HashMap::new()), Err(ConnectivityError::Missing { .. })));
        let outside = stored(&[(2, Kind::Blob), (3, Kind::Commit)]);
        assert!(matches!(check(&refs, &outside), Err(ConnectivityError::WrongKind { .. })));
    }

    #[test]
    fn parents_of_shallow_commit_can_be_missing() {
        let refs = commit_of_a_tree_and_a_parent(true);
        assert_eq!(check(&refs, &stored(&[(2, Kind::Tree)])), Ok(()));
    }
}
