//! A repository in memory.

use std::collections::{HashMap, HashSet};

use git_receiver::{Kind, Object, ObjectId, Reference, Repository, RepositoryError};

use super::wire;

/// A repository in memory.
#[derive(Clone, Default)]
pub struct Memory {
    objects: HashMap<ObjectId, Object>,
    refs: Vec<Reference>,
    shallow: Vec<ObjectId>,
    /// The names of its objects, in the order in which recipes count them.
    pub order: Vec<ObjectId>,
}

impl Memory {
    /// A repository of these objects, which recipes count in their order.
    pub fn of(objects: Vec<Object>, refs: Vec<Reference>, shallow: Vec<ObjectId>) -> Self {
        let order = objects.iter().map(|object| object.id).collect();
        Self {
            objects: objects.into_iter().map(|object| (object.id, object)).collect(),
            refs,
            shallow,
            order,
        }
    }

    /// This repository after a push of `objects` that moved or deleted the refs `moved`, so that they are `refs` now.
    pub fn after(
        &self,
        objects: &[Object],
        moved: &HashSet<String>,
        refs: &[Reference],
        shallow: &[ObjectId],
    ) -> Self {
        let mut after = self.clone();
        after.objects.extend(objects.iter().map(|object| (object.id, object.clone())));
        after.refs.retain(|found| !moved.contains(&found.name));
        after.refs.extend(refs.iter().cloned());
        after.shallow.extend(shallow);
        after
    }

    /// An object, if it is there.
    pub fn get(&self, id: &ObjectId) -> Option<&Object> {
        self.objects.get(id)
    }

    /// All its objects.
    pub fn all(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// What its refs point to.
    pub fn refs_now(&self) -> &[Reference] {
        &self.refs
    }

    /// The commits whose parents are not there.
    pub fn shallow_now(&self) -> &[ObjectId] {
        &self.shallow
    }
}

/// An object as a repository stores it.
pub fn stored(kind: Kind, content: &[u8]) -> Object {
    let zlib = wire::store(content).into();
    Object { id: wire::name(kind, content), kind, size: content.len() as u64, zlib }
}

impl Repository for Memory {
    fn head(&self) -> Option<&str> {
        Some("refs/heads/main")
    }

    async fn refs(&self) -> Result<Vec<Reference>, RepositoryError> {
        Ok(self.refs.clone())
    }

    async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        Ok(self.shallow.clone())
    }

    async fn kinds(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, Kind>, RepositoryError> {
        Ok(ids.iter().filter_map(|id| Some((*id, self.objects.get(id)?.kind))).collect())
    }

    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        Ok(ids.iter().filter_map(|id| self.objects.get(id).cloned()).collect())
    }
}
