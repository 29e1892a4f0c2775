//! What some objects reach, so that the others can be deleted.
//!
//! Commits, trees and tags are read some at a time, as many as a bounded part of the memory holds. A name takes some 40 bytes.

use std::collections::HashSet;

use gix_hash::ObjectId;

use crate::unpack::compress;
use crate::{CorruptObjectError, Kind, Object, ReadError, Repository, content, links};

/// How many objects are read at once, at most …
const AT_ONCE_MAX: usize = 1000;

/// … and how many bytes of their streams and of those that they build on, unless a single one takes more.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// All that some objects reach: themselves, what they name, and what that names. What stored deltas build on is not among it.
#[derive(Debug)]
pub struct Reachability {
    reached: HashSet<ObjectId>,
    /// Those of them that are still to be read.
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
    /// Begins with more objects, of the repository as it is now. Those that are not stored reach nothing.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub async fn add_roots<R: Repository>(
        &mut self,
        repository: &R,
        roots: &[ObjectId],
    ) -> Result<(), ReadError> {
        let shallow: HashSet<ObjectId> = repository.shallow().await?.into_iter().collect();
        // Parents were left out that are there by now.
        if !self.shallow.is_subset(&shallow) {
            self.reached.clear();
            self.unread.clear();
        }
        self.shallow = shallow;
        self.add_all(repository, roots).await
    }

    async fn add_all<R: Repository>(&mut self, repository: &R, ids: &[ObjectId]) -> Result<(), ReadError> {
        for some in ids.chunks(AT_ONCE_MAX) {
            for (id, known) in repository.object_info(some).await? {
                self.add(id, known.kind);
            }
        }
        Ok(())
    }

    /// Goes on by some objects. `false`: all is reached. After an error what is reached has gaps, and is of no use any more.
    ///
    /// # Errors
    /// The repository cannot be read, or is not whole.
    pub async fn step<R: Repository>(&mut self, repository: &R) -> Result<bool, ReadError> {
        let asked = self.unread.split_off(self.unread.len().saturating_sub(self.at_once));
        let Some(one) = asked.first().copied() else { return Ok(false) };
        let Some(objects) = read(repository, &asked).await? else {
            self.unread.extend(asked);
            self.at_once = (self.at_once / 4).max(1);
            return Ok(true);
        };
        self.at_once = (self.at_once * 2).min(AT_ONCE_MAX);
        let mut left: HashSet<ObjectId> = asked.iter().copied().collect();
        let mut named = Named::default();
        content::build(&objects, &repository.memory(), |object, content| {
            // What others build on is read along with them.
            if left.remove(&object.id) {
                Ok(named.add(object, content, &self.shallow)?)
            } else {
                Ok::<_, ReadError>(())
            }
        })?;
        // The repository gives as many at once as it likes, but never none.
        if left.len() == asked.len() {
            return Err(ReadError::Missing(one));
        }
        self.unread.extend(left);
        for (id, kind) in named.known {
            self.add(id, kind);
        }
        self.add_all(repository, &named.of_any_kind).await?;
        Ok(true)
    }

    /// Whether an object is reached.
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.reached.contains(id)
    }

    /// How many are.
    pub fn len(&self) -> usize {
        self.reached.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.reached.is_empty()
    }

    fn add(&mut self, id: ObjectId, kind: Kind) {
        if self.reached.insert(id) && kind != Kind::Blob {
            self.unread.push(id);
        }
    }
}

/// A stored object with its whole content, in place of a delta; `None`: it is not stored.
///
/// # Errors
/// The repository cannot be read, or the object is damaged.
pub async fn undeltified<R: Repository>(repository: &R, id: ObjectId) -> Result<Option<Object>, ReadError> {
    let objects = repository.objects_and_bases(&[id]).await?;
    let mut whole = None;
    content::build(&objects, &repository.memory(), |object, content| {
        if object.id == id {
            let (size, zlib) = (content.len() as u64, compress(content));
            whole = Some(Object { id, kind: object.kind, base: None, depth: 0, size, zlib });
        }
        Ok::<_, ReadError>(())
    })?;
    Ok(whole)
}

/// What some objects name.
#[derive(Default)]
struct Named {
    known: Vec<(ObjectId, Kind)>,
    /// What tags point to.
    of_any_kind: Vec<ObjectId>,
}

impl Named {
    /// Adds what an object names. The parents of shallow commits are not there.
    fn add(
        &mut self,
        object: &Object,
        content: &[u8],
        shallow: &HashSet<ObjectId>,
    ) -> Result<(), CorruptObjectError> {
        match object.kind {
            Kind::Commit => {
                let commit = links::commit(object.id, content)?;
                self.known.push((commit.tree, Kind::Tree));
                let parents = commit.parents.into_iter().filter(|_| !shallow.contains(&object.id));
                self.known.extend(parents.map(|parent| (parent, Kind::Commit)));
            }
            Kind::Tree => links::tree(object.id, content, |id, kind| self.known.push((id, kind)))?,
            Kind::Tag => self.of_any_kind.push(links::tag(object.id, content)?),
            Kind::Blob => {}
        }
        Ok(())
    }
}

