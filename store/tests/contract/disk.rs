//! Disk usage of apps and quotas.

use store::disk::ROW_BYTES;
use store::{
    Actor, App, AuditAction, AuditEvent, EncryptedSecret, Environment, Location, NewDeploy, NewPush, Object,
    Oid, PushError, PushLimits, RefChange, SecretChange, Store,
};

use crate::fixtures::*;

on_both_databases!(
    disk_usage_equals_sum_of_rows,
    redeploy_by_secret_counts_towards_disk_usage,
    push_over_quota_writes_nothing,
    push_without_objects_ignores_quota,
);

pub(crate) async fn read(store: &Store) -> App {
    store.app(&app()).await.unwrap().unwrap()
}

/// Recomputes the disk usage of a repository with objects among `oids`.
pub(crate) async fn recount(store: &Store, oids: &[Oid]) -> u64 {
    let id = read(store).await.id;
    let text = |texts: &[&str]| ROW_BYTES + texts.iter().map(|text| text.len() as u64).sum::<u64>();
    let mut bytes = 0;
    for object in store.objects_and_bases(id, oids, u64::MAX).await.unwrap() {
        bytes += ROW_BYTES + object.zlib.len() as u64;
    }
    for oid in oids {
        if let Some(revision) = store.revision(id, *oid).await.unwrap() {
            bytes += text(&[&revision.sdk, &revision.subject, &revision.author]);
        }
    }
    for deploy in store.deploys(id).await.unwrap() {
        let (cause, message) = (deploy.cause.unwrap_or_default(), deploy.message.unwrap_or_default());
        bytes += text(&[&deploy.branch, &deploy.by, &cause, &message]);
    }
    for found in store.refs(id).await.unwrap() {
        bytes += text(&[&found.name]);
    }
    bytes + store.shallow(id).await.unwrap().len() as u64 * ROW_BYTES
}

fn all() -> Vec<Oid> {
    (1..=9).map(oid).chain((0..300).map(numbered)).collect()
}

#[track_caller]
fn same(counted: u64, recounted: u64) {
    assert!(counted > 0);
    assert_eq!(counted, recounted, "counted and recomputed");
}

async fn disk_usage_equals_sum_of_rows(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let check = async || same(read(&store).await.disk_bytes, recount(&store, &all()).await);
    let whole = blob(9, 3000);
    let objects = kept(vec![commit(1), commit(2), delta(commit(3), &whole), whole.clone()]);
    let first = NewPush { objects, shallow: vec![oid(1)], message: Some("why".to_owned()), ..push(None, 1) };
    let receipt = store.push(&first).await.unwrap();
    check().await;
    // The row of the app does not count, and the receipt has the new value.
    assert_eq!(receipt.app.disk_bytes, read(&store).await.disk_bytes);
    // Existing objects are kept, also if a shorter or longer stream is pushed together with new ones.
    let shorter = Object { zlib: vec![1; 10], ..whole.clone() };
    let objects: Vec<Object> =
        (10..200).map(|number| blob(number, number as usize)).chain([shorter]).collect();
    store
        .push(&NewPush { objects: kept(objects), shallow: vec![oid(1), oid(2)], ..push(Some(1), 2) })
        .await
        .unwrap();
    check().await;
    // The history beyond the shallow commit arrives.
    let joined = NewPush { unshallow: vec![oid(1), oid(3)], ..refs_only(Vec::new()) };
    store.push(&joined).await.unwrap();
    check().await;
    assert_eq!(store.shallow(read(&store).await.id).await.unwrap(), [oid(2)]);
    let longer: Vec<Object> = (10..210).map(|number| blob(number, 1000)).collect();
    let tags = vec![creating("refs/tags/v1", 1), creating("refs/heads/next", 2)];
    store.push(&NewPush { objects: kept(longer), ..refs_only(tags) }).await.unwrap();
    check().await;
    // Pushing the same commit again adds a deploy but no revision.
    store.push(&NewPush { revisions: vec![revision(1)], ..push(Some(2), 1) }).await.unwrap();
    check().await;
    let gone = |name: &str, digit| RefChange { name: name.to_owned(), old: Some(oid(digit)), new: None };
    let before = read(&store).await.disk_bytes;
    store.push(&refs_only(vec![gone("refs/tags/v1", 1), gone("refs/heads/next", 2)])).await.unwrap();
    check().await;
    assert!(read(&store).await.disk_bytes < before);
    // A rejected push does not count.
    let before = read(&store).await.disk_bytes;
    store.push(&push(Some(7), 8)).await.unwrap_err();
    assert_eq!(read(&store).await.disk_bytes, before);
}

async fn redeploy_by_secret_counts_towards_disk_usage(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let app = read(&store).await;
    let (name, key_id, set_by) = ("KEY".to_owned(), "abc".to_owned(), "ada".to_owned());
    let environment = Environment::Production;
    let secret = EncryptedSecret {
        app: app.id,
        environment,
        name,
        key_id,
        ciphertext: vec![1; 60],
        set_at: noon(),
        set_by,
    };
    let deploys = [NewDeploy { branch: "main".to_owned(), commit: oid(1) }];
    let event = AuditEvent::new(&Actor::named("ada"), AuditAction::SecretSet, Some(&app.name), "KEY");
    let change = SecretChange {
        app: &app,
        creates: false,
        name: "KEY",
        environment,
        secret: Some(&secret),
        deploys: &deploys,
        event: &event,
        node: None,
    };
    assert_eq!(store.change_secret(&change).await.unwrap().deploys.len(), 1);
    same(read(&store).await.disk_bytes, recount(&store, &all()).await);
}

fn within(disk_bytes: u64, push: NewPush<'static>) -> NewPush<'static> {
    NewPush { limits: PushLimits { disk_bytes, ..PushLimits::NONE }, ..push }
}

async fn push_over_quota_writes_nothing(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let before = read(&store).await;
    let objects = || kept((0..100).map(|number| blob(number, 1000)).chain([commit(2)]).collect());
    let needed = 101 * ROW_BYTES + 100_007;
    let most = before.disk_bytes + needed;
    let result = store.push(&within(most - 1, NewPush { objects: objects(), ..push(Some(1), 2) })).await;
    match result {
        Err(PushError::TooLarge { used, needed: found, limit: bound }) => {
            assert_eq!((used, found, bound), (before.disk_bytes, needed, most - 1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(read(&store).await, before);
    assert!(store.object_info(before.id, &[numbered(0), oid(2)]).await.unwrap().is_empty());
    store.push(&within(most, NewPush { objects: objects(), ..push(Some(1), 2) })).await.unwrap();
    same(read(&store).await.disk_bytes, recount(&store, &all()).await);
    // A push over quota does not create its app.
    let other = manifest_schema::name::AppName::new("other").unwrap();
    let result = store.push(&within(5, NewPush { app: other.clone(), ..push(None, 1) })).await;
    assert!(matches!(result, Err(PushError::TooLarge { .. })), "{result:?}");
    assert_eq!(store.app(&other).await.unwrap(), None);
}

/// An app over its quota can still delete refs and roll back.
async fn push_without_objects_ignores_quota(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    store.push(&push(Some(1), 2)).await.unwrap();
    let back = NewPush { objects: kept(Vec::new()), revisions: Vec::new(), ..push(Some(2), 1) };
    store.push(&within(0, back)).await.unwrap();
}
