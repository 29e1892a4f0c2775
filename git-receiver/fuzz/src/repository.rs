//! A repository in memory.

use std::collections::{HashMap, HashSet};

use git_receiver::{Kind, Object, ObjectId, ObjectInfo, Reference, Repository, RepositoryError};

use super::wire;

/// A repository in memory.
#[derive(Clone, Default)]
pub struct Memory {
    objects: HashMap<ObjectId, Object>,
    contents: HashMap<ObjectId, Vec<u8>>,
    refs: Vec<Reference>,
    shallow: Vec<ObjectId>,
    /// The names of its objects, in the order in which recipes count them.
    pub order: Vec<ObjectId>,
}

impl Memory {
    /// A repository of these objects, which recipes count in their order.
    pub fn of(objects: Vec<Whole>, refs: Vec<Reference>, shallow: Vec<ObjectId>) -> Self {
        let order = objects.iter().map(|object| object.id).collect();
        let mut repository = Self { refs, shallow, order, ..Self::default() };
        objects.into_iter().for_each(|object| repository.add(object.stored(), object.content));
        repository
    }

    fn add(&mut self, stored: Object, content: Vec<u8>) {
        self.contents.insert(stored.id, content);
        self.objects.insert(stored.id, stored);
    }

    /// This repository after a push of `objects`, which are stored whole or as they were `received`, that moved or deleted
    /// the refs `moved`, so that they are `refs` now.
    pub fn after(
        &self,
        objects: &[Whole],
        received: &[Object],
        moved: &HashSet<String>,
        refs: &[Reference],
        shallow: &[ObjectId],
    ) -> Self {
        let mut after = self.clone();
        for object in objects {
            let as_received = received.iter().find(|received| received.id == object.id);
            after.add(as_received.cloned().unwrap_or_else(|| object.stored()), object.content.clone());
        }
        after.refs.retain(|found| !moved.contains(&found.name));
        after.refs.extend(refs.iter().cloned());
        after.shallow.extend(shallow);
        after
    }

    /// The content of an object, if it is there.
    pub fn content(&self, id: &ObjectId) -> Option<&[u8]> {
        self.contents.get(id).map(Vec::as_slice)
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

/// An object with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its name.
    pub id: ObjectId,
    /// Its kind.
    pub kind: Kind,
    /// Its content.
    pub content: Vec<u8>,
}

impl Whole {
    /// An object of this content.
    pub fn new(kind: Kind, content: &[u8]) -> Self {
        Self { id: wire::name(kind, content), kind, content: content.to_vec() }
    }

    /// It, as a repository stores it whole.
    fn stored(&self) -> Object {
        let (size, zlib) = (self.content.len() as u64, wire::store(&self.content).into());
        Object { id: self.id, kind: self.kind, base: None, depth: 0, size, zlib }
    }
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

    async fn object_info(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, ObjectInfo>, RepositoryError> {
        let known = |object: &Object| ObjectInfo { kind: object.kind, depth: object.depth };
        Ok(ids.iter().filter_map(|id| Some((*id, known(self.objects.get(id)?)))).collect())
    }

    /// One at a time, which is the least that is allowed.
    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        Ok(ids.iter().find_map(|id| self.objects.get(id)).cloned().into_iter().collect())
    }

    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let mut found: HashMap<ObjectId, Object> = HashMap::new();
        let mut wanted = ids.to_vec();
        while let Some(id) = wanted.pop() {
            let Some(object) = self.objects.get(&id) else { continue };
            if found.insert(id, object.clone()).is_none() {
                wanted.extend(object.base);
            }
        }
        Ok(found.into_values().collect())
    }
}
