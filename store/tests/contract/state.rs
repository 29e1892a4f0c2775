//! The state of apps: namespaces, commits, reads, expiry.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use store::state::STATE_READ_BYTES_MAX;
use store::{
    Actor, AppId, CommitError, CommitId, ExpiredEntry, Location, NamespaceCommit, NamespaceId, NamespaceName,
    NamespaceRow, OpenError, StateEntry, StateKeys, StatePosition, StateRange, StateRead, StateStore,
    StateValue, Store,
};

use uuid::Uuid;

use crate::database::*;
use crate::disk::read;
use crate::fixtures::*;

on_both_databases!(
    namespace_is_created_once,
    commit_stores_entries_and_version,
    large_group_is_stored,
    group_with_outdated_namespace_stores_nothing,
    one_of_two_concurrent_commits_is_stored,
    list_is_sorted_by_bytes_within_its_range,
    read_is_cut_at_its_size,
    expired_entries_are_found_and_not_listed,
    deleted_namespace_is_replaced_by_empty_one,
    purge_of_app_deletes_its_state,
    state_survives_reopening_and_deletion_of_app,
    state_accepts_probe,
);

const PRODUCTION: NamespaceName = NamespaceName::Production;

pub(crate) fn entry(key: &str, value: &str, version: u64) -> StateEntry {
    let value = StateValue::Json(value.as_bytes().to_vec());
    StateEntry { key: key.to_owned(), value, version, expires_at_ms: None }
}

/// The position with a version, in a history in which each version has one commit.
pub(crate) fn position(version: u64) -> StatePosition {
    let commit = (version > 0).then(|| CommitId::from_uuid(Uuid::from_u128(version.into())));
    StatePosition { version, commit }
}

/// A commit that puts entries with its version.
pub(crate) fn commit_of(id: NamespaceId, from: u64, puts: Vec<StateEntry>) -> NamespaceCommit {
    let to = from + 1;
    let puts = puts.into_iter().map(|entry| StateEntry { version: to, ..entry }).collect();
    NamespaceCommit {
        id,
        from: position(from),
        to: position(to),
        bytes: 10 * to,
        entries: to,
        puts,
        deletes: Vec::new(),
        scheduled: Vec::new(),
    }
}

async fn new_namespace(state: &StateStore) -> NamespaceId {
    state.open_namespace(AppId::random(), &PRODUCTION).await.unwrap().id
}

/// Stores entries in a new namespace.
async fn filled(state: &StateStore, puts: Vec<StateEntry>) -> NamespaceId {
    let id = new_namespace(state).await;
    state.commit_state(&[commit_of(id, 0, puts)]).await.unwrap();
    id
}

async fn entries(state: &StateStore, id: NamespaceId, keys: &[&str]) -> StateRead {
    let mut found = state.state_entries(id, keys).await.unwrap().unwrap();
    found.entries.sort_by(|one, other| one.key.cmp(&other.key));
    found
}

fn range(from: Bound<&str>, to: Bound<&str>) -> StateRange {
    let (from, to) = (from.map(str::to_owned), to.map(str::to_owned));
    StateRange { from, to, limit: 1000, bytes_max: STATE_READ_BYTES_MAX, reverse: false, now_ms: 0 }
}

async fn list(state: &StateStore, id: NamespaceId, range: &StateRange) -> Vec<String> {
    let found = state.state_list(id, range).await.unwrap().unwrap();
    let keys = state.state_keys(id, range).await.unwrap().unwrap();
    let listed = found.entries.iter().map(|entry| (entry.key.clone(), entry.expires_at_ms));
    assert_eq!((keys.version, keys.keys), (found.position.version, listed.collect()));
    found.entries.into_iter().map(|entry| entry.key).collect()
}

