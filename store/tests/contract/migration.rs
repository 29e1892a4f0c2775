//! Migration of databases of earlier versions, and the check for nodes of earlier versions.

use std::path::Path;
use std::time::Duration;

use manifest_schema::name::AppName;
use sqlx::Connection as _;
use sqlx::migrate::Migrator;
use store::{
    AppId, AuditAction, Deploy, Environment, ExecutionFilter, Location, LogFilter, LogRange, NewDeploy,
    NewPush, Object, ObjectKind, OpenError, RefChange, RunOutcome, Store,
};
use uuid::Uuid;

use crate::database::*;
use crate::fixtures::*;

on_both_databases!(
    first_schema_keeps_its_data,
    every_earlier_schema_keeps_its_rows,
    renamed_columns_keep_their_values,
    unverified_domain_of_earlier_version_is_kept,
    preview_of_earlier_version_reads_production_secrets_until_next_push,
);

/// Two apps that share an object, in the first schema. `@a` is the id of an app, `@1` an object name and `@noon` a time; each
/// database has its own syntax for bytes.
const ROWS: &str = "
    INSERT INTO apps (id, name, production_branch, last_deploy, created_at)
    VALUES ('@b', 'other', 'next', 1, '@noon'), ('@a', 'hello', 'main', 2, '@noon');
    INSERT INTO refs (app, name, target) VALUES ('@a', 'refs/heads/main', '@2'), ('@b', 'refs/tags/v1', '@2');
    INSERT INTO shallow (app, oid) VALUES ('@a', '@1');
    INSERT INTO revisions (app, commit_id, sdk, subject, author, manifest, validated_at)
    VALUES ('@a', '@2', '1.1', 'subject 2', 'Ada', 'sdk', '@noon'),
        ('@a', '@1', '1.1', 'subject 1', 'Ada', 'sdk', '@noon'),
        ('@b', '@2', '1.1', 'subject 2', 'Ada', 'sdk', '@noon');
    INSERT INTO scripts (app, commit_id, path, source) VALUES ('@a', '@2', 'a.rhai', '1');
    INSERT INTO deploys (app, number, branch, commit_id, deployed_at, deployed_by)
    VALUES ('@a', 1, 'main', '@1', '@noon', 'ada'), ('@b', 1, 'next', '@2', '@noon', 'bob'),
        ('@a', 2, 'main', '@2', '@noon', 'ada');
    INSERT INTO schedule_runs (app, schedule, due, deploy, execution, claimed_at)
    VALUES ('@a', 'tick', '@noon', 2, '@a', '@noon');
    INSERT INTO objects (app, oid, kind, size, zlib) VALUES
        ('@a', bytes'@1', 'commit', 3, bytes'01010101010101'),
        ('@a', bytes'@2', 'commit', 3, bytes'02020202020202'),
        ('@a', bytes'@3', 'tree', 9, bytes'0303'),
        ('@b', bytes'@2', 'commit', 3, bytes'02020202020202');
";

fn deploy(as_number: u64, branch: &str, digit: u8, by: &str) -> Deploy {
    let (branch, by) = (branch.to_owned(), by.to_owned());
    Deploy {
        number: number(as_number),
        branch,
        commit: oid(digit),
        at: noon(),
        by,
        cause: None,
        message: None,
    }
}

