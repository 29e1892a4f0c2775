//! Backup and restore from and to both databases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, Row as _};
use store::backup::tables::{ColumnType, EXCLUDED_COLUMNS, EXCLUDED_TABLES, TABLES};
use store::backup::{BackupError, RestoreError, RestoreMode, back_up, restore};
use store::{
    Actor, App, AuditAction, AuditEvent, Claim, DueRange, Generation, Location, NewPush, NewRun, Object,
    ResumedSchedule, RunOutcome, Store, UnrunDueTimes,
};

use crate::database::*;
use crate::fixtures::*;
use crate::migration::{BEFORE_RENAMES, check_renamed, create_first_schema, create_schema};

on_both_databases!(
    every_column_is_copied_or_excluded,
    backup_restores_every_row_into_both_databases,
    restored_schedules_are_on_hold_until_resumed,
    restore_replaces_content_only_on_request,
    backup_of_older_schema_is_migrated_on_a_copy,
    backup_from_before_renames_is_migrated,
    damaged_backup_is_rejected,
    backup_of_unused_database_is_rejected,
    backup_overwrites_no_file,
);

const REPLACING: RestoreMode = RestoreMode { replace: true, run_schedules: false };

/// All columns with their types in the database.
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
             FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
             WHERE tables.type = 'table' AND tables.name <> 'sqlite_sequence'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap()
        .iter()
        .map(|row| read(row.get(0), row.get(1), row.get(2)))
        .collect(),
    }
}

fn is_of(kind: ColumnType, found: &str) -> bool {
    let types: &[&str] = match kind {
        ColumnType::Id => &["uuid", "text"],
        ColumnType::Time => &["timestamp with time zone", "text"],
        ColumnType::Text => &["text"],
        ColumnType::Number => &["bigint", "integer"],
        ColumnType::Bytes => &["bytea", "blob"],
        ColumnType::Bool => &["boolean", "integer"],
    };
    types.contains(&found)
}

async fn every_column_is_copied_or_excluded(location: Location) {
    Store::open(&location).await.unwrap().close().await;
    let mut found = columns_of(&location).await;
    found.retain(|(table, _), _| !EXCLUDED_TABLES.contains(&table.as_str()));
    for table in TABLES {
        for (column, kind) in table.columns {
            let there = found.remove(&(table.name.to_owned(), (*column).to_owned()));
            let there =
                there.unwrap_or_else(|| panic!("{}.{column} is copied and does not exist", table.name));
            assert!(is_of(*kind, &there), "{}.{column} is copied as {kind:?} and is {there}", table.name);
        }
    }
    for (table, column) in EXCLUDED_COLUMNS {
        let there = found.remove(&((*table).to_owned(), (*column).to_owned()));
        assert!(there.is_some(), "{table}.{column} is excluded and does not exist");
    }
    assert!(found.is_empty(), "neither copied nor excluded in store/src/backup/tables.rs: {found:?}");
}

/// The whole content of a store as text.
async fn dump(store: &Store) -> String {
    let mut dump = format!(
        "{:?}\n",
        (
            store.tokens().await.unwrap(),
            store.audit_events(None, None, 100).await.unwrap(),
            store.all_secrets().await.unwrap(),
        )
    );
    for app in store.apps().await.unwrap() {
        let id = app.id;
        // A restore changes generations.
        let app = App { generation: Generation::default(), secrets_generation: 0, ..app };
        let mut objects = store.objects(id, &[oid(1), oid(2), oid(3), oid(4), numbered(9)]).await.unwrap();
        objects.sort_by_key(|object| object.oid);
        let streams: Vec<&[u8]> = objects.iter().map(|object| object.zlib.as_slice()).collect();
        dump += &format!(
            "{app:?}\n{:?}\n{:?}\n{objects:?} {streams:?}\n{:?}\n{:?}\n{:?}\n{:?}\n",
            store.refs(id).await.unwrap(),
            store.shallow(id).await.unwrap(),
            store.revision(id, oid(1)).await.unwrap(),
            store.deploys(id).await.unwrap(),
            store.live_branches(id).await.unwrap(),
            (store.schedule_states(id, "main").await.unwrap(), store.runs(&of(id), None, 9).await.unwrap()),
        );
    }
    dump
}

fn named(name: &str) -> manifest_schema::name::AppName {
    manifest_schema::name::AppName::new(name).unwrap()
}

/// After the latest deploy.
fn due() -> DateTime<Utc> {
    noon() + TimeDelta::seconds(5)
}

