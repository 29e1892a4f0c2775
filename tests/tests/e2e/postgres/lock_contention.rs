//! Locks of other sessions, and conflicting transactions.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use tests::faults::recovered;
use tests::{Database, Repository, Response, Server, TOKEN, until};

/// A `psql` session that holds the locks of a statement until it is dropped.
pub(crate) struct Psql {
    process: Child,
    _input: ChildStdin,
}

impl Psql {
    pub(crate) fn locking(database: &Database, sql: &str) -> Self {
        let mut process = Command::new("psql")
            .args(["--no-psqlrc", "--quiet"])
            .arg(database.url().unwrap())
            .env("PGAPPNAME", "somebody")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = process.stdin.take().unwrap();
        writeln!(input, "BEGIN; {sql};").unwrap();
        let held = "SELECT count(*) FROM pg_stat_activity
                    WHERE application_name = 'somebody' AND datname = current_database() AND state = 'idle in transaction'
                        AND query NOT LIKE 'BEGIN%'";
        until("the lock is held", || (database.query(held) == "1").then_some(()));
        Self { process, _input: input }
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn deploys(server: &Server) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    server.request("GET", "/-/api/v1/apps/hello/deploys", &[("authorization", &bearer)], None)
}

#[test]
fn list_blocked_by_a_lock_fails_within_seconds() {
    let server = Server::start(Database::postgres());
    let repository = Repository::hello();
    let url = server.git_url("hello");
    repository.push(&url, &["main"]).succeeded();
    let somebody = Psql::locking(&server.database, "LOCK TABLE deploys IN ACCESS EXCLUSIVE MODE");
    let start = Instant::now();
    let response = deploys(&server);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!((response.status, response.header("retry-after")), (503, Some("5")), "{}", response.body);
    assert!(response.body.contains("another session holds a required lock"), "{}", response.body);
    repository.commit("second");
    let pushed = repository.push(&url, &["main"]).refused().says("another session holds a required lock");
    assert!(!pushed.text.contains("other pushes"), "{}", pushed.text);
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
    drop(somebody);
    let since = Instant::now();
    until("the lock is released", || (deploys(&server).status == 200).then_some(()));
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2");
    recovered("another session locked a table of PostgreSQL: a list and a push", since);
}

/// A blocked start of a node, and its output so far.
struct StartingNode(Child, std::path::PathBuf);

impl StartingNode {
    fn spawn(database: &Database, folder: &std::path::Path) -> Self {
        let log = folder.join("log");
        let mut command = Command::new(tests::server::picloud());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.join("data"));
        command.env("DATABASE_URL", database.url().unwrap()).env("PICLOUD_ADMIN_TOKEN", TOKEN);
        let file = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self(command.spawn().unwrap(), log)
    }

    fn says(&self, expected: &str) {
        until(expected, || std::fs::read_to_string(&self.1).unwrap().contains(expected).then_some(()));
    }
}

impl Drop for StartingNode {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn start_blocked_by_a_lock_names_its_holder_and_continues() {
    let database = Database::postgres();
    drop(Server::start(database.clone()));
    let folder = tempfile::tempdir().unwrap();
    let somebody = Psql::locking(&database, "LOCK TABLE _sqlx_migrations IN ACCESS EXCLUSIVE MODE");
    let starting = StartingNode::spawn(&database, folder.path());
    starting.says("migration waits for a lock held by somebody (process ");
    drop(somebody);
    let since = Instant::now();
    starting.says("listening on");
    recovered("another session locked the migrations at the start of a node", since);
}

#[test]
fn start_fails_if_postgresql_becomes_unresponsive() {
    let postgres = tests::Postgres::start();
    let database = Database::on(postgres.url());
    drop(Server::start(database.clone()));
    let folder = tempfile::tempdir().unwrap();
    let _somebody = Psql::locking(&database, "LOCK TABLE _sqlx_migrations IN ACCESS EXCLUSIVE MODE");
    let mut starting = StartingNode::spawn(&database, folder.path());
    starting.says("migration waits for a lock");
    let frozen = postgres.freeze();
    let since = Instant::now();
    let ended = until("the process exits", || starting.0.try_wait().unwrap());
    recovered("PostgreSQL became unresponsive during the start of a node: it exits with an error", since);
    assert_eq!(ended.code(), Some(1));
    starting.says("cannot reach the database");
    drop(frozen);
}

/// The `times` next transactions that insert a deploy fail with `code`, at the insert or at the commit.
fn fail_with(database: &Database, code: &str, times: u32, when: &str) {
    database.query(&format!(
        "DROP TABLE IF EXISTS deploys_to_come CASCADE;
         DROP SEQUENCE IF EXISTS tried; CREATE SEQUENCE tried;
         CREATE OR REPLACE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN IF nextval(''tried'') <= {times} THEN RAISE EXCEPTION ''it met another one'' USING ERRCODE = ''{code}''; END IF;
          RETURN NULL; END';
         DROP TRIGGER IF EXISTS collide ON deploys;
         CREATE CONSTRAINT TRIGGER collide AFTER INSERT ON deploys {when} FOR EACH ROW EXECUTE FUNCTION collide()"
    ));
}

#[test]
fn conflicting_transactions_are_retried_and_applied_once() {
    let server = Server::start(Database::postgres());
    let repository = Repository::hello();
    let url = server.git_url("hello");
    repository.push(&url, &["main"]).succeeded();
    let mut number = 1;
    for code in ["40001", "40P01"] {
        for when in ["", "DEFERRABLE INITIALLY DEFERRED"] {
            fail_with(&server.database, code, 2, when);
            repository.commit(code);
            number += 1;
            repository.push(&url, &["main"]).succeeded().says(&format!("LIVE as deploy {number}"));
            assert_eq!(server.database.query("SELECT last_value FROM tried"), "3");
        }
    }
    let once = "SELECT count(*) FROM deploys; SELECT count(*) FROM audit_events WHERE deploy = 5";
    assert_eq!(server.database.query(once), "5\n1");
    // The retries are limited.
    fail_with(&server.database, "40001", 1000, "");
    repository.commit("in vain");
    let pushed = repository.push(&url, &["main"]).refused();
    assert!(pushed.text.contains("nothing was changed"), "{}", pushed.text);
    let tried: u32 = server.database.query("SELECT last_value FROM tried").parse().unwrap();
    assert!((2..=10).contains(&tried), "{tried}");
}
