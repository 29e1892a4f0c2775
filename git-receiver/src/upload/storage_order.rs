//! Reads objects in storage order, if the repository supports it.

use crate::{Object, Repository, RepositoryError};

/// The minimum size of a batch to continue: smaller ones mean that objects of other repositories are stored in between.
const BATCH_OBJECTS_MIN: usize = 250;

/// An iterator over a repository's objects in storage order, which ends when reading by id is likely to be cheaper.
pub(super) struct StorageOrder<'r, R> {
    repository: &'r R,
    /// The start of the next batch; `None` at the end.
    position: Option<u64>,
    remaining: usize,
}

impl<'r, R: Repository> StorageOrder<'r, R> {
    /// Reads about `remaining` objects.
    pub(super) fn of(repository: &'r R, remaining: usize) -> Self {
        Self { repository, position: Some(0), remaining }
    }

    /// The next batch; empty at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Object>, RepositoryError> {
        let Some(position) = self.position.filter(|_| self.remaining > 0) else { return Ok(Vec::new()) };
        let Some(stored) = self.repository.objects_in_storage_order(position).await? else {
            return Ok(Vec::new());
        };
        self.position = (stored.objects.len() >= BATCH_OBJECTS_MIN).then_some(stored.next);
        self.remaining = self.remaining.saturating_sub(stored.objects.len());
        Ok(stored.objects)
    }
}
