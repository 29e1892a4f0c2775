//! Backup and restore of the state, which SQLite has in a file of its own.

use std::ops::Bound::Unbounded;
use std::path::Path;

use manifest_schema::name::AppName;
use store::backup::{RestoreError, RestoreMode, back_up, restore};
use store::{
    Actor, AppId, CommitError, Location, NamespaceCommit, NamespaceName, NamespaceRow, StateEntry,
    StatePosition, StateRange, StateValue, Store,
};

use crate::database::*;
use crate::disk::read;
use crate::fixtures::*;
use crate::migration::create_schema;
use crate::state::{commit_of, entry, state_location};

on_both_databases!(
    state_is_restored_into_both_databases,
    state_without_app_is_not_restored,
    backup_of_older_schema_empties_state,
    failed_restore_keeps_state,
    backup_can_be_restored_again_before_it_is_opened,
);

/// The last schema without state.
const BEFORE_STATE: i64 = 33;

const REPLACING: RestoreMode = RestoreMode { replace: true, run_schedules: false };

type State = Vec<(NamespaceRow, Vec<StateEntry>)>;

/// The whole state.
async fn dump(store: &Store) -> State {
    let mut all = Vec::new();
    for row in store.state().namespaces(None).await.unwrap() {
        let (limit, bytes_max) = (9999, u64::MAX >> 1);
        let range =
            StateRange { from: Unbounded, to: Unbounded, limit, bytes_max, reverse: false, now_ms: 0 };
        let read = store.state().state_list(row.id, &range).await.unwrap().unwrap();
        assert_eq!(read.position, row.position);
        all.push((row, read.entries));
    }
    all
}

/// The same without versions of namespaces, which a restore raises where nodes may have seen others.
async fn unversioned(store: &Store) -> State {
    without_positions(&dump(store).await)
}

fn without_positions(state: &State) -> State {
    let rows = state.iter().cloned();
    rows.map(|(row, entries)| (NamespaceRow { position: StatePosition::default(), ..row }, entries)).collect()
}

/// What a restore makes of it: no node knows the commits.
fn without_commits(state: &State) -> State {
    let position = |row: &NamespaceRow| StatePosition { commit: None, ..row.position };
    let rows = state.iter().cloned();
    rows.map(|(row, entries)| (NamespaceRow { position: position(&row), ..row }, entries)).collect()
}

/// A commit after a restore.
fn commit_after(restored: &NamespaceRow) -> NamespaceCommit {
    let puts = vec![entry("more", "1", 3)];
    NamespaceCommit { from: restored.position, ..commit_of(restored.id, restored.position.version, puts) }
}

/// An app with state in production and in a preview.
async fn fill(store: &Store) -> AppId {
    store.push(&push(None, 1)).await.unwrap();
    let app = read(store).await.id;
    for name in [NamespaceName::Production, NamespaceName::Preview("a".to_owned())] {
        let id = store.state().open_namespace(app, &name).await.unwrap().id;
        let blob = StateEntry { value: StateValue::Blob(vec![0, 255]), ..entry("blob", "", 1) };
        let ends = StateEntry { expires_at_ms: Some(i64::MAX), ..entry("ends", "1", 1) };
        let many = (0..1200).map(|at| entry(&format!("many/{at:04}"), &at.to_string(), 1));
        let puts = [blob, ends, entry("ä", "{\"a\": null}", 1)].into_iter().chain(many).collect();
        store.state().commit_state(&[commit_of(id, 0, puts)]).await.unwrap();
        store.state().commit_state(&[commit_of(id, 1, vec![entry("later", "2", 2)])]).await.unwrap();
    }
    app
}

/// State that a restore replaces.
async fn fill_otherwise(location: &Location) {
    let store = Store::open(location).await.unwrap();
    let (app, state) = (AppId::random(), store.state());
    for number in 0..3 {
        let name = NamespaceName::Preview(number.to_string());
        let id = state.open_namespace(app, &name).await.unwrap().id;
        state.commit_state(&[commit_of(id, 0, vec![entry("old", "1", 1)])]).await.unwrap();
    }
    store.close().await;
}