/// Those of `ids` that the repository gives at once, and all that they build on. `None`: that is too much, and fewer are to be
/// asked for.
async fn read<R: Repository>(repository: &R, ids: &[ObjectId]) -> Result<Option<Vec<Object>>, ReadError> {
    let mut found = repository.objects(ids).await?;
    let mut seen: HashSet<ObjectId> = found.iter().map(|object| object.id).collect();
    let mut looked_at = 0;
    loop {
        let bases = found[looked_at..].iter().filter_map(|object| object.base);
        let mut wanted: Vec<ObjectId> = bases.filter(|base| seen.insert(*base)).collect();
        if wanted.is_empty() {
            return Ok(Some(found));
        }
        looked_at = found.len();
        while let Some(one) = wanted.first().copied() {
            let more = repository.objects(&wanted).await?;
            if more.is_empty() {
                return Err(ReadError::Missing(one));
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
    use crate::sample::History;

    async fn reached(history: &History, roots: &[ObjectId]) -> Result<Reachability, ReadError> {
        let mut reach = Reachability::default();
        reach.add_roots(history, roots).await?;
        while reach.step(history).await? {}
        Ok(reach)
    }

    #[tokio::test]
    async fn what_a_commit_names_is_reached_and_nothing_else() {
        let mut history = History::default();
        let (kept, lost) = (history.blob(b"kept"), history.blob(b"lost"));
        let first = history.commit_of(&[], &[("a", kept)]);
        let second = history.commit_of(&[first], &[("a", kept), ("b", kept)]);
        let other = history.commit_of(&[first], &[("a", lost)]);
        let reach = reached(&history, &[second]).await.unwrap();
        for id in [kept, first, second] {
            assert!(reach.contains(&id), "{id}");
        }
        for id in [lost, other] {
            assert!(!reach.contains(&id), "{id}");
        }
        // Two commits, their trees, and the blob that both have.
        assert_eq!(reach.len(), 5);
        assert_eq!(reached(&history, &[lost]).await.unwrap().len(), 1);
        let absent = ObjectId::null(gix_hash::Kind::Sha1);
        assert!(reached(&history, &[absent]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn long_history_and_tags_of_tags_are_gone_through() {
        let (mut history, ids) = History::line(3000);
        let tag = history.tag(ids[2999], Kind::Commit, "of a commit");
        let tag = history.tag(tag, Kind::Tag, "of a tag");
        // Each of them has the same empty tree.
        assert_eq!(reached(&history, &[tag]).await.unwrap().len(), 3003);
        history.shallow = vec![ids[2990]];
        assert_eq!(reached(&history, &[tag]).await.unwrap().len(), 13);
    }

    /// A shallow commit was deleted, and pushed once more with its parents.
    #[tokio::test]
    async fn parents_of_what_is_shallow_no_longer_are_reached() {
        let (mut history, ids) = History::line(5);
        history.shallow = vec![ids[2]];
        let mut reach = reached(&history, &[ids[4]]).await.unwrap();
        assert!(!reach.contains(&ids[1]));
        history.shallow = Vec::new();
        reach.add_roots(&history, &[ids[4]]).await.unwrap();
        while reach.step(&history).await.unwrap() {}
        assert!(reach.contains(&ids[0]) && reach.contains(&ids[1]));
    }

    #[tokio::test]
    async fn object_is_given_whole_that_is_stored_as_a_delta() {
        let mut history = History::default();
        let base = history.blob(b"hello");
        let delta = history.appending(base, b'!');
        let found = undeltified(&history, delta).await.unwrap().unwrap();
        assert_eq!((found.id, found.base, found.depth, found.size), (delta, None, 0, 6));
        assert_eq!(found.zlib, compress(b"hello!"));
        assert_eq!(undeltified(&history, ObjectId::null(gix_hash::Kind::Sha1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn repository_that_is_not_whole_is_an_error() {
        let mut history = History::default();
        let absent = ObjectId::null(gix_hash::Kind::Sha1);
        let commit = history.commit(&[absent]);
        assert!(matches!(reached(&history, &[commit]).await, Err(ReadError::Missing(id)) if id == absent));
    }

    /// Many small deltas on large objects: what they build on is read a few at a time.
    #[tokio::test]
    async fn deltas_on_large_objects_are_read_few_at_a_time() {
        let mut history = History::default();
        let mut tags = Vec::new();
        for number in 0..20_u32 {
            let target = history.blob(&number.to_be_bytes());
            let base = history.tag(target, Kind::Blob, &noise(number, BYTES_MAX / 12));
            tags.push((history.appending(base, b'!'), target));
        }
        let roots: Vec<ObjectId> = tags.iter().map(|(id, _)| *id).collect();
        assert!(read(&history, &roots).await.unwrap().is_none());
        assert_eq!(read(&history, &roots[..1]).await.unwrap().map(|objects| objects.len()), Some(2));
        let reach = reached(&history, &roots).await.unwrap();
        assert!(tags.iter().all(|(id, target)| reach.contains(id) && reach.contains(target)));
        assert_eq!(reach.len(), 40, "what they build on is not reached by that");
    }

    /// Letters that take most of a byte each, however they are compressed.
    fn noise(seed: u32, length: usize) -> String {
        let mut state = seed + 1;
        let letter = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + ((state >> 24) % 95) as u8)
        };
        (0..length).map(letter).collect()
    }
}
