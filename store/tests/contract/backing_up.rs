//! Everything in one file, from and to either database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, Row as _};
use store::backup::tables::{COLUMNS_LEFT_OUT, Kind, TABLES, TABLES_LEFT_OUT};
use store::backup::{BackupError, RestoreError, Restoring, back_up, restore};
use store::{
    Act, Actor, App, AuditAction, Claim, DueTimes, Generation, Left, Location, NewPush, NewRun, Object,
    ResumedSchedule, RunOutcome, Store,
};

use crate::database::*;
use crate::migrating::make_first_version;
use crate::values::*;

on_both_databases!(
    every_column_is_copied_or_named_as_left_out,
    a_row_comes_back_as_it_was_on_either_database,
    restored_schedules_are_held_until_somebody_resumes_them,
    a_database_that_holds_something_is_only_replaced_when_asked,
    a_backup_of_an_older_version_is_brought_forward_on_a_copy,
    what_cannot_be_trusted_is_not_restored,
    a_database_that_was_never_served_from_is_not_backed_up,
    no_file_is_written_over,
);

const REPLACING: Restoring = Restoring { replace: true, run_schedules: false };

/// Columns by their tables, with the types that the database says they have.
async fn columns_of(location: &Location) -> BTreeMap<(String, String), String> {
    let read = |table: String, column: String, kind: String| ((table, column), kind.to_lowercase());
    match Other::at(location).await {
        Other::Postgres(mut connection) => sqlx::query(
            "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
             WHERE table_schema = current_schema()",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap()
        .iter()
        .map(|row| read(row.get(0), row.get(1), row.get(2)))
        .collect(),
        Other::Sqlite(mut connection) => sqlx::query(
            "SELECT tables.name, columns.name, columns.type
             FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap()
        .iter()
        .map(|row| read(row.get(0), row.get(1), row.get(2)))
        .collect(),
    }
}

fn is_of(kind: Kind, found: &str) -> bool {
    let types: &[&str] = match kind {
        Kind::Id => &["uuid", "text"],
        Kind::Time => &["timestamp with time zone", "text"],
        Kind::Text => &["text"],
        Kind::Number => &["bigint", "integer"],
        Kind::Bytes => &["bytea", "blob"],
        Kind::Truth => &["boolean", "integer"],
    };
    types.contains(&found)
}

async fn every_column_is_copied_or_named_as_left_out(location: Location) {
    Store::open(&location).await.unwrap().close().await;
    let mut found = columns_of(&location).await;
    found.retain(|(table, _), _| !TABLES_LEFT_OUT.contains(&table.as_str()));
    for table in TABLES {
        for (column, kind) in table.columns {
            let there = found.remove(&(table.name.to_owned(), (*column).to_owned()));
            let there =
                there.unwrap_or_else(|| panic!("{}.{column} is copied and does not exist", table.name));
            assert!(is_of(*kind, &there), "{}.{column} is copied as {kind:?} and is {there}", table.name);
        }
    }
    for (table, column) in COLUMNS_LEFT_OUT {
        let there = found.remove(&((*table).to_owned(), (*column).to_owned()));
        assert!(there.is_some(), "{table}.{column} is left out and does not exist");
    }
    assert!(
        found.is_empty(),
        "neither copied nor named as left out in store/src/backup/tables.rs: {found:?}"
    );
}

/// Everything that a store can be asked.
async fn told(store: &Store) -> String {
    let mut told = format!(
        "{:?}\n",
        (
            store.tokens().await.unwrap(),
            store.audit(None, None, 100).await.unwrap(),
            store.all_secrets().await.unwrap(),
        )
    );
    for app in store.apps().await.unwrap() {
        let id = app.id;
        // A restore is news to every node.
        let app = App { generation: Generation::default(), secrets_generation: 0, ..app };
        let mut objects = store.objects(id, &[oid(1), oid(2), oid(3), oid(4), numbered(9)]).await.unwrap();
        objects.sort_by_key(|object| object.oid);
        let streams: Vec<&[u8]> = objects.iter().map(|object| object.zlib.as_slice()).collect();
        told += &format!(
            "{app:?}\n{:?}\n{:?}\n{objects:?} {streams:?}\n{:?}\n{:?}\n{:?}\n{:?}\n",
            store.refs(id).await.unwrap(),
            store.shallow(id).await.unwrap(),
            store.revision(id, oid(1)).await.unwrap(),
            store.deploys(id).await.unwrap(),
            store.live_of(id).await.unwrap(),
            (store.schedule_states(id, "main").await.unwrap(), store.runs(&of(id), None, 9).await.unwrap()),
        );
    }
    told
}

fn named(name: &str) -> manifest_schema::name::AppName {
    manifest_schema::name::AppName::new(name).unwrap()
}

/// Behind the latest deploy.
fn due() -> DateTime<Utc> {
    noon() + TimeDelta::seconds(5)
}

/// Two apps with deploys, a delta, a shallow commit, and runs that have ended and that have not.
async fn fill(store: &Store) {
    let whole = blob(9, 3000);
    let objects = kept(vec![commit(1), commit(2), delta(commit(3), &whole), whole]);
    let first = NewPush { objects, shallow: vec![oid(1)], ..push(None, 1) };
    let id = store.push(&first).await.unwrap().app.id;
    let mut second = push(Some(1), 2);
    second.at = noon() + TimeDelta::microseconds(1_234_567);
    store.push(&second).await.unwrap();
    let other = NewPush { app: named("other"), ..push(None, 4) };
    let other = store.push(&other).await.unwrap().app.id;
    for (id, deploy) in [(id, 2), (other, 1)] {
        store.register_schedules(id, number(deploy), &[declared("* * * * * *")]).await.unwrap();
    }
    // Times as far as both databases keep them.
    let ended = NewRun { now: due(), ..run(id, 2, due()) };
    assert_eq!(store.claim_run(&ended).await.unwrap(), Claim::Granted);
    store.finish_run(&key(&ended), RunOutcome::Failed, Some("why"), due()).await.unwrap();
    let asked_for = NewRun { manual: true, now: due(), ..run(other, 1, due()) };
    assert_eq!(store.claim_run(&asked_for).await.unwrap(), Claim::Granted);
    store.pause_schedule(&of(other), &pausing("ada", due())).await.unwrap();
}

async fn a_row_comes_back_as_it_was_on_either_database(from: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = Store::open(&from).await.unwrap();
    fill(&store).await;
    let before = told(&store).await;
    let made = back_up(&from, &file, false).await.unwrap();
    assert_eq!((made.apps, made.deploys, made.objects), (2, 3, 5));
    let running = Restoring { replace: false, run_schedules: true };
    let check = async |into: Location| {
        let contents = restore(&file, &into, running).await.unwrap();
        assert_eq!(contents, made);
        let store = Store::open(&into).await.unwrap();
        assert_eq!(told(&store).await, before);
        // It goes on: what was claimed stays claimed, deploys and apps get the next numbers.
        let id = store.app(&app()).await.unwrap().unwrap().id;
        assert_eq!(store.claim_run(&run(id, 2, due())).await.unwrap(), Claim::Reckoned(due()));
        assert_eq!(store.push(&push(Some(2), 3)).await.unwrap().deploys, [number(3)]);
        let new = NewPush { app: named("third"), ..push(None, 5) };
        let new = store.push(&new).await.unwrap().app.id;
        assert_eq!(store.commits(new, None, 10).await.unwrap(), [commit(5)]);
        store.close().await;
    };
    on_sqlite(&check).await;
    on_postgres(&check).await;
}

async fn restored_schedules_are_held_until_somebody_resumes_them(from: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = Store::open(&from).await.unwrap();
    fill(&store).await;
    assert_eq!(store.schedule_hold().await.unwrap(), None);
    back_up(&from, &file, false).await.unwrap();
    let later = |seconds| due() + TimeDelta::seconds(seconds);
    let check = async |into: Location| {
        restore(&file, &into, Restoring::default()).await.unwrap();
        let store = Store::open(&into).await.unwrap();
        let hold = store.schedule_hold().await.unwrap().unwrap();
        assert!(hold.cause.starts_with("the restore of a backup of 20"), "{hold:?}");
        let id = store.app(&app()).await.unwrap().unwrap().id;
        assert_eq!(store.claim_run(&run(id, 2, later(1))).await.unwrap(), Claim::Held);
        let by_hand = NewRun { manual: true, ..run(id, 2, later(9)) };
        assert_eq!(store.claim_run(&by_hand).await.unwrap(), Claim::Granted);
        store.finish_run(&key(&by_hand), RunOutcome::Succeeded, None, later(9)).await.unwrap();
        // That of the other app is paused.
        let all = store.schedules_by_the_clock().await.unwrap();
        assert_eq!(all.iter().map(|(schedule, _)| schedule.clone()).collect::<Vec<_>>(), [of(id)]);
        let three = DueTimes { first: later(1), last: later(3), count: 3 };
        let left = Left { due: three.clone(), outcome: RunOutcome::Skipped, reason: "held".to_owned() };
        let resumed = [ResumedSchedule { schedule: of(id), skipped: Some(left) }];
        let act = Act::new(&Actor::named("ada"), AuditAction::ScheduleResume, None, "all");
        assert!(store.resume_all_schedules(&resumed, &node("pi"), &act).await.unwrap());
        assert!(!store.resume_all_schedules(&resumed, &node("pi"), &act).await.unwrap());
        assert_eq!(store.schedule_hold().await.unwrap(), None);
        assert_eq!(store.audit(None, None, 1).await.unwrap()[0].act.subject, "all");
        let row = store.runs(&of(id), Some(later(8)), 1).await.unwrap().remove(0);
        assert_eq!((row.due, row.outcome), (three, Some(RunOutcome::Skipped)));
        assert!(matches!(store.claim_run(&run(id, 2, later(4))).await.unwrap(), Claim::Reckoned(_)));
        let next = act.at + TimeDelta::milliseconds(500);
        assert_eq!(store.claim_run(&NewRun { now: next, ..run(id, 2, next) }).await.unwrap(), Claim::Granted);
        store.close().await;
    };
    on_sqlite(&check).await;
    on_postgres(&check).await;
}

async fn a_database_that_holds_something_is_only_replaced_when_asked(location: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = Store::open(&location).await.unwrap();
    fill(&store).await;
    back_up(&location, &file, false).await.unwrap();
    let before = told(&store).await;
    store.push(&NewPush { app: named("new"), ..push(None, 6) }).await.unwrap();
    store.close().await;
    let refused = restore(&file, &location, Restoring::default()).await;
    assert!(matches!(refused, Err(RestoreError::NotEmpty { apps: 3 })), "{refused:?}");
    restore(&file, &location, REPLACING).await.unwrap();
    let store = Store::open(&location).await.unwrap();
    assert_eq!(told(&store).await, before);
}

/// CRC-32, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 },
        )
    })
}

