//! The commits of a repository, each read once.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use gix_object::{CommitRefIter, Kind};

use super::UploadError;
use crate::{DamagedObject, Repository, check};

/// What a walk has to know of a commit.
pub(super) struct Commit {
    pub(super) tree: Option<ObjectId>,
    /// Its parents, as far as the repository has them.
    pub(super) parents: Vec<ObjectId>,
    /// When it was committed, in seconds since 1970.
    pub(super) time: i64,
}

/// The commits that were read so far.
pub(super) struct Commits<'r, R> {
    repository: &'r R,
    /// The history that the repository has itself ends with these.
    shallow: HashSet<ObjectId>,
    known: HashMap<ObjectId, Commit>,
}

impl<'r, R: Repository> Commits<'r, R> {
    /// None yet.
    pub(super) async fn of(repository: &'r R) -> Result<Self, UploadError> {
        let shallow = repository.shallow().await?.into_iter().collect();
        Ok(Self { repository, shallow, known: HashMap::new() })
    }

    /// The repository they are read from.
    pub(super) fn repository(&self) -> &'r R {
        self.repository
    }

    /// Whether the repository has none of its parents.
    pub(super) fn is_shallow(&self, id: &ObjectId) -> bool {
        self.shallow.contains(id)
    }

    /// A commit that was read; `None` for what is no commit, or is not there.
    pub(super) fn get(&self, id: &ObjectId) -> Option<&Commit> {
        self.known.get(id)
    }

    /// Reads those of `ids` that were not read before.
    pub(super) async fn read(&mut self, ids: &[ObjectId]) -> Result<(), UploadError> {
        let unknown: Vec<ObjectId> = ids.iter().filter(|id| !self.known.contains_key(*id)).copied().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for object in self.repository.objects(&unknown).await? {
            if object.kind == Kind::Commit {
                let content = object.content()?;
                let named = check::object(Kind::Commit, &content).map_err(|_| DamagedObject(object.id))?;
                let tree = named.iter().find(|named| !named.parent).map(|named| named.id);
                let mut parents = Vec::new();
                if !self.is_shallow(&object.id) {
                    parents.extend(named.iter().filter(|named| named.parent).map(|named| named.id));
                }
                let committer = CommitRefIter::from_bytes(&content, gix_hash::Kind::Sha1).committer();
                let time = committer.ok().map_or(0, |committer| committer.seconds());
                self.known.insert(object.id, Commit { tree, parents, time });
            }
        }
        Ok(())
    }
}
