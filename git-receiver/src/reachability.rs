//! Computes which objects are reachable, so that garbage collection can delete the others.
//!
//! Commits, trees and tags are read in batches of bounded size. An object id takes about 40 bytes.

use std::collections::HashSet;

use gix_hash::ObjectId;

use crate::unpack::compress;
use crate::{CorruptObjectError, Kind, Object, ReadError, Repository, content, parse};

/// The most objects that are read at once.
const AT_ONCE_MAX: usize = 1000;

/// The most bytes of streams that are read at once, with delta bases, unless a single object takes more.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The set of objects that are reachable from some roots, roots included. Delta bases are not reachable as such.
#[derive(Debug)]
pub struct Reachability {
    reached: HashSet<ObjectId>,
    /// Reachable objects that are not read yet.
    unread: Vec<ObjectId>,
    shallow: HashSet<ObjectId>,
    at_once: usize,
}

impl Default for Reachability {
    fn default() -> Self {
        Self { reached: HashSet::new(), unread: Vec::new(), shallow: HashSet::new(), at_once: AT_ONCE_MAX }
    }
}

impl Reachability {
    /// Adds roots, from the current state of the repository. Roots that are not stored are ignored.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub async fn add_roots<R: Repository>(
        &mut self,
        repository: &R,
        roots: &[ObjectId],
    ) -> Result<(), ReadError> {
        let shallow: HashSet<ObjectId> = repository.shallow().await?.into_iter().collect();
        // Commits are no longer shallow, so that their parents were skipped wrongly: start again.
        if !self.shallow.is_subset(&shallow) {
            self.reached.clear();
            self.unread.clear();
        }
        self.shallow = shallow;
        self.add_all(repository, roots).await
    }

    async fn add_all<R: Repository>(&mut self, repository: &R, ids: &[ObjectId]) -> Result<(), ReadError> {
        for chunk in ids.chunks(AT_ONCE_MAX) {
            for (id, info) in repository.object_info(chunk).await? {
                self.add(id, info.kind);
            }
        }
        Ok(())
    }

    /// Reads one batch of objects; `false` when the walk is complete. After an error the set is incomplete and must be
    /// discarded.
    ///
    /// # Errors
    /// The repository cannot be read, or an object is missing.
    pub async fn step<R: Repository>(&mut self, repository: &R) -> Result<bool, ReadError> {
        let batch = self.unread.split_off(self.unread.len().saturating_sub(self.at_once));
        let Some(first) = batch.first().copied() else { return Ok(false) };
        let Some(objects) = read(repository, &batch).await? else {
            self.unread.extend(batch);
            self.at_once = (self.at_once / 4).max(1);
            return Ok(true);
        };
        self.at_once = (self.at_once * 2).min(AT_ONCE_MAX);
        let mut left: HashSet<ObjectId> = batch.iter().copied().collect();
        let mut refs = BatchRefs::default();
        content::reconstruct(&objects, &repository.memory(), |object, content| {
            // Delta bases are read along with the batch.
            if left.remove(&object.id) {
                Ok(refs.add(object, content, &self.shallow)?)
            } else {
                Ok::<_, ReadError>(())
            }
        })?;
        // The repository returns any part of a batch, but never nothing.
        if left.len() == batch.len() {
            return Err(ReadError::Missing(first));
        }
        self.unread.extend(left);
        for (id, kind) in refs.typed {
            self.add(id, kind);
        }
        self.add_all(repository, &refs.tag_targets).await?;
        Ok(true)
    }

    /// Whether an object is reachable.
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.reached.contains(id)
    }

    /// The number of reachable objects.
    pub fn len(&self) -> usize {
        self.reached.len()
    }

    /// Whether no object is reachable.
    pub fn is_empty(&self) -> bool {
        self.reached.is_empty()
    }

    fn add(&mut self, id: ObjectId, kind: Kind) {
        if self.reached.insert(id) && kind != Kind::Blob {
            self.unread.push(id);
        }
    }
}

/// A stored object in undeltified form; `None` if it is not stored.
///
/// # Errors
/// The repository cannot be read, or the object is corrupt.
pub async fn undeltified<R: Repository>(repository: &R, id: ObjectId) -> Result<Option<Object>, ReadError> {
    let objects = repository.objects_and_bases(&[id]).await?;
    let mut found = None;
    content::reconstruct(&objects, &repository.memory(), |object, content| {
        if object.id == id {
            let (size, zlib) = (content.len() as u64, compress(content));
            found = Some(Object { id, kind: object.kind, base: None, depth: 0, size, zlib });
        }
        Ok::<_, ReadError>(())
    })?;
    Ok(found)
}

/// The objects that a batch refers to.
#[derive(Default)]
struct BatchRefs {
    typed: Vec<(ObjectId, Kind)>,
    /// Targets of tags.
    tag_targets: Vec<ObjectId>,
}

impl BatchRefs {
    /// Adds the references of an object. The parents of shallow commits are not stored and skipped.
    fn add(
        &mut self,
        object: &Object,
        content: &[u8],
        shallow: &HashSet<ObjectId>,
    ) -> Result<(), CorruptObjectError> {
        match object.kind {
            Kind::Commit => {
                let commit = parse::commit(object.id, content)?;
                self.typed.push((commit.tree, Kind::Tree));
                let parents = commit.parents.into_iter().filter(|_| !shallow.contains(&object.id));
                self.typed.extend(parents.map(|parent| (parent, Kind::Commit)));
            }
            Kind::Tree => parse::tree(object.id, content, |id, kind| self.typed.push((id, kind)))?,
            Kind::Tag => self.tag_targets.push(parse::tag(object.id, content)?),
            Kind::Blob => {}
        }
        Ok(())
    }
}

