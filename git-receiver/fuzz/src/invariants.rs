//! The invariants of accepted inputs. Objects are parsed a second time, with gix's parsers.

use std::collections::HashSet;

use git_receiver::{
    Kind, Object, ObjectId, Pack, Protocol, QuarantineView, ReadError, Reference, TreeLimits, UnpackedPush,
};
use gix_object::tag::ref_iter::Token;
use gix_object::{CommitRefIter, TagRefIter};

use super::base::base;
use super::repository::{DecodedObject, MemoryRepository};
use super::{block_on, wire};

/// The accepted part of a push.
#[derive(Debug, Default)]
pub struct Accepted {
    /// The objects of its pack, undeltified.
    pub objects: Vec<DecodedObject>,
    /// The objects in the form in which they were received.
    pub received: Vec<Object>,
    /// The refs that can be updated, with their new values.
    pub refs: Vec<Reference>,
    /// The names of all refs that can be updated or deleted.
    pub moved: HashSet<String>,
    /// Its new shallow commits.
    pub shallow: Vec<ObjectId>,
}

impl Accepted {
    /// The accepted part of `push` to `repository`.
    pub fn new(push: UnpackedPush, repository: &MemoryRepository) -> Self {
        let UnpackedPush { commands, shallow, pack, .. } = push;
        let received = (0..pack.len()).map(|index| pack.object(index).expect("in memory")).collect();
        let ids: Vec<ObjectId> = pack.ids().collect();
        let mut objects = Vec::new();
        block_on(QuarantineView::new(repository, &pack).each(&ids, |id, kind, content| {
            objects.push(DecodedObject { id, kind, content: content.to_vec() });
        }))
        .expect("received objects are complete");
        assert_eq!(objects.len(), ids.len(), "an object cannot be built");
        let fine = commands.iter().filter(|judged| judged.result.is_ok()).map(|judged| &judged.command);
        let moved = fine.clone().map(|command| command.name.clone()).collect();
        let refs = fine
            .filter_map(|command| Some(Reference { name: command.name.clone(), target: command.new? }))
            .collect();
        Self { objects, received, refs, moved, shallow }
    }

    /// `repository` after this push, with undeltified objects.
    pub fn applied_to(&self, repository: &MemoryRepository) -> MemoryRepository {
        repository.after(&self.objects, &[], &self.moved, &self.refs, &self.shallow)
    }

    /// `repository` after this push, with objects as they were received.
    pub fn stored_as_received(&self, repository: &MemoryRepository) -> MemoryRepository {
        repository.after(&self.objects, &self.received, &self.moved, &self.refs, &self.shallow)
    }

    /// Checks the invariants of objects and refs.
    pub fn check(&self, repository: &MemoryRepository) {
        let after = self.applied_to(repository);
        let mut seen = HashSet::new();
        for object in &self.objects {
            assert!(seen.insert(object.id), "{object:?} is duplicated");
            let content = &object.content;
            assert_eq!(object.id, wire::name(object.kind, content), "an object with another one's name");
            assert!(repository.get(&object.id).is_none(), "{object:?} existed before");
            let without_parents = after.current_shallow().contains(&object.id);
            for (id, kind) in names(object.kind, content) {
                match after.get(&id) {
                    None if without_parents && kind == Kind::Commit => {}
                    found => assert_eq!(found.map(|found| found.kind), Some(kind), "{object:?} names {id}"),
                }
            }
        }
        for found in &self.refs {
            let kind = after.get(&found.target).map(|object| object.kind);
            let branch = found.name.starts_with("refs/heads/");
            assert!(kind == Some(Kind::Commit) || !branch && kind.is_some(), "{found:?} points to {kind:?}");
        }
        let after = self.stored_as_received(repository);
        let none = Pack::default();
        let view = QuarantineView::new(&after, &none);
        for commit in self.objects.iter().filter(|object| object.kind == Kind::Commit) {
            block_on(view.commit(commit.id)).expect("an accepted commit can be read");
            let limits = TreeLimits { files: 200, depth: 8, path_bytes: 256 };
            match block_on(view.files(commit.id, &limits)) {
                Ok(files) => {
                    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
                    paths.iter().for_each(|path| check_path(path));
                }
                Err(ReadError::Limit(_)) => {}
                Err(error) => panic!("an accepted commit has files that cannot be read: {error}"),
            }
        }
    }
}

/// Checks that the path does not lead out of the tree or into a repository.
fn check_path(path: &str) {
    for part in path.split('/') {
        let disguised = part.to_ascii_lowercase().replace(|letter: char| !letter.is_ascii_graphic(), "");
        let bad = ["", ".", "..", ".git", "git~1"].contains(&disguised.as_str()) && part.is_ascii();
        assert!(!bad, "{path:?} may not be in a tree");
    }
}

