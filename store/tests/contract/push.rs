//! A push is atomic and is read back as written.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use manifest_schema::name::AppName;
use store::{Location, NewDeploy, NewPush, Object, PushError, Store};

use crate::fixtures::*;

on_both_databases!(
    push_is_read_back,
    push_to_unknown_app_requires_create_permission,
    deploys_are_numbered_per_app,
    existing_rows_are_not_replaced,
    dropped_push_is_atomic,
);

async fn push_is_read_back(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let first = NewPush { shallow: vec![oid(1)], ..push(None, 1) };
    let receipt = store.push(&first).await.unwrap();
    assert!(receipt.created);
    assert_eq!(receipt.deploys, [number(1)]);
    let app = store.app(&app()).await.unwrap().unwrap();
    assert_eq!((app.id, app.production_branch.as_str(), app.created_at), (receipt.app.id, "main", noon()));
    assert_eq!(store.apps().await.unwrap(), std::slice::from_ref(&app));
    let refs = store.refs(app.id).await.unwrap();
    assert_eq!((refs[0].name.as_str(), refs[0].target), ("refs/heads/main", oid(1)));
    assert_eq!(store.shallow(app.id).await.unwrap(), [oid(1)]);
    assert_eq!(store.objects(app.id, &[oid(1)]).await.unwrap(), [commit(1)]);
    assert_eq!(store.revision(app.id, oid(1)).await.unwrap(), Some(revision(1)));
    let live = store.live_branches(app.id).await.unwrap();
    assert_eq!((live[0].branch.as_str(), live[0].commit, live[0].deploy), ("main", oid(1), number(1)));
    let deploys = store.deploys(app.id).await.unwrap();
    assert_eq!((deploys[0].at, deploys[0].by.as_str()), (noon(), "ada"));
    assert_eq!(store.deployed_at(app.id, number(1)).await.unwrap(), Some(noon()));
}

async fn push_to_unknown_app_requires_create_permission(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let result = store.push(&NewPush { may_create: false, ..push(None, 1) }).await;
    assert!(matches!(result, Err(PushError::UnknownApp)));
    assert!(store.apps().await.unwrap().is_empty());
}

async fn deploys_are_numbered_per_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let other = AppName::new("other").unwrap();
    let mut both = push(None, 1);
    both.deploys.push(NewDeploy { branch: "next".to_owned(), commit: oid(1) });
    assert_eq!(store.push(&both).await.unwrap().deploys, [number(1), number(2)]);
    assert_eq!(store.push(&NewPush { app: other, ..push(None, 1) }).await.unwrap().deploys, [number(1)]);
    assert_eq!(store.push(&push(Some(1), 2)).await.unwrap().deploys, [number(3)]);
}

async fn existing_rows_are_not_replaced(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let mut again = push(Some(1), 1);
    again.objects = kept(vec![delta(Object { zlib: vec![9], ..commit(1) }, &commit(2)), commit(2)]);
    again.revisions[0].subject = "changed".to_owned();
    store.push(&again).await.unwrap();
    assert_eq!(store.objects(id, &[oid(1)]).await.unwrap(), [commit(1)]);
    assert_eq!(store.revision(id, oid(1)).await.unwrap(), Some(revision(1)));
}

/// Polls `future` at most that many times, then drops it.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| match left.checked_sub(1) {
        Some(fewer) => {
            left = fewer;
            future.as_mut().poll(context).map(Some)
        }
        None => Poll::Ready(None),
    })
    .await
}

async fn dropped_push_is_atomic(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let many = NewPush { shallow: vec![oid(1)], ..push(None, 1) };
    for polls in 1.. {
        let ended = polled(polls, store.push(&many)).await;
        let Some(app) = store.app(&app()).await.unwrap() else {
            assert!(ended.is_none());
            continue;
        };
        // Either finished, or dropped while only the response was missing.
        assert!(polls > 1, "dropped midway at least once");
        assert_eq!(store.refs(app.id).await.unwrap().len(), 1);
        assert_eq!(store.shallow(app.id).await.unwrap(), [oid(1)]);
        assert_eq!(store.objects(app.id, &[oid(1)]).await.unwrap(), [commit(1)]);
        assert_eq!(store.revision(app.id, oid(1)).await.unwrap(), Some(revision(1)));
        assert_eq!(store.deploys(app.id).await.unwrap().len(), 1);
        break;
    }
    assert_eq!(store.push(&push(Some(1), 2)).await.unwrap().deploys, [number(2)], "no lock remains");
}
