//! Git objects and deltas of any number and size.

use std::collections::HashSet;
use std::io;

use manifest_schema::name::AppName;
use store::{
    Location, NewPush, OBJECTS_BYTES_MAX, Object, ObjectInfo, ObjectKind, Objects, Oid, PushError, Store,
};

use crate::fixtures::*;

on_both_databases!(
    delta_is_stored_as_received,
    object_is_read_with_its_delta_chain,
    delta_cycle_terminates,
    objects_belong_to_one_app,
    streams_keep_arbitrary_bytes,
    many_small_objects_are_all_found,
    large_result_is_truncated,
    commits_are_paged,
    pages_of_large_commits_are_limited_by_bytes,
    scan_reads_objects_in_storage_order,
    unreadable_object_fails_push,
);

fn sorted(mut objects: Vec<Object>) -> Vec<Object> {
    objects.sort_by_key(|object| object.oid);
    objects
}

/// A full blob, a delta, a delta on that, and two deltas on the last; deltas come before their bases.
fn chain() -> [Object; 5] {
    let blobs: Vec<Object> = (0..5).map(|number| blob(number, 3)).collect();
    let first = delta(blobs[1].clone(), &blobs[0]);
    let second = delta(blobs[2].clone(), &first);
    let heads = [delta(blobs[3].clone(), &second), delta(blobs[4].clone(), &second)];
    let [left, right] = heads;
    [right, left, second, first, blobs[0].clone()]
}

async fn delta_is_stored_as_received(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let whole = commit(1);
    let changed = delta(Object { size: 1 << 40, ..commit(2) }, &whole);
    let both = NewPush { objects: kept(vec![changed.clone(), whole.clone()]), ..push(None, 1) };
    let id = store.push(&both).await.unwrap().app.id;
    assert_eq!(store.objects(id, &[oid(2), oid(3)]).await.unwrap(), [changed]);
    let mut known = store.object_info(id, &[oid(1), oid(2), oid(3)]).await.unwrap();
    known.sort_by_key(|(oid, _)| *oid);
    let commit = |depth| ObjectInfo { kind: ObjectKind::Commit, depth };
    assert_eq!(known, [(oid(1), commit(0)), (oid(2), commit(1))]);
}

async fn object_is_read_with_its_delta_chain(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let chain = chain();
    let [right, left, second, first, whole] = &chain;
    let objects = chain.iter().cloned().chain([commit(1), blob(9, 3)]).collect();
    let id = store.push(&NewPush { objects: kept(objects), ..push(None, 1) }).await.unwrap().app.id;
    let ask = async |oids: &[Oid]| sorted(store.objects_and_bases(id, oids, u64::MAX).await.unwrap());
    assert_eq!(ask(&[right.oid, left.oid]).await, sorted(chain.to_vec()), "the common base is returned once");
    let asked_for_twice = [second.oid, whole.oid, second.oid, oid(77)];
    assert_eq!(ask(&asked_for_twice).await, sorted(vec![second.clone(), first.clone(), whole.clone()]));
    assert!(ask(&[]).await.is_empty());
}

async fn delta_cycle_terminates(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let circle = vec![commit(1), delta(commit(2), &commit(3)), delta(commit(3), &commit(2))];
    let id = store.push(&NewPush { objects: kept(circle), ..push(None, 1) }).await.unwrap().app.id;
    assert_eq!(store.objects_and_bases(id, &[oid(2)], u64::MAX).await.unwrap().len(), 2);
}

async fn objects_belong_to_one_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let other = NewPush { app: AppName::new("other").unwrap(), ..push(None, 2) };
    let other = store.push(&other).await.unwrap().app.id;
    let both = [oid(1), oid(2)];
    for (app, own) in [(id, commit(1)), (other, commit(2))] {
        assert_eq!(store.objects(app, &both).await.unwrap(), std::slice::from_ref(&own));
        assert_eq!(store.objects_and_bases(app, &both, u64::MAX).await.unwrap(), std::slice::from_ref(&own));
        assert_eq!(store.commits(app, None, 10).await.unwrap(), std::slice::from_ref(&own));
        assert_eq!(store.object_info(app, &both).await.unwrap().len(), 1);
    }
}

/// Reproducible random bytes: all values including NUL, mostly invalid UTF-8.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| byte()).collect()
}

