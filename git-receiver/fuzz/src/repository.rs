//! An in-memory repository.

use std::collections::{HashMap, HashSet};

use git_receiver::{Kind, Object, ObjectId, ObjectInfo, Reference, Repository, RepositoryError};

use super::wire;

/// An in-memory repository.
#[derive(Clone, Default)]
pub struct MemoryRepository {
    objects: HashMap<ObjectId, Object>,
    contents: HashMap<ObjectId, Vec<u8>>,
    refs: Vec<Reference>,
    shallow: Vec<ObjectId>,
    /// The ids of its objects, in the order in which recipes count them.
    pub order: Vec<ObjectId>,
}

impl MemoryRepository {
    /// A repository of these objects, which recipes count in this order.
    pub fn of(objects: Vec<DecodedObject>, refs: Vec<Reference>, shallow: Vec<ObjectId>) -> Self {
        let order = objects.iter().map(|object| object.id).collect();
        let mut repository = Self { refs, shallow, order, ..Self::default() };
        objects.into_iter().for_each(|object| repository.add(object.stored(), object.content));
        repository
    }

    fn add(&mut self, stored: Object, content: Vec<u8>) {
        self.contents.insert(stored.id, content);
        self.objects.insert(stored.id, stored);
    }

    /// This repository after a push of `objects`, stored undeltified or as in `received`, that updated or deleted the refs
    /// `moved`, whose new values are `refs`.
    pub fn after(
        &self,
        objects: &[DecodedObject],
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

    /// The content of an object, if it is stored.
    pub fn content(&self, id: &ObjectId) -> Option<&[u8]> {
        self.contents.get(id).map(Vec::as_slice)
    }

    /// An object, if it is stored.
    pub fn get(&self, id: &ObjectId) -> Option<&Object> {
        self.objects.get(id)
    }

    /// All objects.
    pub fn all(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// The refs.
    pub fn current_refs(&self) -> &[Reference] {
        &self.refs
    }

    /// The shallow commits.
    pub fn current_shallow(&self) -> &[ObjectId] {
        &self.shallow
    }
}

/// An object with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedObject {
    /// The object id.
    pub id: ObjectId,
    /// The kind.
    pub kind: Kind,
    /// The content.
    pub content: Vec<u8>,
}

impl DecodedObject {
    /// An object with this content.
    pub fn new(kind: Kind, content: &[u8]) -> Self {
        Self { id: wire::name(kind, content), kind, content: content.to_vec() }
    }

    /// The object in stored form, undeltified.
    fn stored(&self) -> Object {
        let (size, zlib) = (self.content.len() as u64, wire::store(&self.content).into());
        Object { id: self.id, kind: self.kind, base: None, depth: 0, size, zlib }
    }
}

impl Repository for MemoryRepository {
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

    /// Returns one object at a time, the minimum that the trait allows.
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
