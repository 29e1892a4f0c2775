//! Answers in their order.

use manifest_schema::name::AppName;
use store::{Location, NewDeploy, Store};

use crate::values::*;

on_both_databases!(everything_is_in_the_order_of_bytes,);

async fn everything_is_in_the_order_of_bytes(location: Location) {
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
    let live = store.live_of(apps[0].id).await.unwrap();
    assert_eq!(live.iter().map(|live| live.branch.as_str()).collect::<Vec<_>>(), branches);
}
