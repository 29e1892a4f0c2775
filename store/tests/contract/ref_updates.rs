//! Ref updates, and which branches are live.

use store::{Location, NewDeploy, NewPush, PushError, RefChange, Store, StoreError};

use crate::fixtures::*;

on_both_databases!(
    stale_ref_fails_whole_push,
    ref_to_missing_object_is_rejected,
    directory_conflict_of_refs_is_rejected,
    directory_of_refs_can_replace_ref,
    live_branch_has_latest_deploy_of_its_commit,
    deleted_branch_is_not_live,
    branch_without_revision_is_not_live,
);

async fn stale_ref_fails_whole_push(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    store.push(&push(Some(1), 2)).await.unwrap();
    let mut late = push(Some(1), 3);
    late.refs.insert(0, RefChange { name: "refs/heads/other".to_owned(), old: None, new: Some(oid(3)) });
    match store.push(&late).await {
        Err(PushError::RefMoved { name, expected, found, last_deploy }) => {
            assert_eq!((name.as_str(), expected, found), ("refs/heads/main", Some(oid(1)), Some(oid(2))));
            assert_eq!(
                last_deploy.map(|deploy| (deploy.number, deploy.by)),
                Some((number(2), "ada".to_owned()))
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(store.object_info(id, &[oid(3)]).await.unwrap().is_empty());
    assert_eq!(store.refs(id).await.unwrap().len(), 1);
    assert_eq!(store.deploys(id).await.unwrap().len(), 2);
}

async fn ref_to_missing_object_is_rejected(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let dangling = NewPush { objects: kept(Vec::new()), ..push(None, 1) };
    match store.push(&dangling).await {
        Err(PushError::Store(error @ StoreError::Dangling { .. })) => assert!(!error.is_unavailable()),
        other => panic!("{other:?}"),
    }
    assert!(store.apps().await.unwrap().is_empty());
}

async fn directory_conflict_of_refs_is_rejected(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&refs_only(vec![creating("refs/heads/a/b", 1), creating("refs/heads/a-b", 1)])).await.unwrap();
    for blocked in ["refs/heads/a", "refs/heads/a/b/c"] {
        match store.push(&refs_only(vec![creating(blocked, 1)])).await {
            Err(PushError::RefMoved { name, expected: None, found, .. }) => {
                assert_eq!((name.as_str(), found), (blocked, Some(oid(1))));
            }
            other => panic!("{other:?}"),
        }
    }
    let siblings = ["refs/heads/a/bc", "refs/heads/a/c", "refs/heads/a-"];
    store.push(&refs_only(siblings.iter().map(|name| creating(name, 1)).collect())).await.unwrap();
}

async fn directory_of_refs_can_replace_ref(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&refs_only(vec![creating("refs/heads/a", 1)])).await.unwrap().app.id;
    let gone = RefChange { name: "refs/heads/a".to_owned(), old: Some(oid(1)), new: None };
    store.push(&refs_only(vec![creating("refs/heads/a/b", 1), gone])).await.unwrap();
    assert_eq!(store.refs(id).await.unwrap()[0].name, "refs/heads/a/b");
}

async fn live_branch_has_latest_deploy_of_its_commit(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    store.push(&push(Some(1), 2)).await.unwrap();
    let mut back = push(Some(2), 1);
    back.refs.push(creating("refs/heads/next", 2));
    back.deploys.extend([2, 1].map(|digit| NewDeploy { branch: "next".to_owned(), commit: oid(digit) }));
    store.push(&back).await.unwrap();
    let live = store.live_branches(id).await.unwrap();
    let live: Vec<_> = live.iter().map(|live| (live.branch.as_str(), live.commit, live.deploy)).collect();
    assert_eq!(live, [("main", oid(1), number(3)), ("next", oid(2), number(4))]);
}

async fn deleted_branch_is_not_live(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let mut deletion = push(Some(1), 1);
    (deletion.refs[0].new, deletion.deploys, deletion.objects) = (None, Vec::new(), kept(Vec::new()));
    store.push(&deletion).await.unwrap();
    assert!(store.live_branches(id).await.unwrap().is_empty() && store.refs(id).await.unwrap().is_empty());
    assert_eq!(store.deploys(id).await.unwrap().len(), 1, "deploys are kept");
}

async fn branch_without_revision_is_not_live(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let bare = NewPush { revisions: Vec::new(), deploys: Vec::new(), ..push(Some(1), 2) };
    store.push(&bare).await.unwrap();
    assert!(store.live_branches(id).await.unwrap().is_empty());
}