/// Reads as many of `ids` as the repository returns at once, with their delta bases. `None` if that exceeds the limit; the
/// caller retries with fewer.
async fn read<R: Repository>(repository: &R, ids: &[ObjectId]) -> Result<Option<Vec<Object>>, ReadError> {
    let mut found = repository.objects(ids).await?;
    let mut seen: HashSet<ObjectId> = found.iter().map(|object| object.id).collect();
    let mut scanned = 0;
    loop {
        let bases = found[scanned..].iter().filter_map(|object| object.base);
        let mut wanted: Vec<ObjectId> = bases.filter(|base| seen.insert(*base)).collect();
        if wanted.is_empty() {
            return Ok(Some(found));
        }
        scanned = found.len();
        while let Some(first) = wanted.first().copied() {
            let more = repository.objects(&wanted).await?;
            if more.is_empty() {
                return Err(ReadError::Missing(first));
            }
            let there: HashSet<ObjectId> = more.iter().map(|object| object.id).collect();
            wanted.retain(|id| !there.contains(id));
            found.extend(more);
            if ids.len() > 1 && found.iter().map(|object| object.zlib.len()).sum::<usize>() > BYTES_MAX {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_repo::TestRepo;

    async fn reached(repo: &TestRepo, roots: &[ObjectId]) -> Result<Reachability, ReadError> {
        let mut reach = Reachability::default();
        reach.add_roots(repo, roots).await?;
        while reach.step(repo).await? {}
        Ok(reach)
    }

    #[tokio::test]
    async fn only_objects_below_the_roots_are_reachable() {
        let mut repo = TestRepo::default();
        let (kept, lost) = (repo.blob(b"kept"), repo.blob(b"lost"));
        let first = repo.commit_of(&[], &[("a", kept)]);
        let second = repo.commit_of(&[first], &[("a", kept), ("b", kept)]);
        let other = repo.commit_of(&[first], &[("a", lost)]);
        let reach = reached(&repo, &[second]).await.unwrap();
        for id in [kept, first, second] {
            assert!(reach.contains(&id), "{id}");
        }
        for id in [lost, other] {
            assert!(!reach.contains(&id), "{id}");
        }
        // Two commits, their trees, and the shared blob.
        assert_eq!(reach.len(), 5);
        assert_eq!(reached(&repo, &[lost]).await.unwrap().len(), 1);
        let absent = ObjectId::null(gix_hash::Kind::Sha1);
        assert!(reached(&repo, &[absent]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn long_history_and_nested_tags_are_walked() {
        let (mut repo, ids) = TestRepo::linear(3000);
        let tag = repo.tag(ids[2999], Kind::Commit, "of a commit");
        let tag = repo.tag(tag, Kind::Tag, "of a tag");
        // All commits have the same empty tree.
        assert_eq!(reached(&repo, &[tag]).await.unwrap().len(), 3003);
        repo.shallow = vec![ids[2990]];
        assert_eq!(reached(&repo, &[tag]).await.unwrap().len(), 13);
    }

    /// A shallow commit was deleted, and pushed again with its parents.
    #[tokio::test]
    async fn parents_of_unshallowed_commit_are_reachable() {
        let (mut repo, ids) = TestRepo::linear(5);
        repo.shallow = vec![ids[2]];
        let mut reach = reached(&repo, &[ids[4]]).await.unwrap();
        assert!(!reach.contains(&ids[1]));
        repo.shallow = Vec::new();
        reach.add_roots(&repo, &[ids[4]]).await.unwrap();
        while reach.step(&repo).await.unwrap() {}
        assert!(reach.contains(&ids[0]) && reach.contains(&ids[1]));
    }

    #[tokio::test]
    async fn delta_is_returned_undeltified() {
        let mut repo = TestRepo::default();
        let base = repo.blob(b"hello");
        let delta = repo.delta_appending(base, b'!');
        let found = undeltified(&repo, delta).await.unwrap().unwrap();
        assert_eq!((found.id, found.base, found.depth, found.size), (delta, None, 0, 6));
        assert_eq!(found.zlib, compress(b"hello!"));
        assert_eq!(undeltified(&repo, ObjectId::null(gix_hash::Kind::Sha1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn missing_object_is_an_error() {
        let mut repo = TestRepo::default();
        let absent = ObjectId::null(gix_hash::Kind::Sha1);
        let commit = repo.commit(&[absent]);
        assert!(matches!(reached(&repo, &[commit]).await, Err(ReadError::Missing(id)) if id == absent));
    }

    /// Small deltas against large objects: the delta bases are read a few at a time.
    #[tokio::test]
    async fn deltas_against_large_objects_are_read_in_small_batches() {
        let mut repo = TestRepo::default();
        let mut tags = Vec::new();
        for number in 0..20_u32 {
            let target = repo.blob(&number.to_be_bytes());
            let base = repo.tag(target, Kind::Blob, &noise(number, BYTES_MAX / 12));
            tags.push((repo.delta_appending(base, b'!'), target));
        }
        let roots: Vec<ObjectId> = tags.iter().map(|(id, _)| *id).collect();
        assert!(read(&repo, &roots).await.unwrap().is_none());
        assert_eq!(read(&repo, &roots[..1]).await.unwrap().map(|objects| objects.len()), Some(2));
        let reach = reached(&repo, &roots).await.unwrap();
        assert!(tags.iter().all(|(id, target)| reach.contains(id) && reach.contains(target)));
        assert_eq!(reach.len(), 40, "what they build on is not reached by that");
    }

    /// Text that barely compresses.
    fn noise(seed: u32, length: usize) -> String {
        let mut state = seed + 1;
        let letter = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + ((state >> 24) % 95) as u8)
        };
        (0..length).map(letter).collect()
    }
}
