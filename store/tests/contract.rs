//! What both databases must do alike. Each behaviour is written once and run on both.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::name::{AppName, JobName, ScriptPath};
use store::{
    DeployNumber, Location, NewDeploy, NewPush, NewRevision, NewRun, Object, ObjectKind, Oid, OpenError,
    PushError, RefChange, RunOutcome, Script, Store,
};
use uuid::Uuid;

macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::on_postgres(super::$name).await })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::on_sqlite(super::$name).await })*
        }
    };
}

on_both_databases!(
    a_push_is_read_back_whole,
    a_push_to_an_unknown_app_needs_the_right_to_create,
    a_ref_that_was_moved_fails_the_whole_push,
    a_ref_cannot_point_to_what_is_not_there,
    deploys_are_numbered_app_by_app,
    what_is_there_already_is_left_as_it_is,
    two_pushes_at_once_are_one_after_the_other,
    two_creators_at_once_make_one_app,
    a_push_that_is_dropped_midway_leaves_nothing,
    a_deleted_branch_is_not_live,
    a_branch_that_points_to_no_revision_is_not_live,
    many_objects_are_found_and_absent_ones_left_out,
    a_due_time_is_claimed_once,
    a_claim_for_what_is_not_live_any_more_is_refused,
    a_run_remembers_how_it_ended,
    a_reopened_database_holds_the_same,
);

async fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Location) -> F) {
    let folder = tempfile::tempdir().unwrap();
    test(Location::Sqlite(folder.path().join("picloud.db"))).await;
}

async fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Location) -> F) {
    let (admin, name) = make_database().await;
    let (server, _) = admin.rsplit_once('/').unwrap();
    test(Location::Postgres(format!("{server}/{name}"))).await;
    let mut connection = connect(&admin).await;
    let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    sqlx::raw_sql(drop).execute(&mut connection).await.unwrap();
}

async fn make_database() -> (String, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let admin = std::env::var("PICLOUD_TEST_POSTGRES")
        .unwrap_or_else(|_| panic!("run the tests with `make test`, or through tests/with-postgres"));
    let name = format!("store_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection = connect(&admin).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    (admin, name)
}

async fn connect(url: &str) -> sqlx::PgConnection {
    <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap()
}

fn oid(digit: u8) -> Oid {
    Oid::new([digit; 20])
}

fn app() -> AppName {
    AppName::new("hello").unwrap()
}

fn tick() -> JobName {
    JobName::new("tick").unwrap()
}

fn noon() -> DateTime<Utc> {
    "2026-05-01T12:00:00Z".parse().unwrap()
}

fn commit(digit: u8) -> Object {
    Object { oid: oid(digit), kind: ObjectKind::Commit, size: 3, zlib: vec![digit; 7] }
}

fn revision(digit: u8) -> NewRevision {
    NewRevision {
        commit: oid(digit),
        sdk: "1.1".to_owned(),
        subject: format!("subject {digit}"),
        author: "Ada".to_owned(),
        manifest: "sdk = \"1.1\"".to_owned(),
        scripts: vec![Script { path: ScriptPath::new("a/b.rhai").unwrap(), source: format!("{digit}") }],
        validated_at: noon(),
    }
}

/// A push that moves main from `old` to `new` and makes it live.
fn push(old: Option<u8>, new: u8) -> NewPush {
    NewPush {
        app: app(),
        may_create: true,
        by: "ada".to_owned(),
        at: noon(),
        refs: vec![RefChange { name: "refs/heads/main".to_owned(), old: old.map(oid), new: Some(oid(new)) }],
        objects: vec![commit(new)],
        shallow: Vec::new(),
        revisions: vec![revision(new)],
        deploys: vec![NewDeploy { branch: "main".to_owned(), commit: oid(new) }],
    }
}

fn number(number: u64) -> DeployNumber {
    DeployNumber::new(number).unwrap()
}

async fn a_push_is_read_back_whole(location: Location) {
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
    let live = store.live_of(app.id).await.unwrap();
    assert_eq!((live[0].branch.as_str(), live[0].commit, live[0].deploy), ("main", oid(1), number(1)));
    let deploys = store.deploys(app.id).await.unwrap();
    assert_eq!((deploys[0].at, deploys[0].by.as_str()), (noon(), "ada"));
    assert_eq!(store.deployed_at(app.id, number(1)).await.unwrap(), Some(noon()));
}

async fn a_push_to_an_unknown_app_needs_the_right_to_create(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let refused = store.push(&NewPush { may_create: false, ..push(None, 1) }).await;
    assert!(matches!(refused, Err(PushError::UnknownApp)));
    assert!(store.apps().await.unwrap().is_empty());
}

async fn a_ref_that_was_moved_fails_the_whole_push(location: Location) {
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
    assert!(store.kinds(id, &[oid(3)]).await.unwrap().is_empty());
    assert_eq!(store.refs(id).await.unwrap().len(), 1);
    assert_eq!(store.deploys(id).await.unwrap().len(), 2);
}

async fn a_ref_cannot_point_to_what_is_not_there(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let dangling = NewPush { objects: Vec::new(), ..push(None, 1) };
    assert!(matches!(store.push(&dangling).await, Err(PushError::Store(_))));
    assert!(store.apps().await.unwrap().is_empty());
}

async fn deploys_are_numbered_app_by_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let other = AppName::new("other").unwrap();
    let mut both = push(None, 1);
    both.deploys.push(NewDeploy { branch: "next".to_owned(), commit: oid(1) });
    assert_eq!(store.push(&both).await.unwrap().deploys, [number(1), number(2)]);
    assert_eq!(store.push(&NewPush { app: other, ..push(None, 1) }).await.unwrap().deploys, [number(1)]);
    assert_eq!(store.push(&push(Some(1), 2)).await.unwrap().deploys, [number(3)]);
}

