//! Limits of all apps and of single apps, raised and lowered.

use serde_json::json;
use tests::{Database, Repository, Response, Server, TOKEN, on_both_databases, until};

use super::access::{api, cli, cli_as, token, url};
use super::gc::incompressible;
use super::nodes::nodes;

on_both_databases!(
    preview_token_cannot_fill_the_disk,
    push_above_app_limit_names_the_command_that_raises_it,
    lowered_limit_does_not_affect_live_revision,
    previews_per_app_are_limited,
);

/// A starter app with `more` in its manifest.
fn hello_with(more: &str) -> Repository {
    let repository = Repository::hello();
    repository.write("picloud.toml", format!("{}{more}", tests::repository::HELLO_MANIFEST));
    repository.commit("more");
    repository
}

/// A schedule that is due once a year.
fn yearly(name: &str) -> String {
    format!("\n[[schedules]]\nname = \"{name}\"\ncron = \"0 0 1 1 *\"\nscript = \"greet.rhai\"\n")
}

fn push_above_app_limit_names_the_command_that_raises_it(database: Database) {
    let server =
        Server::start_with(database, &["--app-timeout", "20s", "--app-schedules", "1", "--memory", "512MiB"]);
    let url = server.git_url("hello");
    let repository = hello_with(&format!("{}{}\n[limits]\ntimeout = \"90s\"\n", yearly("a"), yearly("b")));
    repository
        .push(&url, &["main"])
        .refused()
        .says("`schedules` has 2 entries, more than the 1 that the server grants the app")
        .says("an admin can raise it with  picloud apps limits hello --schedules 2")
        .says("`timeout` is 90s, more than the 20s that the server grants the app")
        .says("an admin can raise it with  picloud apps limits hello --timeout 90s");
    cli(&server, &["apps", "create", "hello"]).succeeded();
    cli(&server, &["apps", "limits", "hello", "--schedules", "2"])
        .succeeded()
        .says("schedules                 2           2    1");
    cli(&server, &["apps", "limits", "hello", "--timeout", "90s"])
        .succeeded()
        .says("timeout                   90s         90s  20s");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 1");
    cli(&server, &["audit", "--app", "hello"]).succeeded().says("limit timeout").says("limit schedules");
    // Other apps keep their limits.
    repository.push(&server.git_url("other"), &["main"]).refused().says("more than the 20s");
}

/// The attack: 14 MB/s from a token for previews. It ends at the quota, and production still has space.
fn preview_token_cannot_fill_the_disk(database: Database) {
    let server = Server::start_with(database, &["--app-disk", "4MiB"]);
    let repository = Repository::hello();
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    let attacker = token(&server, "attacker", &["hello:preview"]);
    let url = url(&server, &attacker, "hello");
    let used = || {
        api(&server, TOKEN, "GET", "apps/hello/limits", None).json()["used"]["disk_bytes"].as_u64().unwrap()
    };
    let mut accepted = 0;
    let refused = (0..20).find_map(|number| {
        repository.git(&["checkout", "-q", "--orphan", &format!("try{number}")]);
        repository.write("noise", incompressible(700_000, number));
        repository.commit("noise");
        let before = used();
        let pushed = repository.push(&url, &["-f", "HEAD:try"]);
        accepted += u32::from(pushed.accepted);
        (!pushed.accepted).then_some((before, pushed))
    });
    let (before, refused) = refused.expect("the quota ends it");
    refused
        .says("but the limit is 4.0 MiB, of which previews can use 3.5 MiB")
        .says("free space with  picloud apps prune hello")
        .says("or have an admin raise the limit with  picloud apps limits hello --disk 8MiB");
    assert_eq!((accepted, used()), (5, before), "rejected pushes store nothing");
    assert!(before < 7 << 19, "{before}");
    // A push without new objects is accepted, and production has its own share.
    repository.git(&["checkout", "-q", "main"]);
    repository.push(&url, &["main:small"]).succeeded();
    repository.write("more", incompressible(300_000, 99));
    repository.commit("more");
    repository.push(&url, &["main:more"]).refused().says("but the limit is 4.0 MiB");
    repository.push(&server.git_url("hello"), &["main"]).succeeded().says("LIVE as deploy");
    cli(&server, &["apps", "limits", "hello", "--disk", "16MiB"]).succeeded();
    repository.push(&url, &["-f", "try5:try"]).succeeded();
}

/// The response of an app to a body of so many bytes.
fn post(server: &Server, bytes: usize) -> Response {
    server.request("POST", "/hello/size", &[], Some(&vec![b'x'; bytes]))
}

fn lowered_limit_does_not_affect_live_revision(database: Database) {
    let mut server = Server::start(database);
    let repository = hello_with(
        "\n[[routes]]\npath = \"/size\"\nscript = \"size.rhai\"\n\n[[routes]]\npath = \"/count\"\nscript = \"count.rhai\"\n",
    );
    repository.write("size.rhai", "ctx.request.body.len()");
    repository.write("count.rhai", "let sum = 0; for n in 0..100000 { sum += n; } sum");
    repository.commit("size and count");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    assert_eq!((post(&server, 2000).body, server.get("/hello/count").status), ("2000".to_owned(), 200));
    let lower = ["apps", "limits", "hello", "--body", "1KiB", "--operations", "1000"];
    cli(&server, &lower).succeeded().says("body                      1KiB");
    let is_lowered = |server: &Server| {
        assert_eq!((post(server, 2000).status, post(server, 1000).body), (413, "1000".to_owned()));
        let failed = server.get("/hello/count");
        assert_eq!(failed.status, 500, "{}", failed.body);
        assert_eq!(server.get("/hello/greet/Ann").status, 200);
    };
    is_lowered(&server);
    server.kill();
    server.restart();
    is_lowered(&server);
    // An accepted commit is accepted again, and runs within the limits.
    let url = server.git_url("hello");
    let first = repository.head();
    repository.write("readme.md", "next");
    repository.commit("next");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2");
    repository.push(&url, &["-f", &format!("{first}:main")]).succeeded().says("(already validated)");
    is_lowered(&server);
    cli(&server, &["apps", "limits", "hello", "--body", "default", "--operations", "default"]).succeeded();
    assert_eq!((post(&server, 2000).body, server.get("/hello/count").status), ("2000".to_owned(), 200));
}

