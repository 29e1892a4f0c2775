//! Objects in the order in which they are stored, where the repository has one.

use crate::{Object, Repository, RepositoryError};

/// How many objects a portion must hold for it to go on: with fewer, other repositories lie in between.
const DENSE: usize = 250;

/// What a repository holds, from the first object on, for as long as reading so is likely to be less work than by name.
pub(super) struct InOrder<'r, R> {
    repository: &'r R,
    /// Where the next portion begins; `None` at the end.
    position: Option<u64>,
    most: usize,
}

impl<'r, R: Repository> InOrder<'r, R> {
    /// About `most` objects, or fewer.
    pub(super) fn of(repository: &'r R, most: usize) -> Self {
        Self { repository, position: Some(0), most }
    }

    /// The next objects; none at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Object>, RepositoryError> {
        let Some(position) = self.position.filter(|_| self.most > 0) else { return Ok(Vec::new()) };
        let Some(stored) = self.repository.objects_in_storage_order(position).await? else {
            return Ok(Vec::new());
        };
        self.position = (stored.objects.len() >= DENSE).then_some(stored.next);
        self.most = self.most.saturating_sub(stored.objects.len());
        Ok(stored.objects)
    }
}