/// Rows of tables that later schemas added: the schema version, the tables, the rows.
const LATER_ROWS: [(i64, &[&str], &str); 4] = [
    (7, &["executions", "logs", "losses", "record_count", "record_portions"], "
    INSERT INTO executions (number, id, request, app, deploy, commit_id, script, trigger, target, node, started_at,
        duration_us, operations, memory, status, lines, lines_dropped)
    VALUES (1, '@c', '@c', '@a', 2, bytes'@2', 'a.rhai', 'http', 'GET /', 'pi', '@noon', 1, 1, 7, 200, 1, 5);
    INSERT INTO logs (number, execution, app, script, at, level, message, failure)
    VALUES (2, '@c', '@a', 'a.rhai', '@noon', 'info', 'hello', false);
    INSERT INTO losses (number, node, since, until, executions, lines) VALUES (3, 'pi', '@noon', '@noon', 1, 1);
    INSERT INTO record_count (one, last) VALUES (true, 3);
    INSERT INTO record_portions (kind, since, last, bytes) VALUES ('logs', '@noon', 2, 9);"),
    (8, &["tokens", "audit"], "
    INSERT INTO tokens (id, name, hash, scopes, created_at, created_by)
    VALUES ('@c', 'ci', bytes'@1', 'hello:deploy', '@noon', 'ada');
    INSERT INTO audit (id, at, who, action, subject) VALUES ('@c', '@noon', 'ada', 'token.create', 'ci');"),
    (9, &["secrets"], "
    UPDATE deploys SET because = 'secret.set API_KEY' WHERE number = 2;
    INSERT INTO secrets (app, name, key, sealed, set_at, set_by)
    VALUES ('@a', 'API_KEY', 'k', bytes'@1', '@noon', 'ada');"),
    (10, &["domains"], "INSERT INTO domains (name, app) VALUES ('shop.example.com', '@a');"),
];

/// The tables of the first schema that still exist.
const FIRST_TABLES: [&str; 7] =
    ["apps", "refs", "shallow", "revisions", "deploys", "schedule_runs", "objects"];

/// The tables that schema 33 renamed.
const RENAMED_TABLES: [(&str, &str); 4] = [
    ("audit", "audit_events"),
    ("losses", "dropped_records"),
    ("record_count", "record_sequence"),
    ("record_portions", "retention_buckets"),
];

/// The current name of a table.
fn current_name(table: &str) -> &str {
    RENAMED_TABLES.iter().find(|(old, _)| *old == table).map_or(table, |(_, new)| new)
}

/// The schema versions in order.
fn versions() -> Vec<i64> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let names =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut versions: Vec<i64> = names.map(|name| name.split_once('_').unwrap().0.parse().unwrap()).collect();
    versions.sort_unstable();
    versions
}

/// Migrates to a version and inserts rows.
async fn migrate_to(other: &mut Other, version: i64, rows: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let rows = ["@1", "@2", "@3"]
        .iter()
        .zip(1..)
        .fold(rows.to_owned(), |rows, (name, digit)| rows.replace(name, &oid(digit).to_string()))
        .replace("@noon", "2026-05-01T12:00:00Z")
        .replace("@a", "00000000-0000-0000-0000-00000000000a")
        .replace("@b", "00000000-0000-0000-0000-00000000000b")
        .replace("@c", "00000000-0000-0000-0000-00000000000c");
    match other {
        Other::Postgres(connection) => {
            Migrator::new(folder.join("postgres")).await.unwrap().run_to(version, connection).await.unwrap();
            other.run(&rows.replace("bytes'", "'\\x")).await;
        }
        Other::Sqlite(connection) => {
            Migrator::new(folder.join("sqlite")).await.unwrap().run_to(version, connection).await.unwrap();
            other.run(&rows.replace("bytes'", "x'")).await;
        }
    }
}

/// Creates the first schema with rows.
pub(crate) async fn create_first_schema(location: &Location) {
    migrate_to(&mut Other::at(location).await, 1, ROWS).await;
}

/// Creates a database at a version, with rows in all tables; returns how many rows each table has.
pub(crate) async fn create_schema(location: &Location, version: i64) -> Vec<(&'static str, i64)> {
    let mut other = Other::at(location).await;
    migrate_to(&mut other, 1, ROWS).await;
    let mut tables = FIRST_TABLES.to_vec();
    for step in versions().into_iter().filter(|step| *step <= version) {
        let added = LATER_ROWS.iter().find(|(since, ..)| *since == step);
        migrate_to(&mut other, step, added.map_or("", |(.., rows)| rows)).await;
        tables.extend(added.iter().flat_map(|(_, tables, _)| *tables));
    }
    let mut counts = Vec::new();
    for table in tables {
        let name = if version > BEFORE_RENAMES { current_name(table) } else { table };
        let rows = other.rows(name).await;
        assert!(rows > 0, "{name} has no rows in version {version}");
        counts.push((table, rows));
    }
    if let Other::Sqlite(connection) = other {
        connection.close().await.unwrap();
    }
    counts
}

/// Each schema version in turn, with rows in all of its tables.
async fn every_earlier_schema_keeps_its_rows(location: Location) {
    for version in versions() {
        let location = empty(&location, version).await;
        let before = create_schema(&location, version).await;
        Store::open(&location).await.unwrap().close().await;
        let mut other = Other::at(&location).await;
        for (table, rows) in before {
            assert_eq!(other.rows(current_name(table)).await, rows, "{table} of version {version}");
        }
    }
}

/// The last schema before the renames of schema 33.
pub(crate) const BEFORE_RENAMES: i64 = 32;

async fn renamed_columns_keep_their_values(location: Location) {
    create_schema(&location, BEFORE_RENAMES).await;
    let store = Store::open(&location).await.unwrap();
    check_renamed(&store).await;
}

/// Compares rows of [`create_schema`] whose columns were renamed.
pub(crate) async fn check_renamed(store: &Store) {
    let (app, other) = (AppId::from_uuid(Uuid::from_u128(0xa)), Uuid::from_u128(0xc));
    let execution = &store.executions(app, &ExecutionFilter::default(), 9).await.unwrap()[0];
    assert_eq!((execution.sequence, execution.record.request_id), (1, other));
    let record = &execution.record;
    assert_eq!((record.memory_peak_bytes, record.log_lines, record.log_lines_dropped), (7, 1, 5));
    let logs = store.logs(app, &LogFilter::default(), LogRange::Latest, 9, u64::MAX).await.unwrap();
    assert_eq!((logs.len(), logs[0].sequence), (1, 2));
    let dropped = store.dropped_records(app, 0, 9).await.unwrap();
    assert_eq!((dropped[0].sequence, dropped[0].record.log_lines), (3, 1));
    assert_eq!(store.last_record_sequence().await.unwrap(), 3);
    let audit = store.audit_events(None, None, 9).await.unwrap();
    let created = audit.iter().find(|row| row.event.action == AuditAction::TokenCreate).unwrap();
    assert_eq!(created.event.by.name, "ada");
    let secret = &store.secrets(app).await.unwrap()[0];
    assert_eq!((secret.key_id.as_str(), &secret.ciphertext[..]), ("k", &oid(1).as_bytes()[..]));
    let run = &store.runs(&of(app), None, 9).await.unwrap()[0];
    assert_eq!(run.due.last, noon());
    assert_eq!(store.schedule_states(app, "main").await.unwrap()[0].evaluated_until, noon());
    assert_eq!(store.deploys(app).await.unwrap()[1].cause.as_deref(), Some("secret.set API_KEY"));
}

/// Domains were served before proofs were asked for, and still are.
async fn unverified_domain_of_earlier_version_is_kept(location: Location) {
    let mut other = Other::at(&location).await;
    migrate_to(&mut other, 1, ROWS).await;
    migrate_to(&mut other, 28, LATER_ROWS[3].2).await;
    drop(other);
    let store = Store::open(&location).await.unwrap();
    let hello = store.app(&AppName::new("hello").unwrap()).await.unwrap().unwrap();
    let domains = store.domains(hello.id).await.unwrap();
    assert_eq!((domains.len(), domains[0].name.as_str()), (1, "shop.example.com"));
    assert!(domains[0].is_served());
    assert_eq!(domains[0].proof, Some(store::DomainProof::Earlier));
    assert!(domains[0].proven_at.is_some(), "the time written by the migration is valid");
}

async fn preview_of_earlier_version_reads_production_secrets_until_next_push(location: Location) {
    // The last version in which there was one set of secrets.
    const ONE_SET: i64 = 28;
    let mut other = Other::at(&location).await;
    migrate_to(&mut other, 1, ROWS).await;
    let rows = "INSERT INTO refs (app, name, target) VALUES ('@a', 'refs/heads/try', '@1'), ('@b', 'refs/heads/try', '@2');
        INSERT INTO deploys (repository, number, branch, commit_id, deployed_at, deployed_by)
        SELECT repository, 3, 'try', bytes'@1', '@noon', 'ada' FROM apps WHERE id = '@a';
        INSERT INTO deploys (repository, number, branch, commit_id, deployed_at, deployed_by)
        SELECT repository, 2, 'try', bytes'@2', '@noon', 'ada' FROM apps WHERE id = '@b';
        UPDATE apps SET last_deploy = 3;
        INSERT INTO secrets (app, name, key, sealed, set_at, set_by)
        VALUES ('@a', 'API_KEY', 'k', bytes'@1', '@noon', 'ada');";
    migrate_to(&mut other, ONE_SET, rows).await;
    drop(other);
    let store = Store::open(&location).await.unwrap();
    let reads = async |app: &str| -> Vec<(String, Environment)> {
        let app = store.app(&AppName::new(app).unwrap()).await.unwrap().unwrap();
        let live = store.live_branches(app.id).await.unwrap();
        live.into_iter().map(|live| (live.branch, live.environment)).collect()
    };
    let (main, preview) = ("main".to_owned(), "try".to_owned());
    let [production, previews] = Environment::ALL;
    assert_eq!(reads("hello").await, [(main.clone(), production), (preview.clone(), production)]);
    assert_eq!(reads("other").await, [(preview.clone(), previews)], "there were no secrets");
    let name = "refs/heads/try".to_owned();
    let push = NewPush {
        refs: vec![RefChange { name, old: Some(oid(1)), new: Some(oid(2)) }],
        deploys: vec![NewDeploy { branch: preview.clone(), commit: oid(2) }],
        ..push(Some(2), 2)
    };
    store.push(&push).await.unwrap();
    assert_eq!(reads("hello").await, [(main, production), (preview, previews)]);
}

/// A place without tables: the same database, emptied, or a file next to the previous one.
async fn empty(location: &Location, version: i64) -> Location {
    match location {
        Location::Postgres(_) => {
            Other::at(location).await.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
            location.clone()
        }
        Location::Sqlite(path) => Location::Sqlite(path.with_extension(version.to_string())),
    }
}

async fn first_schema_keeps_its_data(location: Location) {
    create_first_schema(&location).await;
    let store = Store::open(&location).await.unwrap();
    let apps = store.apps().await.unwrap();
    assert_eq!(apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), ["hello", "other"]);
    let (hello, other) = (apps[0].id, apps[1].id);

    let tree =
        Object { oid: oid(3), kind: ObjectKind::Tree, base: None, depth: 0, size: 9, zlib: vec![3, 3] };
    let mut objects = store.objects(hello, &[oid(1), oid(2), oid(3)]).await.unwrap();
    objects.sort_by_key(|object| object.oid);
    assert_eq!(objects, [commit(1), commit(2), tree]);
    assert_eq!(store.commits(hello, None, 10).await.unwrap(), [commit(1), commit(2)]);
    assert_eq!(store.commits(other, None, 10).await.unwrap(), [commit(2)]);

    assert_eq!(store.refs(hello).await.unwrap()[0].target, oid(2));
    assert_eq!(store.refs(other).await.unwrap()[0].name, "refs/tags/v1");
    assert_eq!(store.shallow(hello).await.unwrap(), [oid(1)]);
    for digit in [1, 2] {
        assert_eq!(store.revision(hello, oid(digit)).await.unwrap(), Some(revision(digit)));
    }
    assert_eq!(store.revision(other, oid(1)).await.unwrap(), None);
    assert_eq!(store.revision(other, oid(2)).await.unwrap(), Some(revision(2)));
    let deploys = [deploy(1, "main", 1, "ada"), deploy(2, "main", 2, "ada")];
    assert_eq!(store.deploys(hello).await.unwrap(), deploys);
    assert_eq!(store.deploys(other).await.unwrap(), [deploy(1, "next", 2, "bob")]);
    assert_eq!(store.live_branches(hello).await.unwrap()[0].deploy, number(2));
    let run = &store.runs(&of(hello), None, 9).await.unwrap()[0];
    assert_eq!((run.due.last, run.outcome, run.manual), (noon(), Some(RunOutcome::Lost), false));
    let state = &store.schedule_states(hello, "main").await.unwrap()[0];
    assert_eq!((&state.name, state.evaluated_until), (&tick(), noon()));

    // What each takes of the disk is added up once, by the migration that counts it.
    let counted = crate::disk::recount(&store, &[oid(1), oid(2), oid(3)]).await;
    assert_eq!(apps[0].disk_bytes, counted);
    assert!(counted > 0 && apps[1].disk_bytes > 0);

    // And it goes on: the next push to an app that is there, and an app that is new.
    assert_eq!(store.push(&push(Some(2), 4)).await.unwrap().deploys, [number(3)]);
    let new = NewPush { app: AppName::new("third").unwrap(), ..push(None, 5) };
    let new = store.push(&new).await.unwrap().app.id;
    assert_eq!(store.commits(new, None, 10).await.unwrap(), [commit(5)]);
    assert_eq!(store.commits(hello, None, 10).await.unwrap(), [commit(1), commit(2), commit(4)]);
}

/// Registers a node in the schema before the renames, with a heartbeat of some seconds ago.
const OLDER_NODE: &str = "
    INSERT INTO nodes (id, name, role, program, address, started_at, seen_at)
    VALUES (gen_random_uuid(), 'alpha', 'all', '0.9.0', '127.0.0.1:8080', now(), now() - interval '@s seconds')";

async fn create_with_older_node(location: &Location, heartbeat_age_s: u32) -> Other {
    let mut other = Other::at(location).await;
    migrate_to(&mut other, 1, ROWS).await;
    migrate_to(&mut other, BEFORE_RENAMES, &OLDER_NODE.replace("@s", &heartbeat_age_s.to_string())).await;
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn running_older_node_prevents_migration() {
    on_postgres(async |location| {
        let mut other = create_with_older_node(&location, 1).await;
        let heartbeats = tokio::spawn(async move {
            loop {
                other.run("UPDATE nodes SET seen_at = now()").await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        for _ in 0..2 {
            let error = Store::open(&location).await.unwrap_err();
            assert!(matches!(error, OpenError::OlderNodes { .. }), "{error:?}");
            let message = error.to_string();
            assert!(message.contains("alpha (0.9.0)") && message.contains("stop these nodes"), "{message}");
        }
        // Nothing was changed, and the lock of migrations is free.
        assert_eq!(Other::at(&location).await.rows("losses").await, 0);
        heartbeats.abort();
        assert!(heartbeats.await.unwrap_err().is_cancelled());
        Other::at(&location).await.run("DELETE FROM nodes").await;
        Store::open(&location).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_older_node_does_not_prevent_migration() {
    for heartbeat_age_s in [60, 13] {
        on_postgres(async |location| {
            drop(create_with_older_node(&location, heartbeat_age_s).await);
            let store = Store::open(&location).await.unwrap();
            assert_eq!(store.apps().await.unwrap().len(), 2);
        })
        .await;
    }
}

/// A node that registers between the check and the migration waits for the lock of the table, and is seen by the migration.
#[tokio::test(flavor = "multi_thread")]
async fn older_node_that_registers_during_migration_prevents_it() {
    on_postgres(async |location| {
        let mut registering = create_with_older_node(&location, 60).await;
        registering.run("BEGIN; UPDATE nodes SET seen_at = now() + interval '10 seconds'").await;
        let mut other = Other::at(&location).await;
        let committing = async {
            let waiting = "pg_locks WHERE relation = 'nodes'::regclass AND NOT granted";
            while other.rows(waiting).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            registering.run("COMMIT").await;
        };
        let (opened, ()) = tokio::join!(Store::open(&location), committing);
        let error = opened.unwrap_err();
        assert!(matches!(&error, OpenError::OlderNodes { nodes } if nodes == "alpha (0.9.0)"), "{error:?}");
        assert_eq!(other.rows("losses").await, 0);
    })
    .await;
}