fn previews_per_app_are_limited(database: Database) {
    let server = Server::start_with(database, &["--app-previews", "2"]);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main", "main:a", "main:b"]).succeeded();
    repository
        .push(&url, &["main:c"])
        .refused()
        .says("the app would have 3 previews, more than the limit of 2; delete a branch first, or have an admin")
        .says("picloud apps limits hello --previews 3");
    repository.commit("next");
    // Existing previews can be pushed to, together with one that is too many, and a deleted one frees its slot.
    repository.push(&url, &["main:a", "main:c", "main"]).refused().says("PREVIEW").says("LIVE as deploy");
    repository.push(&url, &[":b", "main:c"]).succeeded();
    // A branch that is not served does not count.
    repository.git(&["checkout", "-q", "--orphan", "pages"]);
    repository.git(&["rm", "-q", "-rf", "."]);
    repository.write("index.html", "<p>");
    repository.commit("pages");
    repository.push(&url, &["pages"]).succeeded().says("has no picloud.toml");
    cli(&server, &["apps", "limits", "hello", "--previews", "0"]).succeeded();
    repository.git(&["checkout", "-q", "main"]);
    repository
        .push(&url, &["main:d"])
        .refused()
        .says("the app would have 3 previews, more than the limit of 0");
    repository.push(&url, &["main:a"]).succeeded();
}

#[test]
fn app_limits_are_read_by_readers_and_changed_by_admins() {
    let server = Server::start(Database::sqlite());
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    let reader = token(&server, "reader", &["hello:read"]);
    let deployer = token(&server, "deployer", &["hello:deploy,force,secrets,invoke"]);
    let limits = |token: &str| api(&server, token, "GET", "apps/hello/limits", None);
    assert_eq!(limits(&reader).json()["granted"]["disk_bytes"], json!(1 << 30));
    cli_as(&server, &reader, &["apps", "limits", "hello"]).succeeded().says("disk                      1GiB");
    assert_eq!(limits(&deployer).status, 403);
    let change = |token: &str, limits: serde_json::Value| {
        api(&server, token, "PATCH", "apps/hello/limits", Some(&limits))
    };
    assert_eq!(change(&reader, json!({"disk_bytes": 5})).status, 403);
    assert_eq!(change(&deployer, json!({"disk_bytes": 5})).status, 403);
    let changed = change(TOKEN, json!({"disk_bytes": 5 << 20, "previews": 3})).json();
    assert_eq!(changed["own"]["disk_bytes"], json!(5 << 20));
    let changed = change(TOKEN, json!({"disk_bytes": null})).json();
    assert_eq!((&changed["own"]["disk_bytes"], &changed["own"]["previews"]), (&json!(null), &json!(3)));
    assert_eq!(changed, limits(TOKEN).json());
    for (wrong, expected) in [
        (json!({"timeout_ms": 0}), "timeout must be between 1ms and 24h"),
        (json!({"concurrency": 100_001}), "concurrency must be between 1 and 100000"),
        (json!({"disk": 1}), "unknown field `disk`"),
        (json!({"previews": -1}), "invalid"),
    ] {
        let response = change(TOKEN, wrong);
        assert!(response.status == 400 && response.body.contains(expected), "{}", response.body);
    }
    assert_eq!(limits(TOKEN).json(), changed, "rejected requests change nothing");
    assert_eq!(change(TOKEN, json!({})).json(), changed);
    cli(&server, &["apps", "limits", "absent"]).refused().says("app not found");
    cli(&server, &["apps", "limits", "hello", "--disk", "much"])
        .refused()
        .says("write a size such as 512KiB, 32MiB or 1GiB, or default");
}

#[test]
fn limits_below_minimum_are_rejected() {
    let server = Server::start(Database::sqlite());
    let (code, text) = server.fails_to_start(&["--app-timeout", "0s"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("error: --app-timeout must be between 1ms and 24h"), "{text}");
}

#[test]
fn changed_limit_applies_on_all_nodes() {
    let nodes = nodes(&Database::postgres(), &["one", "two"]);
    let repository = hello_with("\n[[routes]]\npath = \"/size\"\nscript = \"size.rhai\"\n");
    repository.write("size.rhai", "ctx.request.body.len()");
    repository.commit("size");
    repository.push(&nodes[0].git_url("hello"), &["main"]).succeeded().says("on 2/2 nodes");
    assert_eq!(post(&nodes[1], 2000).body, "2000");
    cli(&nodes[0], &["apps", "limits", "hello", "--body", "1KiB"]).succeeded();
    assert_eq!(post(&nodes[0], 2000).status, 413);
    until("the other node applies the limit", || (post(&nodes[1], 2000).status == 413).then_some(()));
}
