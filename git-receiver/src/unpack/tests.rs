use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::*;
use crate::memory::tests::LimitedPool;
use crate::memory::unbounded_memory;
use crate::{Limits, MemoryPool, Object, ObjectInfo, Pack, content};

/// An entry header: type and size.
fn head(kind: u8, size: usize) -> Vec<u8> {
    let mut rest = size >> 4;
    let mut out = vec![kind << 4 | (size & 15) as u8 | if rest > 0 { 0x80 } else { 0 }];
    while rest > 0 {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        out.push(low | if rest > 0 { 0x80 } else { 0 });
    }
    out
}

fn entry(kind: u8, declared: usize, base: &[u8], content: &[u8]) -> Vec<u8> {
    [head(kind, declared), base.to_vec(), compress(content).to_vec()].concat()
}

fn blob(content: &[u8]) -> Vec<u8> {
    entry(3, content.len(), &[], content)
}

fn pack(entries: &[Vec<u8>]) -> Bytes {
    let count = u32::try_from(entries.len()).unwrap().to_be_bytes();
    let mut bytes = [b"PACK\0\0\0\x02".to_vec(), count.to_vec(), entries.concat()].concat();
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    hasher.update(&bytes);
    bytes.extend_from_slice(hasher.try_finalize().unwrap().as_slice());
    bytes.into()
}

/// An object as a repository stores it.
fn stored(content: &[u8]) -> Object {
    let (id, size) = (name(Kind::Blob, content).unwrap(), content.len() as u64);
    Object { id, kind: Kind::Blob, base: None, depth: 0, size, zlib: compress(content) }
}

/// Unpacks for a repository that has these blobs, with these delta chain lengths.
fn unpack_for(pack: &Bytes, stored: &[(&[u8], u32)], limits: &Limits) -> Result<Pack, UnpackError> {
    let shallow = HashSet::new();
    let blob = |content: &[u8]| name(Kind::Blob, content).unwrap();
    let scanned = scan(pack.clone().into(), &shallow, limits, &unbounded_memory())?;
    let foreign = scanned.external_bases();
    let bases = stored.iter().map(|(content, _)| (blob(content), (Kind::Blob, content.to_vec())));
    let bases = bases.filter(|(id, _)| foreign.contains(id)).collect();
    let known =
        |(content, depth): &(&[u8], u32)| (blob(content), ObjectInfo { kind: Kind::Blob, depth: *depth });
    let known: HashMap<ObjectId, ObjectInfo> = stored.iter().map(known).collect();
    resolve(scanned, bases, &shallow, limits)?.select_for_storage(&known)
}

fn small_limits() -> Limits {
    Limits { objects: 100, object_bytes: 4096, inflated_bytes: 16_384, delta_depth: 3, ..Limits::default() }
}

fn unpack(pack: &Bytes) -> Result<Pack, UnpackError> {
    unpack_for(pack, &[], &small_limits())
}

fn objects(pack: &Pack) -> Vec<Object> {
    (0..pack.len()).map(|index| pack.object(index).unwrap()).collect()
}

/// The sorted contents of a pack's objects; `stored` are delta bases in the repository.
fn contents(pack: &Pack, stored: &[Object]) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    content::reconstruct(
        &[objects(pack), stored.to_vec()].concat(),
        &unbounded_memory(),
        |object, content| {
            if pack.kind(&object.id).is_some() {
                contents.push(content.to_vec());
            }
            Ok::<_, UnpackError>(())
        },
    )
    .unwrap();
    contents.sort();
    contents
}

/// A delta that appends `tail` to a base of `length` bytes.
fn append(length: u8, tail: &[u8]) -> Vec<u8> {
    let tail_length = u8::try_from(tail.len()).unwrap();
    [&[length, length + tail_length, 0x90, length, tail_length][..], tail].concat()
}

