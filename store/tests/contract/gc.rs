//! Garbage collection deletes unreachable objects and nothing else.

use chrono::{DateTime, TimeDelta, Utc};
use store::{App, GcRoots, GcState, Location, NewDeploy, NewPush, Object, Oid, PushError, RefChange, Store};

use crate::disk::{read, recount};
use crate::fixtures::*;

on_both_databases!(
    old_target_of_ref_is_released_unless_deployed,
    dangling_object_is_released,
    objects_are_marked_only_in_the_state_they_were_found_in,
    unreachable_objects_are_deleted_in_batches,
    push_detects_concurrent_gc,
    push_stores_unreachable_object_again,
    delta_is_undeltified_before_its_base_is_deleted,
    pruned_deploy_is_deleted_with_its_revision,
    object_released_again_keeps_new_time,
    object_names_are_paged,
);

/// After the grace period of everything.
fn later() -> DateTime<Utc> {
    noon() + TimeDelta::hours(1)
}

async fn roots(store: &Store, before: DateTime<Utc>) -> GcRoots {
    store.gc_roots(read(store).await.id, before, later()).await.unwrap().unwrap()
}

async fn released(store: &Store) -> Vec<Oid> {
    roots(store, later()).await.released.into_iter().map(|(oid, _)| oid).collect()
}

fn gone(name: &str, digit: u8) -> RefChange {
    RefChange { name: name.to_owned(), old: Some(oid(digit)), new: None }
}

/// A push that creates objects and tags for some of them.
fn tagging(objects: Vec<Object>, tags: &[(&str, u8)]) -> NewPush<'static> {
    let refs = tags.iter().map(|(name, digit)| creating(&format!("refs/tags/{name}"), *digit)).collect();
    NewPush { objects: kept(objects), ..refs_only(refs) }
}

async fn exact(store: &Store) {
    let all: Vec<Oid> = (1..=9).map(oid).chain((0..50).map(numbered)).collect();
    assert_eq!(read(store).await.disk_bytes, recount(store, &all).await);
}

async fn old_target_of_ref_is_released_unless_deployed(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    store.push(&push(Some(1), 2)).await.unwrap();
    store.push(&tagging(vec![commit(3), commit(4)], &[("a", 3), ("b", 4)])).await.unwrap();
    assert!(store.apps_to_gc(later(), later()).await.unwrap().is_empty());
    assert_eq!(roots(&store, later()).await.roots, [oid(1), oid(2), oid(3), oid(4)]);
    // One tag is deleted, one is moved; the deployed commit is kept by its deploy.
    let moved = RefChange { new: Some(oid(2)), ..gone("refs/tags/b", 4) };
    store.push(&refs_only(vec![gone("refs/tags/a", 3), moved])).await.unwrap();
    assert_eq!(released(&store).await, [oid(3), oid(4)]);
    let collected = store.apps_to_gc(later(), later()).await.unwrap();
    assert_eq!(collected, [read(&store).await]);
    assert!(store.apps_to_gc(noon() - TimeDelta::seconds(1), later()).await.unwrap().is_empty());
    // Recently released objects are still roots.
    let fresh = roots(&store, noon() - TimeDelta::seconds(1)).await;
    assert_eq!((fresh.roots, fresh.released), (vec![oid(1), oid(2), oid(3), oid(4)], vec![]));
    // Release times in the future, from a clock that was ahead, have expired.
    let back = noon() - TimeDelta::hours(5);
    assert_eq!(store.apps_to_gc(back - TimeDelta::hours(1), back).await.unwrap().len(), 1);
    // Pushing the same again releases nothing.
    store
        .push(&NewPush {
            refs: vec![RefChange { new: Some(oid(2)), ..gone("refs/tags/b", 2) }],
            ..refs_only(vec![])
        })
        .await
        .unwrap();
    assert_eq!(released(&store).await, [oid(3), oid(4)]);
}