async fn state_is_restored_into_both_databases(from: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = Store::open(&from).await.unwrap();
    let app = fill(&store).await;
    let before = dump(&store).await;
    back_up(&from, &file, false).await.unwrap();
    let check = async |into: Location| {
        restore(&file, &into, RestoreMode::default()).await.unwrap();
        let store = Store::open(&into).await.unwrap();
        let restored = dump(&store).await;
        assert_eq!(restored, without_commits(&before));
        let state = store.state();
        // It goes on: commits from the restored position, and namespaces with ids of their own.
        state.commit_state(&[commit_after(&restored[0].0)]).await.unwrap();
        let new = state.open_namespace(app, &NamespaceName::Preview("new".to_owned())).await.unwrap();
        assert!(before.iter().all(|(row, _)| row.id < new.id));
        assert_eq!(state.next_expiry().await.unwrap(), Some(i64::MAX));
        store.close().await;
        let mut other = Other::at(&into).await;
        if let Location::Sqlite(_) = into {
            assert_eq!(other.rows("kv_entries").await, 0, "it is in its own file only");
        }
        drop(other);
        // A second restore replaces it.
        restore(&file, &into, REPLACING).await.unwrap();
        let store = Store::open(&into).await.unwrap();
        assert_eq!(unversioned(&store).await, without_positions(&before));
        store.close().await;
        // Backups pass it on.
        let again = folder.path().join("again");
        back_up(&into, &again, false).await.unwrap();
        assert_eq!(rows_of(&again).await, rows_of(&file).await);
        std::fs::remove_file(again).unwrap();
    };
    on_sqlite(&check).await;
    on_postgres(&check).await;
}

/// The numbers of namespaces and entries in a backup.
async fn rows_of(file: &Path) -> (i64, i64) {
    let mut other = Other::at(&Location::Sqlite(file.to_owned())).await;
    (other.rows("kv_namespaces").await, other.rows("kv_entries").await)
}

/// SQLite copies the state first: an app can be purged before its rows are copied, too.
async fn state_without_app_is_not_restored(into: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    on_sqlite(async |from| {
        let store = Store::open(&from).await.unwrap();
        fill(&store).await;
        fill_in(&store, AppId::random()).await;
        back_up(&from, &file, false).await.unwrap();
    })
    .await;
    restore(&file, &into, RestoreMode::default()).await.unwrap();
    let state = Store::open(&into).await.unwrap().state();
    assert_eq!(state.namespaces(None).await.unwrap().len(), 2);
    let [gone] = state.deleted_namespaces().await.unwrap()[..] else { panic!("it is to be deleted") };
    assert!(!state.delete_namespace(gone).await.unwrap());
}

async fn fill_in(store: &Store, app: AppId) {
    let id = store.state().open_namespace(app, &NamespaceName::Production).await.unwrap().id;
    store.state().commit_state(&[commit_of(id, 0, vec![entry("a", "1", 1)])]).await.unwrap();
}

async fn backup_of_older_schema_empties_state(into: Location) {
    let folder = tempfile::tempdir().unwrap();
    for version in [1, BEFORE_STATE] {
        let file = folder.path().join(version.to_string());
        create_schema(&Location::Sqlite(file.clone()), version).await;
        crate::backup::seal(&file).await;
        fill_otherwise(&into).await;
        restore(&file, &into, REPLACING).await.unwrap();
        let store = Store::open(&into).await.unwrap();
        assert_eq!(store.apps().await.unwrap().len(), 2, "version {version}");
        assert_eq!(dump(&store).await, []);
        // From then on the restored apps have state.
        fill_in(&store, store.apps().await.unwrap()[0].id).await;
        assert_eq!(dump(&store).await[0].1.len(), 1);
        store.close().await;
    }
}

async fn failed_restore_keeps_state(into: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    on_sqlite(async |from| {
        fill(&Store::open(&from).await.unwrap()).await;
        back_up(&from, &file, false).await.unwrap();
    })
    .await;
    Other::at(&Location::Sqlite(file.clone()))
        .await
        .run("PRAGMA foreign_keys = OFF; UPDATE refs SET app = '00000000-0000-0000-0000-00000000000a'")
        .await;
    crate::backup::seal(&file).await;
    fill_otherwise(&into).await;
    let result = restore(&file, &into, REPLACING).await;
    assert!(matches!(result, Err(RestoreError::Damaged { .. } | RestoreError::Database(_))), "{result:?}");
    let state = dump(&Store::open(&into).await.unwrap()).await;
    assert!(state.len() == 3 && state[0].1[0].key == "old", "{state:?}");
}

/// The restored state of SQLite is not in its file yet, and the file still has another one.
async fn backup_can_be_restored_again_before_it_is_opened(into: Location) {
    let folder = tempfile::tempdir().unwrap();
    let (file, again) = (folder.path().join("backup"), folder.path().join("again"));
    on_sqlite(async |from| {
        let store = Store::open(&from).await.unwrap();
        fill(&store).await;
        back_up(&from, &file, false).await.unwrap();
        store.close().await;
        fill_otherwise(&into).await;
        restore(&file, &into, REPLACING).await.unwrap();
        back_up(&into, &again, false).await.unwrap();
        // A backup is a database, too.
        let copy = Location::Sqlite(from_copy(&again));
        let expected = unversioned(&Store::open(&from).await.unwrap()).await;
        for location in [&copy, &into] {
            let store = Store::open(location).await.unwrap();
            assert_eq!(unversioned(&store).await, expected);
            store.close().await;
        }
    })
    .await;
}

