//! Upgrades: a new version on the data of an earlier one, and next to a running one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};
use tests::{Database, Repository, Server, on_both_databases, repository};

on_both_databases!(
    apps_of_every_earlier_version_are_upgraded,
    state_begins_empty_on_a_database_from_before_it
);

const ANN: &str = r#"{"message":"Hello, Ann"}"#;
const APP: &str = "00000000-0000-0000-0000-00000000000a";

fn migrations(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/migrations").join(of)
}

/// The schema versions, the first one first.
fn versions() -> Vec<i64> {
    let names = std::fs::read_dir(migrations("sqlite")).unwrap();
    let number = |name: &str| name.split_once('_').unwrap().0.parse().unwrap();
    let mut versions: Vec<i64> =
        names.map(|file| number(file.unwrap().file_name().to_str().unwrap())).collect();
    versions.sort_unstable();
    versions
}

/// Drops everything, and creates the tables of `version` with the rows of `sql`.
fn create_schema(server: &Server, version: i64, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match server.database.url() {
            Some(url) => {
                server.execute_sql(&["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"]);
                let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
                let mut connection: PgConnection = options.connect().await.unwrap();
                let migrator = Migrator::new(migrations("postgres")).await.unwrap();
                migrator.run_to(version, &mut connection).await.unwrap();
                let sql = sqlx::AssertSqlSafe(
                    sql.replace("bytes'", "'\\x").replace("@numbered", "OVERRIDING SYSTEM VALUE"),
                );
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            None => {
                let file = server.data_dir().join("picloud.db");
                for name in ["picloud.db", "state.db"] {
                    for side in ["", "-wal", "-shm"] {
                        let _ = std::fs::remove_file(server.data_dir().join(format!("{name}{side}")));
                    }
                }
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
                let mut connection: SqliteConnection = options.connect().await.unwrap();
                let migrator = Migrator::new(migrations("sqlite")).await.unwrap();
                migrator.run_to(version, &mut connection).await.unwrap();
                let sql = sqlx::AssertSqlSafe(sql.replace("bytes'", "x'").replace("@numbered", ""));
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    });
}

/// git's ids of the objects of a repository, their kinds, and their contents as in a pack.
fn objects(of: &Repository) -> Vec<(String, String, usize, String)> {
    let listed = of.git(&["rev-list", "--objects", "HEAD"]);
    let object = |line: &str| {
        let name = line.split_whitespace().next().unwrap().to_owned();
        let kind = of.git(&["cat-file", "-t", &name]);
        let content = repository::command(of.path(), &["cat-file", &kind, &name]).output().unwrap().stdout;
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&content).unwrap();
        let zlib = zlib.finish().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        (name, kind, content.len(), zlib)
    };
    listed.lines().map(object).collect()
}

/// One app with a deploy. Since the second version apps have a number that large tables refer to, and commits are
/// bytes there.
fn rows(of: &Repository, version: i64) -> String {
    let (head, noon) = (of.head(), "2026-05-01T12:00:00Z");
    let first = version == 1;
    let at_first = |text: &'static str| if first { text } else { "" };
    let later = |text: &'static str| if first { "" } else { text };
    let key = if first { "app" } else { "repository" };
    let id = if first { format!("'{APP}'") } else { "1".to_owned() };
    let commit = if first { format!("'{head}'") } else { format!("bytes'{head}'") };
    let mut sql = format!(
        "INSERT INTO apps (id, name, production_branch, last_deploy, created_at{}) @numbered
         VALUES ('{APP}', 'hello', 'main', 1, '{noon}'{});
         INSERT INTO refs (app, name, target) VALUES ('{APP}', 'refs/heads/main', '{head}');
         INSERT INTO revisions ({key}, commit_id, sdk, subject, author, validated_at{})
         VALUES ({id}, {commit}, '1.1', 'first', 'Ada', '{noon}'{});
         INSERT INTO deploys ({key}, number, branch, commit_id, deployed_at, deployed_by)
         VALUES ({id}, 1, 'main', {commit}, '{noon}', 'ada');",
        later(", repository"),
        later(", 1"),
        at_first(", manifest"),
        at_first(", ''"),
    );
    for (name, kind, size, zlib) in objects(of) {
        sql += &format!(
            "INSERT INTO objects ({key}, oid, kind, size, zlib{})
             VALUES ({id}, bytes'{name}', '{kind}', {size}, bytes'{zlib}'{});",
            later(", depth"),
            later(", 0"),
        );
    }
    sql
}