async fn dangling_object_is_released(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let objects = kept(vec![commit(1), commit(5)]);
    store.push(&NewPush { objects, dangling: vec![oid(5)], ..push(None, 1) }).await.unwrap();
    assert_eq!(released(&store).await, [oid(5)]);
}

/// Deletes two tags: commit 3 and the blobs 10 to 19 become garbage.
async fn with_garbage(store: &Store) -> (App, Vec<Oid>) {
    store.push(&push(None, 1)).await.unwrap();
    let objects = (10..20).map(|number| blob(number, 100)).chain([commit(3)]).collect();
    let shallow = vec![oid(1), oid(3)];
    store.push(&NewPush { shallow, ..tagging(objects, &[("a", 3)]) }).await.unwrap();
    store.push(&refs_only(vec![gone("refs/tags/a", 3)])).await.unwrap();
    (read(store).await, (10..20).map(numbered).chain([oid(3)]).collect())
}

async fn mark_unreachable(store: &Store, app: &App, seen: GcState, garbage: &[Oid]) -> bool {
    store.mark_unreachable(app.id, seen, garbage, &[]).await.unwrap()
}

/// Deletes unreachable objects: rows, bytes, number of batches.
async fn delete_unreachable(store: &Store, app: &App) -> (u64, u64, u32) {
    let (mut rows, mut bytes, mut batches) = (0, 0, 0);
    while let Some(deleted) = store.delete_unreachable(app.id).await.unwrap() {
        rows += deleted.rows;
        bytes += deleted.bytes;
        batches += 1;
        exact(store).await;
    }
    (rows, bytes, batches)
}

async fn objects_are_marked_only_in_the_state_they_were_found_in(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let (before, garbage) = with_garbage(&store).await;
    let seen = roots(&store, later()).await.state;
    assert_eq!(seen, before.gc_state());
    assert!(mark_unreachable(&store, &before, seen, &garbage[..4]).await);
    let now = read(&store).await;
    assert_eq!(now.generation, before.generation);
    // Another collection or a push has changed the state.
    assert!(!mark_unreachable(&store, &before, seen, &garbage).await);
    store.push(&NewPush { gc_id: Some((now.id, now.gc_id)), ..push(Some(1), 2) }).await.unwrap();
    assert!(!mark_unreachable(&store, &before, now.gc_state(), &garbage).await);
    assert_eq!(store.object_info(before.id, &garbage).await.unwrap().len(), 7);
    // Marking again is a no-op, and shallow commits are deleted too.
    let seen = roots(&store, later()).await.state;
    assert!(mark_unreachable(&store, &before, seen, &garbage).await);
    assert!(store.object_info(before.id, &garbage).await.unwrap().is_empty());
    assert_eq!(store.shallow(before.id).await.unwrap(), [oid(1)]);
    assert_eq!(store.object_info(before.id, &[oid(1), oid(2)]).await.unwrap().len(), 2);
    let strange = store::AppId::from_uuid(uuid::Uuid::from_u128(5));
    assert!(!store.mark_unreachable(strange, seen, &garbage, &[]).await.unwrap());
    assert_eq!(store.delete_unreachable(strange).await.unwrap(), None);
}

