//! Reconstructs object contents from stored objects, which are undeltified or deltas against each other.
//!
//! Maps of stored objects use the id itself as the hash. Maps of ids that a client sends use the default hasher, because a
//! client could craft collisions.

use std::rc::Rc;
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};
use gix_hash::ObjectId;
use gix_hashtable::{HashMap, HashSet};

use crate::memory::Reservation;
use crate::{
    CorruptObjectError, Kind, MemoryPool, Object, OutOfMemoryError, Repository, RepositoryError, delta,
};

/// Contents up to this size are not reserved in the memory pool: few exist at once, and most are far smaller.
const UNRESERVED_BYTES_MAX: u64 = 64 * 1024;

/// How many objects are read at once.
const BATCH_OBJECTS: usize = 1000;

/// Reconstructs the content of every object in `objects`, which includes all delta bases, and passes each to `each`, bases
/// first. A content is freed once no delta needs it; until then it is reserved in `memory`.
///
/// # Errors
/// An object is corrupt, or its delta base is not in `objects`; the memory pool is exhausted; or `each` fails.
pub(crate) fn reconstruct<E: From<CorruptObjectError> + From<OutOfMemoryError>>(
    objects: &[Object],
    memory: &Arc<dyn MemoryPool>,
    mut each: impl FnMut(&Object, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut deltas_on: HashMap<ObjectId, Vec<usize>> = HashMap::default();
    let mut waiting: Vec<(usize, Option<Rc<Content>>)> = Vec::new();
    let mut seen = HashSet::default();
    for (index, object) in objects.iter().enumerate().filter(|(_, object)| seen.insert(object.id)) {
        match object.base {
            Some(base) => deltas_on.entry(base).or_default().push(index),
            None => waiting.push((index, None)),
        }
    }
    let mut inflater = Inflater::new();
    let mut left = seen.len();
    while let Some((index, base)) = waiting.pop() {
        let object = &objects[index];
        let damaged = || CorruptObjectError(object.id);
        let mut inflate = || inflater.inflate(&object.zlib, object.size).map_err(|_| damaged());
        let content = match base {
            None => Content::with_reservation(memory, object.size, || Ok::<_, E>(inflate()?))?,
            Some(base) => {
                let delta = inflate()?;
                let (_, size) = delta::sizes(&delta).map_err(|_| damaged())?;
                let apply = || Ok::<_, E>(delta::apply(&base.bytes, &delta).map_err(|_| damaged())?);
                Content::with_reservation(memory, size, apply)?
            }
        };
        each(object, &content.bytes)?;
        left -= 1;
        if let Some(others) = deltas_on.remove(&object.id) {
            let content = Rc::new(content);
            waiting.extend(others.into_iter().map(|other| (other, Some(Rc::clone(&content)))));
        }
    }
    match deltas_on.into_values().flatten().next() {
        Some(index) if left > 0 => Err(CorruptObjectError(objects[index].id).into()),
        _ => Ok(()),
    }
}

/// A content and its memory reservation, if it is large.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    _reservation: Option<Reservation>,
}

impl Content {
    /// Reserves `size` bytes, then calls `make` for the content.
    pub(crate) fn with_reservation<E: From<OutOfMemoryError>>(
        memory: &Arc<dyn MemoryPool>,
        size: u64,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let reservation = match size {
            ..=UNRESERVED_BYTES_MAX => None,
            _ => {
                let mut reservation = Reservation::new(memory);
                reservation.try_resize(size)?;
                Some(reservation)
            }
        };
        Ok(Self { bytes: make()?, _reservation: reservation })
    }
}

/// Passes kind and content of those of `ids` that `repository` has to `take`, in any order, reading them in batches.
///
/// # Errors
/// The repository cannot be read, an object is corrupt, or `take` fails.
pub(crate) async fn for_each<R, E>(
    repository: &R,
    ids: &[ObjectId],
    mut take: impl FnMut(ObjectId, Kind, &[u8]) -> Result<(), E>,
) -> Result<(), E>
where
    R: Repository,
    E: From<RepositoryError> + From<CorruptObjectError> + From<OutOfMemoryError>,
{
    let memory = repository.memory();
    for some in ids.chunks(BATCH_OBJECTS) {
        let wanted: HashSet<ObjectId> = some.iter().copied().collect();
        reconstruct(&repository.objects_and_bases(some).await?, &memory, |object, content| {
            if wanted.contains(&object.id) { take(object.id, object.kind, content) } else { Ok(()) }
        })?;
    }
    Ok(())
}

/// Inflates one stream after another. Reused, because creating an inflater takes longer than inflating most streams.
pub(crate) struct Inflater(Decompress);

/// A malformed zlib stream, or one of another size than expected.
#[derive(Debug)]
pub(crate) struct InflateError;

