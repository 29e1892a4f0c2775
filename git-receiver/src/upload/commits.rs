//! A cache of parsed commits for one request.

use std::sync::Arc;

use gix_hash::ObjectId;
use gix_hashtable::{HashMap, HashSet};
use gix_object::Kind;

use super::UploadError;
use crate::memory::Reservation;
use crate::parse::{self, Commit};
use crate::{MemoryPool, Object, Repository, content};

/// After this many steps of a walk, all commits are read at once: one query per step is slow for a long history, while most
/// fetches only need its newest commits.
const STEPS_BEFORE_READ_ALL: usize = 32;

/// How many commits are read per page.
const PAGE_COMMITS: usize = 10_000;

/// The memory of a commit during a walk, in this cache and in the sets of the walks.
const COMMIT_BYTES: u64 = 400;

/// The commits that were read so far.
pub(super) struct Commits<'r, R> {
    repository: &'r R,
    /// The shallow commits of the repository.
    shallow: HashSet,
    known: HashMap<ObjectId, Commit>,
    reservation: Reservation,
    steps: usize,
}

impl<'r, R: Repository> Commits<'r, R> {
    /// An empty cache.
    pub(super) async fn of(repository: &'r R) -> Result<Self, UploadError> {
        let shallow = repository.shallow().await?.into_iter().collect();
        let reservation = Reservation::new(&repository.memory());
        Ok(Self { repository, shallow, known: HashMap::default(), reservation, steps: 0 })
    }

    /// The repository.
    pub(super) fn repository(&self) -> &'r R {
        self.repository
    }

    /// Whether the commit is shallow in the repository.
    pub(super) fn is_shallow(&self, id: &ObjectId) -> bool {
        self.shallow.contains(id)
    }

    /// A commit that was read; `None` if it is not a commit or not stored.
    pub(super) fn get(&self, id: &ObjectId) -> Option<&Commit> {
        self.known.get(id)
    }

    /// Reads those of `ids` that are not cached.
    pub(super) async fn read(&mut self, ids: &[ObjectId]) -> Result<(), UploadError> {
        if ids.iter().all(|id| self.known.contains_key(id)) {
            return Ok(());
        }
        self.steps += 1;
        if self.steps == STEPS_BEFORE_READ_ALL {
            self.read_all().await?;
        }
        let unknown: Vec<ObjectId> = ids.iter().filter(|id| !self.known.contains_key(*id)).copied().collect();
        self.read_each(&unknown).await
    }

    async fn read_each(&mut self, ids: &[ObjectId]) -> Result<(), UploadError> {
        let repository = self.repository;
        content::for_each(repository, ids, |id, kind, content| match kind {
            Kind::Commit => self.add(id, parse::commit(id, content)?),
            _ => Ok(()),
        })
        .await
    }

    /// Reads all commits, if the repository can list them. While a page is parsed, the next one is read.
    async fn read_all(&mut self) -> Result<(), UploadError> {
        let mut page = self.repository.commits(None, PAGE_COMMITS).await?.unwrap_or_default();
        while let Some(last) = page.last().map(|commit| commit.id) {
            let (undeltified, deltas): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|commit| commit.base.is_none());
            let memory = self.repository.memory();
            let parsing = tokio::task::spawn_blocking(move || parse(&undeltified, &memory));
            let (parsed, next) = tokio::join!(parsing, self.repository.commits(Some(last), PAGE_COMMITS));
            for (id, commit) in parsed.map_err(std::io::Error::other)?? {
                self.add(id, commit)?;
            }
            let deltas: Vec<ObjectId> = deltas.into_iter().map(|commit| commit.id).collect();
            self.read_each(&deltas).await?;
            page = next?.unwrap_or_default();
        }
        Ok(())
    }

    fn add(&mut self, id: ObjectId, mut commit: Commit) -> Result<(), UploadError> {
        if self.is_shallow(&id) {
            commit.parents.clear();
        }
        self.reservation.try_grow(COMMIT_BYTES + (commit.parents.len() * size_of::<ObjectId>()) as u64)?;
        self.known.insert(id, commit);
        Ok(())
    }
}

/// Parses undeltified commits.
fn parse(commits: &[Object], memory: &Arc<dyn MemoryPool>) -> Result<Vec<(ObjectId, Commit)>, UploadError> {
    let mut parsed = Vec::with_capacity(commits.len());
    content::reconstruct(commits, memory, |object, content| {
        parsed.push((object.id, parse::commit(object.id, content)?));
        Ok::<_, UploadError>(())
    })?;
    Ok(parsed)
}
