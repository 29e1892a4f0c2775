//! Pushes reach all nodes, also when one of them fails.

use serde_json::json;
use tests::{Database, Repository, until};

use super::{get, listed, names, nodes};

/// Commits a greeting and returns the app's response once it is live.
fn greeting(repository: &Repository, word: &str) -> (u16, String) {
    repository.write("greet.rhai", format!("#{{ message: `{word}, ${{ctx.request.params.name}}` }}"));
    repository.commit(word);
    (200, format!("{{\"message\":\"{word}, Ann\"}}"))
}

#[test]
fn push_to_any_node_is_live_on_all_when_git_returns() {
    let nodes = nodes(&Database::postgres(), &["one", "two", "three"]);
    let repository = Repository::hello();
    for (number, node) in nodes.iter().cycle().take(6).enumerate() {
        let expected = greeting(&repository, &format!("Hello {number}"));
        repository
            .push(&node.git_url("hello"), &["main"])
            .succeeded()
            .says(&format!("LIVE as deploy {}", number + 1))
            .says(" on 3/3 nodes");
        for other in &nodes {
            assert_eq!(get(other, "/hello/greet/Ann"), expected);
        }
    }
    let found = listed(&nodes[0]);
    assert_eq!(names(&found), ["one", "three", "two"]);
    for node in &found {
        assert_eq!((&node["apps_up_to_date"], &node["apps_stale"]), (&json!(1), &json!(0)), "{node}");
        assert_eq!((&node["not_ready_reason"], &node["role"]), (&json!(null), &json!("all")), "{node}");
    }
}

#[test]
fn previews_are_created_and_deleted_on_all_nodes() {
    let nodes = nodes(&Database::postgres(), &["one", "two"]);
    let repository = Repository::hello();
    repository.push(&nodes[0].git_url("hello"), &["main"]).succeeded();
    let expected = greeting(&repository, "Preview");
    repository
        .push(&nodes[1].git_url("hello"), &["HEAD:try"])
        .succeeded()
        .says("PREVIEW as deploy 2")
        .says("2/2 nodes");
    assert_eq!(get(&nodes[0], "/hello@try/greet/Ann"), expected);
    repository.push(&nodes[0].git_url("hello"), &[":try"]).succeeded();
    until("the preview is deleted", || (nodes[1].get("/hello@try/greet/Ann").status == 404).then_some(()));
}

#[test]
fn push_does_not_wait_for_stopped_or_killed_nodes() {
    let mut nodes = nodes(&Database::postgres(), &["one", "two", "three"]);
    let repository = Repository::hello();
    let url = nodes[0].git_url("hello");
    repository.push(&url, &["main"]).succeeded().says("on 3/3 nodes");
    nodes[1].stop();
    assert_eq!(names(&listed(&nodes[0])), ["one", "three"]);
    greeting(&repository, "Two");
    repository.push(&url, &["main"]).succeeded().says("on 2/2 nodes");
    nodes[2].kill();
    greeting(&repository, "Three");
    // Nobody has noticed yet: the push does not wait forever, and names the missing node.
    repository
        .push(&url, &["main"])
        .succeeded()
        .says("on 1/2 nodes")
        .says("warning: node three does not serve the deploy yet");
    until("the dead node times out", || (names(&listed(&nodes[0])) == ["one"]).then_some(()));
    let expected = greeting(&repository, "Four");
    let pushed = repository.push(&url, &["main"]).succeeded();
    assert!(!pushed.text.contains("nodes"), "{}", pushed.text);
    // A restarted node serves the pushes that it missed.
    nodes[2].restart();
    assert_eq!(get(&nodes[2], "/hello/greet/Ann"), expected);
}

#[test]
fn lost_notifications_are_recovered() {
    let database = Database::postgres();
    let nodes = nodes(&database, &["one", "two"]);
    let repository = Repository::hello();
    let url = nodes[0].git_url("hello");
    repository.push(&url, &["main"]).succeeded().says("on 2/2 nodes");
    for number in 0..5 {
        // Both nodes lose their notification connections just before the push.
        database.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND query LIKE 'LISTEN%'",
        );
        let expected = greeting(&repository, &format!("Hello {number}"));
        repository.push(&url, &["main"]).succeeded().says("LIVE as deploy");
        until("the other node serves it", || (get(&nodes[1], "/hello/greet/Ann") == expected).then_some(()));
        until("the node reports it", || {
            let found = listed(&nodes[0]);
            found.iter().all(|node| node["apps_stale"] == 0).then_some(())
        });
    }
}

#[test]
fn node_that_cannot_load_a_revision_is_not_ready() {
    let database = Database::postgres();
    let nodes = nodes(&database, &["one", "two"]);
    let repository = Repository::hello();
    let url = nodes[0].git_url("hello");
    repository.push(&url, &["main"]).succeeded();
    // A node that did not compile the revision during the push finds no manifest.
    database.query(
        "CREATE TABLE lost (LIKE objects);
         CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN WITH gone AS (DELETE FROM objects WHERE kind = ''blob'' RETURNING *)
          INSERT INTO lost SELECT * FROM gone; RETURN NULL; END';
         CREATE TRIGGER lose AFTER INSERT ON deploys EXECUTE FUNCTION lose()",
    );
    let expected = greeting(&repository, "New");
    repository
        .push(&url, &["main"])
        .succeeded()
        .says("LIVE as deploy 2")
        .says("on 1/2 nodes")
        .says("warning: node two cannot serve the deploy and is not ready: ");
    assert_eq!(get(&nodes[0], "/hello/greet/Ann"), expected);
    assert_eq!(nodes[0].get("/-/health/ready").status, 200);
    let ready = nodes[1].get("/-/health/ready");
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.starts_with("cannot serve the latest revision of 1 of 1 apps: hello: "),
        "{}",
        ready.body
    );
    until("the other nodes serve it", || {
        let trouble = listed(&nodes[0])[1]["not_ready_reason"].clone();
        trouble.as_str().is_some_and(|trouble| trouble.contains("hello")).then_some(())
    });
    // A push of a loadable revision makes the node ready again.
    database.query("DROP TRIGGER lose ON deploys; INSERT INTO objects SELECT * FROM lost");
    let expected = greeting(&repository, "Newer");
    repository.push(&url, &["main"]).succeeded().says("on 2/2 nodes");
    assert_eq!(get(&nodes[1], "/hello/greet/Ann"), expected);
    assert_eq!(nodes[1].get("/-/health/ready").status, 200);
}
