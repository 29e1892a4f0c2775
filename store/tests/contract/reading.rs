//! Large answers, and their order.

use manifest_schema::name::{AppName, ScriptPath};
use store::{Location, NewDeploy, Object, ObjectKind, Oid, Script, Store};

use crate::values::*;

on_both_databases!(many_objects_are_found_and_absent_ones_left_out, everything_is_in_the_order_of_bytes,);

async fn many_objects_are_found_and_absent_ones_left_out(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let name = |n: u16| {
        let mut name = [0xaa; 20];
        name[..2].copy_from_slice(&n.to_be_bytes());
        Oid::new(name)
    };
    let mut large = push(None, 1);
    large.objects.extend((0..12_500).map(|n| Object {
        oid: name(n),
        kind: ObjectKind::Blob,
        size: 1,
        zlib: vec![1],
    }));
    large.objects.extend((40_000..40_003).map(|n| Object {
        oid: name(n),
        kind: ObjectKind::Tree,
        size: 5 << 20,
        zlib: vec![2; 5 << 20],
    }));
    let id = store.push(&large).await.unwrap().app.id;
    let asked: Vec<Oid> = (0..50_000).map(name).collect();
    assert_eq!(store.kinds(id, &asked).await.unwrap().len(), 12_503);
    let mut found = store.objects(id, &asked).await.unwrap();
    found.sort_by_key(|object| object.oid);
    assert!(found == large.objects[1..], "each is what was sent");
    assert!(store.objects(id, &[]).await.unwrap().is_empty());
}

async fn everything_is_in_the_order_of_bytes(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let (names, branches) = (["a-z", "a1", "ab"], ["B", "a", "a-z", "ab"]);
    for name in names.iter().rev() {
        let mut one = push(None, 1);
        one.app = AppName::new(name).unwrap();
        one.refs = branches.map(|branch| creating(&format!("refs/heads/{branch}"), 1)).into();
        one.deploys = branches.map(|branch| NewDeploy { branch: branch.to_owned(), commit: oid(1) }).into();
        one.revisions[0].scripts = ["B", "a-z", "ab"]
            .map(|stem| Script {
                path: ScriptPath::new(&format!("{stem}.rhai")).unwrap(),
                source: stem.to_owned(),
            })
            .into();
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
    let scripts = store.revision(apps[0].id, oid(1)).await.unwrap().unwrap().scripts;
    assert_eq!(scripts.iter().map(|script| script.source.as_str()).collect::<Vec<_>>(), ["B", "a-z", "ab"]);
}
