//! Tests of packs from a repository that stores deltas.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use gix_hash::ObjectId;
use gix_object::Kind;

use super::pack_writer::{Format, Sideband, send};
use super::walk::select;
use super::{FetchRequest, UploadError};
use crate::memory::tests::LimitedPool;
use crate::test_repo::TestRepo;
use crate::unpack::{UnpackError, compress, resolve, scan};
use crate::{Limits, Object, ObjectInfo, Pack, RepositoryError, unbounded_memory};

/// A file `a`, then the file `ab` as a delta: the repository, its two commits, the two blobs.
fn two_commits() -> (TestRepo, [ObjectId; 2], [ObjectId; 2]) {
    let mut repo = TestRepo::default();
    let file = |repo: &mut TestRepo, content: &[u8], base: Option<(ObjectId, &[u8])>| -> ObjectId {
        let id = gix_object::compute_hash(gix_hash::Kind::Sha1, Kind::Blob, content).unwrap();
        let stream = base.map_or(content, |(_, delta)| delta);
        repo.add(Object {
            id,
            kind: Kind::Blob,
            base: base.map(|(base, _)| base),
            depth: base.is_some().into(),
            size: stream.len() as u64,
            zlib: compress(stream),
        });
        id
    };
    let first = file(&mut repo, b"a", None);
    let second = file(&mut repo, b"ab", Some((first, &[1, 2, 0x90, 1, 1, b'b'])));
    let older = repo.commit_of(&[], &[("file", first)]);
    let newer = repo.commit_of(&[older], &[("file", second)]);
    (repo, [older, newer], [first, second])
}

async fn sent(repo: &TestRepo, request: &FetchRequest, format: Format) -> Result<Bytes, UploadError> {
    let mut out = Vec::new();
    send(repo, select(repo, request).await?, format, Sideband::None, &mut out).await?;
    Ok(out.into())
}

/// The objects of a pack, for an empty client or one that has the file `a`.
fn received(pack: Bytes, has: Option<ObjectId>) -> Result<Pack, UnpackError> {
    let (shallow, limits) = (HashSet::new(), Limits::default());
    let scanned = scan(pack.into(), &shallow, &limits, &unbounded_memory())?;
    let bases = has.into_iter().map(|id| (id, (Kind::Blob, b"a".to_vec()))).collect();
    let known = has.into_iter().map(|id| (id, ObjectInfo { kind: Kind::Blob, depth: 0 }));
    resolve(scanned, bases, &shallow, &limits)?.select_for_storage(&known.collect())
}

fn bases(pack: &Pack) -> HashMap<ObjectId, Option<ObjectId>> {
    (0..pack.len()).map(|index| pack.object(index).unwrap()).map(|object| (object.id, object.base)).collect()
}

const FORMATS: [Format; 4] = [
    Format { thin: false, ofs_delta: false },
    Format { thin: false, ofs_delta: true },
    Format { thin: true, ofs_delta: false },
    Format { thin: true, ofs_delta: true },
];

#[tokio::test]
async fn clone_gets_stored_deltas() {
    let (repo, [older, newer], [first, second]) = two_commits();
    for format in FORMATS {
        let request = FetchRequest { wants: vec![newer], ..FetchRequest::default() };
        let pack = received(sent(&repo, &request, format).await.unwrap(), None).unwrap();
        let bases = bases(&pack);
        assert_eq!(bases.len(), 6);
        assert_eq!((bases[&first], bases[&second]), (None, Some(first)), "{format:?}");
        assert!(bases.contains_key(&older));
    }
}

#[tokio::test]
async fn thin_pack_has_deltas_against_client_objects() {
    let (repo, [older, newer], [first, second]) = two_commits();
    for format in FORMATS {
        let request = FetchRequest { wants: vec![newer], common: vec![older], ..FetchRequest::default() };
        let pack = sent(&repo, &request, format).await.unwrap();
        let without_base = received(pack.clone(), None);
        if format.thin {
            assert!(matches!(without_base, Err(UnpackError::Unresolved(1))));
            assert_eq!(bases(&received(pack, Some(first)).unwrap())[&second], Some(first));
        } else {
            let bases = bases(&without_base.unwrap());
            assert_eq!((bases.len(), bases[&second]), (3, None), "a client without thin-pack");
        }
    }
}

#[tokio::test]
async fn delta_without_its_base_is_sent_undeltified() {
    let (repo, [_, newer], [first, second]) = two_commits();
    for format in FORMATS {
        let mut request = FetchRequest { wants: vec![newer], ..FetchRequest::default() };
        request.take("deepen 1", &mut Vec::new()).unwrap();
        let pack = received(sent(&repo, &request, format).await.unwrap(), None).unwrap();
        let bases = bases(&pack);
        assert_eq!((bases.len(), bases[&second]), (3, None));
        assert!(!bases.contains_key(&first));
    }
}