async fn namespace_is_created_once(location: Location) {
    let state = Store::open(&location).await.unwrap().state();
    let (app, other) = (AppId::random(), AppId::random());
    let preview = NamespaceName::Preview("fix/a".to_owned());
    assert_eq!(state.namespace(app, &PRODUCTION).await.unwrap(), None);
    let new = state.open_namespace(app, &PRODUCTION).await.unwrap();
    let expected =
        NamespaceRow { id: new.id, app, name: PRODUCTION, position: position(0), bytes: 0, entries: 0 };
    assert_eq!(new, expected);
    assert_eq!(state.open_namespace(app, &PRODUCTION).await.unwrap(), new);
    assert_eq!(state.namespace(app, &PRODUCTION).await.unwrap(), Some(new.clone()));
    let branch = state.open_namespace(app, &preview).await.unwrap();
    let elsewhere = state.open_namespace(other, &PRODUCTION).await.unwrap();
    assert_eq!(branch.name, preview);
    assert_eq!(state.namespaces(Some(app)).await.unwrap(), [branch.clone(), new.clone()]);
    assert_eq!(state.namespaces(None).await.unwrap(), [branch, new, elsewhere]);
    // Concurrent first uses get the same one.
    let third = AppId::random();
    let opened =
        futures_util::future::join_all((0..8).map(|_| state.open_namespace(third, &PRODUCTION))).await;
    let ids: Vec<NamespaceId> = opened.into_iter().map(|row| row.unwrap().id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

async fn commit_stores_entries_and_version(location: Location) {
    let state = Store::open(&location).await.unwrap().state();
    let id = new_namespace(&state).await;
    let blob =
        StateEntry { value: StateValue::Blob(vec![0, 255]), expires_at_ms: Some(7), ..entry("b", "", 1) };
    let puts = vec![entry("a", "1", 1), blob.clone(), entry("c", "\"c\"", 1)];
    state.commit_state(&[commit_of(id, 0, puts.clone())]).await.unwrap();
    let found = entries(&state, id, &["c", "b", "absent", "a"]).await;
    assert_eq!(found, StateRead { position: position(1), entries: puts, is_cut: false });
    assert_eq!(entries(&state, id, &["b"]).await.entries, [blob]);
    let absent = StateRead { position: position(1), entries: Vec::new(), is_cut: false };
    assert_eq!((entries(&state, id, &["x"]).await, entries(&state, id, &[]).await), (absent.clone(), absent));
    // A changed entry has the new version, others keep theirs.
    let deletes = vec!["c".to_owned(), "absent".to_owned()];
    let change = NamespaceCommit { deletes, ..commit_of(id, 1, vec![entry("b", "2", 2)]) };
    state.commit_state(&[change]).await.unwrap();
    let found = entries(&state, id, &["a", "b", "c"]).await;
    assert_eq!((found.position, found.entries), (position(2), vec![entry("a", "1", 1), entry("b", "2", 2)]));
    let row = state.namespaces(None).await.unwrap().remove(0);
    assert_eq!((row.position, row.bytes, row.entries), (position(2), 20, 2));
    // A version can be raised by more than one: several executions are one commit.
    state.commit_state(&[NamespaceCommit { to: position(9), ..commit_of(id, 2, Vec::new()) }]).await.unwrap();
    assert_eq!(entries(&state, id, &["a"]).await.position, position(9));
    state.commit_state(&[]).await.unwrap();
}

/// Sizes around those of batches, of several namespaces in one group.
async fn large_group_is_stored(location: Location) {
    let state = Store::open(&location).await.unwrap().state();
    let sizes = [0, 1, 3, 31, 33, 257, 600];
    let mut group = Vec::new();
    for size in sizes {
        let puts = (0..size).map(|at| entry(&format!("{at:04}"), &at.to_string(), 1)).collect();
        group.push(commit_of(new_namespace(&state).await, 0, puts));
    }
    state.commit_state(&group).await.unwrap();
    for commit in &group {
        let keys: Vec<&str> = commit.puts.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(entries(&state, commit.id, &keys).await.entries, commit.puts);
    }
    for commit in &mut group {
        let deletes = commit.puts.iter().skip(1).map(|entry| entry.key.clone()).collect();
        *commit = NamespaceCommit { deletes, ..commit_of(commit.id, 1, Vec::new()) };
    }
    state.commit_state(&group).await.unwrap();
    for (commit, size) in group.iter().zip(sizes) {
        let left = list(&state, commit.id, &range(Unbounded, Unbounded)).await;
        assert_eq!(left, vec!["0000"; size.min(1)]);
    }
}

async fn group_with_outdated_namespace_stores_nothing(location: Location) {
    let state = Store::open(&location).await.unwrap().state();
    let (one, two) = (new_namespace(&state).await, new_namespace(&state).await);
    let put = || vec![entry("a", "1", 1)];
    let deleted = new_namespace(&state).await;
    assert!(!state.delete_namespace(deleted).await.unwrap());
    for (bad, from) in [(two, 1), (deleted, 0), (NamespaceId::new(999), 0)] {
        for group in [
            [commit_of(one, 0, put()), commit_of(bad, from, put())],
            [commit_of(bad, from, put()), commit_of(one, 0, put())],
        ] {
            let result = state.commit_state(&group).await;
            assert!(matches!(result, Err(CommitError::Outdated(id)) if id == bad), "{result:?}");
        }
        let result = state.commit_state(&[commit_of(bad, from, put())]).await;
        assert!(matches!(result, Err(CommitError::Outdated(id)) if id == bad), "{result:?}");
    }
    for id in [one, two] {
        let nothing = StateRead { position: position(0), entries: Vec::new(), is_cut: false };
        assert_eq!(entries(&state, id, &["a"]).await, nothing);
    }
    state.commit_state(&[commit_of(one, 0, put()), commit_of(two, 0, put())]).await.unwrap();
}

/// Each round, several groups over the same namespaces in different order: exactly one is stored.
async fn one_of_two_concurrent_commits_is_stored(location: Location) {
    let state = Store::open(&location).await.unwrap().state();
    let ids = [new_namespace(&state).await, new_namespace(&state).await];
    for round in 0..20 {
        let commit = |number: usize| {
            let mut group =
                ids.map(|id| commit_of(id, round, vec![entry("a", &number.to_string(), 1)])).to_vec();
            group.rotate_left(number % 2);
            let state = state.clone();
            tokio::spawn(async move { state.commit_state(&group).await })
        };
        let tasks: Vec<_> = (0..4).map(commit).collect();
        let mut stored = Vec::new();
        for (number, task) in tasks.into_iter().enumerate() {
            match task.await.unwrap() {
                Ok(()) => stored.push(number),
                Err(CommitError::Outdated(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        let [stored] = stored[..] else { panic!("{stored:?}") };
        for id in ids {
            let found = entries(&state, id, &["a"]).await;
            let expected = entry("a", &stored.to_string(), round + 1);
            assert_eq!((found.position, found.entries), (position(round + 1), vec![expected]));
        }
    }
}

async fn list_is_sorted_by_bytes_within_its_range(location: Location) {
    let state = Store::open(&location).await.unwrap().state();
    // The order of bytes differs from that of languages.
    let keys = ["B", "a", "a-z", "a/1", "a/2", "ab", "ä", "日本", "😀"];
    let id = filled(&state, keys.iter().rev().map(|key| entry(key, "1", 1)).collect()).await;
    filled(&state, vec![entry("a", "2", 1)]).await;
    let all = range(Unbounded, Unbounded);
    assert_eq!(list(&state, id, &all).await, keys);
    let reverse: Vec<&str> = keys.iter().rev().copied().collect();
    assert_eq!(list(&state, id, &StateRange { reverse: true, ..all.clone() }).await, reverse);
    assert_eq!(list(&state, id, &range(Included("a/1"), Excluded("ab"))).await, ["a/1", "a/2"]);
    assert_eq!(list(&state, id, &range(Excluded("a/1"), Included("ab"))).await, ["a/2", "ab"]);
    assert_eq!(list(&state, id, &range(Excluded("ä"), Unbounded)).await, ["日本", "😀"]);
    assert_eq!(list(&state, id, &range(Unbounded, Excluded("a"))).await, ["B"]);
    let last = StateRange { reverse: true, limit: 2, ..range(Included("a/"), Excluded("a0")) };
    assert_eq!(list(&state, id, &last).await, ["a/2", "a/1"]);
    assert_eq!(list(&state, id, &StateRange { limit: 1, ..all.clone() }).await, ["B"]);
    let nothing = state.state_list(id, &range(Included("b"), Excluded("c"))).await.unwrap();
    assert_eq!(nothing, Some(StateRead { position: position(1), entries: Vec::new(), is_cut: false }));
    let nothing = state.state_keys(id, &range(Included("b"), Excluded("c"))).await.unwrap();
    assert_eq!(nothing, Some(StateKeys { version: 1, keys: Vec::new() }));
    assert_eq!(state.state_keys(NamespaceId::new(999), &all).await.unwrap(), None);
    assert_eq!(state.state_list(NamespaceId::new(999), &all).await.unwrap(), None);
    assert_eq!(state.state_entries(NamespaceId::new(999), &["a"]).await.unwrap(), None);
    assert_eq!(state.state_entries(NamespaceId::new(999), &["a", "b"]).await.unwrap(), None);
}

async fn read_is_cut_at_its_size(location: Location) {
    let state = Store::open(&location).await.unwrap().state();
    let half = usize::try_from(STATE_READ_BYTES_MAX / 2).unwrap();
    let large = |key: &str, bytes: usize| {
        let value = StateValue::Blob(vec![7; bytes]);
        StateEntry { value, ..entry(key, "", 1) }
    };
    let puts = vec![large("a", half), large("b", half + 1), large("c", 1), large("d", half)];
    let id = filled(&state, puts).await;
    let all = range(Unbounded, Unbounded);
    let found = state.state_list(id, &all).await.unwrap().unwrap();
    assert_eq!((found.entries.len(), found.is_cut), (2, true));
    let next = state.state_list(id, &range(Excluded("b"), Unbounded)).await.unwrap().unwrap();
    assert_eq!((next.entries.len(), next.is_cut), (2, false));
    let found = state.state_list(id, &StateRange { reverse: true, ..all }).await.unwrap().unwrap();
    let keys: Vec<&str> = found.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!((keys, found.is_cut), (vec!["d", "c", "b"], true));
    let found = entries(&state, id, &["a", "b", "c", "d"]).await;
    assert_eq!((found.entries.len(), found.is_cut), (2, true));
    let found = entries(&state, id, &["a", "b"]).await;
    assert_eq!((found.entries.len(), found.is_cut), (2, false));
    let small = StateRange { bytes_max: 1, ..range(Excluded("b"), Unbounded) };
    let found = state.state_list(id, &small).await.unwrap().unwrap();
    assert_eq!((found.entries.len(), found.is_cut), (1, true));
    // At least one entry is read.
    let id = filled(&state, vec![large("a", 2 * half + 2), large("b", 1)]).await;
    let found = state.state_list(id, &range(Unbounded, Unbounded)).await.unwrap().unwrap();
    assert_eq!((found.entries.len(), found.is_cut), (1, true));
}

async fn expired_entries_are_found_and_not_listed(location: Location) {
    let state = Store::open(&location).await.unwrap().state();
    assert_eq!(state.next_expiry().await.unwrap(), None);
    let until = |key: &str, time| StateEntry { expires_at_ms: Some(time), ..entry(key, "1", 1) };
    let one = filled(&state, vec![until("a", 30), until("b", 20), entry("c", "1", 1)]).await;
    let other = filled(&state, vec![until("a", 10), until("d", 40)]).await;
    let gone = filled(&state, vec![until("a", 5)]).await;
    state.delete_namespace(gone).await.unwrap();
    assert_eq!(state.next_expiry().await.unwrap(), Some(10));
    let key = |namespace, key: &str| ExpiredEntry { namespace, version: 1, key: key.to_owned(), bytes: 1 };
    assert_eq!(state.expired_entries(9, 9).await.unwrap(), []);
    let expired = [key(other, "a"), key(one, "b"), key(one, "a")];
    assert_eq!(state.expired_entries(30, 9).await.unwrap(), expired);
    assert_eq!(state.expired_entries(30, 2).await.unwrap(), expired[..2]);
    let at = |now_ms| StateRange { now_ms, ..range(Unbounded, Unbounded) };
    assert_eq!(list(&state, one, &at(19)).await, ["a", "b", "c"]);
    assert_eq!(list(&state, one, &at(20)).await, ["a", "c"]);
    let first = StateRange { limit: 1, ..at(30) };
    assert_eq!(list(&state, one, &first).await, ["c"], "expired ones do not count");
    assert_eq!(entries(&state, one, &["a"]).await.entries.len(), 1, "they are stored until they are deleted");
    // An entry that is written again does not expire.
    state.commit_state(&[commit_of(other, 1, vec![entry("a", "2", 2)])]).await.unwrap();
    assert_eq!(state.next_expiry().await.unwrap(), Some(20));
}

async fn deleted_namespace_is_replaced_by_empty_one(location: Location) {
    let state = Store::open(&location).await.unwrap().state();
    let app = AppId::random();
    let old = state.open_namespace(app, &PRODUCTION).await.unwrap().id;
    let puts = (0..2500).map(|at| entry(&format!("{at}"), "1", 1)).collect();
    state.commit_state(&[commit_of(old, 0, puts)]).await.unwrap();
    let other = filled(&state, vec![entry("a", "1", 1)]).await;
    assert!(state.delete_namespace(old).await.unwrap());
    assert_eq!(state.deleted_namespaces().await.unwrap(), [old]);
    assert_eq!(state.namespace(app, &PRODUCTION).await.unwrap(), None);
    assert_eq!(state.state_entries(old, &["2"]).await.unwrap(), None);
    assert_eq!(state.state_entries(old, &["2", "3"]).await.unwrap(), None);
    assert_eq!(state.state_list(old, &range(Unbounded, Unbounded)).await.unwrap(), None);
    let result = state.commit_state(&[commit_of(old, 1, Vec::new())]).await;
    assert!(matches!(result, Err(CommitError::Outdated(_))), "{result:?}");
    let new = state.open_namespace(app, &PRODUCTION).await.unwrap();
    assert!(new.id > old && new.position == position(0), "{new:?}");
    assert_eq!(list(&state, new.id, &range(Unbounded, Unbounded)).await, [""; 0]);
    let mut steps = 1;
    while state.delete_namespace(old).await.unwrap() {
        steps += 1;
    }
    assert!(steps > 1, "entries are deleted in batches");
    assert_eq!(state.deleted_namespaces().await.unwrap(), []);
    assert_eq!(Other::at(&state_location(&location)).await.rows("kv_entries").await, 1);
    assert_eq!(entries(&state, other, &["a"]).await.entries.len(), 1);
    // The id is not used again, even if it was the highest.
    assert!(!state.delete_namespace(new.id).await.unwrap());
    assert!(new_namespace(&state).await > new.id);
    assert!(!state.delete_namespace(old).await.unwrap());
}

/// The database with the state.
pub(crate) fn state_location(location: &Location) -> Location {
    match location {
        Location::Sqlite(path) => Location::Sqlite(path.with_file_name("state.db")),
        postgres @ Location::Postgres(_) => postgres.clone(),
    }
}

async fn purge_of_app_deletes_its_state(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let (app, state) = (read(&store).await, store.state());
    let preview = NamespaceName::Preview("a".to_owned());
    let put = || vec![entry("a", "1", 1)];
    for name in [&PRODUCTION, &preview] {
        let id = state.open_namespace(app.id, name).await.unwrap().id;
        state.commit_state(&[commit_of(id, 0, put())]).await.unwrap();
    }
    filled(&state, put()).await;
    let ada = Actor::named("ada");
    let deleted = store.delete_app(&app, None, &ada).await.unwrap();
    assert_eq!(state.namespaces(Some(app.id)).await.unwrap().len(), 2, "it can be undeleted");
    assert!(store.purge_app(&deleted, &ada).await.unwrap());
    while store.purge_app(&deleted, &ada).await.unwrap() {}
    assert_eq!(state.namespaces(Some(app.id)).await.unwrap(), []);
    assert_eq!(state.namespaces(None).await.unwrap().len(), 1);
    let mut other = Other::at(&state_location(&location)).await;
    assert_eq!((other.rows("kv_namespaces").await, other.rows("kv_entries").await), (1, 1));
}

async fn state_survives_reopening_and_deletion_of_app(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    let app = read(&store).await;
    let id = store.state().open_namespace(app.id, &PRODUCTION).await.unwrap().id;
    store.state().commit_state(&[commit_of(id, 0, vec![entry("a", "1", 1)])]).await.unwrap();
    let ada = Actor::named("ada");
    let deleted = store.delete_app(&app, None, &ada).await.unwrap();
    // A purge of an earlier deletion deletes nothing after another deletion.
    let back = store.undelete_app(deleted.id, &app.name, &[], None, &ada).await.unwrap();
    let second = store.delete_app(&back, None, &ada).await.unwrap();
    assert!(!store.purge_app(&deleted, &ada).await.unwrap());
    store.undelete_app(second.id, &app.name, &[], None, &ada).await.unwrap();
    store.close().await;
    let state = Store::open(&location).await.unwrap().state();
    assert_eq!(state.namespace(app.id, &PRODUCTION).await.unwrap().unwrap().id, id);
    assert_eq!(entries(&state, id, &["a"]).await.entries, [entry("a", "1", 1)]);
}

async fn state_accepts_probe(location: Location) {
    let store = Store::open(&location).await.unwrap();
    store.state().probe_state_write().await.unwrap();
    let folder = store.state().folder().map(std::path::Path::to_owned);
    match &location {
        Location::Sqlite(path) => {
            let expected = path.parent().unwrap().canonicalize().unwrap();
            assert_eq!(folder, Some(expected));
        }
        Location::Postgres(_) => assert_eq!(folder, None),
    }
    store.close().await;
    assert!(store.state().probe_state_write().await.is_err(), "it is closed with its store");
}

#[tokio::test]
async fn probe_fails_while_another_program_writes_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = StateStore::open_file(&path).await.unwrap();
    let Other::Sqlite(mut other) = Other::at(&Location::Sqlite(path)).await else { unreachable!() };
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let probe = tokio::spawn({
        let state = state.clone();
        async move { state.probe_state_write().await }
    });
    // Reads go on.
    assert_eq!(state.namespaces(None).await.unwrap(), []);
    assert!(!probe.is_finished());
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    probe.await.unwrap().unwrap();
}

#[tokio::test]
async fn state_file_is_private_and_used_by_one_process() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev/state.db");
    let missing = StateStore::open_file(&path).await;
    assert!(matches!(missing, Err(OpenError::File { .. })), "{missing:?}");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let state = StateStore::open_file(&path).await.unwrap();
    new_namespace(&state).await;
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.file_name());
    }
    let second = StateStore::open_file(&path).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    state.close().await;
    assert_eq!(StateStore::open_file(&path).await.unwrap().namespaces(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_databases_do_not_share_a_state_file() {
    let folder = tempfile::tempdir().unwrap();
    let location = |name: &str| Location::Sqlite(folder.path().join(name));
    let store = Store::open(&location("picloud.db")).await.unwrap();
    let second = Store::open(&location("other.db")).await;
    assert!(
        matches!(&second, Err(OpenError::InUse { path, .. }) if path.ends_with("state.db")),
        "{second:?}"
    );
    store.close().await;
}

#[tokio::test]
async fn newer_or_foreign_state_file_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("picloud.db"));
    let mut other = Other::at(&state_location(&location)).await;
    other.run("CREATE TABLE photos (something TEXT)").await;
    let error = Store::open(&location).await.unwrap_err();
    assert!(matches!(&error, OpenError::Foreign { table } if table == "photos"), "{error:?}");
    other.run("DROP TABLE photos").await;
    Store::open(&location).await.unwrap().close().await;
    other.run("INSERT INTO _sqlx_migrations VALUES (999, 'later', 0, true, x'00', 0)").await;
    let error = Store::open(&location).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 999 }), "{error:?}");
}

/// Backups have the tables of the state, too: the two definitions must not differ.
#[tokio::test]
async fn state_file_has_the_tables_of_backups() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("picloud.db"));
    Store::open(&location).await.unwrap().close().await;
    let schema = async |location: &Location| -> Vec<(String, String)> {
        let Other::Sqlite(mut connection) = Other::at(location).await else { unreachable!() };
        let objects = "SELECT name, sql FROM sqlite_schema WHERE tbl_name IN ('kv_namespaces', 'kv_entries')
            AND sql IS NOT NULL ORDER BY name";
        sqlx::query_as(objects).fetch_all(&mut connection).await.unwrap()
    };
    let tables = schema(&location).await;
    assert_eq!(tables.len(), 4, "{tables:?}");
    assert_eq!(schema(&state_location(&location)).await, tables);
}
