//! Reads trees with what they are built on: by name, or ahead of being asked for, in the order in which they are stored.

use std::collections::VecDeque;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_hashtable::{HashMap, HashSet};
use gix_object::Kind;

use super::UploadError;
use super::in_order::InOrder;
use crate::{CorruptObjectError, MemoryPool, Object, Repository, RepositoryError};

/// How many trees are asked for at once, and from how many on each half is read by itself.
const AT_ONCE: usize = 4000;
const HALVED_MIN: usize = 1000;

/// How many objects are looked at ahead of being asked for, and how many bytes of trees are kept.
const AHEAD_MAX: usize = 500_000;
const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The trees of a repository.
pub(super) struct Trees<'r, R> {
    repository: &'r R,
    ahead: HashMap<ObjectId, Object>,
}

/// Some trees that were read.
#[derive(Default)]
pub(super) struct Portion {
    pub(super) trees: Vec<ObjectId>,
    /// They, and what they are built on.
    pub(super) objects: Vec<Object>,
}

impl<'r, R: Repository> Trees<'r, R> {
    /// None is read yet.
    pub(super) fn of(repository: &'r R) -> Self {
        Self { repository, ahead: HashMap::default() }
    }

    /// What bounds what is held of it.
    pub(super) fn memory(&self) -> Arc<dyn MemoryPool> {
        self.repository.memory()
    }

    /// Those of the first objects of the repository that are trees, where it can list them: for whoever will want most of
    /// them.
    pub(super) async fn read_ahead(&mut self) -> Result<(), UploadError> {
        let mut room = AHEAD_BYTES_MAX;
        let mut stored = InOrder::of(self.repository, AHEAD_MAX);
        loop {
            let objects = match stored.next().await {
                // It can do without.
                Err(RepositoryError::OutOfMemory(_)) => return Ok(()),
                objects => objects?,
            };
            if objects.is_empty() {
                return Ok(());
            }
            if !self.repository.memory().has_capacity(AHEAD_BYTES_MAX as u64) {
                return Ok(());
            }
            for tree in objects.into_iter().filter(|object| object.kind == Kind::Tree) {
                let Some(left) = room.checked_sub(tree.zlib.len()) else { return Ok(()) };
                room = left;
                self.ahead.insert(tree.id, tree);
            }
        }
    }

    /// Reads some of the trees that wait, as many as the repository gives at once: none when none waits. One half is read
    /// beside the other, since nothing else can be done until they are there.
    pub(super) async fn next(&self, waiting: &mut VecDeque<ObjectId>) -> Result<Portion, UploadError> {
        let asked: Vec<ObjectId> = waiting.drain(..waiting.len().min(AT_ONCE)).collect();
        let Some(one) = asked.first().copied() else { return Ok(Portion::default()) };
        let (first, second) = asked.split_at(if asked.len() < HALVED_MIN { 0 } else { asked.len() / 2 });
        let (first, second) = tokio::try_join!(self.read(first), self.read(second))?;
        let objects = [first, second].concat();
        let found: HashSet = objects.iter().map(|object| object.id).collect();
        let (trees, left): (Vec<_>, Vec<_>) = asked.into_iter().partition(|id| found.contains(id));
        if trees.is_empty() {
            return Err(CorruptObjectError(one).into());
        }
        left.into_iter().rev().for_each(|id| waiting.push_front(id));
        Ok(Portion { trees, objects })
    }

    /// Reads some of the objects `ids`, and what they are built on.
    async fn read(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let (ahead, unread): (Vec<_>, Vec<_>) = ids.iter().partition(|id| self.ahead.contains_key(*id));
        let mut found: Vec<Object> = ahead.iter().filter_map(|id| self.ahead.get(id)).cloned().collect();
        if !unread.is_empty() {
            found.extend(self.repository.objects(&unread).await?);
        }
        let mut here: HashSet = found.iter().map(|object| object.id).collect();
        let mut elsewhere = Vec::new();
        let mut at = 0;
        while let Some(base) = found.get(at).map(|object| object.base) {
            at += 1;
            let Some(base) = base.filter(|base| here.insert(*base)) else { continue };
            match self.ahead.get(&base) {
                Some(object) => found.push(object.clone()),
                None => elsewhere.push(base),
            }
        }
        if !elsewhere.is_empty() {
            let chains = self.repository.objects_and_bases(&elsewhere).await?;
            let read: HashSet = found.iter().map(|object| object.id).collect();
            found.extend(chains.into_iter().filter(|object| !read.contains(&object.id)));
        }
        Ok(found)
    }
}