async fn streams_keep_arbitrary_bytes(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let kinds = [ObjectKind::Commit, ObjectKind::Tree, ObjectKind::Blob, ObjectKind::Tag];
    let mut objects: Vec<Object> = Vec::new();
    for number in 0..2_000_u32 {
        // NULs at both ends, a surrogate, a byte order mark, commas, an empty stream, and a truncated character.
        let zlib = match number % 10 {
            0 => vec![0; 5],
            1 => [vec![0], noise(number, 40), vec![0, 0]].concat(),
            2 => vec![0xed, 0xa0, 0x80, 0xff, 0xfe, 0xc3],
            3 => vec![0xef, 0xbb, 0xbf, b',', b'\'', b'"'],
            4 => Vec::new(),
            5 if number == 1005 => noise(number, 70_000),
            _ => noise(number, 60 + number as usize % 140),
        };
        let name = noise(number + 10_000, 20).try_into().unwrap();
        let whole = Object { oid: Oid::new(name), zlib, size: number.into(), ..blob(0, 0) };
        let whole = Object { kind: kinds[number as usize % 4], ..whole };
        let base = objects.last().filter(|_| number % 7 > 0);
        objects.push(base.map_or_else(|| whole.clone(), |base| delta(whole.clone(), base)));
    }
    let pushed = kept(objects.iter().cloned().chain([commit(1)]).collect());
    let id = store.push(&NewPush { objects: pushed, ..push(None, 1) }).await.unwrap().app.id;
    let asked: Vec<Oid> = objects.iter().rev().map(|object| object.oid).collect();
    let commits = objects.iter().filter(|object| object.kind == ObjectKind::Commit);
    let commits = sorted(commits.cloned().chain([commit(1)]).collect());
    objects = sorted(objects);
    assert!(sorted(store.objects(id, &asked).await.unwrap()) == objects);
    assert!(sorted(store.objects_and_bases(id, &asked, u64::MAX).await.unwrap()) == objects);
    let heads: Vec<Oid> = asked.iter().step_by(7).copied().collect();
    let chains = store.objects_and_bases(id, &heads, u64::MAX).await.unwrap();
    assert!(chains.iter().all(|object| objects.contains(object)) && chains.len() > heads.len());
    let names: HashSet<Oid> = chains.iter().map(|object| object.oid).collect();
    assert_eq!(names.len(), chains.len(), "each is returned once");
    assert!(store.commits(id, None, 1_000).await.unwrap() == commits);
}

async fn many_small_objects_are_all_found(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let mut objects: Vec<Object> = (0..30_000).map(|number| blob(number, 20)).collect();
    objects.push(commit(0xff));
    let large = NewPush { objects: kept(objects.clone()), ..push(None, 0xff) };
    let id = store.push(&large).await.unwrap().app.id;
    let asked: Vec<Oid> = (0..50_000).map(numbered).collect();
    assert_eq!(store.object_info(id, &asked).await.unwrap().len(), 30_000);
    assert!(sorted(store.objects(id, &asked).await.unwrap()) == objects[..30_000], "objects are unchanged");
    assert!(sorted(store.objects_and_bases(id, &asked, u64::MAX).await.unwrap()) == objects[..30_000]);
    assert!(
        store.objects(id, &[]).await.unwrap().is_empty()
            && store.object_info(id, &[]).await.unwrap().is_empty()
    );
}

async fn large_result_is_truncated(location: Location) {
    let store = Store::open(&location).await.unwrap();
    // Small ones, some of a mebibyte, and one above the limit of a result.
    let sizes = (0..20).map(|number| if number % 2 == 0 { 10 } else { 1 << 20 }).chain([5 << 20]);
    let mut objects: Vec<Object> = (0..).zip(sizes).map(|(number, bytes)| blob(number, bytes)).collect();
    objects.push(commit(0xff));
    let id =
        store.push(&NewPush { objects: kept(objects.clone()), ..push(None, 0xff) }).await.unwrap().app.id;
    let mut missing: HashSet<Oid> = objects.iter().map(|object| object.oid).collect();
    let mut found = Vec::new();
    while !missing.is_empty() {
        let asked: Vec<Oid> = missing.iter().copied().collect();
        let answer = store.objects(id, &asked).await.unwrap();
        let largest = answer.iter().map(|object| object.zlib.len()).max().expect("at least one is read");
        let all: usize = answer.iter().map(|object| object.zlib.len()).sum();
        assert!(all < usize::try_from(OBJECTS_BYTES_MAX).unwrap() + largest, "{all} bytes at once");
        assert!(answer.iter().all(|object| missing.remove(&object.oid)), "each is read once");
        found.extend(answer);
    }
    assert!(sorted(found) == objects);
    let asked: Vec<Oid> = objects.iter().map(|object| object.oid).collect();
    assert!(
        sorted(store.objects_and_bases(id, &asked, u64::MAX).await.unwrap()) == objects,
        "without a limit"
    );
    let bounded = store.objects_and_bases(id, &asked, 3 << 20).await.unwrap();
    let bytes: usize = bounded.iter().map(|object| object.zlib.len()).sum();
    assert!((3 << 20..8 << 20).contains(&bytes), "{bytes} bytes show that some are left out");
    let one = store.objects_and_bases(id, &asked, 1).await.unwrap();
    assert_eq!(one.len(), 1, "the first is always returned");
}

