//! Other branches are served at addresses of their own, for as long as they exist.

use std::process::Command;

use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN, on_both_databases, until};

on_both_databases!(
    a_branch_is_a_preview_until_it_is_deleted,
    the_production_branch_cannot_be_deleted,
    a_branch_without_a_manifest_is_stored,
    two_branches_cannot_share_an_address,
    the_schedules_of_a_preview_run_where_it_is_asked_for,
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

fn the_schedules_of_a_preview_run_where_it_is_asked_for(database: Database) {
    let mut server = Server::start(database);
    let url = server.git_url("clock");
    let repository = Repository::new();
    let schedule = "[[schedules]]\nname = \"tick\"\ncron = \"* * * * * *\"\nscript = \"tick.rhai\"\n";
    repository.write("picloud.toml", format!("sdk = \"1.1\"\n{schedule}"));
    repository.write("tick.rhai", "log::info(`tick of production`)");
    repository.commit("first");
    repository.push(&url, &["main"]).succeeded().says("  next ");
    repository.write("tick.rhai", "log::info(`tick of the preview`)");
    repository.commit("try");
    let try_it = ["HEAD:refs/heads/try/it"];
    repository.push(&url, &try_it).succeeded().says("tick.rhai  not run by the clock: a preview");
    let verb = |server: &Server, arguments: &[&str]| {
        let output = Command::new(picloud())
            .args(arguments)
            .env("PICLOUD_URL", format!("http://{}", server.address))
            .env("PICLOUD_TOKEN", TOKEN)
            .env("PICLOUD_APP", "clock")
            .output()
            .expect("the binary");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        assert_eq!(output.status.success(), !text.contains("error:"), "{text}");
        text
    };
    let ticks = |server: &Server, of: &str| server.log().matches(&format!("tick of {of}")).count();
    until("production runs", || (ticks(&server, "production") >= 2).then_some(()));
    assert_eq!(ticks(&server, "the preview"), 0);
    let listed = verb(&server, &["schedules", "--branch", "try/it"]);
    assert!(listed.contains("picloud previews schedule try/it"), "{listed}");
    let ran = verb(&server, &["run", "tick", "--branch", "try/it"]);
    assert!(ran.contains("by hand") && ran.contains("succeeded"), "{ran}");
    until("it is logged", || (ticks(&server, "the preview") == 1).then_some(()));

    let on = verb(&server, &["previews", "schedule", "try/it"]);
    assert!(on.contains("try/it") && on.contains("run") && !on.contains("do not run"), "{on}");
    until("both run", || (ticks(&server, "the preview") >= 3).then_some(()));
    // It stays so over restarts and pushes.
    server.stop();
    server.restart();
    let before = ticks(&server, "the preview");
    until("both run", || (ticks(&server, "the preview") > before).then_some(()));
    repository.write("tick.rhai", "log::info(`tick of the preview, changed`)");
    repository.commit("more");
    repository.push(&server.git_url("clock"), &try_it).succeeded().says("  next ");
    until("the new one runs", || (ticks(&server, "the preview, changed") >= 1).then_some(()));
    let runs = verb(&server, &["schedules", "--runs", "tick", "--branch", "try/it"]);
    assert!(runs.lines().count() > 3 && !runs.contains("failed"), "{runs}");

    verb(&server, &["previews", "unschedule", "try/it"]);
    let refused = verb(&server, &["previews", "schedule", "main"]);
    assert!(refused.contains("the schedules of production always run"), "{refused}");
    let unknown = verb(&server, &["previews", "schedule", "try"]);
    assert!(unknown.contains("nothing is live on that branch"), "{unknown}");
    let (preview, production) = (ticks(&server, "the preview"), ticks(&server, "production"));
    until("production runs on", || (ticks(&server, "production") >= production + 3).then_some(()));
    assert!(ticks(&server, "the preview") <= preview + 1, "one may have been under way");
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
