//! What is sent of a repository that keeps deltas, as a client without it reads the pack.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use gix_hash::ObjectId;
use gix_object::Kind;

use super::pack::{Band, Format, send};
use super::walk::select;
use super::{UploadError, Wishes};
use crate::memory::tests::Bounded;
use crate::sample::History;
use crate::unpack::{UnpackError, compress, resolve, scan};
use crate::{Known, Limits, Object, Pack, RepositoryError, unbounded};

/// A file `a`, then the same with a `b` behind it, stored as a delta: the history, its two commits, the two files.
fn two_commits() -> (History, [ObjectId; 2], [ObjectId; 2]) {
    let mut history = History::default();
    let file = |history: &mut History, content: &[u8], base: Option<(ObjectId, &[u8])>| -> ObjectId {
        let id = gix_object::compute_hash(gix_hash::Kind::Sha1, Kind::Blob, content).unwrap();
        let stream = base.map_or(content, |(_, delta)| delta);
        history.add(Object {
            id,
            kind: Kind::Blob,
            base: base.map(|(base, _)| base),
            depth: base.is_some().into(),
            size: stream.len() as u64,
            zlib: compress(stream),
        });
        id
    };
    let first = file(&mut history, b"a", None);
    let second = file(&mut history, b"ab", Some((first, &[1, 2, 0x90, 1, 1, b'b'])));
    let older = history.commit_of(&[], &[("file", first)]);
    let newer = history.commit_of(&[older], &[("file", second)]);
    (history, [older, newer], [first, second])
}

async fn sent(history: &History, wishes: &Wishes, format: Format) -> Result<Bytes, UploadError> {
    let mut out = Vec::new();
    send(history, select(history, wishes).await?, format, Band::None, &mut out).await?;
    Ok(out.into())
}

/// The objects of a pack, for a client that knows nothing of it or has the file `a`.
fn received(pack: Bytes, has: Option<ObjectId>) -> Result<Pack, UnpackError> {
    let (shallow, limits) = (HashSet::new(), Limits::default());
    let scanned = scan(pack.into(), &shallow, &limits, &unbounded())?;
    let bases = has.into_iter().map(|id| (id, (Kind::Blob, b"a".to_vec()))).collect();
    let known = has.into_iter().map(|id| (id, Known { kind: Kind::Blob, depth: 0 }));
    resolve(scanned, bases, &shallow, &limits)?.settle(&known.collect())
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
async fn a_clone_gets_deltas_as_they_are_stored() {
    let (history, [older, newer], [first, second]) = two_commits();
    for format in FORMATS {
        let wishes = Wishes { wants: vec![newer], ..Wishes::default() };
        let pack = received(sent(&history, &wishes, format).await.unwrap(), None).unwrap();
        let bases = bases(&pack);
        assert_eq!(bases.len(), 6);
        assert_eq!((bases[&first], bases[&second]), (None, Some(first)), "{format:?}");
        assert!(bases.contains_key(&older));
    }
}

#[tokio::test]
async fn a_fetch_builds_on_what_the_client_has_where_it_can_take_that() {
    let (history, [older, newer], [first, second]) = two_commits();
    for format in FORMATS {
        let wishes = Wishes { wants: vec![newer], common: vec![older], ..Wishes::default() };
        let pack = sent(&history, &wishes, format).await.unwrap();
        let alone = received(pack.clone(), None);
        if format.thin {
            assert!(matches!(alone, Err(UnpackError::Unresolved(1))));
            assert_eq!(bases(&received(pack, Some(first)).unwrap())[&second], Some(first));
        } else {
            let bases = bases(&alone.unwrap());
            assert_eq!((bases.len(), bases[&second]), (3, None), "a client that takes no thin pack");
        }
    }
}

#[tokio::test]
async fn a_delta_on_what_is_not_sent_is_sent_whole() {
    let (history, [_, newer], [first, second]) = two_commits();
    for format in FORMATS {
        let mut wishes = Wishes { wants: vec![newer], ..Wishes::default() };
        wishes.take("deepen 1", &mut Vec::new()).unwrap();
        let pack = received(sent(&history, &wishes, format).await.unwrap(), None).unwrap();
        let bases = bases(&pack);
        assert_eq!((bases.len(), bases[&second]), (3, None));
        assert!(!bases.contains_key(&first));
    }
}

#[tokio::test]
async fn a_large_repository_is_sent_in_portions_each_object_once() {
    let mut history = History::default();
    let blob = gix_object::compute_hash(gix_hash::Kind::Sha1, Kind::Blob, b"").unwrap();
    history.add(Object { id: blob, kind: Kind::Blob, base: None, depth: 0, size: 0, zlib: compress(b"") });
    let mut tip = Vec::new();
    for number in 0..5000 {
        tip = vec![history.commit_of(&tip, &[(&format!("{number:04}"), blob)])];
    }
    // A tree that is stored as a delta on one which is read beside it, and so is read twice.
    let tree = |number| [format!("100644 {number:04}\0").as_bytes(), blob.as_slice()].concat();
    let name = |number| gix_object::compute_hash(gix_hash::Kind::Sha1, Kind::Tree, &tree(number)).unwrap();
    let delta = [&[32, 32, 32][..], &tree(2000)].concat();
    let (size, zlib) = (delta.len() as u64, compress(&delta));
    history.add(Object { id: name(2000), kind: Kind::Tree, base: Some(name(4900)), depth: 1, size, zlib });
    let wishes = Wishes { wants: tip, ..Wishes::default() };
    let pack = sent(&history, &wishes, Format::default()).await.unwrap();
    assert_eq!(received(pack.clone(), None).unwrap().len(), 10_001);
    // What its sending holds is given back, and where there is no room for it, it ends.
    let mut bounded = async |most| {
        let memory = Arc::new(Bounded { most, ..Bounded::default() });
        history.memory = Some(Arc::clone(&memory));
        let sent = sent(&history, &wishes, Format::default()).await;
        assert_eq!(memory.held.load(Ordering::Relaxed), 0);
        (sent, memory.peak.load(Ordering::Relaxed))
    };
    let (same, peak) = bounded(u64::MAX / 2).await;
    assert!(same.unwrap() == pack);
    assert!((2_000_000..20_000_000).contains(&peak), "{peak}");
    let (none, most) = bounded(peak / 3).await;
    assert!(matches!(none, Err(UploadError::Repository(RepositoryError::NoMemory(_)))));
    assert!(most <= peak / 3);
}
