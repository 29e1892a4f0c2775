//! What nothing holds any more is deleted, and nothing else.

use chrono::{DateTime, TimeDelta, Utc};
use store::{
    App, CollectionRoots, CollectionState, Location, NewDeploy, NewPush, Object, Oid, PushError, RefChange,
    Store,
};

use crate::disk::{read, recount};
use crate::values::*;

on_both_databases!(
    what_refs_let_go_of_is_released_unless_it_was_deployed,
    what_belongs_to_no_ref_is_released,
    objects_are_condemned_only_in_the_state_for_which_they_were_found,
    condemned_objects_are_deleted_some_at_a_time,
    push_notices_that_objects_were_condemned,
    push_writes_once_more_what_was_condemned,
    delta_becomes_whole_before_what_it_lies_on_is_deleted,
    deploy_is_deleted_with_its_revision,
    what_is_released_once_more_is_not_forgotten,
    objects_are_listed_in_pages,
);

/// Later than anything was released.
fn later() -> DateTime<Utc> {
    noon() + TimeDelta::hours(1)
}

async fn roots(store: &Store, before: DateTime<Utc>) -> CollectionRoots {
    store.collection_roots(read(store).await.id, before, later()).await.unwrap().unwrap()
}

async fn released(store: &Store) -> Vec<Oid> {
    roots(store, later()).await.released.into_iter().map(|(oid, _)| oid).collect()
}

fn gone(name: &str, digit: u8) -> RefChange {
    RefChange { name: name.to_owned(), old: Some(oid(digit)), new: None }
}

/// A push that makes objects and points tags to some of them.
fn tagging(objects: Vec<Object>, tags: &[(&str, u8)]) -> NewPush<'static> {
    let refs = tags.iter().map(|(name, digit)| creating(&format!("refs/tags/{name}"), *digit)).collect();
    NewPush { objects: kept(objects), ..refs_only(refs) }
}

async fn exact(store: &Store) {
    let all: Vec<Oid> = (1..=9).map(oid).chain((0..50).map(numbered)).collect();
    assert_eq!(read(store).await.disk_bytes, recount(store, &all).await);
}

async fn what_refs_let_go_of_is_released_unless_it_was_deployed(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    store.push(&push(Some(1), 2)).await.unwrap();
    store.push(&tagging(vec![commit(3), commit(4)], &[("a", 3), ("b", 4)])).await.unwrap();
    assert!(store.apps_to_collect(later(), later()).await.unwrap().is_empty());
    assert_eq!(roots(&store, later()).await.held, [oid(1), oid(2), oid(3), oid(4)]);
    // One is deleted, one moved, and what was deployed stays with its deploy.
    let moved = RefChange { new: Some(oid(2)), ..gone("refs/tags/b", 4) };
    store.push(&refs_only(vec![gone("refs/tags/a", 3), moved])).await.unwrap();
    assert_eq!(released(&store).await, [oid(3), oid(4)]);
    let collected = store.apps_to_collect(later(), later()).await.unwrap();
    assert_eq!(collected, [read(&store).await]);
    assert!(store.apps_to_collect(noon() - TimeDelta::seconds(1), later()).await.unwrap().is_empty());
    // What was released a short while ago is held as before.
    let fresh = roots(&store, noon() - TimeDelta::seconds(1)).await;
    assert_eq!((fresh.held, fresh.released), (vec![oid(1), oid(2), oid(3), oid(4)], vec![]));
    // A clock that was ahead does not hold it for ever.
    let back = noon() - TimeDelta::hours(5);
    assert_eq!(store.apps_to_collect(back - TimeDelta::hours(1), back).await.unwrap().len(), 1);
    // The same again releases nothing.
    store
        .push(&NewPush {
            refs: vec![RefChange { new: Some(oid(2)), ..gone("refs/tags/b", 2) }],
            ..refs_only(vec![])
        })
        .await
        .unwrap();
    assert_eq!(released(&store).await, [oid(3), oid(4)]);
}

async fn what_belongs_to_no_ref_is_released(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let objects = kept(vec![commit(1), commit(5)]);
    store.push(&NewPush { objects, loose: vec![oid(5)], ..push(None, 1) }).await.unwrap();
    assert_eq!(released(&store).await, [oid(5)]);
}

/// Two tags are deleted: commit 3 and the blobs 10 to 19 are garbage.
async fn with_garbage(store: &Store) -> (App, Vec<Oid>) {
    store.push(&push(None, 1)).await.unwrap();
    let objects = (10..20).map(|number| blob(number, 100)).chain([commit(3)]).collect();
    let shallow = vec![oid(1), oid(3)];
    store.push(&NewPush { shallow, ..tagging(objects, &[("a", 3)]) }).await.unwrap();
    store.push(&refs_only(vec![gone("refs/tags/a", 3)])).await.unwrap();
    (read(store).await, (10..20).map(numbered).chain([oid(3)]).collect())
}