/// The references of an object, as gix parses it.
fn names(kind: Kind, content: &[u8]) -> Vec<(ObjectId, Kind)> {
    let sha1 = gix_hash::Kind::Sha1;
    match kind {
        Kind::Blob => Vec::new(),
        Kind::Tree => {
            let (mut named, mut rest) = (Vec::new(), content);
            while !rest.is_empty() {
                // Not with gix, which interprets a few modes differently than git.
                let end = rest.iter().position(|byte| *byte == 0).expect("an entry of a tree has a name");
                let (head, behind) = rest.split_at(end);
                let id = ObjectId::from_bytes_or_panic(&behind[1..21]);
                let mode = head.iter().take_while(|byte| **byte != b' ');
                let mode = mode.fold(0u16, |mode, digit| mode.wrapping_mul(8) | u16::from(digit & 7));
                named.extend(match mode & 0o170_000 {
                    0o040_000 => Some((id, Kind::Tree)),
                    0o100_000 | 0o120_000 => Some((id, Kind::Blob)),
                    _ => None,
                });
                rest = &behind[21..];
            }
            named
        }
        Kind::Commit => {
            // Only these fields: gix requires an empty line after the header, which git does not.
            let tree =
                CommitRefIter::from_bytes(content, sha1).tree_id().expect("an accepted commit has a tree");
            let parents = CommitRefIter::from_bytes(content, sha1).parent_ids();
            parents.map(|parent| (parent, Kind::Commit)).chain([(tree, Kind::Tree)]).collect()
        }
        Kind::Tag => {
            let mut fields = TagRefIter::from_bytes(content, sha1);
            match (fields.next(), fields.next()) {
                (Some(Ok(Token::Target { id })), Some(Ok(Token::TargetKind(kind)))) => vec![(id, kind)],
                found => panic!("an accepted tag begins with {found:?}"),
            }
        }
    }
}

/// Checks that a clone of the repository contains exactly the objects that its refs reach, in an acceptable pack.
pub fn check_clone(repository: &MemoryRepository) {
    let mut request = [wire::frame(b"command=fetch"), b"0001".to_vec()].concat();
    repository
        .current_refs()
        .iter()
        .for_each(|found| request.extend(wire::frame(format!("want {}", found.target).as_bytes())));
    request.extend(wire::frame(b"ofs-delta"));
    request.extend(wire::frame(b"done"));
    request.extend_from_slice(b"0000");
    let mut response = Vec::new();
    block_on(git_receiver::upload(repository, Protocol::V2, request.into(), &mut response))
        .expect("a fetch of all refs");
    let fetched: HashSet<ObjectId> =
        received(&response, repository.current_shallow(), &MemoryRepository::default())
            .expect("a pack")
            .iter()
            .map(|object| object.id)
            .collect();
    let mut todo: Vec<ObjectId> = repository.current_refs().iter().map(|found| found.target).collect();
    let mut reached = HashSet::new();
    while let Some(id) = todo.pop() {
        // Only the parents of shallow commits and submodule commits can be missing.
        let Some(object) = repository.get(&id) else { continue };
        if reached.insert(id) {
            let content = repository.content(&id).expect("the content of a stored object");
            todo.extend(names(object.kind, content).into_iter().map(|(id, _)| id));
        }
    }
    assert_eq!(fetched, reached, "a clone has other objects than those reachable from refs");
}

/// Checks the response to a fetch, and returns the objects of its pack.
pub fn check_response(response: &[u8]) -> Accepted {
    Accepted { objects: received(response, &[], base()).unwrap_or_default(), ..Accepted::default() }
}

/// The objects that a response adds to a client that has `client`, if it contains a pack, as git-receiver itself unpacks it.
fn received(response: &[u8], shallow: &[ObjectId], client: &MemoryRepository) -> Option<Vec<DecodedObject>> {
    let (frames, rest) = wire::frames(response);
    let banded: Vec<u8> =
        frames.iter().flatten().filter_map(|frame| frame.strip_prefix(b"\x01")).flatten().copied().collect();
    let pack = if banded.is_empty() { rest.to_vec() } else { banded };
    if pack.is_empty() {
        return None;
    }
    assert!(pack.starts_with(b"PACK"), "{:?} is no pack", String::from_utf8_lossy(&pack));
    assert!(pack.len() >= 32);
    Some(super::reparse(&pack, shallow, client))
}