impl Inflater {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Inflates a stream of exactly `size` bytes, and never writes more.
    pub(crate) fn inflate(&mut self, stream: &[u8], size: u64) -> Result<Vec<u8>, InflateError> {
        let size = usize::try_from(size).map_err(|_| InflateError)?;
        self.0.reset(true);
        // One spare byte at the end detects a stream that is longer than `size`.
        let mut content = Vec::new();
        content.try_reserve_exact(size.checked_add(1).ok_or(InflateError)?).map_err(|_| InflateError)?;
        loop {
            let before = (self.0.total_in(), self.0.total_out());
            let read = usize::try_from(before.0).map_err(|_| InflateError)?;
            let input = stream.get(read..).unwrap_or_default();
            let status = self
                .0
                .decompress_vec(input, &mut content, FlushDecompress::Finish)
                .map_err(|_| InflateError)?;
            if content.len() > size {
                return Err(InflateError);
            }
            match status {
                Status::StreamEnd if content.len() == size => return Ok(content),
                Status::StreamEnd => return Err(InflateError),
                _ if before == (self.0.total_in(), self.0.total_out()) => return Err(InflateError),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::memory::tests::LimitedPool;
    use crate::memory::unbounded_memory;
    use crate::unpack::compress;

    /// An object whose id repeats one digit.
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

    /// Errors of `reconstruct` in these tests.
    #[derive(Debug, PartialEq)]
    enum Failed {
        Damaged(CorruptObjectError),
        OutOfMemory,
    }

    impl From<CorruptObjectError> for Failed {
        fn from(error: CorruptObjectError) -> Self {
            Self::Damaged(error)
        }
    }

    impl From<OutOfMemoryError> for Failed {
        fn from(_: OutOfMemoryError) -> Self {
            Self::OutOfMemory
        }
    }

    fn reconstructed(objects: &[Object]) -> Result<Vec<(u8, Vec<u8>)>, Failed> {
        let mut found = Vec::new();
        reconstruct(objects, &unbounded_memory(), |object, content| {
            found.push((object.id.as_slice()[0], content.to_vec()));
            Ok::<_, Failed>(())
        })?;
        found.sort();
        Ok(found)
    }

    #[test]
    fn delta_chains_are_reconstructed_in_any_order() {
        let objects = [
            object(3, Some(2), &append(2, b'c')),
            object(4, Some(1), &append(1, b'd')),
            object(2, Some(1), &append(1, b'b')),
            object(1, None, b"a"),
        ];
        let expected: Vec<(u8, Vec<u8>)> =
            [(1, "a"), (2, "ab"), (3, "abc"), (4, "ad")].map(|(id, text)| (id, text.into())).into();
        assert_eq!(reconstructed(&objects), Ok(expected));
    }

    #[test]
    fn objects_that_cannot_be_reconstructed_are_corrupt() {
        let damaged = |digit| Err(Failed::Damaged(CorruptObjectError(ObjectId::Sha1([digit; 20]))));
        let missing = object(2, Some(1), &append(1, b'b'));
        assert_eq!(reconstructed(&[missing]), damaged(2));
        let circle = [object(1, Some(2), &append(1, b'a')), object(2, Some(1), &append(1, b'b'))];
        assert!(reconstructed(&circle).is_err());
        let misfit = [object(1, None, b"long"), object(2, Some(1), &append(1, b'b'))];
        assert_eq!(reconstructed(&misfit), damaged(2));
        for size in [0, 3, 5, u64::MAX] {
            assert_eq!(reconstructed(&[Object { size, ..object(1, None, b"four") }]), damaged(1), "{size}");
        }
    }

    #[test]
    fn large_delta_bases_are_reserved() {
        let large = vec![b'a'; 200_000];
        // A delta that copies all 200,000 bytes of its base.
        let copy = [0xc0, 0x9a, 0x0c, 0xc0, 0x9a, 0x0c, 0xf0, 0x40, 0x0d, 0x03];
        let objects = [object(1, None, &large), object(2, Some(1), &copy), object(3, Some(2), &copy)];
        let failed = |limit| {
            let pool = Arc::new(LimitedPool { limit, ..LimitedPool::default() });
            let memory: Arc<dyn MemoryPool> = Arc::clone(&pool) as Arc<dyn MemoryPool>;
            let reconstructed = reconstruct(&objects, &memory, |_, content| {
                assert_eq!(content.len(), large.len());
                Ok::<_, Failed>(())
            });
            assert_eq!(pool.held.load(Ordering::Relaxed), 0);
            (reconstructed.err(), pool.peak.load(Ordering::Relaxed))
        };
        assert_eq!(failed(400_000), (None, 400_000), "one content and its delta base");
        assert_eq!(failed(399_999), (Some(Failed::OutOfMemory), 200_000));
    }
}
