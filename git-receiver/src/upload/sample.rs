//! A small repository in memory, for the tests of this room.

use std::collections::HashMap;

use gix_hash::ObjectId;
use gix_object::Kind;

use crate::unpack::compress;
use crate::{Known, Object, Reference, Repository, RepositoryError, Stored};

/// A history in memory; commit `n` was made at second `n`.
#[derive(Default)]
pub(super) struct History {
    objects: HashMap<ObjectId, Object>,
    /// As they were added.
    order: Vec<ObjectId>,
    commits: usize,
    pub(super) head: Option<&'static str>,
    pub(super) refs: Vec<Reference>,
    pub(super) shallow: Vec<ObjectId>,
}

impl History {
    pub(super) fn add(&mut self, object: Object) {
        self.order.push(object.id);
        self.objects.insert(object.id, object);
    }

    fn add_whole(&mut self, kind: Kind, content: &[u8]) -> ObjectId {
        let id = gix_object::compute_hash(gix_hash::Kind::Sha1, kind, content).unwrap();
        let (size, zlib) = (content.len() as u64, compress(content));
        self.add(Object { id, kind, base: None, depth: 0, size, zlib });
        id
    }

    /// A commit of an empty tree.
    pub(super) fn commit(&mut self, parents: &[ObjectId]) -> ObjectId {
        self.commit_of(parents, &[])
    }

    /// A commit of these files.
    pub(super) fn commit_of(&mut self, parents: &[ObjectId], files: &[(&str, ObjectId)]) -> ObjectId {
        let entry =
            |(name, id): &(&str, ObjectId)| [format!("100644 {name}\0").as_bytes(), id.as_slice()].concat();
        let tree = self.add_whole(Kind::Tree, &files.iter().flat_map(entry).collect::<Vec<u8>>());
        let time = self.commits;
        self.commits += 1;
        let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
        let who = "a <a@a>";
        let commit = format!("tree {tree}\n{parents}author {who} 0 +0000\ncommitter {who} {time} +0000\n\n");
        self.add_whole(Kind::Commit, commit.as_bytes())
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
        Ok(ids.iter().filter_map(|id| self.objects.get(id)).cloned().collect())
    }
    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let mut reached: HashMap<ObjectId, Object> = HashMap::new();
        let mut asked = ids.to_vec();
        while let Some(id) = asked.pop() {
            if let Some(object) = self.objects.get(&id).filter(|_| !reached.contains_key(&id)) {
                asked.extend(object.base);
                reached.insert(id, object.clone());
            }
        }
        Ok(reached.into_values().collect())
    }
    async fn stored(&self, place: u64) -> Result<Option<Stored>, RepositoryError> {
        // Some are left out, as large ones may be.
        let from = usize::try_from(place).unwrap();
        let some = self.order.iter().enumerate().skip(from).take(1000).filter(|(at, _)| at % 7 != 3);
        let objects = some.map(|(_, id)| self.objects[id].clone()).collect();
        Ok(Some(Stored { objects, next: place + 1000 }))
    }
}
