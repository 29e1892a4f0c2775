//! A small repository in memory, for the tests of this room.

use std::collections::HashMap;

use gix_hash::ObjectId;
use gix_object::Kind;

use crate::unpack::compress;
use crate::{Known, Object, Reference, Repository, RepositoryError};

/// A history in memory; commit `n` was made at second `n`.
#[derive(Default)]
pub(super) struct History {
    /// Commits, and the empty tree that is the tree of all of them.
    objects: Vec<Object>,
    pub(super) head: Option<&'static str>,
    pub(super) refs: Vec<Reference>,
    pub(super) shallow: Vec<ObjectId>,
}

impl History {
    pub(super) fn commit(&mut self, parents: &[ObjectId]) -> ObjectId {
        if self.objects.is_empty() {
            let (id, zlib) = (ObjectId::empty_tree(gix_hash::Kind::Sha1), compress(b""));
            self.objects.push(Object { id, kind: Kind::Tree, base: None, depth: 0, size: 0, zlib });
        }
        let time = self.objects.len() - 1;
        let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
        let content = format!(
            "tree {}\n{parents}author a <a@a> 0 +0000\ncommitter a <a@a> {time} +0000\n\n",
            ObjectId::empty_tree(gix_hash::Kind::Sha1)
        );
        let id = gix_object::compute_hash(gix_hash::Kind::Sha1, Kind::Commit, content.as_bytes()).unwrap();
        let (size, zlib) = (content.len() as u64, compress(content.as_bytes()));
        self.objects.push(Object { id, kind: Kind::Commit, base: None, depth: 0, size, zlib });
        id
    }

    /// `count` commits in a line, the oldest first.
    pub(super) fn line(count: usize) -> (Self, Vec<ObjectId>) {
        let mut history = Self::default();
        let mut ids: Vec<ObjectId> = Vec::new();
        for _ in 0..count {
            let parent: Vec<ObjectId> = ids.last().copied().into_iter().collect();
            ids.push(history.commit(&parent));
        }
        (history, ids)
    }
}

impl Repository for History {
    fn head(&self) -> Option<&str> {
        self.head
    }
    async fn refs(&self) -> Result<Vec<Reference>, RepositoryError> {
        Ok(self.refs.clone())
    }
    async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        Ok(self.shallow.clone())
    }
    async fn known(&self, _: &[ObjectId]) -> Result<HashMap<ObjectId, Known>, RepositoryError> {
        Ok(HashMap::new())
    }
    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        Ok(self.objects.iter().filter(|object| ids.contains(&object.id)).cloned().collect())
    }
    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        self.objects(ids).await
    }
}
