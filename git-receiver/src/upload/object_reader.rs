//! Reads the objects to send in batches: in storage order as long as most stored objects are to be sent, as for a clone, and
//! then by id.

use std::vec;

use gix_hash::ObjectId;
use gix_hashtable::HashSet;

use super::UploadError;
use super::storage_order::StorageOrder;
use crate::{CorruptObjectError, Object, Repository};

/// How many objects are requested by id at once; the repository bounds their bytes.
const BATCH_OBJECTS: usize = 4096;

/// From this many objects on, they are read in storage order.
const STORAGE_ORDER_MIN: usize = 10_000;

/// How many other objects are read in storage order for each wanted one before the rest is read by id.
const STORAGE_ORDER_OVERHEAD: usize = 3;

/// Reads each object of a selection once.
pub(super) struct ObjectReader<'r, R> {
    repository: &'r R,
    left: HashSet,
    /// The objects in storage order, while that is efficient.
    storage_order: Option<StorageOrder<'r, R>>,
    /// All objects, in the order in which they are requested by id.
    order: vec::IntoIter<ObjectId>,
    /// Objects that were requested but not returned yet.
    pending: Vec<ObjectId>,
}

impl<'r, R: Repository> ObjectReader<'r, R> {
    /// A reader of `objects` without those that were `read` already.
    pub(super) fn new(repository: &'r R, objects: Vec<ObjectId>, read: &[Object]) -> Self {
        let mut left: HashSet = objects.iter().copied().collect();
        for object in read {
            left.remove(&object.id);
        }
        let storage_order = (left.len() >= STORAGE_ORDER_MIN)
            .then(|| StorageOrder::of(repository, left.len() * (1 + STORAGE_ORDER_OVERHEAD)));
        Self { repository, left, storage_order, order: objects.into_iter(), pending: Vec::new() }
    }

    /// The next objects; none at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Object>, UploadError> {
        while let Some(storage_order) = &mut self.storage_order {
            let mut found = storage_order.next().await?;
            if found.is_empty() {
                self.storage_order = None;
            }
            found.retain(|object| self.left.remove(&object.id));
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let pending = self.order.by_ref().filter(|id| self.left.contains(id));
        self.pending.extend(pending.take(BATCH_OBJECTS - self.pending.len()));
        let Some(one) = self.pending.first() else { return Ok(Vec::new()) };
        let mut found = self.repository.objects(&self.pending).await?;
        if found.is_empty() {
            return Err(CorruptObjectError(*one).into());
        }
        found.retain(|object| self.left.remove(&object.id));
        self.pending.retain(|id| self.left.contains(id));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use gix_object::Kind;

    use super::*;
    use crate::test_repo::TestRepo;

    /// Reads all of `objects` except the first `read`.
    async fn all(repo: &TestRepo, objects: &[Object], read: usize) -> Vec<ObjectId> {
        let ids = objects.iter().map(|object| object.id).collect();
        let mut reader = ObjectReader::new(repo, ids, &objects[..read]);
        let mut found = Vec::new();
        loop {
            let some = reader.next().await.unwrap();
            if some.is_empty() {
                return found;
            }
            found.extend(some.into_iter().map(|object| object.id));
        }
    }

    #[tokio::test]
    async fn many_objects_are_read_in_storage_order_and_the_rest_by_id() {
        let mut repo = TestRepo::default();
        let object = |number: u32| {
            let mut name = [0; 20];
            name[..4].copy_from_slice(&(number ^ 0x5555).to_be_bytes());
            let id = ObjectId::Sha1(name);
            Object { id, kind: Kind::Blob, base: None, depth: 0, size: 0, zlib: Vec::new().into() }
        };
        let objects: Vec<Object> = (0..12_000).map(object).collect();
        objects.iter().for_each(|object| repo.add(object.clone()));
        let expected: Vec<ObjectId> = objects[100..].iter().map(|object| object.id).collect();
        let mut found = all(&repo, &objects, 100).await;
        let (first, last) = (&found[..800], &expected[..800]);
        assert!(first.is_sorted_by_key(|id| expected.iter().position(|other| other == id)) && first != last);
        found.sort_unstable();
        let mut sorted = expected.clone();
        sorted.sort_unstable();
        assert!(found == sorted);
        // Few objects are read by id, in the requested order.
        let few: Vec<ObjectId> = objects[2..10].iter().map(|object| object.id).collect();
        assert_eq!(all(&repo, &objects[..10], 2).await, few);
    }
}