/// Makes a backup of any database with these tables.
async fn seal(file: &Path) {
    let mut other = Other::at(&Location::Sqlite(file.to_owned())).await;
    other
        .run(
            "CREATE TABLE IF NOT EXISTS backup (made_at TEXT NOT NULL, version TEXT NOT NULL, database TEXT NOT NULL);
             DELETE FROM backup;
             INSERT INTO backup VALUES ('2026-05-01T12:00:00Z', '7.8.9', 'SQLite 1');
             PRAGMA application_id = 0x50694342; PRAGMA user_version = 0",
        )
        .await;
    if let Other::Sqlite(connection) = other {
        connection.close().await.unwrap();
    }
    let mut bytes = std::fs::read(file).unwrap();
    let sum = checksum(&bytes).to_be_bytes();
    bytes[60..64].copy_from_slice(&sum);
    std::fs::write(file, bytes).unwrap();
}

async fn a_backup_of_an_older_version_is_brought_forward_on_a_copy(into: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    make_first_version(&Location::Sqlite(file.clone())).await;
    seal(&file).await;
    let before = std::fs::read(&file).unwrap();
    restore(&file, &into, Restoring::default()).await.unwrap();
    let store = Store::open(&into).await.unwrap();
    let hello = store.app(&app()).await.unwrap().unwrap().id;
    assert_eq!(store.commits(hello, None, 10).await.unwrap(), [commit(1), commit(2)]);
    assert_eq!(store.deploys(hello).await.unwrap().len(), 2);
    assert!(before == std::fs::read(&file).unwrap(), "the file itself was changed");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something lies beside it");
}