/// A copy of a backup in a folder of its own.
fn from_copy(file: &Path) -> std::path::PathBuf {
    let folder = file.with_file_name("copy");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("picloud.db");
    std::fs::copy(file, &path).unwrap();
    path
}

/// Each step of a restore in which the process can be killed, in order.
#[tokio::test(flavor = "multi_thread")]
async fn restore_that_is_killed_at_any_step_is_finished_when_database_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (file, path) = (folder.path().join("backup"), folder.path().join("picloud.db"));
    let mut expected = Vec::new();
    on_sqlite(async |from| {
        let store = Store::open(&from).await.unwrap();
        fill(&store).await;
        expected = without_commits(&dump(&store).await);
        back_up(&from, &file, false).await.unwrap();
    })
    .await;
    let into = Location::Sqlite(path.clone());
    fill_otherwise(&into).await;
    restore(&file, &into, RestoreMode::default()).await.unwrap();
    // The restore is committed; the file of the state is that of before.
    let old = Other::at(&state_location(&into)).await.rows("kv_entries WHERE key = 'old'").await;
    assert_eq!(old, 3);
    let restored = std::fs::read(&path).unwrap();
    let half = Store::open(&into).await.unwrap();
    assert_eq!(dump(&half).await, expected);
    half.close().await;
    // The state is in its file, and the rows in the database are not deleted.
    for side in ["picloud.db-wal", "picloud.db-shm"] {
        std::fs::remove_file(path.with_file_name(side)).ok();
    }
    std::fs::write(&path, restored).unwrap();
    let store = Store::open(&into).await.unwrap();
    assert_eq!(dump(&store).await, expected);
    // It is done once: later commits are kept.
    store.state().commit_state(&[commit_after(&expected[0].0)]).await.unwrap();
    let after = dump(&store).await;
    store.close().await;
    let store = Store::open(&into).await.unwrap();
    assert_eq!(dump(&store).await, after);
    let mut other = Other::at(&into).await;
    assert_eq!((other.rows("kv_entries").await, other.rows("kv_restore").await), (0, 0));
}

/// Each state commit follows a write of the database: no backup may have it without that write.
#[tokio::test(flavor = "multi_thread")]
async fn state_of_backup_is_not_newer_than_its_database() {
    let folder = tempfile::tempdir().unwrap();
    on_sqlite(async |from| {
        let store = Store::open(&from).await.unwrap();
        store.push(&push(None, 1)).await.unwrap();
        let app = read(&store).await.id;
        let id = store.state().open_namespace(app, &NamespaceName::Production).await.unwrap().id;
        let writer = tokio::spawn(async move {
            for number in 0.. {
                let name = AppName::new(&format!("app-{number}")).unwrap();
                store.create_app(&name, &Actor::named("ada")).await.unwrap();
                store.state().commit_state(&[commit_of(id, number, Vec::new())]).await.unwrap();
            }
        });
        let mut latest = 0;
        for number in 0..5 {
            let file = folder.path().join(number.to_string());
            while back_up(&from, &file, true).await.unwrap().apps < 2 + latest {}
            let state = dump_of_backup(&file).await;
            let apps = Other::at(&Location::Sqlite(file)).await.rows("apps WHERE name LIKE 'app-%'").await;
            assert!(state <= apps, "{state} commits with {apps} apps");
            latest = u64::try_from(apps).unwrap();
        }
        writer.abort();
        assert!(writer.await.unwrap_err().is_cancelled());
    })
    .await;
}

/// The version of the only namespace in a backup.
async fn dump_of_backup(file: &Path) -> i64 {
    let Other::Sqlite(mut connection) = Other::at(&Location::Sqlite(file.to_owned())).await else {
        unreachable!()
    };
    sqlx::query_scalar("SELECT version FROM kv_namespaces").fetch_one(&mut connection).await.unwrap()
}

/// A node has entries of a version in memory. After a restore, that version cannot come again with other entries.
#[tokio::test(flavor = "multi_thread")]
async fn restore_does_not_repeat_a_version_that_nodes_know() {
    on_postgres(async |location| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        let store = Store::open(&location).await.unwrap();
        fill(&store).await;
        let id = dump(&store).await[0].0.id;
        back_up(&location, &file, false).await.unwrap();
        store.state().commit_state(&[commit_of(id, 2, vec![entry("more", "1", 3)])]).await.unwrap();
        restore(&file, &location, REPLACING).await.unwrap();
        for known in 0..=3 {
            let result = store.state().commit_state(&[commit_of(id, known, Vec::new())]).await;
            assert!(matches!(result, Err(CommitError::Outdated(_))), "{known}: {result:?}");
        }
        let restored = dump(&store).await;
        assert!(restored[0].0.position.version > 3, "{:?}", restored[0].0);
        assert!(restored[0].1.iter().all(|entry| entry.version <= 2));
    })
    .await;
}