fn apps_of_every_earlier_version_are_upgraded(database: Database) {
    let mut server = Server::start(database);
    let mut versions = versions();
    versions.pop();
    assert!(versions.len() > 5, "{versions:?}");
    for version in versions {
        let repository = Repository::hello();
        server.stop();
        create_schema(&server, version, &rows(&repository, version));
        server.restart();
        assert_eq!(server.get("/hello/greet/Ann").body, ANN, "from version {version}");
        let url = server.git_url("hello");
        let first = repository.head();
        assert!(repository.git(&["ls-remote", &url]).contains(&format!("{first}\trefs/deploys/1")));
        assert_eq!(Repository::clone_of(&url).head(), first);
        repository.write("greet.rhai", "`two`");
        repository.commit("two");
        repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2");
        assert_eq!(server.get("/hello/greet/Ann").body, "\"two\"", "from version {version}");
        repository.push(&url, &["-f", "HEAD~1:main"]).succeeded().says("LIVE as deploy 3");
        assert_eq!(server.get("/hello/greet/Ann").body, ANN);
    }
}

/// The last schema without state.
const BEFORE_STATE: i64 = 33;

fn state_begins_empty_on_a_database_from_before_it(database: Database) {
    let mut server = Server::start(database);
    let repository = Repository::hello();
    server.stop();
    create_schema(&server, BEFORE_STATE, &rows(&repository, BEFORE_STATE));
    assert!(!server.data_dir().join("state.db").exists());
    server.restart();
    assert_eq!(server.get("/hello/greet/Ann").body, ANN);
    assert_eq!(server.metric("picloud_state_failed_groups_total"), 0.0);
    repository.write("picloud.toml", "sdk = \"1.3\"\n[[routes]]\npath = \"/\"\nscript = \"count.rhai\"\n");
    repository.write("count.rhai", "kv::incr(\"n\")");
    repository.commit("count");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    assert_eq!(server.get("/hello/").body, "1");
    server.stop();
    server.restart();
    assert_eq!(server.get("/hello/").body, "2");
}

#[test]
fn running_nodes_continue_while_a_newer_one_migrates() {
    let database = Database::postgres();
    let nodes: Vec<Server> =
        ["one", "two"].map(|name| Server::start_with(database.clone(), &["--node-name", name])).into();
    let repository = Repository::hello();
    let push_at = |node: &Server, number: u32| {
        repository.write("greet.rhai", format!("`{number}`"));
        repository.commit("next");
        let pushed = repository.push(&node.git_url("hello"), &["main"]).succeeded();
        pushed.says(&format!("LIVE as deploy {number}")).says("on 2/2 nodes");
        for node in &nodes {
            assert_eq!(node.get("/hello/greet/Ann").body, format!("\"{number}\""));
        }
    };
    // The database has prepared the nodes' statements by now, for the tables as they are.
    (1..=4).for_each(|number| push_at(&nodes[number as usize % 2], number));

    // A later version's migration can add columns and tables, and widen a column.
    for change in [
        "ALTER TABLE apps ADD COLUMN later text NOT NULL DEFAULT ''",
        "ALTER TABLE deploys ADD COLUMN later bigint",
        "ALTER TABLE objects ADD COLUMN later text",
        "ALTER TABLE refs ADD COLUMN later text",
        "ALTER TABLE revisions ADD COLUMN later text",
        "ALTER TABLE nodes ADD COLUMN later text",
        "ALTER TABLE executions ADD COLUMN later text",
        "ALTER TABLE logs ADD COLUMN later text",
        "CREATE TABLE later (app uuid REFERENCES apps ON DELETE CASCADE)",
        "INSERT INTO _sqlx_migrations VALUES (999, 'later', now(), true, '', 0)",
    ] {
        database.query(change);
    }
    (5..=8).for_each(|number| push_at(&nodes[number as usize % 2], number));
    repository.push(&nodes[0].git_url("another"), &["main"]).succeeded().says("on 2/2 nodes");
    for node in &nodes {
        assert_eq!(node.get("/-/health/ready").status, 200, "{}", node.log());
        assert!(!node.log().contains("ERROR"), "{}", node.log());
    }
    let recorded = "SELECT count(DISTINCT node) FROM executions";
    tests::until("both nodes record their executions", || (database.query(recorded) == "2").then_some(()));

    // A node of this version is rejected from now on, with the reason.
    let (code, output) = nodes[0].fails_to_start(&[]);
    assert!(code == Some(1) && output.contains("belongs to a newer PiCloud (schema 999)"), "{output}");
}
