//! An in-memory repository for unit tests.

use std::collections::HashMap;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_object::Kind;

use crate::memory::tests::LimitedPool;
use crate::unpack::compress;
use crate::{
    MemoryPool, Object, ObjectInfo, Reference, Repository, RepositoryError, StoredBatch, content,
    unbounded_memory,
};

/// How many bytes `objects` returns at once.
const AT_ONCE_BYTES: usize = 4 * 1024 * 1024;

/// An in-memory repository; commit `n` has committer time `n`.
#[derive(Default)]
pub(crate) struct TestRepo {
    objects: HashMap<ObjectId, Object>,
    /// In the order of insertion.
    order: Vec<ObjectId>,
    commits: usize,
    pub(crate) head: Option<&'static str>,
    pub(crate) refs: Vec<Reference>,
    pub(crate) shallow: Vec<ObjectId>,
    /// The memory pool of requests, if it is limited.
    pub(crate) memory: Option<Arc<LimitedPool>>,
}

impl TestRepo {
    pub(crate) fn add(&mut self, object: Object) {
        self.order.push(object.id);
        self.objects.insert(object.id, object);
    }

    fn add_whole(&mut self, kind: Kind, content: &[u8]) -> ObjectId {
        let id = gix_object::compute_hash(gix_hash::Kind::Sha1, kind, content).unwrap();
        let (size, zlib) = (content.len() as u64, compress(content));
        self.add(Object { id, kind, base: None, depth: 0, size, zlib });
        id
    }

    /// Adds a blob.
    pub(crate) fn blob(&mut self, content: &[u8]) -> ObjectId {
        self.add_whole(Kind::Blob, content)
    }

    /// Adds a tag.
    pub(crate) fn tag(&mut self, target: ObjectId, kind: Kind, message: &str) -> ObjectId {
        let content = format!("object {target}\ntype {kind}\ntag a\ntagger a <a@a> 0 +0000\n\n{message}");
        self.add_whole(Kind::Tag, content.as_bytes())
    }

    /// Adds an object as a delta: the content of `base` with one letter appended.
    pub(crate) fn delta_appending(&mut self, base: ObjectId, letter: u8) -> ObjectId {
        let (kind, mut content) = {
            let base = &self.objects[&base];
            let mut content = Vec::new();
            content::reconstruct(std::slice::from_ref(base), &unbounded_memory(), |_, found| {
                content.extend_from_slice(found);
                Ok::<_, RepositoryError>(())
            })
            .unwrap();
            (base.kind, content)
        };
        let length = content.len();
        content.push(letter);
        let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        let copy = [0xf0, low, middle, high];
        let delta = [&varint(length)[..], &varint(length + 1), &copy, &[1, letter]].concat();
        let id = gix_object::compute_hash(gix_hash::Kind::Sha1, kind, &content).unwrap();
        let (size, zlib) = (delta.len() as u64, compress(&delta));
        self.add(Object { id, kind, base: Some(base), depth: 1, size, zlib });
        id
    }

    /// Adds a commit with an empty tree.
    pub(crate) fn commit(&mut self, parents: &[ObjectId]) -> ObjectId {
        self.commit_of(parents, &[])
    }

    /// Adds a commit with `files` in its root tree.
    pub(crate) fn commit_of(&mut self, parents: &[ObjectId], files: &[(&str, ObjectId)]) -> ObjectId {
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

    /// A linear history of `count` commits, oldest first.
    pub(crate) fn linear(count: usize) -> (Self, Vec<ObjectId>) {
        let mut repo = Self::default();
        let mut ids: Vec<ObjectId> = Vec::new();
        for _ in 0..count {
            let parent: Vec<ObjectId> = ids.last().copied().into_iter().collect();
            ids.push(repo.commit(&parent));
        }
        (repo, ids)
    }
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

impl Repository for TestRepo {
    fn memory(&self) -> Arc<dyn MemoryPool> {
        match &self.memory {
            Some(memory) => Arc::<LimitedPool>::clone(memory),
            None => unbounded_memory(),
        }
    }
    fn head(&self) -> Option<&str> {
        self.head
    }
    async fn refs(&self) -> Result<Vec<Reference>, RepositoryError> {
        Ok(self.refs.clone())
    }
    async fn shallow(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        Ok(self.shallow.clone())
    }
    async fn object_info(&self, ids: &[ObjectId]) -> Result<HashMap<ObjectId, ObjectInfo>, RepositoryError> {
        let known =
            |id| self.objects.get(id).map(|object| ObjectInfo { kind: object.kind, depth: object.depth });
        Ok(ids.iter().filter_map(|id| Some((*id, known(id)?))).collect())
    }
    async fn objects(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let mut bytes = 0;
        let found = ids.iter().filter_map(|id| self.objects.get(id)).take_while(|object| {
            let begins = bytes < AT_ONCE_BYTES;
            bytes += object.zlib.len();
            begins
        });
        Ok(found.cloned().collect())
    }
    async fn objects_and_bases(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let mut reached: HashMap<ObjectId, Object> = HashMap::new();
        let mut pending = ids.to_vec();
        while let Some(id) = pending.pop() {
            if let Some(object) = self.objects.get(&id).filter(|_| !reached.contains_key(&id)) {
                pending.extend(object.base);
                reached.insert(id, object.clone());
            }
        }
        Ok(reached.into_values().collect())
    }
    async fn objects_in_storage_order(&self, position: u64) -> Result<Option<StoredBatch>, RepositoryError> {
        // Some objects are left out, as the trait allows.
        let from = usize::try_from(position).unwrap();
        let some = self.order.iter().enumerate().skip(from).take(1000).filter(|(at, _)| at % 7 != 3);
        let objects = some.map(|(_, id)| self.objects[id].clone()).collect();
        Ok(Some(StoredBatch { objects, next: position + 1000 }))
    }
}