async fn what_cannot_be_trusted_is_not_restored(into: Location) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let file = path("backup");
    on_sqlite(async |from| {
        let store = Store::open(&from).await.unwrap();
        fill(&store).await;
        let big = kept((0..50).map(|number| blob(number, 2000)).collect::<Vec<Object>>());
        store.push(&NewPush { app: named("big"), objects: big, ..refs_only(Vec::new()) }).await.unwrap();
        back_up(&from, &file, false).await.unwrap();
    })
    .await;
    let whole = std::fs::read(&file).unwrap();
    let refused = async |name: &str, bytes: &[u8]| {
        std::fs::write(path(name), bytes).unwrap();
        restore(&path(name), &into, REPLACING).await.unwrap_err()
    };
    for length in [0, 50, 99] {
        let error = refused("cut", &whole[..length]).await;
        assert!(matches!(error, RestoreError::NoBackup(_)), "{length}: {error:?}");
    }
    for length in [100, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        let error = refused("cut", &whole[..length]).await;
        assert!(matches!(error, RestoreError::Damaged { .. }), "{length}: {error:?}");
    }
    for at in [62, 110, 5000, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        let error = refused("flipped", &flipped).await;
        assert!(matches!(error, RestoreError::Damaged { .. }), "{at}: {error:?}");
    }
    // With the right checksum, SQLite and the database itself still look.
    let page = (whole.len() / 4096 / 2) * 4096;
    let mut broken = whole.clone();
    broken[page..page + 4096].fill(0xff);
    broken[60..64].fill(0);
    let sum = checksum(&broken).to_be_bytes();
    broken[60..64].copy_from_slice(&sum);
    let error = refused("broken", &broken).await;
    assert!(matches!(error, RestoreError::Damaged { .. }), "{error:?}");

    let changed = async |name: &str, sql: &str| -> PathBuf {
        std::fs::write(path(name), &whole).unwrap();
        Other::at(&Location::Sqlite(path(name))).await.run(sql).await;
        seal(&path(name)).await;
        path(name)
    };
    let newer =
        changed("newer", "INSERT INTO _sqlx_migrations VALUES (999, 'later', 0, true, x'00', 0)").await;
    let error = restore(&newer, &into, REPLACING).await.unwrap_err();
    assert!(
        matches!(&error, RestoreError::Newer { found: 999, version, .. } if version == "7.8.9"),
        "{error:?}"
    );
    let dangling =
        changed("dangling", "PRAGMA foreign_keys = OFF; DELETE FROM apps WHERE name = 'other'").await;
    restore(&dangling, &into, REPLACING).await.unwrap_err();
    let node = path("node");
    Store::open(&Location::Sqlite(node.clone())).await.unwrap().close().await;
    let error = restore(&node, &into, REPLACING).await.unwrap_err();
    assert!(matches!(error, RestoreError::NoBackup(_)), "{error:?}");

    let store = Store::open(&into).await.unwrap();
    assert_eq!(store.apps().await.unwrap(), [], "something was restored");
    store.close().await;
    restore(&file, &into, Restoring::default()).await.unwrap();
}

async fn a_database_that_was_never_served_from_is_not_backed_up(location: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let refused = back_up(&location, &file, false).await;
    assert!(matches!(refused, Err(BackupError::Nothing)), "{refused:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    if let Location::Sqlite(path) = location {
        assert!(!path.exists());
    }
}

async fn no_file_is_written_over(location: Location) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    Store::open(&location).await.unwrap().close().await;
    back_up(&location, &path("backup"), false).await.unwrap();
    let again = back_up(&location, &path("backup"), false).await;
    assert!(matches!(again, Err(BackupError::Exists(_))), "{again:?}");
    back_up(&location, &path("backup"), true).await.unwrap();
    std::fs::write(path("letter"), "dear").unwrap();
    for name in ["letter", "."] {
        let refused = back_up(&location, &path(name), true).await;
        assert!(matches!(refused, Err(BackupError::SomethingElse(_))), "{refused:?}");
    }
    assert_eq!(std::fs::read_to_string(path("letter")).unwrap(), "dear");
    let nowhere = back_up(&location, &path("nowhere/backup"), false).await;
    assert!(matches!(nowhere, Err(BackupError::File { .. })), "{nowhere:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
