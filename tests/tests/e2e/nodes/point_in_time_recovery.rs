//! The database is restored to an earlier time while nodes run: a lagging standby is promoted, or a backup is restored.
//!
//! The revisions that nodes serve are then lost, and their numbers are assigned again. Without a restart the nodes serve the state of
//! the database, and a push is live where git reports it.

use std::process::Command;
use std::time::Instant;

use tests::faults::recovered;
use tests::{Database, Postgres, Repository, Server, TOKEN, until};

use super::{get, listed, nodes, nodes_with_a_key};
use crate::executions::Follower;

/// Commits a greeting and returns the app's response once it is live.
fn greeting(repository: &Repository, word: &str) -> (u16, String) {
    repository.write("greet.rhai", format!("`{word}`"));
    repository.commit(word);
    (200, format!("\"{word}\""))
}

/// An app that returns its secret.
fn secret_app() -> Repository {
    let repository = Repository::new();
    let route = "[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n";
    repository.write("picloud.toml", format!("sdk = \"1.2\"\n[secrets]\nrequired = [\"KEY\"]\n{route}"));
    repository.write("a.rhai", "ctx.secrets.KEY");
    repository.commit("teller");
    repository
}

fn api(node: &Server, path: &str, body: &str) {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let response = node.request("PUT", &format!("/-/api/v1{path}"), &headers, Some(body.as_bytes()));
    assert!(response.status < 300, "{response:?}");
}

