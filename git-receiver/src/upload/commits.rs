//! The commits of a repository, each read once.

use std::sync::Arc;

use gix_hash::ObjectId;
use gix_hashtable::{HashMap, HashSet};
use gix_object::Kind;

use super::UploadError;
use crate::links::{self, Commit};
use crate::memory::Reservation;
use crate::{MemoryPool, Object, Repository, content};

/// After how many steps back through the history all commits are read together: a step each is slow where a history is
/// long, and most fetches want its end alone.
const STEPS_BEFORE_ALL: usize = 32;

/// How many commits are read together.
const PAGE: usize = 10_000;

/// What a commit takes while a walk goes on: here, and in the sets of those that walk.
const COMMIT_BYTES: u64 = 400;

/// The commits that were read so far.
pub(super) struct Commits<'r, R> {
    repository: &'r R,
    /// The history that the repository has itself ends with these.
    shallow: HashSet,
    known: HashMap<ObjectId, Commit>,
    held: Reservation,
    steps: usize,
}

impl<'r, R: Repository> Commits<'r, R> {
    /// None yet.
    pub(super) async fn of(repository: &'r R) -> Result<Self, UploadError> {
        let shallow = repository.shallow().await?.into_iter().collect();
        let held = Reservation::new(&repository.memory());
        Ok(Self { repository, shallow, known: HashMap::default(), held, steps: 0 })
    }

    /// The repository they are read from.
    pub(super) fn repository(&self) -> &'r R {
        self.repository
    }

    /// Whether the repository has none of its parents.
    pub(super) fn is_shallow(&self, id: &ObjectId) -> bool {
        self.shallow.contains(id)
    }

    /// A commit that was read; `None` for what is no commit, or is not there.
    pub(super) fn get(&self, id: &ObjectId) -> Option<&Commit> {
        self.known.get(id)
    }

    /// Reads those of `ids` that were not read before.
    pub(super) async fn read(&mut self, ids: &[ObjectId]) -> Result<(), UploadError> {
        if ids.iter().all(|id| self.known.contains_key(id)) {
            return Ok(());
        }
        self.steps += 1;
        if self.steps == STEPS_BEFORE_ALL {
            self.read_all().await?;
        }
        let unknown: Vec<ObjectId> = ids.iter().filter(|id| !self.known.contains_key(*id)).copied().collect();
        self.read_each(&unknown).await
    }

    async fn read_each(&mut self, ids: &[ObjectId]) -> Result<(), UploadError> {
        let repository = self.repository;
        content::each(repository, ids, |id, kind, content| match kind {
            Kind::Commit => self.add(id, links::commit(id, content)?),
            _ => Ok(()),
        })
        .await
    }

    /// Reads every commit, where the repository can list them: a page while the one before is taken apart.
    async fn read_all(&mut self) -> Result<(), UploadError> {
        let mut page = self.repository.commits(None, PAGE).await?.unwrap_or_default();
        while let Some(last) = page.last().map(|commit| commit.id) {
            let (whole, deltas): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|commit| commit.base.is_none());
            let memory = self.repository.memory();
            let parsing = tokio::task::spawn_blocking(move || parse(&whole, &memory));
            let (parsed, next) = tokio::join!(parsing, self.repository.commits(Some(last), PAGE));
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
        self.held.try_grow(COMMIT_BYTES + (commit.parents.len() * size_of::<ObjectId>()) as u64)?;
        self.known.insert(id, commit);
        Ok(())
    }
}

/// Reads commits that are stored whole.
fn parse(commits: &[Object], memory: &Arc<dyn MemoryPool>) -> Result<Vec<(ObjectId, Commit)>, UploadError> {
    let mut parsed = Vec::with_capacity(commits.len());
    content::build(commits, memory, |object, content| {
        parsed.push((object.id, links::commit(object.id, content)?));
        Ok::<_, UploadError>(())
    })?;
    Ok(parsed)
}
