//! PostgreSQL stands still: connections stay open, and nothing is answered.

use std::time::{Duration, Instant};

use tests::faults::recovered;
use tests::{Database, Postgres, Pushed, Repository, Server, TOKEN, until};

/// A node on a PostgreSQL of its own, whose statements may take two seconds; so a silent one is given up after seven.
fn node(postgres: &Postgres, flags: &[&str]) -> Server {
    let flags = [&["--database-statement-time", "2s"], flags].concat();
    Server::start_with(Database::on(postgres.url()), &flags)
}

/// Transactions that make deploys take a second to commit.
const SLOW_COMMIT: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON deploys DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slow()";

fn committing(database: &Database) -> usize {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%COMMIT'";
    database.query(count).parse().unwrap()
}

fn get(server: &Server, path: &str) -> tests::Answer {
    server.request("GET", path, &[("authorization", &format!("Bearer {TOKEN}"))], None)
}

/// Pushes to apps of their own, all at once.
fn push_all(server: &Server, repositories: &[Repository]) -> Vec<Pushed> {
    std::thread::scope(|scope| {
        let pushing: Vec<_> = repositories
            .iter()
            .enumerate()
            .map(|(number, repository)| {
                scope.spawn(move || repository.push(&server.git_url(&format!("app-{number}")), &["main"]))
            })
            .collect();
        pushing.into_iter().map(|push| push.join().unwrap()).collect()
    })
}

#[test]
fn node_stops_while_database_is_unresponsive() {
    let postgres = Postgres::start();
    let mut server = node(&postgres, &["--drain-time", "2s"]);
    server.database.query(SLOW_COMMIT);
    let repository = Repository::hello();
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| repository.push(&server.git_url("hello"), &["main"]));
        until("it commits", || (committing(&server.database) == 1).then_some(()));
        let frozen = postgres.freeze();
        let asked = Instant::now();
        server.ask_to_stop();
        until("it stops", || {
            std::fs::exists(format!("/proc/{}/fd/0", server.pid())).is_ok_and(|is| !is).then_some(())
        });
        recovered("a node is told to stop while PostgreSQL is frozen and a push commits", asked);
        assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
        let _ = pushing.join().unwrap();
        drop(frozen);
    });
    // Its files are closed a moment before it is gone.
    until("it is gone", || server.has_stopped().then_some(()));
}

#[test]
fn pushes_to_unresponsive_database_fail_and_free_their_slots() {
    let postgres = Postgres::start();
    let server = node(&postgres, &[]);
    Repository::hello().push(&server.git_url("before"), &["main"]).succeeded();
    server.database.query(SLOW_COMMIT);
    // As many as one token has turns.
    let repositories: Vec<_> = (0..3).map(|_| Repository::hello()).collect();
    let frozen = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| push_all(&server, &repositories));
        until("all commit", || (committing(&server.database) == 3).then_some(()));
        let frozen = postgres.freeze();
        let since = Instant::now();
        for pushed in pushing.join().unwrap() {
            let pushed = pushed.refused();
            assert!(!pushed.text.contains("nothing was changed"), "{}", pushed.text);
            assert!(pushed.text.contains("before it said whether this was done"), "{}", pushed.text);
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
        frozen
    });
    let page = get(&server, "/-/metrics").body;
    assert!(page.contains("picloud_pushes_working 0"), "{page}");
    assert_eq!(server.get("/before/greet/Ann").status, 200);
    drop(frozen);
    let since = Instant::now();
    server.database.query("DROP TRIGGER slow ON deploys");
    let repository = Repository::hello();
    until("the next push goes live", || {
        repository.push(&server.git_url("after"), &["main"]).accepted.then_some(())
    });
    recovered("PostgreSQL was frozen while three pushes committed: the next push", since);
    // Whatever the silence hid is served as well.
    for number in 0..3 {
        until("what was committed is served", || {
            (server.get(&format!("/app-{number}/greet/Ann")).status == 200).then_some(())
        });
    }
}

#[test]
fn push_to_unresponsive_database_reports_the_cause() {
    let postgres = Postgres::start();
    let server = node(&postgres, &[]);
    let repository = Repository::hello();
    let url = server.git_url("hello");
    repository.push(&url, &["main"]).succeeded();
    let frozen = postgres.freeze();
    repository.write("greet.rhai", "\"second\"");
    repository.commit("second");
    repository.push(&url, &["main"]).refused().says("503");
    let answer = get(&server, "/-/api/v1/apps/hello/deploys");
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("the database did not answer within"), "{}", answer.body);
    drop(frozen);
    let since = Instant::now();
    until("the push goes live", || repository.push(&url, &["main"]).accepted.then_some(()));
    recovered("PostgreSQL was frozen: the next push", since);
    assert_eq!(server.get("/hello/greet/Ann").body, "\"second\"");
}
