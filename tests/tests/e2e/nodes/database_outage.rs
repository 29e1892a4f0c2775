//! Database outage: live apps are served from memory, other requests get an error, and everything recovers without intervention.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests::faults::recovered;
use tests::{Database, Postgres, Repository, Server, TOKEN, until};

use super::{get, nodes};

/// How long the outage lasts.
const OUTAGE: Duration = Duration::from_secs(30);

#[test]
fn apps_are_served_during_database_outage() {
    let postgres = Postgres::start();
    let nodes = nodes(&Database::on(postgres.url()), &["one", "two"]);
    let repository = Repository::hello();
    let url = nodes[0].git_url("hello");
    repository.push(&url, &["main"]).succeeded().says("on 2/2 nodes");
    let over = AtomicBool::new(false);
    let responses = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(|| request_until(node, &over, &responses));
        }
        let since = Instant::now();
        postgres.stop();
        for node in &nodes {
            until("the node notices the outage", || {
                node.get("/-/health/ready")
                    .body
                    .starts_with("ok from memory; the database has been down")
                    .then_some(())
            });
            assert_eq!(node.get("/-/health/ready").status, 200);
            assert_eq!(node.get("/-/health/database").status, 503);
        }
        repository.commit("second");
        repository.push(&url, &["main"]).refused().says("503");
        let bearer = format!("Bearer {TOKEN}");
        let response = nodes[0].request("GET", "/-/api/v1/apps", &[("authorization", &bearer)], None);
        assert_eq!((response.status, response.header("retry-after")), (503, Some("5")));
        std::thread::sleep(OUTAGE.saturating_sub(since.elapsed()));
        postgres.restart();
        for node in &nodes {
            until("the node has recovered", || (node.get("/-/health/ready").body == "ok\n").then_some(()));
        }
        repository.write("greet.rhai", "\"second\"");
        repository.commit("third");
        repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2").says("on 2/2 nodes");
        over.store(true, Ordering::Relaxed);
    });
    assert!(responses.load(Ordering::Relaxed) > 1000, "{responses:?}");
    for node in &nodes {
        assert_eq!(get(node, "/hello/greet/Ann"), (200, "\"second\"".to_owned()));
    }
}

#[test]
fn first_push_after_outage_reports_live_nodes() {
    let postgres = Postgres::start();
    let nodes = nodes(&Database::on(postgres.url()), &["one", "two", "three"]);
    let repository = Repository::hello();
    let url = nodes[0].git_url("hello");
    repository.push(&url, &["main"]).succeeded().says("on 3/3 nodes");
    postgres.stop();
    for node in &nodes {
        until("the node notices the outage", || {
            node.get("/-/health/ready").body.starts_with("ok from memory").then_some(())
        });
    }
    repository.write("greet.rhai", "\"second\"");
    repository.commit("second");
    postgres.restart();
    let since = Instant::now();
    // The push does not wait for the nodes' reconnection.
    let first = until("a push is accepted", || {
        let pushed = repository.push(&url, &["main"]);
        pushed.accepted.then_some(pushed)
    });
    first.says("LIVE as deploy 2").says("on 3/3 nodes");
    recovered("PostgreSQL was down: the first push is live on 3/3 nodes", since);
    for node in &nodes {
        assert_eq!(get(node, "/hello/greet/Ann"), (200, "\"second\"".to_owned()));
    }
}

/// Sends requests to an app without a pause; every response must be the app's.
fn request_until(node: &Server, over: &AtomicBool, responses: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        let response = node.get("/hello/greet/Ann");
        let right = response.body == r#"{"message":"Hello, Ann"}"# || response.body == "\"second\"";
        assert!(response.status == 200 && right, "{response:?}");
        responses.fetch_add(1, Ordering::Relaxed);
    }
}
