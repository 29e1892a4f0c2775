//! Somebody else holds locks, or transactions meet.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Answer, Database, Repository, Server, TOKEN, until};

/// Somebody at `psql`, who holds what a statement locks for as long as the value lives.
struct Psql {
    process: Child,
    _input: ChildStdin,
}

impl Psql {
    fn holding(database: &Database, sql: &str) -> Self {
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
                    WHERE application_name = 'somebody' AND datname = current_database() AND state = 'idle in transaction'";
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

fn deploys(server: &Server) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    server.request("GET", "/-/api/v1/apps/hello/deploys", &[("authorization", &bearer)], None)
}

#[test]
fn a_list_behind_a_lock_says_so_within_seconds() {
    let server = Server::start(Database::postgres());
    let repository = Repository::hello();
    let url = server.git_url("hello");
    repository.push(&url, &["main"]).succeeded();
    let somebody = Psql::holding(&server.database, "LOCK TABLE deploys IN ACCESS EXCLUSIVE MODE");
    let asked = Instant::now();
    let answer = deploys(&server);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{}", answer.body);
    assert!(answer.body.contains("another session holds a lock"), "{}", answer.body);
    repository.commit("second");
    let pushed = repository.push(&url, &["main"]).refused().says("another session holds a lock");
    assert!(!pushed.text.contains("other pushes"), "{}", pushed.text);
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
    drop(somebody);
    until("the lock is gone", || (deploys(&server).status == 200).then_some(()));
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2");
}

/// The `times` next transactions that insert a deploy fail with `code`, at the insertion or when they commit.
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
fn transactions_that_meet_another_are_tried_again_and_done_once() {
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
    let once = "SELECT count(*) FROM deploys; SELECT count(*) FROM audit WHERE deploy = 5";
    assert_eq!(server.database.query(once), "5\n1");
    // But not for ever.
    fail_with(&server.database, "40001", 1000, "");
    repository.commit("in vain");
    let pushed = repository.push(&url, &["main"]).refused();
    assert!(pushed.text.contains("nothing was changed"), "{}", pushed.text);
    let tried: u32 = server.database.query("SELECT last_value FROM tried").parse().unwrap();
    assert!((2..=10).contains(&tried), "{tried}");
}