fn set_key(node: &Server, value: &str) {
    api(node, "/apps/teller/secrets/KEY", &format!(r#"{{"value":"{value}"}}"#));
}

/// Waits until every node responds so.
fn all_respond(nodes: &[Server], path: &str, expected: &(u16, String)) {
    for node in nodes {
        until("the node serves what the database says", || (get(node, path) == *expected).then_some(()));
    }
}

/// Waits until every node reports that all its apps are up to date.
fn all_are_up_to_date(nodes: &[Server]) {
    until("every node is up to date", || {
        let bearer = format!("Bearer {TOKEN}");
        let response = nodes[0].request("GET", "/-/api/v1/nodes", &[("authorization", &bearer)], None);
        let found = (response.status == 200).then(|| response.json()["nodes"].as_array().cloned())??;
        (found.len() == nodes.len() && found.iter().all(|node| node["apps_stale"] == 0)).then_some(())
    });
}

#[test]
fn nodes_follow_a_database_restored_to_an_earlier_time() {
    let postgres = Postgres::start();
    let database = Database::on(postgres.url());
    let key = tempfile::tempdir().unwrap();
    let nodes = nodes_with_a_key(&database, &["one", "two", "three"], &key);
    let repository = Repository::hello();
    let url = nodes[0].git_url("hello");
    let kept = greeting(&repository, "kept");
    repository.push(&url, &["main"]).succeeded().says("on 3/3 nodes");
    api(&nodes[0], "/apps/teller", "");
    set_key(&nodes[0], "first");
    secret_app().push(&nodes[1].git_url("teller"), &["main"]).succeeded().says("on 3/3 nodes");
    let earlier = postgres.copy();
    until("the nodes have reconnected", || (nodes[0].get("/-/health/ready").body == "ok\n").then_some(()));

    let lost = greeting(&repository, "lost");
    repository.push(&url, &["main", "main:preview"]).succeeded().says("on 3/3 nodes");
    Repository::hello().push(&nodes[2].git_url("later"), &["main"]).succeeded().says("on 3/3 nodes");
    set_key(&nodes[1], "second");
    all_respond(&nodes, "/hello/greet/Ann", &lost);
    all_respond(&nodes, "/teller/", &(200, "\"second\"".to_owned()));

    postgres.restore_copy(&earlier);
    let since = Instant::now();
    all_respond(&nodes, "/hello/greet/Ann", &kept);
    all_respond(&nodes, "/teller/", &(200, "\"first\"".to_owned()));
    for node in &nodes {
        until("the lost revision is no longer served", || {
            let paths = ["/hello@preview/greet/Ann", "/later/greet/Ann"];
            paths.iter().all(|path| node.get(path).status == 404).then_some(())
        });
    }
    all_are_up_to_date(&nodes);
    recovered("PostgreSQL was restored to an earlier time: three nodes serve its state", since);

    // The numbers of the lost deploys are assigned again.
    let again = greeting(&repository, "again");
    repository.push(&url, &["-f", "main"]).succeeded().says("LIVE as deploy 2").says("on 3/3 nodes");
    for node in &nodes {
        assert_eq!(get(node, "/hello/greet/Ann"), again);
        assert_eq!(node.get("/hello/greet/Ann").header("picloud-revision"), Some(repository.head().as_str()));
    }
    Repository::hello().push(&nodes[0].git_url("later"), &["main"]).succeeded().says("LIVE as deploy 1");
    all_respond(&nodes, "/later/greet/Ann", &(200, r#"{"message":"Hello, Ann"}"#.to_owned()));
}

#[test]
fn sleeping_node_distinguishes_lost_generation_from_new_one() {
    let postgres = Postgres::start();
    let database = Database::on(postgres.url());
    let key = tempfile::tempdir().unwrap();
    let nodes = nodes_with_a_key(&database, &["one", "two"], &key);
    let repository = Repository::hello();
    let url = nodes[0].git_url("hello");
    repository.push(&url, &["main"]).succeeded().says("on 2/2 nodes");
    api(&nodes[0], "/apps/teller", "");
    set_key(&nodes[0], "first");
    secret_app().push(&url.replace("hello.git", "teller.git"), &["main"]).succeeded();
    let earlier = postgres.copy();
    until("the node has reconnected", || (nodes[0].get("/-/health/ready").body == "ok\n").then_some(()));
    greeting(&repository, "lost");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2");
    set_key(&nodes[0], "second");
    all_respond(&nodes, "/teller/", &(200, "\"second\"".to_owned()));

    // While one node is cut off, another history reaches the same numbers as the lost one.
    nodes[1].freeze();
    postgres.restore_copy(&earlier);
    let url = nodes[0].git_url("hello");
    until("the node has reconnected", || (nodes[0].get("/-/health/ready").body == "ok\n").then_some(()));
    let expected = greeting(&repository, "again");
    repository.push(&url, &["-f", "main"]).succeeded().says("LIVE as deploy 2");
    set_key(&nodes[0], "third");
    nodes[1].thaw();
    let since = Instant::now();
    all_respond(&nodes, "/hello/greet/Ann", &expected);
    all_respond(&nodes, "/teller/", &(200, "\"third\"".to_owned()));
    all_are_up_to_date(&nodes);
    recovered("a node was suspended while another history reached the same numbers", since);
}

#[test]
fn nodes_follow_a_restored_dump() {
    let database = Database::postgres();
    let nodes = nodes(&database, &["one", "two"]);
    let repository = Repository::hello();
    let url = nodes[0].git_url("hello");
    let kept = greeting(&repository, "kept");
    repository.push(&url, &["main"]).succeeded().says("on 2/2 nodes");
    let address = database.url().unwrap();
    let dump = Command::new("pg_dump").args(["--clean", "--if-exists", &address]).output().expect("pg_dump");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &dump.stdout).unwrap();
    greeting(&repository, "lost");
    repository.push(&url, &["main"]).succeeded().says("on 2/2 nodes");

    let restored = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1", "--file"])
        .arg(file.path())
        .arg(&address)
        .output()
        .expect("psql");
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let since = Instant::now();
    all_respond(&nodes, "/hello/greet/Ann", &kept);
    all_are_up_to_date(&nodes);
    recovered("a dump was restored while two nodes ran: they serve its state", since);
    assert_eq!(listed(&nodes[0]).len(), 2);
    let again = greeting(&repository, "again");
    repository.push(&url, &["-f", "main"]).succeeded().says("LIVE as deploy 2").says("on 2/2 nodes");
    all_respond(&nodes, "/hello/greet/Ann", &again);
}

#[test]
fn schedules_and_followed_logs_continue_after_recovery() {
    let postgres = Postgres::start();
    let node = Server::start_with(Database::on(postgres.url()), &[]);
    let repository = Repository::new();
    let route = "[[routes]]\npath = \"/{word}\"\nscript = \"say.rhai\"\n";
    let schedule = "[[schedules]]\nname = \"tick\"\ncron = \"* * * * * *\"\nscript = \"tick.rhai\"\n";
    repository.write("picloud.toml", format!("sdk = \"1.2\"\n{route}{schedule}"));
    repository.write("say.rhai", "log::info(ctx.request.params.word); 1");
    repository.write("tick.rhai", "1");
    repository.commit("teller");
    repository.git(&["remote", "add", "picloud", &node.git_url("app")]);
    repository.push("picloud", &["main"]).succeeded();
    let earlier = postgres.copy();
    until("the node has reconnected", || (node.get("/-/health/ready").body == "ok\n").then_some(()));
    let follower = Follower::new(&repository, &["-n", "0", "--script", "say.rhai"]);
    for _ in 0..100 {
        node.get("/app/lost");
    }
    assert!(follower.line().ends_with("lost"));

    postgres.restore_copy(&earlier);
    let since = Instant::now();
    let runs = || node.database.query("SELECT count(*) FROM schedule_runs").parse::<u32>().expect("a number");
    let before = runs();
    until("the schedule runs", || (runs() >= before + 2).then_some(()));
    recovered("PostgreSQL was restored to an earlier time: schedules run", since);
    follower.receives("restored to an earlier state");
    node.get("/app/kept");
    until("the next line arrives", || follower.line().ends_with("kept").then_some(()));
}
