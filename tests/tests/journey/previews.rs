//! Other branches are served at addresses of their own, for as long as they exist.

use tests::{Database, Repository, Server, on_both_databases, until};

on_both_databases!(
    a_branch_is_a_preview_until_it_is_deleted,
    the_production_branch_cannot_be_deleted,
    a_branch_without_a_manifest_is_stored,
    two_branches_cannot_share_an_address,
);

fn a_branch_is_a_preview_until_it_is_deleted(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    repository.write("greet.rhai", "`preview`");
    repository.commit("try");
    repository
        .push(&url, &["HEAD:refs/heads/feature/New"])
        .succeeded()
        .says("PREVIEW as deploy 2")
        .says("/hello@feature--ew/");
    assert_eq!(server.get("/hello@feature--ew/greet/Ann").body, "\"preview\"");
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let by_host = |host: &str| {
        server.request("GET", "/greet/Ann", &[("host", &format!("{host}.localhost:{port}"))], None).body
    };
    assert_eq!(by_host("feature--ew--hello"), "\"preview\"");
    assert_eq!(by_host("hello"), r#"{"message":"Hello, Ann"}"#);
    repository.push(&url, &["--delete", "feature/New"]).succeeded().says("is deleted");
    assert_eq!(server.get("/hello@feature--ew/greet/Ann").status, 404);
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
}

fn the_production_branch_cannot_be_deleted(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    repository.push(&url, &["--delete", "main"]).refused().says("the production branch cannot be deleted");
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
}

fn a_branch_without_a_manifest_is_stored(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::new();
    repository.write("index.html", "<p>");
    repository.commit("pages");
    repository
        .push(&url, &["HEAD:refs/heads/pages"])
        .succeeded()
        .says("no picloud.toml")
        .says("STORED pages")
        .says("hint: the production branch is main");
    assert_eq!(server.get("/hello@pages/").status, 404);
}

fn two_branches_cannot_share_an_address(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main", "HEAD:refs/heads/a/b"]).succeeded();
    repository.push(&url, &["HEAD:refs/heads/a-b"]).refused().says("share its address with branch a/b");
}

#[test]
fn a_preview_that_nobody_pushed_to_for_long_is_ended_and_its_deploys_stay() {
    let database = Database::postgres();
    let mut server = Server::start(database.clone());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main", "HEAD:refs/heads/old", "HEAD:refs/heads/new"]).succeeded();
    database
        .query("UPDATE deploys SET deployed_at = now() - interval '31 days' WHERE branch IN ('main', 'old')");
    // Old ones are looked for when a node starts, and once an hour.
    server.stop();
    server.restart();
    until("the old one is ended", || (server.get("/hello@old/greet/Ann").status == 404).then_some(()));
    assert_eq!(server.get("/hello@new/greet/Ann").status, 200);
    assert_eq!(server.get("/hello/greet/Ann").status, 200, "production is no preview, however old");
    let listed = repository.git(&["ls-remote", &server.git_url("hello")]);
    assert!(!listed.contains("refs/heads/old") && listed.contains("refs/heads/new"), "{listed}");
    assert_eq!(database.query("SELECT count(*) FROM deploys WHERE branch = 'old'"), "1");
}
