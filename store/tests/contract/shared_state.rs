//! The state that several nodes change: positions, the log, locks, and commits whose outcome is looked up.

use store::{
    AppId, CommitError, NamespaceId, NamespaceName, SharedState, StateChanges, StateEntry, StateStore, Store,
};

use crate::database::*;
use crate::state::{commit_of, entry, position};

const PRODUCTION: NamespaceName = NamespaceName::Production;

/// Runs a test on a new database in PostgreSQL with an empty namespace.
async fn with_namespace(test: impl AsyncFn(StateStore, SharedState, AppId, NamespaceId)) {
    on_postgres(async |location| {
        let store = Store::open(&location).await.unwrap();
        let (state, app) = (store.state(), AppId::random());
        let id = state.open_namespace(app, &PRODUCTION).await.unwrap().id;
        let shared = state.shared().expect("PostgreSQL is shared");
        test(state, shared, app, id).await;
        store.close().await;
    })
    .await;
}

fn puts(keys: &[&str]) -> Vec<StateEntry> {
    keys.iter().map(|key| entry(key, "1", 1)).collect()
}

/// The versions and the keys of the commits in the log.
fn logged(changes: &StateChanges) -> Vec<(u64, Option<Vec<String>>)> {
    changes.commits.iter().map(|commit| (commit.to.version, commit.keys.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_database_is_not_shared() {
    on_sqlite(async |location| {
        let store = Store::open(&location).await.unwrap();
        assert!(store.state().shared().is_none());
        store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_read_in_the_order_of_the_question() {
    with_namespace(async |state, shared, app, id| {
        state.commit_state(&[commit_of(id, 0, puts(&["a"]))]).await.unwrap();
        let absent = NamespaceName::Preview("absent".to_owned());
        let other = AppId::random();
        let asked = [(other, PRODUCTION), (app, PRODUCTION), (app, absent)];
        let heads = shared.heads(&asked).await.unwrap();
        let found: Vec<_> =
            heads.namespaces.iter().map(|row| row.as_ref().map(|row| (row.id, row.position))).collect();
        assert_eq!(found, [None, Some((id, position(1))), None]);
        let now_ms = chrono::Utc::now().timestamp_millis();
        assert!((heads.at_ms - now_ms).abs() < 60_000, "{} is not the time", heads.at_ms);
        while state.delete_namespace(id).await.unwrap() {}
        assert_eq!(shared.heads(&asked).await.unwrap().namespaces, [None, None, None]);
        assert_eq!(shared.changes_since(id, 0).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_has_the_changed_keys_of_each_commit() {
    with_namespace(async |state, shared, _, id| {
        let mut commit = commit_of(id, 0, puts(&["a", "b"]));
        commit.deletes = vec!["c".to_owned()];
        state.commit_state(&[commit]).await.unwrap();
        state.commit_state(&[commit_of(id, 1, puts(&["d"]))]).await.unwrap();
        let many: Vec<StateEntry> = (0..200).map(|at| entry(&format!("{at:0>500}"), "1", 1)).collect();
        state.commit_state(&[commit_of(id, 2, many)]).await.unwrap();
        let keys = |keys: &[&str]| Some(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
        let changes = shared.changes_since(id, 0).await.unwrap().unwrap();
        assert_eq!(logged(&changes), [(1, keys(&["a", "b", "c"])), (2, keys(&["d"])), (3, None)]);
        assert_eq!(changes.namespace.position, position(3));
        for commit in &changes.commits {
            assert_eq!(commit.from, position(commit.to.version - 1));
            assert_eq!(commit.to, position(commit.to.version));
        }
        let later = shared.changes_since(id, 2).await.unwrap().unwrap();
        assert_eq!(logged(&later), [(3, None)]);
        assert_eq!(shared.changes_since(id, 3).await.unwrap().unwrap().commits, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_after_another_history_is_refused() {
    with_namespace(async |state, _, _, id| {
        let mut other = commit_of(id, 0, puts(&["a"]));
        other.to.commit = Some(store::CommitId::random());
        state.commit_state(&[other]).await.unwrap();
        // The version is the same.
        let result = state.commit_state(&[commit_of(id, 1, puts(&["a"]))]).await;
        assert!(matches!(result, Err(CommitError::Outdated(refused)) if refused == id), "{result:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_lets_others_wait_and_commits() {
    with_namespace(async |state, shared, _, id| {
        let mut lock = shared.lock(id).await.unwrap().unwrap();
        let (other, meanwhile) = (state.clone(), commit_of(id, 0, puts(&["other"])));
        let waiting = tokio::spawn(async move { other.commit_state(&[meanwhile]).await });
        let second = {
            let shared = shared.clone();
            tokio::spawn(async move { shared.lock(id).await.unwrap().unwrap() })
        };
        assert_eq!(lock.changes_since(0).await.unwrap().unwrap().namespace.position, position(0));
        lock.commit(&commit_of(id, 0, puts(&["own"]))).await.unwrap();
        assert!(matches!(waiting.await.unwrap(), Err(CommitError::Outdated(_))));
        let mut second = second.await.unwrap();
        assert_eq!(second.changes_since(0).await.unwrap().unwrap().namespace.position, position(1));
        second.release().await;
        state.commit_state(&[commit_of(id, 1, puts(&["own"]))]).await.unwrap();
        while state.delete_namespace(id).await.unwrap() {}
        assert!(shared.lock(id).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_of_a_suspended_node_ends() {
    with_namespace(async |state, shared, _, id| {
        let lock = shared.lock(id).await.unwrap().unwrap();
        // It sends nothing any more, as a suspended process does.
        state.commit_state(&[commit_of(id, 0, puts(&["a"]))]).await.unwrap();
        let late = lock.commit(&commit_of(id, 0, puts(&["late"]))).await;
        assert!(matches!(late, Err(CommitError::Store(_))), "{late:?}");
        let read = state.state_entries(id, &["a", "late"]).await.unwrap().unwrap();
        assert_eq!((read.position, read.entries.len()), (position(1), 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_is_bounded() {
    on_postgres(async |location| {
        let store = Store::open(&location).await.unwrap();
        let state = store.state();
        let id = state.open_namespace(AppId::random(), &PRODUCTION).await.unwrap().id;
        let mut other = Other::at(&location).await;
        for version in 0..100 {
            let many: Vec<StateEntry> = (0..60).map(|at| entry(&format!("{at:0>500}"), "1", 1)).collect();
            state.commit_state(&[commit_of(id, version, many)]).await.unwrap();
            // As if a minute had passed.
            other.run("UPDATE kv_log SET at = at - interval '2 minutes'").await;
        }
        let rows = other.rows("kv_log").await;
        assert!((20..60).contains(&rows), "{rows}");
        // What is left is the end of it.
        let changes = state.shared().unwrap().changes_since(id, 0).await.unwrap().unwrap();
        assert_eq!(changes.commits.last().unwrap().to, position(100));
        store.prune_state(chrono::Utc::now()).await.unwrap();
        assert!(other.rows("kv_log").await <= 1);
        store.close().await;
    })
    .await;
}

/// The server process of a commit that waits for a lock is terminated.
#[tokio::test(flavor = "multi_thread")]
async fn commit_without_a_response_is_never_stored_later() {
    on_postgres(async |location| {
        let store = Store::open(&location).await.unwrap();
        let state = store.state();
        let id = state.open_namespace(AppId::random(), &PRODUCTION).await.unwrap().id;
        let (mut other, mut locking) = (Other::at(&location).await, Other::at(&location).await);
        locking.run("BEGIN; SELECT FROM kv_namespaces FOR UPDATE").await;
        let (writer, commit) = (state.clone(), commit_of(id, 0, puts(&["a"])));
        let waiting = tokio::spawn(async move { writer.commit_state(&[commit]).await });
        let waits = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        while other.rows(waits).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        other.run(&format!("SELECT pg_terminate_backend(pid) FROM {waits}")).await;
        // The lookup waits for the lock, too.
        while other.rows(waits).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        locking.run("COMMIT").await;
        let result = waiting.await.unwrap();
        assert!(matches!(result, Err(CommitError::Store(_))), "{result:?}");
        // If the server had gone on with the statement, it would be refused by now.
        let late = state.commit_state(&[commit_of(id, 0, puts(&["a"]))]).await;
        assert!(matches!(late, Err(CommitError::Outdated(_))), "{late:?}");
        let read = state.state_entries(id, &["a"]).await.unwrap().unwrap();
        assert_eq!((read.position.version, read.entries.len()), (1, 0));
        store.close().await;
    })
    .await;
}