async fn condemn(store: &Store, app: &App, seen: CollectionState, garbage: &[Oid]) -> bool {
    store.condemn(app.id, seen, garbage, &[]).await.unwrap()
}

/// Deletes what is condemned: how many rows, how many bytes, and how often.
async fn delete_condemned(store: &Store, app: &App) -> (u64, u64, u32) {
    let (mut rows, mut bytes, mut batches) = (0, 0, 0);
    while let Some(deleted) = store.delete_condemned(app.id).await.unwrap() {
        rows += deleted.rows;
        bytes += deleted.bytes;
        batches += 1;
        exact(store).await;
    }
    (rows, bytes, batches)
}

async fn objects_are_condemned_only_in_the_state_for_which_they_were_found(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let (before, garbage) = with_garbage(&store).await;
    let seen = roots(&store, later()).await.state;
    assert_eq!(seen, before.collection_state());
    assert!(condemn(&store, &before, seen, &garbage[..4]).await);
    let now = read(&store).await;
    assert_eq!(now.generation, before.generation);
    // Another collector has condemned something, or somebody has pushed.
    assert!(!condemn(&store, &before, seen, &garbage).await);
    store.push(&NewPush { collection: Some((now.id, now.collection)), ..push(Some(1), 2) }).await.unwrap();
    assert!(!condemn(&store, &before, now.collection_state(), &garbage).await);
    assert_eq!(store.known(before.id, &garbage).await.unwrap().len(), 7);
    // What is condemned already is no matter, and the list of commits without parents goes along.
    let seen = roots(&store, later()).await.state;
    assert!(condemn(&store, &before, seen, &garbage).await);
    assert!(store.known(before.id, &garbage).await.unwrap().is_empty());
    assert_eq!(store.shallow(before.id).await.unwrap(), [oid(1)]);
    assert_eq!(store.known(before.id, &[oid(1), oid(2)]).await.unwrap().len(), 2);
    let strange = store::AppId::from_uuid(uuid::Uuid::from_u128(5));
    assert!(!store.condemn(strange, seen, &garbage, &[]).await.unwrap());
    assert_eq!(store.delete_condemned(strange).await.unwrap(), None);
}

async fn condemned_objects_are_deleted_some_at_a_time(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let objects: Vec<Object> = (100..1300).map(|number| blob(number, 10)).chain([commit(3)]).collect();
    let garbage: Vec<Oid> = objects.iter().map(|object| object.oid).collect();
    let before = read(&store).await;
    store.push(&tagging(objects, &[("a", 3)])).await.unwrap();
    store.push(&refs_only(vec![gone("refs/tags/a", 3)])).await.unwrap();
    let full = read(&store).await;
    assert!(condemn(&store, &full, full.collection_state(), &garbage).await);
    // A process that ended in between has left them to the next one, however short a while ago they were released.
    let early = noon() - TimeDelta::days(1);
    assert_eq!(store.apps_to_collect(early, later()).await.unwrap().len(), 1);
    store.delete_condemned(id).await.unwrap().unwrap();
    store.close().await;
    let store = Store::open(&location).await.unwrap();
    assert_eq!(store.apps_to_collect(early, later()).await.unwrap().len(), 1);
    let state = read(&store).await.collection_state();
    let mut batches = 1;
    while let Some(deleted) = store.delete_condemned(id).await.unwrap() {
        // Whoever pushes is not held up: nothing is deleted any more that a push could have found.
        assert_eq!(deleted.state, state);
        batches += 1;
    }
    assert!(batches > 2, "{batches}");
    assert_eq!(read(&store).await.disk_bytes, before.disk_bytes);
    assert!(store.apps_to_collect(early, later()).await.unwrap().is_empty());
    assert!(store.objects(id, &garbage).await.unwrap().is_empty());
}

async fn push_notices_that_objects_were_condemned(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let (seen, garbage) = with_garbage(&store).await;
    assert!(condemn(&store, &seen, seen.collection_state(), &garbage[..1]).await);
    let refused =
        store.push(&NewPush { collection: Some((seen.id, seen.collection)), ..push(Some(1), 2) }).await;
    assert!(matches!(refused, Err(PushError::Collected)), "{refused:?}");
    assert_eq!(store.refs(seen.id).await.unwrap()[0].target, oid(1));
    let now = read(&store).await;
    store.push(&NewPush { collection: Some((now.id, now.collection)), ..push(Some(1), 2) }).await.unwrap();
    // Where nothing was condemned nobody has to look again.
    let app = read(&store).await;
    assert!(condemn(&store, &app, app.collection_state(), &[]).await);
    assert_eq!(read(&store).await, app);
}

