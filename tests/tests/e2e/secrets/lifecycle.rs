//! Secrets are set, read, changed, listed and unset.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::{Database, Server, TOKEN, on_both_databases, until};

use super::{app, secrets};
use crate::access::token;

on_both_databases!(secret_is_set_before_push_and_changed_after_it);

fn api(server: &Server, path: &str) -> Value {
    let bearer = format!("Bearer {TOKEN}");
    server.request("GET", &format!("/-/api/v1/{path}"), &[("authorization", &bearer)], None).json()
}

fn secret_is_set_before_push_and_changed_after_it(database: Database) {
    let mut server = Server::start_with(database, &[]);
    let repository = app();
    let url = server.git_url("hello");
    repository
        .push(&url, &["main"])
        .refused()
        .says("required secret API_KEY is not set")
        .says("picloud secrets set API_KEY")
        .says("nothing changed");
    secrets(&server, &["set", "API_KEY"], "tangerine-1\n").succeeded().says("set API_KEY\n");
    secrets(&server, &["set", "API_KEY", "--preview"], "mandarin-1").succeeded();
    repository.push(&url, &["main", "main:next"]).succeeded().says("LIVE as deploy 1").says("sdk 1.2");
    assert_eq!(server.get("/hello/").body, "\"Hello 11 true\"");

    let set = secrets(&server, &["set", "API_KEY"], "clementine-22");
    set.succeeded().says("redeployed main as deploy");
    assert_eq!(server.get("/hello/").body, "\"Hello 13 false\"");
    assert_eq!(server.get("/hello@next/").body, "\"Hello 10 true\"");
    assert_eq!(
        api(&server, "apps")["apps"][0]["live"]["deploy"].as_u64().map(|deploy| deploy > 2),
        Some(true)
    );
    let listed = repository.git(&["ls-remote", &url, "refs/deploys/*"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");

    secrets(&server, &["list"], "").succeeded().says("API_KEY  production  ").says("admin");
    secrets(&server, &["set", "UNUSED"], "nobody reads it").succeeded();
    secrets(&server, &["unset", "API_KEY"], "")
        .refused()
        .says("requires it; push a revision that does not first");
    secrets(&server, &["unset", "UNUSED"], "").succeeded().says("unset UNUSED\n");
    secrets(&server, &["unset", "UNUSED"], "").refused().says("secret not found");
    let acts = api(&server, "audit?app=hello&limit=100")["events"].as_array().expect("acts").clone();
    let of = |action: &str| acts.iter().filter(|act| act["action"] == action).count();
    assert_eq!((of("secret.set"), of("secret.unset")), (4, 1), "{acts:?}");
    assert!(acts.iter().any(|act| act["action"] == "secret.set" && act["deploy"] == 3), "{acts:?}");

    if !server.database.is_external() {
        server.kill();
        server.restart();
        until("it is served", || (server.get("/hello/").body == "\"Hello 13 false\"").then_some(()));
    }
}

#[test]
fn weak_secret_value_gets_a_warning() {
    let server = Server::start(Database::sqlite());
    let set = secrets(&server, &["set", "API_KEY"], "tangerine-1").succeeded();
    assert!(!set.text.contains("warning"), "{}", set.text);
    app().push(&server.git_url("hello"), &["main"]).succeeded();
    secrets(&server, &["set", "OTHER"], "abc")
        .succeeded()
        .says("warning: a secret shorter than 4 bytes is neither redacted in logs nor detected in pushes");
    secrets(&server, &["set", "OTHER"], "production").succeeded().says("a word that can occur in other text");
    secrets(&server, &["set", "OTHER"], "20261130").succeeded().says("a number that can occur in other text");
    let stands = "is in main.rhai, which is live on main";
    secrets(&server, &["set", "OTHER"], "ctx.env.GREETING").succeeded().says(stands);
    // A token that cannot read the code does not learn its content.
    let blind = token(&server, "blind", &["hello:secrets"]);
    let bearer = format!("Bearer {blind}");
    let headers = [("authorization", &*bearer), ("content-type", "application/json")];
    let response = server.request(
        "PUT",
        "/-/api/v1/apps/hello/secrets/OTHER",
        &headers,
        Some(br#"{"value": "ctx.env.GREETING"}"#),
    );
    assert_eq!(response.status, 200, "{}", response.body);
    assert!(!response.body.contains("main.rhai"), "{}", response.body);
}

#[test]
fn typed_value_is_not_echoed() {
    let server = Server::start(Database::sqlite());
    let command = format!("{} secrets set API_KEY --app hello", tests::server::picloud().display());
    let mut process = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("PICLOUD_URL", format!("http://{}", server.address))
        .env("PICLOUD_TOKEN", TOKEN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script(1) of util-linux");
    let (mut keys, mut screen) =
        (process.stdin.take().expect("a pipe"), process.stdout.take().expect("a pipe"));
    let mut shown = Vec::new();
    while !shown.ends_with(b": ") {
        let mut byte = [0];
        assert_eq!(screen.read(&mut byte).expect("the prompt"), 1, "{}", String::from_utf8_lossy(&shown));
        shown.push(byte[0]);
    }
    keys.write_all(b"tangerine-77\n").expect("typed input");
    screen.read_to_end(&mut shown).expect("the rest");
    assert!(process.wait().expect("the process exits").success());
    let shown = String::from_utf8(shown).expect("text");
    assert!(shown.contains("\nset API_KEY\r\n") && !shown.contains("tangerine"), "{shown:?}");
    secrets(&server, &["list"], "").succeeded().says("API_KEY");
}

#[test]
fn secret_set_during_pushes_is_served() {
    let server = Server::start(Database::sqlite());
    let repository = app();
    let url = server.git_url("hello");
    secrets(&server, &["set", "API_KEY"], &"x".repeat(10)).succeeded();
    repository.push(&url, &["main"]).succeeded();
    for round in 1..=8 {
        repository.git(&["commit", "-q", "--allow-empty", "-m", &format!("round {round}")]);
        let length = 10 + round;
        std::thread::scope(|scope| {
            scope.spawn(|| repository.push(&url, &["main"]).succeeded());
            scope.spawn(|| secrets(&server, &["set", "API_KEY"], &"x".repeat(length)).succeeded());
        });
        assert_eq!(server.get("/hello/").body, format!("\"Hello {length} false\""), "round {round}");
        let served = server.get("/hello/");
        assert_eq!(served.header("picloud-revision"), Some(repository.head().as_str()), "round {round}");
    }
}

#[test]
fn invalid_secret_value_is_rejected() {
    let server = Server::start(Database::sqlite());
    secrets(&server, &["set", "API_KEY"], "\n").refused().says("a secret must be 1 to 16384 bytes");
    secrets(&server, &["set", "API_KEY"], &"x".repeat(17_000))
        .refused()
        .says("a secret must be 1 to 16384 bytes");
    secrets(&server, &["set", "API_KEY"], &"\u{1}".repeat(16_384)).succeeded();
    secrets(&server, &["set", "API_KEY"], "abc").succeeded().says("warning: a secret shorter than 4 bytes");
    secrets(&server, &["set", "api-key"], "tangerine").refused().says("must be 1 to 64 characters of A-Z");
    let bearer = format!("Bearer {TOKEN}");
    let put = |body: &str| {
        let path = "/-/api/v1/apps/hello/secrets/API_KEY";
        server.request("PUT", path, &[("authorization", &bearer)], Some(body.as_bytes()))
    };
    let response = put("{\"value\": [\"tangerine\"]}");
    assert!(response.status == 400 && !response.body.contains("tangerine"), "{}", response.body);
}

#[test]
fn changed_secret_applies_on_all_nodes_at_once() {
    let database = Database::postgres();
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), "ab".repeat(32)).expect("a key");
    let flags = ["--secret-key-file", keys.path().to_str().expect("a path")];
    let one = Server::start_with(database.clone(), &flags);
    let other = Server::start_with(database, &flags);
    let repository = app();
    secrets(&one, &["set", "API_KEY"], "tangerine-1").succeeded();
    repository.push(&one.git_url("hello"), &["main"]).succeeded().says("on 2/2 nodes");
    assert_eq!(other.get("/hello/").body, "\"Hello 11 true\"");
    secrets(&other, &["set", "API_KEY"], "clementine-22").succeeded();
    assert_eq!(
        (one.get("/hello/").body, other.get("/hello/").body),
        ("\"Hello 13 false\"".into(), "\"Hello 13 false\"".into())
    );
}
