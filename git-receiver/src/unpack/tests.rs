use bytes::Bytes;

use super::compress::Compressor;
use super::*;
use crate::{Limits, Object};

fn compress(content: &[u8]) -> Bytes {
    Compressor::new().compress(content)
}

/// The head of an entry: type and size.
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

fn unpack(pack: &Bytes, bases: &[Object]) -> Result<Vec<Object>, UnpackError> {
    let limits = Limits {
        objects: 100,
        object_bytes: 4096,
        inflated_bytes: 16_384,
        delta_depth: 3,
        ..Limits::default()
    };
    let entries = read(pack, &limits)?;
    Ok(resolve(entries, bases, &[], &limits)?.objects)
}

fn contents(objects: &[Object]) -> Vec<Vec<u8>> {
    objects.iter().map(|object| object.content().unwrap()).collect()
}

/// Appends `tail` to a base of `length` bytes.
fn append(length: u8, tail: &[u8]) -> Vec<u8> {
    let tail_length = u8::try_from(tail.len()).unwrap();
    [&[length, length + tail_length, 0x90, length, tail_length][..], tail].concat()
}

#[test]
fn whole_objects_and_deltas_of_both_kinds_are_unpacked() {
    let base = blob(b"base");
    let id = name(Kind::Blob, b"base").unwrap();
    let delta = append(4, b"+1");
    let by_offset = entry(6, delta.len(), &[u8::try_from(base.len()).unwrap()], &delta);
    let delta = append(4, b"+2");
    let by_name = entry(7, delta.len(), id.as_slice(), &delta);
    let mut found = contents(&unpack(&pack(&[base, by_offset, by_name]), &[]).unwrap());
    found.sort();
    assert_eq!(found, [b"base".to_vec(), b"base+1".to_vec(), b"base+2".to_vec()]);
}

#[test]
fn a_thin_pack_builds_on_what_the_repository_has() {
    let id = name(Kind::Blob, b"base").unwrap();
    let delta = append(4, b"+1");
    let thin = pack(&[entry(7, delta.len(), id.as_slice(), &delta)]);
    assert_eq!(unpack(&thin, &[]).unwrap_err(), UnpackError::Unresolved(1));
    let base = Object { id, kind: Kind::Blob, size: 4, zlib: compress(b"base") };
    assert_eq!(
        contents(&unpack(&thin, &[base]).unwrap()),
        [b"base+1"],
        "the base itself is not part of the push"
    );
}

#[test]
fn damaged_packs_are_refused() {
    let good = pack(&[blob(b"a")]);
    assert!(unpack(&good, &[]).is_ok());
    for end in 0..good.len() {
        assert!(unpack(&good.slice(..end), &[]).is_err(), "cut at {end}");
    }
    for at in 0..good.len() {
        let mut damaged = good.to_vec();
        damaged[at] ^= 0x10;
        assert!(unpack(&damaged.into(), &[]).is_err(), "damaged at {at}");
    }
    let behind = [good.as_ref(), b"x"].concat();
    assert_eq!(unpack(&behind.into(), &[]).unwrap_err(), UnpackError::Trailing);
}

#[test]
fn a_size_that_lies_is_never_believed() {
    let large = vec![b'x'; 4000];
    for declared in [10, 3999, 4001] {
        let lying = pack(&[entry(3, declared, &[], &large)]);
        assert!(
            matches!(unpack(&lying, &[]), Err(UnpackError::Inflate | UnpackError::Truncated)),
            "{declared}"
        );
    }
}

#[test]
fn what_is_beyond_a_limit_is_refused_before_it_is_built() {
    let huge = pack(&[blob(&vec![b'x'; 5000])]);
    assert!(matches!(unpack(&huge, &[]), Err(UnpackError::ObjectTooLarge { size: 5000, .. })));
    let many = pack(&(0..101u8).map(|n| blob(&[n])).collect::<Vec<_>>());
    assert!(matches!(unpack(&many, &[]), Err(UnpackError::TooManyObjects { found: 101, .. })));
    let together = pack(&(0..5u8).map(|n| blob(&[n; 4000])).collect::<Vec<_>>());
    assert!(matches!(unpack(&together, &[]), Err(UnpackError::InflatedTooLarge { .. })));
    // Each delta makes 4000 bytes of the same base; their sum is declared before any is applied.
    let base = blob(&[b'x'; 4000]);
    let id = name(Kind::Blob, &[b'x'; 4000]).unwrap();
    let copy = [0xa0, 0x1f, 0xa0, 0x1f, 0xb0, 0xa0, 0x0f];
    let bomb: Vec<_> =
        std::iter::once(base).chain((0..50).map(|_| entry(7, copy.len(), id.as_slice(), &copy))).collect();
    assert!(matches!(unpack(&pack(&bomb), &[]), Err(UnpackError::InflatedTooLarge { .. })));
}

#[test]
fn circles_and_long_chains_of_deltas_end() {
    let delta = append(1, b"+");
    let itself = pack(&[entry(6, delta.len(), &[0], &delta)]);
    assert!(unpack(&itself, &[]).is_err());
    let mut entries = vec![blob(b"a")];
    for length in 1..6u8 {
        let before = entries.last().unwrap().len();
        let delta = append(length, b"+");
        entries.push(entry(6, delta.len(), &[u8::try_from(before).unwrap()], &delta));
    }
    assert_eq!(unpack(&pack(&entries), &[]).unwrap_err(), UnpackError::DeltaDepth(3));
}

#[test]
fn objects_that_fsck_refuses_fail_the_pack() {
    let tree = [&b"100644 .git\0"[..], &[7; 20]].concat();
    let pack = pack(&[entry(2, tree.len(), &[], &tree)]);
    assert!(matches!(unpack(&pack, &[]), Err(UnpackError::BadObject { .. })));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = unpack(&bytes.clone().into(), &[]);
        let _ = unpack(&pack(&[bytes]), &[]);
    }
}