async fn what_is_there_already_is_left_as_it_is(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let mut again = push(Some(1), 1);
    again.objects[0].zlib = vec![9];
    again.revisions[0].subject = "changed".to_owned();
    store.push(&again).await.unwrap();
    assert_eq!(store.objects(id, &[oid(1)]).await.unwrap(), [commit(1)]);
    assert_eq!(store.revision(id, oid(1)).await.unwrap(), Some(revision(1)));
}

async fn two_pushes_at_once_are_one_after_the_other(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let tasks: Vec<_> = (2..10u8)
        .map(|digit| {
            let store = store.clone();
            tokio::spawn(async move { store.push(&push(Some(1), digit)).await.is_ok().then_some(digit) })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1, "the others find the ref moved");
    assert_eq!(store.refs(id).await.unwrap()[0].target, oid(winners[0]));
    assert_eq!(store.deploys(id).await.unwrap().len(), 2);
}

async fn two_creators_at_once_make_one_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let tasks: Vec<_> = (1..7u8)
        .map(|digit| {
            let store = store.clone();
            tokio::spawn(async move { store.push(&push(None, digit)).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        created += usize::from(task.await.unwrap().is_ok_and(|receipt| receipt.created));
    }
    assert_eq!((created, store.apps().await.unwrap().len()), (1, 1));
}

async fn a_push_that_is_dropped_midway_leaves_nothing(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let mut large = push(None, 1);
    large.objects.extend((0..5000u32).map(|n| {
        let mut name = [0xee; 20];
        name[..4].copy_from_slice(&n.to_be_bytes());
        Object { oid: Oid::new(name), kind: ObjectKind::Blob, size: 1, zlib: vec![0; 100] }
    }));
    for after in [0, 1, 3, 10] {
        let dropped = tokio::time::timeout(std::time::Duration::from_millis(after), store.push(&large)).await;
        if dropped.is_ok() {
            // It was quicker; then it is whole.
            assert_eq!(store.apps().await.unwrap().len(), 1);
            return;
        }
        assert!(store.apps().await.unwrap().is_empty());
    }
    assert!(store.push(&large).await.unwrap().created, "the lock died with the dropped push");
}

async fn a_deleted_branch_is_not_live(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let mut deletion = push(Some(1), 1);
    (deletion.refs[0].new, deletion.deploys, deletion.objects) = (None, Vec::new(), Vec::new());
    store.push(&deletion).await.unwrap();
    assert!(store.live_of(id).await.unwrap().is_empty() && store.refs(id).await.unwrap().is_empty());
    assert_eq!(store.deploys(id).await.unwrap().len(), 1, "history stays");
}

async fn a_branch_that_points_to_no_revision_is_not_live(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let bare = NewPush { revisions: Vec::new(), deploys: Vec::new(), ..push(Some(1), 2) };
    store.push(&bare).await.unwrap();
    assert!(store.live_of(id).await.unwrap().is_empty());
}

async fn many_objects_are_found_and_absent_ones_left_out(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let name = |n: u16| {
        let mut name = [0xaa; 20];
        name[..2].copy_from_slice(&n.to_be_bytes());
        Oid::new(name)
    };
    let mut large = push(None, 1);
    large.objects.extend((0..2500).map(|n| Object {
        oid: name(n),
        kind: ObjectKind::Blob,
        size: 1,
        zlib: vec![1],
    }));
    let id = store.push(&large).await.unwrap().app.id;
    let asked: Vec<Oid> = (0..3000).map(name).collect();
    assert_eq!(store.kinds(id, &asked).await.unwrap().len(), 2500);
    assert_eq!(store.objects(id, &asked).await.unwrap().len(), 2500);
    assert!(store.objects(id, &[]).await.unwrap().is_empty());
}

fn run(id: store::AppId, deploy: u64, due: DateTime<Utc>) -> NewRun {
    let execution = Uuid::new_v4();
    NewRun { app: id, schedule: tick(), due, deploy: number(deploy), execution, claimed_at: due }
}

async fn a_due_time_is_claimed_once(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.claim_run(&run(id, 1, noon())).await.unwrap() })
        })
        .collect();
    let mut claimed = 0;
    for task in tasks {
        claimed += usize::from(task.await.unwrap());
    }
    assert_eq!(claimed, 1);
    assert!(store.claim_run(&run(id, 1, noon() + TimeDelta::seconds(1))).await.unwrap());
}