/// Two apps with deploys, a delta, a shallow commit, a finished run and one in progress.
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
    // Times in the precision of both databases.
    let ended = NewRun { now: due(), ..run(id, 2, due()) };
    assert_eq!(store.claim_run(&ended).await.unwrap(), Claim::Granted);
    store.finish_run(&key(&ended), RunOutcome::Failed, Some("why"), due()).await.unwrap();
    let asked_for = NewRun { manual: true, now: due(), ..run(other, 1, due()) };
    assert_eq!(store.claim_run(&asked_for).await.unwrap(), Claim::Granted);
    store.pause_schedule(&of(other), &pausing("ada", due())).await.unwrap();
}

async fn backup_restores_every_row_into_both_databases(from: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = Store::open(&from).await.unwrap();
    fill(&store).await;
    let before = dump(&store).await;
    let made = back_up(&from, &file, false).await.unwrap();
    assert_eq!((made.apps, made.deploys, made.objects), (2, 3, 5));
    let running = RestoreMode { replace: false, run_schedules: true };
    let check = async |into: Location| {
        let contents = restore(&file, &into, running).await.unwrap();
        assert_eq!(contents, made);
        let store = Store::open(&into).await.unwrap();
        assert_eq!(dump(&store).await, before);
        // The restored database works: claims are kept, deploys and apps get the next numbers.
        let id = store.app(&app()).await.unwrap().unwrap().id;
        assert_eq!(store.claim_run(&run(id, 2, due())).await.unwrap(), Claim::AlreadyEvaluated(due()));
        assert_eq!(store.push(&push(Some(2), 3)).await.unwrap().deploys, [number(3)]);
        let new = NewPush { app: named("third"), ..push(None, 5) };
        let new = store.push(&new).await.unwrap().app.id;
        assert_eq!(store.commits(new, None, 10).await.unwrap(), [commit(5)]);
        store.close().await;
    };
    on_sqlite(&check).await;
    on_postgres(&check).await;
}

async fn restored_schedules_are_on_hold_until_resumed(from: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = Store::open(&from).await.unwrap();
    fill(&store).await;
    assert_eq!(store.schedule_hold().await.unwrap(), None);
    back_up(&from, &file, false).await.unwrap();
    let later = |seconds| due() + TimeDelta::seconds(seconds);
    let check = async |into: Location| {
        restore(&file, &into, RestoreMode::default()).await.unwrap();
        let store = Store::open(&into).await.unwrap();
        let hold = store.schedule_hold().await.unwrap().unwrap();
        assert!(hold.cause.starts_with("the restore of a backup of 20"), "{hold:?}");
        let id = store.app(&app()).await.unwrap().unwrap().id;
        assert_eq!(store.claim_run(&run(id, 2, later(1))).await.unwrap(), Claim::Held);
        let by_hand = NewRun { manual: true, ..run(id, 2, later(9)) };
        assert_eq!(store.claim_run(&by_hand).await.unwrap(), Claim::Granted);
        store.finish_run(&key(&by_hand), RunOutcome::Succeeded, None, later(9)).await.unwrap();
        // The schedule of the other app is paused.
        let all = store.active_schedules().await.unwrap();
        assert_eq!(all.iter().map(|(schedule, _)| schedule.clone()).collect::<Vec<_>>(), [of(id)]);
        let three = DueRange { first: later(1), last: later(3), count: 3 };
        let left =
            UnrunDueTimes { due: three.clone(), outcome: RunOutcome::Skipped, reason: "held".to_owned() };
        let resumed = [ResumedSchedule { schedule: of(id), skipped: Some(left) }];
        let act = AuditEvent::new(&Actor::named("ada"), AuditAction::ScheduleResume, None, "all");
        assert!(store.resume_all_schedules(&resumed, &node("pi"), &act).await.unwrap());
        assert!(!store.resume_all_schedules(&resumed, &node("pi"), &act).await.unwrap());
        assert_eq!(store.schedule_hold().await.unwrap(), None);
        assert_eq!(store.audit_events(None, None, 1).await.unwrap()[0].event.subject, "all");
        let row = store.runs(&of(id), Some(later(8)), 1).await.unwrap().remove(0);
        assert_eq!((row.due, row.outcome), (three, Some(RunOutcome::Skipped)));
        assert!(matches!(store.claim_run(&run(id, 2, later(4))).await.unwrap(), Claim::AlreadyEvaluated(_)));
        let next = act.at + TimeDelta::milliseconds(500);
        assert_eq!(store.claim_run(&NewRun { now: next, ..run(id, 2, next) }).await.unwrap(), Claim::Granted);
        store.close().await;
    };
    on_sqlite(&check).await;
    on_postgres(&check).await;
}