async fn unreachable_objects_are_deleted_in_batches(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let objects: Vec<Object> = (100..1300).map(|number| blob(number, 10)).chain([commit(3)]).collect();
    let garbage: Vec<Oid> = objects.iter().map(|object| object.oid).collect();
    let before = read(&store).await;
    store.push(&tagging(objects, &[("a", 3)])).await.unwrap();
    store.push(&refs_only(vec![gone("refs/tags/a", 3)])).await.unwrap();
    let full = read(&store).await;
    assert!(mark_unreachable(&store, &full, full.gc_state(), &garbage).await);
    // After an interrupted collection, the next one continues regardless of the grace period.
    let early = noon() - TimeDelta::days(1);
    assert_eq!(store.apps_to_gc(early, later()).await.unwrap().len(), 1);
    store.delete_unreachable(id).await.unwrap().unwrap();
    store.close().await;
    let store = Store::open(&location).await.unwrap();
    assert_eq!(store.apps_to_gc(early, later()).await.unwrap().len(), 1);
    let state = read(&store).await.gc_state();
    let mut batches = 1;
    while let Some(deleted) = store.delete_unreachable(id).await.unwrap() {
        // Deleting does not fail pushes: they could not find these objects.
        assert_eq!(deleted.state, state);
        batches += 1;
    }
    assert!(batches > 2, "{batches}");
    assert_eq!(read(&store).await.disk_bytes, before.disk_bytes);
    assert!(store.apps_to_gc(early, later()).await.unwrap().is_empty());
    assert!(store.objects(id, &garbage).await.unwrap().is_empty());
}

async fn push_detects_concurrent_gc(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let (seen, garbage) = with_garbage(&store).await;
    assert!(mark_unreachable(&store, &seen, seen.gc_state(), &garbage[..1]).await);
    let result = store.push(&NewPush { gc_id: Some((seen.id, seen.gc_id)), ..push(Some(1), 2) }).await;
    assert!(matches!(result, Err(PushError::ConcurrentGc)), "{result:?}");
    assert_eq!(store.refs(seen.id).await.unwrap()[0].target, oid(1));
    let now = read(&store).await;
    store.push(&NewPush { gc_id: Some((now.id, now.gc_id)), ..push(Some(1), 2) }).await.unwrap();
    // Without marked objects nothing changes.
    let app = read(&store).await;
    assert!(mark_unreachable(&store, &app, app.gc_state(), &[]).await);
    assert_eq!(read(&store).await, app);
}

/// Some objects are deleted when the same push arrives again: the remaining ones must not be trusted.
async fn push_stores_unreachable_object_again(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let base = blob(10, 500);
    let stored = delta(blob(11, 50), &base);
    store.push(&tagging(vec![base.clone(), stored.clone(), commit(3)], &[("a", 3)])).await.unwrap();
    store.push(&refs_only(vec![gone("refs/tags/a", 3)])).await.unwrap();
    let app = read(&store).await;
    assert!(mark_unreachable(&store, &app, app.gc_state(), &[oid(3), numbered(10), numbered(11)]).await);
    let now = read(&store).await;
    let again = vec![blob(11, 90), commit(3)];
    let push = NewPush { gc_id: Some((now.id, now.gc_id)), ..tagging(again.clone(), &[("b", 3)]) };
    store.push(&push).await.unwrap();
    exact(&store).await;
    assert_eq!(store.object_info(app.id, &[oid(3), numbered(11)]).await.unwrap().len(), 2);
    assert_eq!(store.objects_and_bases(app.id, &[numbered(11)], u64::MAX).await.unwrap(), again[..1]);
    assert_eq!(delete_unreachable(&store, &app).await.0, 1);
    assert_eq!(store.objects(app.id, &[oid(3), numbered(10), numbered(11)]).await.unwrap().len(), 2);
}

async fn delta_is_undeltified_before_its_base_is_deleted(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let base = blob(10, 500);
    let objects = vec![base.clone(), delta(blob(11, 50), &base), commit(3)];
    store.push(&tagging(objects, &[("a", 3)])).await.unwrap();
    let app = read(&store).await;
    let whole = Object { size: 7, ..blob(11, 90) };
    let seen = app.gc_state();
    assert!(store.undeltify(app.id, seen, std::slice::from_ref(&whole)).await.unwrap());
    exact(&store).await;
    assert!(mark_unreachable(&store, &app, seen, &[numbered(10)]).await);
    assert!(!store.undeltify(app.id, seen, std::slice::from_ref(&whole)).await.unwrap());
    assert_eq!(delete_unreachable(&store, &app).await, (1, 700, 1));
    assert_eq!(store.objects_and_bases(app.id, &[numbered(11)], u64::MAX).await.unwrap(), [whole]);
    exact(&store).await;
}