#[test]
fn undeltified_objects_and_both_kinds_of_deltas_are_unpacked() {
    let base = blob(b"base");
    let id = name(Kind::Blob, b"base").unwrap();
    let delta = append(4, b"+1");
    let by_offset = entry(6, delta.len(), &[u8::try_from(base.len()).unwrap()], &delta);
    let delta = append(4, b"+2");
    let by_name = entry(7, delta.len(), id.as_slice(), &delta);
    let unpacked = unpack(&pack(&[base, by_offset, by_name])).unwrap();
    assert_eq!(contents(&unpacked, &[]), [b"base".to_vec(), b"base+1".to_vec(), b"base+2".to_vec()]);
}

#[test]
fn thin_pack_has_delta_bases_in_the_repository() {
    let id = name(Kind::Blob, b"base").unwrap();
    let delta = append(4, b"+1");
    let thin = pack(&[entry(7, delta.len(), id.as_slice(), &delta)]);
    assert!(matches!(unpack(&thin), Err(UnpackError::Unresolved(1))));
    let unpacked = unpack_for(&thin, &[(b"base", 4)], &small_limits()).unwrap();
    assert_eq!(contents(&unpacked, &[stored(b"base")]), [b"base+1"], "the base is not part of the push");
    let object = unpacked.object(0).unwrap();
    assert_eq!((object.base, object.depth, object.size), (Some(id), 5, delta.len() as u64));
}

#[test]
fn stored_object_is_left_out_but_used_as_delta_base() {
    let first = blob(b"a");
    let delta = append(1, b"b");
    let second = entry(6, delta.len(), &[u8::try_from(first.len()).unwrap()], &delta);
    let unpacked = unpack_for(&pack(&[first, second]), &[(b"a", 7)], &small_limits()).unwrap();
    assert_eq!(unpacked.ids().collect::<Vec<_>>(), [name(Kind::Blob, b"ab").unwrap()]);
    assert_eq!(unpacked.object(0).unwrap().depth, 8);
}

#[test]
fn long_delta_chain_is_cut_by_undeltified_object() {
    let mut entries = vec![];
    let mut content = b"a".to_vec();
    let mut base = name(Kind::Blob, &content).unwrap();
    for length in 1..=4u8 {
        let delta = append(length, b"+");
        entries.push(entry(7, delta.len(), base.as_slice(), &delta));
        content.push(b'+');
        base = name(Kind::Blob, &content).unwrap();
    }
    let limits = Limits { delta_depth: 10, ..small_limits() };
    let unpacked = unpack_for(&pack(&entries), &[(b"a", 48)], &limits).unwrap();
    let depths: Vec<u32> = objects(&unpacked).iter().map(|object| object.depth).collect();
    assert_eq!(depths, [49, 50, 0, 1]);
    let whole = unpacked.object(2).unwrap();
    assert_eq!((whole.base, whole.size, whole.zlib), (None, 4, compress(b"a+++")));
    assert_eq!(contents(&unpacked, &[stored(b"a")]).len(), 4);
}

#[test]
fn large_delta_is_stored_undeltified() {
    let large = vec![b'x'; 300_000];
    let mut delta = vec![1, 0xe0, 0xa7, 0x12];
    large.chunks(100).for_each(|some| delta.extend([&[100][..], some].concat()));
    let delta_on_a = entry(7, delta.len(), name(Kind::Blob, b"a").unwrap().as_slice(), &delta);
    let unpacked = unpack_for(&pack(&[delta_on_a]), &[(b"a", 0)], &Limits::default()).unwrap();
    let object = unpacked.object(0).unwrap();
    assert_eq!((object.base, object.depth, object.size), (None, 0, 300_000));
}