#[tokio::test]
async fn large_repository_is_sent_in_batches_without_duplicates() {
    let mut repo = TestRepo::default();
    let blob = gix_object::compute_hash(gix_hash::Kind::Sha1, Kind::Blob, b"").unwrap();
    repo.add(Object { id: blob, kind: Kind::Blob, base: None, depth: 0, size: 0, zlib: compress(b"") });
    let mut tip = Vec::new();
    for number in 0..5000 {
        tip = vec![repo.commit_of(&tip, &[(&format!("{number:04}"), blob)])];
    }
    // A tree that is a delta against another tree of the pack, so that it is read twice.
    let tree = |number| [format!("100644 {number:04}\0").as_bytes(), blob.as_slice()].concat();
    let name = |number| gix_object::compute_hash(gix_hash::Kind::Sha1, Kind::Tree, &tree(number)).unwrap();
    let delta = [&[32, 32, 32][..], &tree(2000)].concat();
    let (size, zlib) = (delta.len() as u64, compress(&delta));
    repo.add(Object { id: name(2000), kind: Kind::Tree, base: Some(name(4900)), depth: 1, size, zlib });
    let request = FetchRequest { wants: tip, ..FetchRequest::default() };
    let pack = sent(&repo, &request, Format::default()).await.unwrap();
    assert_eq!(received(pack.clone(), None).unwrap().len(), 10_001);
    // Sending releases its memory, and fails if the pool is exhausted.
    let mut pool = async |limit| {
        let memory = Arc::new(LimitedPool { limit, ..LimitedPool::default() });
        repo.memory = Some(Arc::clone(&memory));
        let sent = sent(&repo, &request, Format::default()).await;
        assert_eq!(memory.held.load(Ordering::Relaxed), 0);
        (sent, memory.peak.load(Ordering::Relaxed))
    };
    let (same, peak) = pool(u64::MAX / 2).await;
    assert!(same.unwrap() == pack);
    assert!((2_000_000..20_000_000).contains(&peak), "{peak}");
    let (none, none_peak) = pool(peak / 3).await;
    assert!(matches!(none, Err(UploadError::Repository(RepositoryError::OutOfMemory(_)))));
    assert!(none_peak <= peak / 3);
}

/// Reconstructs the objects of a pack sequentially, as go-git and isomorphic-git do: every delta base must precede its
/// deltas.
fn built_in_order(pack: &[u8]) -> Vec<ObjectId> {
    let (count, mut at) = (u32::from_be_bytes(pack[8..12].try_into().unwrap()), 12);
    let mut built: HashMap<ObjectId, (Kind, Vec<u8>)> = HashMap::new();
    let (mut places, mut order) = (HashMap::new(), Vec::new());
    for _ in 0..count {
        let place = at;
        let kind = pack[at] >> 4 & 7;
        while pack[at] & 0x80 != 0 {
            at += 1;
        }
        at += 1;
        let base = match kind {
            6 => {
                let mut back = usize::from(pack[at] & 0x7f);
                while pack[at] & 0x80 != 0 {
                    at += 1;
                    back = (back + 1) << 7 | usize::from(pack[at] & 0x7f);
                }
                at += 1;
                Some(places[&(place - back)])
            }
            7 => {
                at += 20;
                Some(ObjectId::from_bytes_or_panic(&pack[at - 20..at]))
            }
            _ => None,
        };
        let mut stream = flate2::bufread::ZlibDecoder::new(&pack[at..]);
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut content).unwrap();
        at += usize::try_from(stream.total_in()).unwrap();
        let (kind, content) = match base {
            Some(base) => {
                let (kind, under) = built.get(&base).expect("the base comes first");
                (*kind, crate::delta::apply(under, &content).map_err(|_| "a delta").unwrap())
            }
            None => ([Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag][usize::from(kind) - 1], content),
        };
        let id = gix_object::compute_hash(gix_hash::Kind::Sha1, kind, &content).unwrap();
        places.insert(place, id);
        order.push(id);
        built.insert(id, (kind, content));
    }
    order
}

#[tokio::test]
async fn every_delta_base_precedes_its_deltas() {
    // A file that grows by a line per commit, stored as a chain of deltas whose end is read first.
    for (commits, line) in [(3, 10), (50, 10), (30, 200_000)] {
        let mut repo = TestRepo::default();
        let (mut content, mut parents, mut last) = (Vec::new(), Vec::new(), None::<(ObjectId, u32)>);
        for number in 0..commits {
            let before = content.len();
            // Incompressible content, so that not all deltas can be deferred in memory.
            let mut state = number as u64 + 1;
            content.extend(
                std::iter::repeat_with(|| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .take(line),
            );
            let id = gix_object::compute_hash(gix_hash::Kind::Sha1, Kind::Blob, &content).unwrap();
            let stream = match last {
                Some(_) => appended(before, &content),
                None => content.clone(),
            };
            repo.add(Object {
                id,
                kind: Kind::Blob,
                base: last.map(|(base, _)| base),
                depth: last.map_or(0, |(_, depth)| depth + 1),
                size: stream.len() as u64,
                zlib: compress(&stream),
            });
            last = Some((id, last.map_or(0, |(_, depth)| depth + 1)));
            parents = vec![repo.commit_of(&parents, &[("file", id)])];
        }
        for format in FORMATS {
            let request = FetchRequest { wants: parents.clone(), ..FetchRequest::default() };
            let pack = sent(&repo, &request, format).await.unwrap();
            let order = built_in_order(&pack);
            assert_eq!(order.len(), 3 * commits, "{format:?}");
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), order.len());
            let deltas = bases(&received(pack, None).unwrap()).values().flatten().count();
            assert_eq!(deltas, commits - 1, "deltas are sent as stored");
        }
    }
}

/// A delta that appends the rest of `content` to its first `before` bytes.
fn appended(before: usize, content: &[u8]) -> Vec<u8> {
    let varint = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let mut delta = [varint(before), varint(content.len())].concat();
    // Copy instructions with four bytes of offset and three bytes of size.
    for from in (0..before).step_by(0xff_ffff) {
        let length = (before - from).min(0xff_ffff);
        delta.push(0xff);
        delta.extend_from_slice(&(from as u32).to_le_bytes());
        delta.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
    }
    for piece in content[before..].chunks(127) {
        delta.push(piece.len() as u8);
        delta.extend_from_slice(piece);
    }
    delta
}
