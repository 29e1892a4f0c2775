//! Reads what is to be sent, a portion at a time: in the order in which it is stored while most of what is stored there is
//! to be sent, as it is for a clone, and then by name.

use std::vec;

use gix_hash::ObjectId;
use gix_hashtable::HashSet;

use super::UploadError;
use super::in_order::InOrder;
use crate::{CorruptObjectError, Object, Repository};

/// How many objects are asked for by name at once; the repository bounds their bytes.
const OBJECTS_AT_ONCE: usize = 4096;

/// From how many objects on it pays to read in stored order, and past how many others for each of them.
const MANY: usize = 10_000;
const OTHERS: usize = 3;

/// The objects that were not read yet.
pub(super) struct Unread<'r, R> {
    repository: &'r R,
    left: HashSet,
    /// What is read in stored order, while it pays.
    stored: Option<InOrder<'r, R>>,
    /// All objects, in the order in which they are asked for by name …
    order: vec::IntoIter<ObjectId>,
    /// … and those that were asked for and left out.
    asked: Vec<ObjectId>,
}

impl<'r, R: Repository> Unread<'r, R> {
    /// All of `objects` that are not among `read`.
    pub(super) fn new(repository: &'r R, objects: Vec<ObjectId>, read: &[Object]) -> Self {
        let mut left: HashSet = objects.iter().copied().collect();
        for object in read {
            left.remove(&object.id);
        }
        let stored = (left.len() >= MANY).then(|| InOrder::of(repository, left.len() * (1 + OTHERS)));
        Self { repository, left, stored, order: objects.into_iter(), asked: Vec::new() }
    }

    /// The next objects; none when all are read.
    pub(super) async fn next(&mut self) -> Result<Vec<Object>, UploadError> {
        while let Some(stored) = &mut self.stored {
            let mut found = stored.next().await?;
            if found.is_empty() {
                self.stored = None;
            }
            found.retain(|object| self.left.remove(&object.id));
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let asked = self.order.by_ref().filter(|id| self.left.contains(id));
        self.asked.extend(asked.take(OBJECTS_AT_ONCE - self.asked.len()));
        let Some(one) = self.asked.first() else { return Ok(Vec::new()) };
        let mut found = self.repository.objects(&self.asked).await?;
        if found.is_empty() {
            return Err(CorruptObjectError(*one).into());
        }
        found.retain(|object| self.left.remove(&object.id));
        self.asked.retain(|id| self.left.contains(id));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use gix_object::Kind;

    use super::*;
    use crate::sample::History;

    /// All of `objects` that are not among the first `read`, as they come.
    async fn all(history: &History, objects: &[Object], read: usize) -> Vec<ObjectId> {
        let ids = objects.iter().map(|object| object.id).collect();
        let mut unread = Unread::new(history, ids, &objects[..read]);
        let mut found = Vec::new();
        loop {
            let some = unread.next().await.unwrap();
            if some.is_empty() {
                return found;
            }
            found.extend(some.into_iter().map(|object| object.id));
        }
    }

    #[tokio::test]
    async fn many_objects_are_read_in_stored_order_and_what_is_left_out_by_name() {
        let mut history = History::default();
        let object = |number: u32| {
            let mut name = [0; 20];
            name[..4].copy_from_slice(&(number ^ 0x5555).to_be_bytes());
            let id = ObjectId::Sha1(name);
            Object { id, kind: Kind::Blob, base: None, depth: 0, size: 0, zlib: Vec::new().into() }
        };
        let objects: Vec<Object> = (0..12_000).map(object).collect();
        objects.iter().for_each(|object| history.add(object.clone()));
        let expected: Vec<ObjectId> = objects[100..].iter().map(|object| object.id).collect();
        let mut found = all(&history, &objects, 100).await;
        let (first, last) = (&found[..800], &expected[..800]);
        assert!(first.is_sorted_by_key(|id| expected.iter().position(|other| other == id)) && first != last);
        found.sort_unstable();
        let mut sorted = expected.clone();
        sorted.sort_unstable();
        assert!(found == sorted);
        // Few are read by name, in the order in which they are wanted.
        let few: Vec<ObjectId> = objects[2..10].iter().map(|object| object.id).collect();
        assert_eq!(all(&history, &objects[..10], 2).await, few);
    }
}
