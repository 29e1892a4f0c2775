//! Everything that is named is there, and is what it is named as. Since the repository holds only what is whole, it is
//! enough to look at what the objects of the pack name: nothing is walked.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::Kind;

use crate::ObjectInfo;
use crate::check::{Named, Special};

/// An object that is named and is not there, or is something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectivityError {
    /// It is not there.
    #[error("missing necessary objects: {missing}, named by {referrer}")]
    Missing {
        /// What is missing.
        missing: ObjectId,
        /// What names it.
        referrer: ObjectId,
    },
    /// It is of another kind than it is named as.
    #[error("object {id} is a {found}, and {referrer} names it as a {named}")]
    WrongKind {
        /// The object.
        id: ObjectId,
        /// Its kind.
        found: Kind,
        /// The kind it is named as.
        named: Kind,
        /// What names it.
        referrer: ObjectId,
    },
}

/// What the objects of a pack are and name.
#[derive(Debug, Default)]
pub(crate) struct Links {
    inside: HashMap<ObjectId, Kind>,
    /// What is named, as what, and by what. One mention of each kind is enough to judge.
    named: HashMap<(ObjectId, Kind), ObjectId>,
    special: HashSet<(ObjectId, Special)>,
}

impl Links {
    /// Adds an object of the pack and what it names; returns how much of that nothing else has named before. The parents of a shallow
    /// commit need not be there.
    pub(crate) fn add(&mut self, id: ObjectId, kind: Kind, named: Vec<Named>, shallow: bool) -> usize {
        self.inside.insert(id, kind);
        let before = self.named.len();
        for target in named.into_iter().filter(|target| !(shallow && target.parent)) {
            self.named.entry((target.id, target.kind)).or_insert(id);
            self.special.extend(target.special.map(|special| (target.id, special)));
        }
        self.named.len() - before
    }

    /// Adds all that `other` holds.
    pub(crate) fn append(&mut self, other: Self) {
        self.inside.extend(other.inside);
        self.special.extend(other.special);
        for (target, by) in other.named {
            self.named.entry(target).or_insert(by);
        }
    }

    /// Whether an object is in the pack.
    pub(crate) fn holds(&self, id: &ObjectId) -> bool {
        self.inside.contains_key(id)
    }

    /// What is named and is not in the pack; what is named as two kinds, twice.
    pub(crate) fn targets(&self) -> impl Iterator<Item = ObjectId> {
        self.named.keys().map(|(id, _)| *id).filter(|id| !self.inside.contains_key(id))
    }

    /// The objects of the pack that none of them names.
    pub(crate) fn dangling(&self) -> impl Iterator<Item = ObjectId> {
        self.inside.iter().filter(|(id, kind)| !self.named.contains_key(&(**id, **kind))).map(|(id, _)| *id)
    }

    /// The blobs that git itself reads by their names.
    pub(crate) fn special(&self) -> impl Iterator<Item = (ObjectId, Special)> {
        self.special.iter().copied()
    }
}

/// Holds `links` to be whole, with `outside` what the repository has of their targets.
pub(crate) fn check(links: &Links, outside: &HashMap<ObjectId, ObjectInfo>) -> Result<(), ConnectivityError> {
    for ((id, named), by) in &links.named {
        match links.inside.get(id).copied().or_else(|| Some(outside.get(id)?.kind)) {
            None => return Err(ConnectivityError::Missing { missing: *id, referrer: *by }),
            Some(found) if found != *named => {
                return Err(ConnectivityError::WrongKind { id: *id, found, named: *named, referrer: *by });
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

    fn commit_of_a_tree_and_a_parent(shallow: bool) -> Links {
        let mut links = Links::default();
        let tree = Named { id: id(2), kind: Kind::Tree, parent: false, special: None };
        let parent = Named { id: id(3), kind: Kind::Commit, parent: true, special: None };
        links.add(id(1), Kind::Commit, vec![tree, parent], shallow);
        links
    }

    #[test]
    fn what_is_named_may_be_inside_or_outside() {
        let mut links = commit_of_a_tree_and_a_parent(false);
        links.add(id(2), Kind::Tree, Vec::new(), false);
        assert_eq!(links.targets().collect::<Vec<_>>(), [id(3)]);
        assert_eq!(check(&links, &stored(&[(3, Kind::Commit)])), Ok(()));
    }

    #[test]
    fn links_of_several_threads_are_one() {
        let mut links = commit_of_a_tree_and_a_parent(false);
        let mut other = Links::default();
        other.add(
            id(2),
            Kind::Tree,
            vec![Named { id: id(3), kind: Kind::Blob, parent: false, special: None }],
            false,
        );
        links.append(other);
        assert!(links.targets().all(|target| target == id(3)));
        let as_one_kind = check(&links, &stored(&[(3, Kind::Commit)]));
        assert!(matches!(as_one_kind, Err(ConnectivityError::WrongKind { named: Kind::Blob, .. })));
    }

    #[test]
    fn what_was_named_before_is_not_counted_again() {
        let mut links = commit_of_a_tree_and_a_parent(false);
        let file = |digit| Named { id: id(digit), kind: Kind::Blob, parent: false, special: None };
        assert_eq!(links.add(id(2), Kind::Tree, vec![file(4), file(5)], false), 2);
        assert_eq!(links.add(id(6), Kind::Tree, vec![file(4), file(7)], false), 1);
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_refused() {
        let links = commit_of_a_tree_and_a_parent(false);
        assert!(matches!(check(&links, &HashMap::new()), Err(ConnectivityError::Missing { .. })));
        let outside = stored(&[(2, Kind::Blob), (3, Kind::Commit)]);
        assert!(matches!(check(&links, &outside), Err(ConnectivityError::WrongKind { .. })));
    }

    #[test]
    fn the_parents_of_a_shallow_commit_need_not_be_there() {
        let links = commit_of_a_tree_and_a_parent(true);
        assert_eq!(check(&links, &stored(&[(2, Kind::Tree)])), Ok(()));
    }
}