async fn pruned_deploy_is_deleted_with_its_revision(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    store.push(&push(Some(1), 2)).await.unwrap();
    store.push(&NewPush { revisions: Vec::new(), ..push(Some(2), 1) }).await.unwrap();
    store.push(&push(Some(1), 4)).await.unwrap();
    let app = read(&store).await;
    let seen = app.gc_state();
    let prune = async |seen, deploys: &[u64]| {
        let deploys: Vec<_> = deploys.iter().map(|deploy| number(*deploy)).collect();
        store.prune_deploys(app.id, seen, &deploys, noon()).await.unwrap()
    };
    // Commit 1 was deployed twice.
    let first = prune(seen, &[1, 2]).await.unwrap();
    assert_eq!(first.rows, 2);
    assert!(store.revision(app.id, oid(1)).await.unwrap().is_some());
    assert!(store.revision(app.id, oid(2)).await.unwrap().is_none());
    exact(&store).await;
    assert_eq!(released(&store).await, [oid(1), oid(2)]);
    assert_eq!(roots(&store, later()).await.roots, [oid(1), oid(4)]);
    assert_eq!(prune(seen, &[3]).await, None);
    assert_eq!(prune(first.state, &[3, 99]).await.unwrap().rows, 1);
    assert!(store.revision(app.id, oid(1)).await.unwrap().is_none());
    exact(&store).await;
    // Numbers continue, and live branches are unchanged.
    assert_eq!(store.live_branches(app.id).await.unwrap()[0].deploy, number(4));
    assert_eq!(store.push(&push(Some(4), 5)).await.unwrap().deploys, [number(5)]);
    assert_eq!(read(&store).await.last_deploy, 5);
    // A rollback that was planned before fails.
    let back = NewPush { gc_id: Some((app.id, app.gc_id)), revisions: Vec::new(), ..push(Some(5), 2) };
    let result = store.push(&back).await;
    assert!(matches!(result, Err(PushError::ConcurrentGc)), "{result:?}");
    let deploys = vec![NewDeploy { branch: "main".to_owned(), commit: oid(2) }];
    assert!(store.push(&NewPush { gc_id: None, deploys, ..back }).await.is_err());
}

async fn object_released_again_keeps_new_time(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let (app, _) = with_garbage(&store).await;
    let found = roots(&store, later()).await.released;
    store.push(&NewPush { refs: vec![creating("refs/tags/a", 3)], ..refs_only(vec![]) }).await.unwrap();
    let at = noon() + TimeDelta::seconds(1);
    store.push(&NewPush { at, ..refs_only(vec![gone("refs/tags/a", 3)]) }).await.unwrap();
    let seen = read(&store).await.gc_state();
    assert!(store.mark_unreachable(app.id, seen, &[], &found).await.unwrap());
    let again = roots(&store, later()).await.released;
    assert_eq!(again, [(oid(3), at)]);
    assert!(store.mark_unreachable(app.id, seen, &[], &again).await.unwrap());
    assert!(released(&store).await.is_empty());
}

async fn object_names_are_paged(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let base = blob(3, 10);
    let objects: Vec<Object> =
        [blob(1, 30), delta(blob(2, 20), &base), base].into_iter().chain([commit(1)]).collect();
    let id = store.push(&NewPush { objects: kept(objects), ..push(None, 1) }).await.unwrap().app.id;
    let first = store.object_names(id, None, 3).await.unwrap();
    let shown: Vec<_> = first.iter().map(|name| (name.oid, name.base)).collect();
    assert_eq!(shown, [(numbered(1), None), (numbered(2), Some(numbered(3))), (numbered(3), None)]);
    let rest = store.object_names(id, Some(numbered(3)), 3).await.unwrap();
    assert_eq!(rest.iter().map(|name| name.oid).collect::<Vec<_>>(), [oid(1)]);
}
