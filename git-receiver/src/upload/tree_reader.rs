//! Reads trees with their delta bases: by id, or prefetched in storage order.

use std::collections::VecDeque;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_hashtable::{HashMap, HashSet};
use gix_object::Kind;

use super::UploadError;
use super::storage_order::StorageOrder;
use crate::{CorruptObjectError, MemoryPool, Object, Repository, RepositoryError};

/// How many trees are requested at once.
const BATCH_TREES: usize = 4000;

/// From this many trees on, the two halves of a batch are read in parallel.
const PARALLEL_TREES_MIN: usize = 1000;

/// How many objects the prefetch reads.
const PREFETCH_OBJECTS_MAX: usize = 500_000;

/// How many bytes of trees the prefetch keeps.
const PREFETCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads the trees of a repository.
pub(super) struct TreeReader<'r, R> {
    repository: &'r R,
    prefetched: HashMap<ObjectId, Object>,
}

/// A batch of trees.
#[derive(Default)]
pub(super) struct TreeBatch {
    pub(super) trees: Vec<ObjectId>,
    /// The trees and their delta bases.
    pub(super) objects: Vec<Object>,
}

impl<'r, R: Repository> TreeReader<'r, R> {
    /// A reader without prefetched trees.
    pub(super) fn of(repository: &'r R) -> Self {
        Self { repository, prefetched: HashMap::default() }
    }

    /// The memory pool of the request.
    pub(super) fn memory(&self) -> Arc<dyn MemoryPool> {
        self.repository.memory()
    }

    /// Prefetches trees in storage order, if the repository supports it, for callers that need most trees.
    pub(super) async fn prefetch(&mut self) -> Result<(), UploadError> {
        let mut bytes_left = PREFETCH_BYTES_MAX;
        let mut stored = StorageOrder::of(self.repository, PREFETCH_OBJECTS_MAX);
        loop {
            let objects = match stored.next().await {
                // Prefetching is optional.
                Err(RepositoryError::OutOfMemory(_)) => return Ok(()),
                objects => objects?,
            };
            if objects.is_empty() {
                return Ok(());
            }
            if !self.repository.memory().has_capacity(PREFETCH_BYTES_MAX as u64) {
                return Ok(());
            }
            for tree in objects.into_iter().filter(|object| object.kind == Kind::Tree) {
                let Some(rest) = bytes_left.checked_sub(tree.zlib.len()) else { return Ok(()) };
                bytes_left = rest;
                self.prefetched.insert(tree.id, tree);
            }
        }
    }

    /// Reads some of the `waiting` trees, as many as the repository returns at once; none if the queue is empty. Both halves
    /// are read in parallel, because the walk cannot continue without them.
    pub(super) async fn next(&self, waiting: &mut VecDeque<ObjectId>) -> Result<TreeBatch, UploadError> {
        let requested: Vec<ObjectId> = waiting.drain(..waiting.len().min(BATCH_TREES)).collect();
        let Some(any) = requested.first().copied() else { return Ok(TreeBatch::default()) };
        let (first, second) =
            requested.split_at(if requested.len() < PARALLEL_TREES_MIN { 0 } else { requested.len() / 2 });
        let (first, second) = tokio::try_join!(self.read(first), self.read(second))?;
        let objects = [first, second].concat();
        let found: HashSet = objects.iter().map(|object| object.id).collect();
        let (trees, rest): (Vec<_>, Vec<_>) = requested.into_iter().partition(|id| found.contains(id));
        if trees.is_empty() {
            return Err(CorruptObjectError(any).into());
        }
        rest.into_iter().rev().for_each(|id| waiting.push_front(id));
        Ok(TreeBatch { trees, objects })
    }

    /// Reads some of the objects `ids`, and their delta bases.
    async fn read(&self, ids: &[ObjectId]) -> Result<Vec<Object>, RepositoryError> {
        let (prefetched, unread): (Vec<_>, Vec<_>) =
            ids.iter().partition(|id| self.prefetched.contains_key(*id));
        let mut found: Vec<Object> =
            prefetched.iter().filter_map(|id| self.prefetched.get(id)).cloned().collect();
        if !unread.is_empty() {
            found.extend(self.repository.objects(&unread).await?);
        }
        let mut known: HashSet = found.iter().map(|object| object.id).collect();
        let mut missing = Vec::new();
        let mut at = 0;
        while let Some(base) = found.get(at).map(|object| object.base) {
            at += 1;
            let Some(base) = base.filter(|base| known.insert(*base)) else { continue };
            match self.prefetched.get(&base) {
                Some(object) => found.push(object.clone()),
                None => missing.push(base),
            }
        }
        if !missing.is_empty() {
            let chains = self.repository.objects_and_bases(&missing).await?;
            let read: HashSet = found.iter().map(|object| object.id).collect();
            found.extend(chains.into_iter().filter(|object| !read.contains(&object.id)));
        }
        Ok(found)
    }
}