async fn pages_of_large_commits_are_limited_by_bytes(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let large = |digit| Object { zlib: vec![digit; 1 << 20], ..commit(digit) };
    let objects: Vec<Object> = (1..=6).map(large).collect();
    let id = store.push(&NewPush { objects: kept(objects.clone()), ..push(None, 1) }).await.unwrap().app.id;
    let (mut found, mut after, mut pages): (Vec<Object>, _, _) = (Vec::new(), None, 0);
    loop {
        let page = store.commits(id, after, 100).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() as u64 <= OBJECTS_BYTES_MAX >> 20, "{} MiB at once", page.len());
        (after, pages) = (Some(last.oid), pages + 1);
        found.extend(page);
    }
    assert!(found == sorted(objects) && pages == 3, "{pages} pages");
}

async fn commits_are_paged(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let mut objects: Vec<Object> = [5, 3, 1, 4, 2].map(commit).into();
    objects[1] = delta(objects[1].clone(), &commit(1));
    objects.push(blob(7, 3));
    let id = store.push(&NewPush { objects: kept(objects.clone()), ..push(None, 1) }).await.unwrap().app.id;
    let expected = sorted(objects[..5].to_vec());
    let first = store.commits(id, None, 2).await.unwrap();
    let second = store.commits(id, Some(oid(2)), 2).await.unwrap();
    let last = store.commits(id, Some(oid(4)), 2).await.unwrap();
    assert_eq!((&first[..], &second[..], &last[..]), (&expected[..2], &expected[2..4], &expected[4..]));
    assert!(store.commits(id, Some(oid(5)), 2).await.unwrap().is_empty());
}

async fn scan_reads_objects_in_storage_order(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let other = NewPush { app: AppName::new("other").unwrap(), ..push(None, 2) };
    store.push(&other).await.unwrap();
    // Descending names, so that no index has this order; the large object is left out.
    let mut objects: Vec<Object> = (0..5000).rev().map(|number| blob(number, 3)).collect();
    objects[4321] = blob(678, 10_000);
    objects.push(commit(1));
    let id = store.push(&NewPush { objects: kept(objects.clone()), ..push(None, 1) }).await.unwrap().app.id;
    let (mut place, mut found) = (0, Vec::new());
    while let Some(stored) =
        store.scan_objects(id, place).await.unwrap().filter(|stored| !stored.objects.is_empty())
    {
        found.extend(stored.objects);
        place = stored.next;
    }
    objects.remove(4321);
    // PostgreSQL has no storage order.
    let in_order = matches!(location, Location::Sqlite(_));
    assert!(found == if in_order { objects } else { Vec::new() });
}

/// Objects in a truncated file.
#[derive(Debug)]
struct CutShort(Vec<Object>);

impl Objects for CutShort {
    fn len(&self) -> usize {
        self.0.len() + 1
    }

    fn object(&self, index: usize) -> io::Result<Object> {
        self.0.get(index).cloned().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn stream_bytes(&self) -> u64 {
        self.0.stream_bytes()
    }
}

async fn unreadable_object_fails_push(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    // More than one batch, so that some are inserted before the end is reached.
    let cut = CutShort((0..12_000).map(|number| blob(number, 3)).chain([commit(2)]).collect());
    match store.push(&NewPush { objects: &cut, ..push(Some(1), 2) }).await {
        Err(PushError::Objects(error)) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
        other => panic!("{other:?}"),
    }
    assert!(store.object_info(id, &[numbered(0), oid(2)]).await.unwrap().is_empty());
    assert_eq!(store.refs(id).await.unwrap()[0].target, oid(1));
    assert_eq!(store.push(&push(Some(1), 2)).await.unwrap().deploys, [number(2)]);
}
