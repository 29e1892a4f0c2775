//! Branches other than production are served at their own addresses while they exist.

use std::process::Command;

use tests::server::picloud;
use tests::{CommandOutput, Database, Repository, Server, TOKEN, on_both_databases, until};

on_both_databases!(
    branch_is_a_preview_until_deleted,
    production_branch_cannot_be_deleted,
    branch_without_manifest_is_stored,
    branches_with_equal_preview_hosts_are_rejected,
    preview_schedules_run_where_enabled,
);

/// The label of `feature/New` in URLs.
const NEW_LABEL: &str = "feature-new-0fm6gejbe0r1q";

fn branch_is_a_preview_until_deleted(database: Database) {
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
        .says(&format!("/hello@{NEW_LABEL}/"));
    assert_eq!(server.get(&format!("/hello@{NEW_LABEL}/greet/Ann")).body, "\"preview\"");
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let by_host = |host: &str| {
        server.request("GET", "/greet/Ann", &[("host", &format!("{host}.localhost:{port}"))], None).body
    };
    assert_eq!(by_host(&format!("{NEW_LABEL}--hello")), "\"preview\"");
    assert_eq!(by_host("hello"), r#"{"message":"Hello, Ann"}"#);
    assert_eq!(by_host(&format!("{NEW_LABEL}--Hello").to_uppercase()), "\"preview\"");
    repository.push(&url, &["--delete", "feature/New"]).succeeded().says("STORED feature/New (deleted)");
    assert_eq!(server.get(&format!("/hello@{NEW_LABEL}/greet/Ann")).status, 404);
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
}

fn production_branch_cannot_be_deleted(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    repository.push(&url, &["--delete", "main"]).refused().says("the production branch cannot be deleted");
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
}

fn branch_without_manifest_is_stored(database: Database) {
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

/// Commits an app that returns `text`.
fn commit_response(repository: &Repository, text: &str) {
    repository.write("picloud.toml", "sdk = \"1.1\"\n[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n");
    repository.write("a.rhai", format!("`{text}`"));
    repository.commit(text);
}

/// The URL that a push printed.
fn printed_url(pushed: &CommandOutput) -> String {
    let verdicts = pushed.text.lines().filter(|line| line.contains("success: "));
    let mut expected = verdicts.flat_map(str::split_whitespace);
    expected.find(|word| word.contains("://")).expect("an address").to_owned()
}

fn branches_with_equal_preview_hosts_are_rejected(database: Database) {
    let server = Server::start(database);
    let repository = Repository::new();
    let url = server.git_url("hello");
    commit_response(&repository, "main");
    repository.push(&url, &["main"]).succeeded();
    let long = "a".repeat(70);
    let branches = [
        "a/b",
        "a-b",
        "a--b",
        "A-b",
        "qa",
        "QA",
        "qa-preview",
        "ABC-12",
        "XYZ-12",
        "日本",
        "中国",
        "-a-",
        "xn--a",
        &long[1..],
        &long,
    ];
    let addresses = branches.map(|branch| {
        commit_response(&repository, branch);
        let pushed = repository.push(&url, &[&format!("HEAD:refs/heads/{branch}")]);
        printed_url(&pushed.succeeded().says("PREVIEW"))
    });
    for (branch, address) in branches.iter().zip(&addresses) {
        let path = address.strip_prefix(&format!("http://{}", server.address)).expect("the server's address");
        assert_eq!(server.get(path).json(), *branch, "{address}");
    }
    let listed = server.request(
        "GET",
        "/-/api/v1/apps/hello/branches",
        &[("authorization", &format!("Bearer {TOKEN}"))],
        None,
    );
    for branch in listed.json()["branches"].as_array().expect("branches") {
        match branches.iter().position(|name| branch["name"] == *name) {
            Some(at) => assert_eq!(branch["url"], addresses[at].as_str()),
            None => assert_eq!(branch["production"], true, "{branch}"),
        }
    }
}

#[test]
fn app_cannot_claim_a_preview_host() {
    let server = Server::start_with(Database::sqlite(), &["--domain", "pi.test"]);
    let (_, port) = server.address.rsplit_once(':').expect("a port");
    let resolve = format!("http.curloptResolve=pi.test:{port}:127.0.0.1");
    let repository = Repository::new();
    let push = |app: &str, branch: &str| {
        commit_response(&repository, &format!("{branch} of {app}"));
        let url = format!("http://ada:{TOKEN}@pi.test:{port}/{app}.git");
        let pushed = repository.try_git(&[
            "-c",
            &resolve,
            "push",
            "--progress",
            "-f",
            &url,
            &format!("HEAD:refs/heads/{branch}"),
        ]);
        printed_url(&pushed.succeeded())
    };
    let branches = [
        ("shop", "main"),
        ("shop", "qa"),
        ("qa--shop", "main"),
        ("qa--shop", "qa"),
        ("c", "main"),
        ("c", "a--b"),
        ("b--c", "main"),
        ("b--c", "a"),
        ("shop", "feature"),
        ("feature--shop", "main"),
    ];
    let addresses = branches.map(|(app, branch)| push(app, branch));
    for ((app, branch), address) in branches.iter().zip(&addresses) {
        let host = address.trim_start_matches("https://").trim_end_matches('/');
        let response = server.request("GET", "/", &[("host", host)], None);
        assert_eq!(response.json(), format!("{branch} of {app}"), "{address}");
        assert_eq!(server.get(&format!("/-/api/v1/tls-allowed?domain={host}")).status, 200, "{host}");
        let label = host.trim_end_matches(".pi.test");
        assert!(label.len() <= 63 && label.get(2..4) != Some("--"), "no certificate is allowed for {host}");
    }
    assert_eq!(addresses[8], "https://feature--shop.pi.test/");
    let hosts_of_nothing = ["qa--shop", "a--b--c", "feature--qa--shop", "main--qa--shop"];
    for host in hosts_of_nothing.map(|label| format!("{label}.pi.test")) {
        assert_eq!(server.request("GET", "/", &[("host", &host)], None).status, 404, "{host}");
        assert_eq!(server.get(&format!("/-/api/v1/tls-allowed?domain={host}")).status, 404, "{host}");
    }
}

fn preview_schedules_run_where_enabled(database: Database) {
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
    repository.push(&url, &try_it).succeeded().says("tick.rhai  disabled: a preview");
    let cli = |server: &Server, arguments: &[&str]| {
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
    let listed = cli(&server, &["schedules", "--branch", "try/it"]);
    assert!(listed.contains("picloud previews schedule try/it"), "{listed}");
    let ran = cli(&server, &["run", "tick", "--branch", "try/it"]);
    assert!(ran.contains("(manual)") && ran.contains("succeeded"), "{ran}");
    until("the line is logged", || (ticks(&server, "the preview") == 1).then_some(()));

    let on = cli(&server, &["previews", "schedule", "try/it"]);
    assert!(on.contains("try/it") && on.contains("enabled"), "{on}");
    until("both schedules run", || (ticks(&server, "the preview") >= 3).then_some(()));
    // The setting persists over restarts and pushes.
    server.stop();
    server.restart();
    let before = ticks(&server, "the preview");
    until("both schedules run", || (ticks(&server, "the preview") > before).then_some(()));
    repository.write("tick.rhai", "log::info(`tick of the preview, changed`)");
    repository.commit("more");
    repository.push(&server.git_url("clock"), &try_it).succeeded().says("  next ");
    until("the new schedule runs", || (ticks(&server, "the preview, changed") >= 1).then_some(()));
    let runs = cli(&server, &["schedules", "--runs", "tick", "--branch", "try/it"]);
    assert!(runs.lines().count() > 3 && !runs.contains("failed"), "{runs}");

    cli(&server, &["previews", "unschedule", "try/it"]);
    let refused = cli(&server, &["previews", "schedule", "main"]);
    assert!(refused.contains("schedules of production cannot be disabled"), "{refused}");
    let unknown = cli(&server, &["previews", "schedule", "try"]);
    assert!(unknown.contains("branch not found, or no revision of it is live"), "{unknown}");
    let (preview, production) = (ticks(&server, "the preview"), ticks(&server, "production"));
    until("production continues to run", || (ticks(&server, "production") >= production + 3).then_some(()));
    assert!(ticks(&server, "the preview") <= preview + 1, "one run can have been in progress");
}

#[test]
fn stale_preview_is_deleted_and_its_deploys_kept() {
    let database = Database::postgres();
    let mut server = Server::start(database.clone());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main", "HEAD:refs/heads/old", "HEAD:refs/heads/new"]).succeeded();
    database
        .query("UPDATE deploys SET deployed_at = now() - interval '31 days' WHERE branch IN ('main', 'old')");
    // Stale previews are deleted at the start of a node, and once an hour.
    server.stop();
    server.restart();
    until("the stale preview is deleted", || {
        (server.get("/hello@old/greet/Ann").status == 404).then_some(())
    });
    assert_eq!(server.get("/hello@new/greet/Ann").status, 200);
    assert_eq!(server.get("/hello/greet/Ann").status, 200, "production is never stale");
    let listed = repository.git(&["ls-remote", &server.git_url("hello")]);
    assert!(!listed.contains("refs/heads/old") && listed.contains("refs/heads/new"), "{listed}");
    assert_eq!(database.query("SELECT count(*) FROM deploys WHERE branch = 'old'"), "1");
}
