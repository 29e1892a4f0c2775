//! An unresponsive PostgreSQL: connections stay open, and nothing responds.

use std::time::{Duration, Instant};

use tests::faults::recovered;
use tests::{CommandOutput, Database, Postgres, Repository, Server, TOKEN, until};

/// A node on its own PostgreSQL with a statement timeout of two seconds; it gives up an unresponsive one after seven.
fn node(postgres: &Postgres, flags: &[&str]) -> Server {
    let flags = [&["--database-statement-timeout", "2s"], flags].concat();
    Server::start_with(Database::on(postgres.url()), &flags)
}

/// Makes the commit of a deploy take a second.
const SLOW_COMMIT: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON deploys DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slow()";

fn committing(database: &Database) -> usize {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%COMMIT'";
    database.query(count).parse().unwrap()
}

fn get(server: &Server, path: &str) -> tests::Response {
    server.request("GET", path, &[("authorization", &format!("Bearer {TOKEN}"))], None)
}

/// Pushes concurrently, each to its own app.
fn push_all(server: &Server, repositories: &[Repository]) -> Vec<CommandOutput> {
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
    let mut server = node(&postgres, &["--shutdown-timeout", "2s"]);
    server.database.query(SLOW_COMMIT);
    let repository = Repository::hello();
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| repository.push(&server.git_url("hello"), &["main"]));
        until("the push commits", || (committing(&server.database) == 1).then_some(()));
        let frozen = postgres.freeze();
        let start = Instant::now();
        server.terminate();
        until("the node stops", || {
            std::fs::exists(format!("/proc/{}/fd/0", server.pid())).is_ok_and(|is| !is).then_some(())
        });
        recovered("a node stops while PostgreSQL is unresponsive and a push commits", start);
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        let _ = pushing.join().unwrap();
        drop(frozen);
    });
    // Its files are closed a moment before the process has exited.
    until("it has exited", || server.has_stopped().then_some(()));
}

#[test]
fn pushes_to_unresponsive_database_fail_and_free_their_slots() {
    let postgres = Postgres::start();
    let server = node(&postgres, &[]);
    Repository::hello().push(&server.git_url("before"), &["main"]).succeeded();
    server.database.query(SLOW_COMMIT);
    // As many as one token has slots.
    let repositories: Vec<_> = (0..3).map(|_| Repository::hello()).collect();
    let frozen = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| push_all(&server, &repositories));
        until("all pushes commit", || (committing(&server.database) == 3).then_some(()));
        let frozen = postgres.freeze();
        let since = Instant::now();
        for pushed in pushing.join().unwrap() {
            let pushed = pushed.refused();
            assert!(!pushed.text.contains("nothing was changed"), "{}", pushed.text);
            assert!(pushed.text.contains("before the result was known"), "{}", pushed.text);
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
        frozen
    });
    let page = get(&server, "/-/metrics").body;
    assert!(page.contains("picloud_pushes_in_progress{state=\"running\"} 0"), "{page}");
    assert_eq!(server.get("/before/greet/Ann").status, 200);
    drop(frozen);
    let since = Instant::now();
    server.database.query("DROP TRIGGER slow ON deploys");
    let repository = Repository::hello();
    until("the next push goes live", || {
        repository.push(&server.git_url("after"), &["main"]).accepted.then_some(())
    });
    recovered("PostgreSQL was unresponsive while three pushes committed: the next push", since);
    // Pushes that were committed during the freeze are served too.
    for number in 0..3 {
        until("the committed revision is served", || {
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
    let response = get(&server, "/-/api/v1/apps/hello/deploys");
    assert_eq!(response.status, 503, "{}", response.body);
    assert!(response.body.contains("the database did not respond within"), "{}", response.body);
    drop(frozen);
    let since = Instant::now();
    until("the push goes live", || repository.push(&url, &["main"]).accepted.then_some(()));
    recovered("PostgreSQL was unresponsive: the next push", since);
    assert_eq!(server.get("/hello/greet/Ann").body, "\"second\"");
}
