//! Builds contents from objects as they are stored: whole, or as deltas on each other.
//!
//! Names of stored objects are hashes already, and need no other to be found by. Names that a client has told may be made to
//! collide, and get the usual one.

use std::collections;
use std::rc::Rc;

use flate2::{Decompress, FlushDecompress, Status};
use gix_hash::ObjectId;
use gix_hashtable::{HashMap, HashSet};

use crate::{DamagedObject, Kind, Object, Repository, RepositoryError, delta};

/// Builds the content of every one of `objects`, among which are all that they are built on, and hands each to `each`: what
/// others are built on first. What nothing builds on any more is let go.
///
/// # Errors
/// The bytes of an object are not what it says, or what it is built on is not among them; or `each` fails.
pub(crate) fn build<E: From<DamagedObject>>(
    objects: &[Object],
    mut each: impl FnMut(&Object, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut built_on: HashMap<ObjectId, Vec<usize>> = HashMap::default();
    let mut waiting: Vec<(usize, Option<Rc<Vec<u8>>>)> = Vec::new();
    let mut seen = HashSet::default();
    for (index, object) in objects.iter().enumerate().filter(|(_, object)| seen.insert(object.id)) {
        match object.base {
            Some(base) => built_on.entry(base).or_default().push(index),
            None => waiting.push((index, None)),
        }
    }
    let mut inflater = Inflater::new();
    let mut left = seen.len();
    while let Some((index, base)) = waiting.pop() {
        let object = &objects[index];
        let damaged = || DamagedObject(object.id);
        let mut content = inflater.inflate(&object.zlib, object.size).map_err(|_| damaged())?;
        if let Some(base) = base {
            content = delta::apply(&base, &content).map_err(|_| damaged())?;
        }
        each(object, &content)?;
        left -= 1;
        if let Some(others) = built_on.remove(&object.id) {
            let content = Rc::new(content);
            waiting.extend(others.into_iter().map(|other| (other, Some(Rc::clone(&content)))));
        }
    }
    match built_on.into_values().flatten().next() {
        Some(index) if left > 0 => Err(DamagedObject(objects[index].id).into()),
        _ => Ok(()),
    }
}

/// The kinds and contents of those of `ids` that `repository` has.
///
/// # Errors
/// The repository cannot be read, or an object is damaged.
pub(crate) async fn read<R: Repository, E: From<RepositoryError> + From<DamagedObject>>(
    repository: &R,
    ids: &[ObjectId],
) -> Result<collections::HashMap<ObjectId, (Kind, Vec<u8>)>, E> {
    let wanted: collections::HashSet<ObjectId> = ids.iter().copied().collect();
    let mut contents = collections::HashMap::with_capacity(wanted.len());
    if !ids.is_empty() {
        build(&repository.objects_and_bases(ids).await?, |object, content| {
            if wanted.contains(&object.id) {
                contents.insert(object.id, (object.kind, content.to_vec()));
            }
            Ok::<_, E>(())
        })?;
    }
    Ok(contents)
}

/// Inflates streams one after the other. One for many: making one anew takes longer than most streams do.
pub(crate) struct Inflater(Decompress);

/// A stream that is no zlib stream, or holds more or less than it should.
#[derive(Debug)]
pub(crate) struct BadStream;

impl Inflater {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Inflates a stream that holds exactly `size` bytes; never more, whatever it holds.
    pub(crate) fn inflate(&mut self, stream: &[u8], size: u64) -> Result<Vec<u8>, BadStream> {
        let size = usize::try_from(size).map_err(|_| BadStream)?;
        self.0.reset(true);
        // A byte of room behind the end makes a stream that goes on show itself.
        let mut content = Vec::new();
        content.try_reserve_exact(size.checked_add(1).ok_or(BadStream)?).map_err(|_| BadStream)?;
        loop {
            let before = (self.0.total_in(), self.0.total_out());
            let read = usize::try_from(before.0).map_err(|_| BadStream)?;
            let input = stream.get(read..).unwrap_or_default();
            let status =
                self.0.decompress_vec(input, &mut content, FlushDecompress::Finish).map_err(|_| BadStream)?;
            if content.len() > size {
                return Err(BadStream);
            }
            match status {
                Status::StreamEnd if content.len() == size => return Ok(content),
                Status::StreamEnd => return Err(BadStream),
                _ if before == (self.0.total_in(), self.0.total_out()) => return Err(BadStream),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::compress;

    /// An object of one digit's name.
    fn object(digit: u8, base: Option<u8>, stream: &[u8]) -> Object {
        let id = |digit| ObjectId::Sha1([digit; 20]);
        Object {
            id: id(digit),
            kind: Kind::Blob,
            base: base.map(id),
            depth: 0,
            size: stream.len() as u64,
            zlib: compress(stream),
        }
    }

    /// A delta that appends `letter` to a base of `length` bytes.
    fn append(length: u8, letter: u8) -> [u8; 7] {
        [length, length + 1, 0x91, 0, length, 1, letter]
    }

    fn built(objects: &[Object]) -> Result<Vec<(u8, Vec<u8>)>, DamagedObject> {
        let mut found = Vec::new();
        build(objects, |object, content| {
            found.push((object.id.as_slice()[0], content.to_vec()));
            Ok::<_, DamagedObject>(())
        })?;
        found.sort();
        Ok(found)
    }

    #[test]
    fn chains_and_siblings_are_built_whatever_their_order() {
        let objects = [
            object(3, Some(2), &append(2, b'c')),
            object(4, Some(1), &append(1, b'd')),
            object(2, Some(1), &append(1, b'b')),
            object(1, None, b"a"),
        ];
        let expected: Vec<(u8, Vec<u8>)> =
            [(1, "a"), (2, "ab"), (3, "abc"), (4, "ad")].map(|(id, text)| (id, text.into())).into();
        assert_eq!(built(&objects), Ok(expected));
    }

    #[test]
    fn what_cannot_be_built_is_damaged() {
        let damaged = |digit| Err(DamagedObject(ObjectId::Sha1([digit; 20])));
        let missing = object(2, Some(1), &append(1, b'b'));
        assert_eq!(built(&[missing]), damaged(2));
        let circle = [object(1, Some(2), &append(1, b'a')), object(2, Some(1), &append(1, b'b'))];
        assert!(built(&circle).is_err());
        let misfit = [object(1, None, b"long"), object(2, Some(1), &append(1, b'b'))];
        assert_eq!(built(&misfit), damaged(2));
        for size in [0, 3, 5, u64::MAX] {
            assert_eq!(built(&[Object { size, ..object(1, None, b"four") }]), damaged(1), "{size}");
        }
    }
}
