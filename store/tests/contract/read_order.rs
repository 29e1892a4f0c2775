//! The order of results, and invalid rows.

use manifest_schema::name::AppName;
use store::{Location, NewDeploy, Store, StoreError};

use crate::database::*;
use crate::fixtures::*;

on_both_databases!(rows_are_sorted_by_bytes, invalid_row_is_reported);

async fn rows_are_sorted_by_bytes(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let (names, branches) = (["a-z", "a1", "ab"], ["B", "a", "a-z", "ab"]);
    for name in names.iter().rev() {
        let mut one = push(None, 1);
        one.app = AppName::new(name).unwrap();
        one.refs = branches.map(|branch| creating(&format!("refs/heads/{branch}"), 1)).into();
        one.deploys = branches.map(|branch| NewDeploy { branch: branch.to_owned(), commit: oid(1) }).into();
        store.push(&one).await.unwrap();
    }
    let apps = store.apps().await.unwrap();
    assert_eq!(apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), names);
    let refs = store.refs(apps[0].id).await.unwrap();
    assert_eq!(
        refs.iter().map(|found| found.name.clone()).collect::<Vec<_>>(),
        branches.map(|b| format!("refs/heads/{b}"))
    );
    let live = store.live_branches(apps[0].id).await.unwrap();
    assert_eq!(live.iter().map(|live| live.branch.as_str()).collect::<Vec<_>>(), branches);
}

async fn invalid_row_is_reported(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let mut other = Other::at(&location).await;
    other.run("UPDATE refs SET target = 'main'; UPDATE apps SET generation = -1").await;
    let unreadable = [store.refs(id).await.map(drop), store.app(&app()).await.map(drop)];
    for (read, says) in unreadable.into_iter().zip(["object name main", "number -1"]) {
        let Err(StoreError::Corrupt { what }) = read else { panic!("{read:?}") };
        assert!(what.contains("column") && what.contains(says), "{what}");
    }
}