#[test]
fn duplicate_object_is_kept_without_a_delta_cycle() {
    let (one, two) = (name(Kind::Blob, b"a").unwrap(), name(Kind::Blob, b"ab").unwrap());
    // `a` as a prefix of `ab`, `ab` as `a` with a suffix, and `ab` undeltified.
    let shrink = [2, 1, 0x90, 1];
    let grow = append(1, b"b");
    let circle = pack(&[
        entry(7, shrink.len(), two.as_slice(), &shrink),
        entry(7, grow.len(), one.as_slice(), &grow),
        blob(b"ab"),
    ]);
    let unpacked = unpack(&circle).unwrap();
    assert_eq!(contents(&unpacked, &[]), [b"a".to_vec(), b"ab".to_vec()]);
}

#[test]
fn pack_in_file_equals_pack_in_memory() {
    // Large enough for several threads and several windows, with objects across window borders; more deltas than are cached.
    let noise = |seed: u32, length: usize| -> Vec<u8> {
        let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        std::iter::successors(Some(seed), next).map(|state| (state >> 24) as u8).take(length).collect()
    };
    let mut entries = Vec::new();
    for seed in 0..700u32 {
        let content = noise(seed, 2000);
        let id = name(Kind::Blob, &content).unwrap();
        let delta = [&[0xd0, 0x0f, 0xd1, 0x0f, 0xb0, 0xd0, 0x07, 1][..], &[seed as u8]].concat();
        entries.push(blob(&content));
        entries.push(entry(7, delta.len(), id.as_slice(), &delta));
    }
    let bytes = pack(&entries);
    let limits = Limits { objects: 2000, ..Limits::default() };
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &[&b"before"[..], &bytes].concat()).unwrap();
    let from_file = crate::PackBytes::from_file(file, 6).unwrap();
    let selected = |bytes| {
        let shallow = HashSet::new();
        let resolved =
            resolve(scan(bytes, &shallow, &limits, &unbounded_memory())?, HashMap::new(), &shallow, &limits)?;
        resolved.select_for_storage(&HashMap::new())
    };
    let (file, memory) = (selected(from_file).unwrap(), selected(bytes.clone().into()).unwrap());
    assert_eq!(objects(&file), objects(&memory));
    assert_eq!(contents(&file, &[]).len(), 1400);
    let damaged = [&bytes[..bytes.len() - 1], &[bytes[bytes.len() - 1] ^ 1]].concat();
    assert!(matches!(selected(Bytes::from(damaged).into()), Err(UnpackError::Checksum)));
    let bad = [&b"100644 .git\0"[..], &[7; 20]].concat();
    entries.push(entry(2, bad.len(), &[], &bad));
    assert!(matches!(selected(pack(&entries).into()), Err(UnpackError::Fsck { .. })));
}

#[test]
fn memory_of_a_push_is_reserved_and_released() {
    let content = |seed: u32| -> Vec<u8> { (0..100_000).map(|at| (at ^ seed) as u8).collect() };
    let mut entries = Vec::new();
    for seed in 0..50 {
        let (base, size) = (content(seed), 100_000);
        let id = name(Kind::Blob, &base).unwrap();
        // Copies the whole base and appends one byte.
        let delta = [0xa0, 0x8d, 0x06, 0xa1, 0x8d, 0x06, 0xf0, 0xa0, 0x86, 0x01, 1, 7];
        entries.push(entry(3, size, &[], &base));
        entries.push(entry(7, delta.len(), id.as_slice(), &delta));
    }
    let (bytes, shallow) = (pack(&entries), HashSet::new());
    let within = |limit| {
        let pool = Arc::new(LimitedPool { limit, ..LimitedPool::default() });
        let memory: Arc<dyn MemoryPool> = Arc::clone(&pool) as Arc<dyn MemoryPool>;
        let select = || {
            let scanned = scan(bytes.clone().into(), &shallow, &Limits::default(), &memory)?;
            resolve(scanned, HashMap::new(), &shallow, &Limits::default())?
                .select_for_storage(&HashMap::new())
        };
        let selected = select().map(|pack| (pack.len(), pool.held.load(Ordering::Relaxed)));
        assert_eq!(pool.held.load(Ordering::Relaxed), 0, "it is released with the pack");
        (selected, pool.peak.load(Ordering::Relaxed))
    };
    let (selected, peak) = within(u64::MAX / 2);
    let (objects, held) = selected.unwrap();
    assert_eq!(objects, 100);
    assert!(held >= 100 * 100 && (200_000..3_000_000).contains(&peak), "{held} of {peak}");
    for limit in [0, 50_000, 150_000] {
        let (selected, peak) = within(limit);
        assert!(matches!(selected, Err(UnpackError::Repository(RepositoryError::OutOfMemory(_)))), "{limit}");
        assert!(peak <= limit);
    }
}