async fn a_claim_for_what_is_not_live_any_more_is_refused(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    store.push(&push(Some(1), 2)).await.unwrap();
    assert!(!store.claim_run(&run(id, 1, noon())).await.unwrap());
    assert!(store.claim_run(&run(id, 2, noon())).await.unwrap());
}

async fn a_run_remembers_how_it_ended(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    assert_eq!(store.last_run(id, &tick()).await.unwrap(), None);
    let claimed = run(id, 1, noon());
    store.claim_run(&claimed).await.unwrap();
    let going = store.last_run(id, &tick()).await.unwrap().unwrap();
    assert_eq!((going.due, going.outcome, going.execution), (noon(), None, claimed.execution));
    let ended = noon() + TimeDelta::milliseconds(1500);
    store.finish_run(id, &tick(), noon(), RunOutcome::Failed, Some("why".to_owned()), ended).await.unwrap();
    let done = store.last_run(id, &tick()).await.unwrap().unwrap();
    assert_eq!(
        (done.outcome, done.detail.as_deref(), done.finished_at),
        (Some(RunOutcome::Failed), Some("why"), Some(ended))
    );
}

async fn a_reopened_database_holds_the_same(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    store.close().await;
    let store = Store::open(&location).await.unwrap();
    assert_eq!(store.revision(id, oid(1)).await.unwrap(), Some(revision(1)));
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_told_in_words() {
    let nowhere = Store::open(&Location::Sqlite("/nonexistent/picloud.db".into())).await.unwrap_err();
    assert!(matches!(nowhere, OpenError::File { .. }) && nowhere.to_string().contains("/nonexistent"));
    let closed = Store::open(&Location::Postgres("postgres://a@127.0.0.1:1/x".to_owned())).await.unwrap_err();
    assert!(matches!(closed, OpenError::Unreachable(_)), "{closed:?}");
}

#[tokio::test]
async fn a_newer_or_foreign_database_is_refused_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picloud.db");
    let location = Location::Sqlite(path.clone());
    Store::open(&location).await.unwrap().close().await;
    sqlite(&path, "INSERT INTO _sqlx_migrations VALUES (999, 'later', 0, true, x'00', 0)").await;
    assert!(matches!(Store::open(&location).await, Err(OpenError::Newer { found: 999 })));
    let foreign = folder.path().join("foreign.db");
    sqlite(&foreign, "CREATE TABLE apps (something TEXT)").await;
    assert!(matches!(Store::open(&Location::Sqlite(foreign)).await, Err(OpenError::Migrate(_))));
}

#[tokio::test]
async fn the_embedded_database_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picloud.db");
    let store = Store::open(&Location::Sqlite(path)).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.file_name());
    }
}

async fn sqlite(path: &Path, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
}