/// A part is deleted when somebody pushes the same again: what is left of it is not to be believed.
async fn push_writes_once_more_what_was_condemned(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let base = blob(10, 500);
    let stored = delta(blob(11, 50), &base);
    store.push(&tagging(vec![base.clone(), stored.clone(), commit(3)], &[("a", 3)])).await.unwrap();
    store.push(&refs_only(vec![gone("refs/tags/a", 3)])).await.unwrap();
    let app = read(&store).await;
    assert!(condemn(&store, &app, app.collection_state(), &[oid(3), numbered(10), numbered(11)]).await);
    let now = read(&store).await;
    let again = vec![blob(11, 90), commit(3)];
    let push = NewPush { collection: Some((now.id, now.collection)), ..tagging(again.clone(), &[("b", 3)]) };
    store.push(&push).await.unwrap();
    exact(&store).await;
    assert_eq!(store.known(app.id, &[oid(3), numbered(11)]).await.unwrap().len(), 2);
    assert_eq!(store.objects_and_bases(app.id, &[numbered(11)], u64::MAX).await.unwrap(), again[..1]);
    assert_eq!(delete_condemned(&store, &app).await.0, 1);
    assert_eq!(store.objects(app.id, &[oid(3), numbered(10), numbered(11)]).await.unwrap().len(), 2);
}

async fn delta_becomes_whole_before_what_it_lies_on_is_deleted(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let base = blob(10, 500);
    let objects = vec![base.clone(), delta(blob(11, 50), &base), commit(3)];
    store.push(&tagging(objects, &[("a", 3)])).await.unwrap();
    let app = read(&store).await;
    let whole = Object { size: 7, ..blob(11, 90) };
    let seen = app.collection_state();
    assert!(store.make_whole(app.id, seen, std::slice::from_ref(&whole)).await.unwrap());
    exact(&store).await;
    assert!(condemn(&store, &app, seen, &[numbered(10)]).await);
    assert!(!store.make_whole(app.id, seen, std::slice::from_ref(&whole)).await.unwrap());
    assert_eq!(delete_condemned(&store, &app).await, (1, 700, 1));
    assert_eq!(store.objects_and_bases(app.id, &[numbered(11)], u64::MAX).await.unwrap(), [whole]);
    exact(&store).await;
}

async fn deploy_is_deleted_with_its_revision(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    store.push(&push(Some(1), 2)).await.unwrap();
    store.push(&NewPush { revisions: Vec::new(), ..push(Some(2), 1) }).await.unwrap();
    store.push(&push(Some(1), 4)).await.unwrap();
    let app = read(&store).await;
    let seen = app.collection_state();
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
    assert_eq!(roots(&store, later()).await.held, [oid(1), oid(4)]);
    assert_eq!(prune(seen, &[3]).await, None);
    assert_eq!(prune(first.state, &[3, 99]).await.unwrap().rows, 1);
    assert!(store.revision(app.id, oid(1)).await.unwrap().is_none());
    exact(&store).await;
    // Numbers go on, and what is live is as it was.
    assert_eq!(store.live_of(app.id).await.unwrap()[0].deploy, number(4));
    assert_eq!(store.push(&push(Some(4), 5)).await.unwrap().deploys, [number(5)]);
    assert_eq!(read(&store).await.last_deploy, 5);
    // A push that was planned before goes back to what is not there any more.
    let back =
        NewPush { collection: Some((app.id, app.collection)), revisions: Vec::new(), ..push(Some(5), 2) };
    let refused = store.push(&back).await;
    assert!(matches!(refused, Err(PushError::Collected)), "{refused:?}");
    let deploys = vec![NewDeploy { branch: "main".to_owned(), commit: oid(2) }];
    assert!(store.push(&NewPush { collection: None, deploys, ..back }).await.is_err());
}

async fn what_is_released_once_more_is_not_forgotten(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let (app, _) = with_garbage(&store).await;
    let found = roots(&store, later()).await.released;
    store.push(&NewPush { refs: vec![creating("refs/tags/a", 3)], ..refs_only(vec![]) }).await.unwrap();
    let at = noon() + TimeDelta::seconds(1);
    store.push(&NewPush { at, ..refs_only(vec![gone("refs/tags/a", 3)]) }).await.unwrap();
    let seen = read(&store).await.collection_state();
    assert!(store.condemn(app.id, seen, &[], &found).await.unwrap());
    let again = roots(&store, later()).await.released;
    assert_eq!(again, [(oid(3), at)]);
    assert!(store.condemn(app.id, seen, &[], &again).await.unwrap());
    assert!(released(&store).await.is_empty());
}

async fn objects_are_listed_in_pages(location: Location) {
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