async fn restore_replaces_content_only_on_request(location: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let store = Store::open(&location).await.unwrap();
    fill(&store).await;
    back_up(&location, &file, false).await.unwrap();
    let before = dump(&store).await;
    store.push(&NewPush { app: named("new"), ..push(None, 6) }).await.unwrap();
    store.close().await;
    let result = restore(&file, &location, RestoreMode::default()).await;
    assert!(matches!(result, Err(RestoreError::NotEmpty { apps: 3 })), "{result:?}");
    restore(&file, &location, REPLACING).await.unwrap();
    let store = Store::open(&location).await.unwrap();
    assert_eq!(dump(&store).await, before);
}

/// Bitwise CRC-32.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 },
        )
    })
}

/// Turns a database into a backup.
pub(crate) async fn seal(file: &Path) {
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

async fn backup_of_older_schema_is_migrated_on_a_copy(into: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    create_first_schema(&Location::Sqlite(file.clone())).await;
    seal(&file).await;
    let before = std::fs::read(&file).unwrap();
    restore(&file, &into, RestoreMode::default()).await.unwrap();
    let store = Store::open(&into).await.unwrap();
    let hello = store.app(&app()).await.unwrap().unwrap().id;
    assert_eq!(store.commits(hello, None, 10).await.unwrap(), [commit(1), commit(2)]);
    assert_eq!(store.deploys(hello).await.unwrap().len(), 2);
    assert!(before == std::fs::read(&file).unwrap(), "the backup is unchanged");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no side files remain");
}

async fn backup_from_before_renames_is_migrated(into: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    create_schema(&Location::Sqlite(file.clone()), BEFORE_RENAMES).await;
    seal(&file).await;
    restore(&file, &into, RestoreMode::default()).await.unwrap();
    check_renamed(&Store::open(&into).await.unwrap()).await;
}

async fn damaged_backup_is_rejected(into: Location) {
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
    let rejection = async |name: &str, bytes: &[u8]| {
        std::fs::write(path(name), bytes).unwrap();
        restore(&path(name), &into, REPLACING).await.unwrap_err()
    };
    for length in [0, 50, 99] {
        let error = rejection("cut", &whole[..length]).await;
        assert!(matches!(error, RestoreError::NotABackup(_)), "{length}: {error:?}");
    }
    for length in [100, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        let error = rejection("cut", &whole[..length]).await;
        assert!(matches!(error, RestoreError::Damaged { .. }), "{length}: {error:?}");
    }
    for at in [62, 110, 5000, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        let error = rejection("flipped", &flipped).await;
        assert!(matches!(error, RestoreError::Damaged { .. }), "{at}: {error:?}");
    }
    // With a valid checksum, the checks of SQLite and of foreign keys remain.
    let page = (whole.len() / 4096 / 2) * 4096;
    let mut broken = whole.clone();
    broken[page..page + 4096].fill(0xff);
    broken[60..64].fill(0);
    let sum = checksum(&broken).to_be_bytes();
    broken[60..64].copy_from_slice(&sum);
    let error = rejection("broken", &broken).await;
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
    assert!(matches!(error, RestoreError::NotABackup(_)), "{error:?}");

    let store = Store::open(&into).await.unwrap();
    assert_eq!(store.apps().await.unwrap(), [], "something was restored");
    store.close().await;
    restore(&file, &into, RestoreMode::default()).await.unwrap();
}

async fn backup_of_unused_database_is_rejected(location: Location) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let result = back_up(&location, &file, false).await;
    assert!(matches!(result, Err(BackupError::NoDatabase)), "{result:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    if let Location::Sqlite(path) = location {
        assert!(!path.exists());
    }
}

async fn backup_overwrites_no_file(location: Location) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    Store::open(&location).await.unwrap().close().await;
    back_up(&location, &path("backup"), false).await.unwrap();
    let again = back_up(&location, &path("backup"), false).await;
    assert!(matches!(again, Err(BackupError::Exists(_))), "{again:?}");
    back_up(&location, &path("backup"), true).await.unwrap();
    std::fs::write(path("letter"), "dear").unwrap();
    for name in ["letter", "."] {
        let result = back_up(&location, &path(name), true).await;
        assert!(matches!(result, Err(BackupError::NotABackup(_))), "{result:?}");
    }
    assert_eq!(std::fs::read_to_string(path("letter")).unwrap(), "dear");
    let nowhere = back_up(&location, &path("nowhere/backup"), false).await;
    assert!(matches!(nowhere, Err(BackupError::File { .. })), "{nowhere:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