#[test]
fn corrupt_packs_are_rejected() {
    let good = pack(&[blob(b"a")]);
    assert!(unpack(&good).is_ok());
    for end in 0..good.len() {
        assert!(unpack(&good.slice(..end)).is_err(), "cut at {end}");
    }
    for at in 0..good.len() {
        let mut damaged = good.to_vec();
        damaged[at] ^= 0x10;
        assert!(unpack(&damaged.into()).is_err(), "corrupted at {at}");
    }
    let trailing = [good.as_ref(), b"x"].concat();
    assert!(matches!(unpack(&trailing.into()), Err(UnpackError::Trailing)));
}

#[test]
fn wrong_declared_size_is_rejected() {
    let large = vec![b'x'; 4000];
    for declared in [10, 3999, 4001] {
        let lying = pack(&[entry(3, declared, &[], &large)]);
        assert!(matches!(unpack(&lying), Err(UnpackError::Inflate | UnpackError::Truncated)), "{declared}");
    }
}

#[test]
fn limits_are_enforced_before_allocation() {
    let huge = pack(&[blob(&vec![b'x'; 5000])]);
    assert!(matches!(unpack(&huge), Err(UnpackError::ObjectTooLarge { size: 5000, .. })));
    let many = pack(&(0..101u8).map(|n| blob(&[n])).collect::<Vec<_>>());
    assert!(matches!(unpack(&many), Err(UnpackError::TooManyObjects { found: 101, .. })));
    let together = pack(&(0..5u8).map(|n| blob(&[n; 4000])).collect::<Vec<_>>());
    assert!(matches!(unpack(&together), Err(UnpackError::InflatedTooLarge { .. })));
    // Each delta declares 4000 bytes from the same base; the sum is checked before any is applied.
    let base = blob(&[b'x'; 4000]);
    let id = name(Kind::Blob, &[b'x'; 4000]).unwrap();
    let copy = [0xa0, 0x1f, 0xa0, 0x1f, 0xb0, 0xa0, 0x0f];
    let bomb: Vec<_> =
        std::iter::once(base).chain((0..50).map(|_| entry(7, copy.len(), id.as_slice(), &copy))).collect();
    assert!(matches!(unpack(&pack(&bomb)), Err(UnpackError::InflatedTooLarge { .. })));
}

#[test]
fn delta_cycles_and_long_chains_are_rejected() {
    let delta = append(1, b"+");
    let itself = pack(&[entry(6, delta.len(), &[0], &delta)]);
    assert!(unpack(&itself).is_err());
    let mut entries = vec![blob(b"a")];
    for length in 1..6u8 {
        let before = entries.last().unwrap().len();
        let delta = append(length, b"+");
        entries.push(entry(6, delta.len(), &[u8::try_from(before).unwrap()], &delta));
    }
    assert!(matches!(unpack(&pack(&entries)), Err(UnpackError::DeltaDepth(3))));
}

#[test]
fn fsck_error_fails_the_pack() {
    let tree = [&b"100644 .git\0"[..], &[7; 20]].concat();
    let pack = pack(&[entry(2, tree.len(), &[], &tree)]);
    assert!(matches!(unpack(&pack), Err(UnpackError::Fsck { .. })));
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = unpack(&bytes.clone().into());
        let _ = unpack(&pack(&[bytes]));
    }
}
