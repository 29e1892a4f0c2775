//! Tokens: created, used, revoked, expired, and invalid.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN, Wire, on_both_databases, until};

use super::{api, cli, cli_as, token, url};

on_both_databases!(token_is_shown_once_and_works_until_revoked);

fn token_is_shown_once_and_works_until_revoked(database: Database) {
    let server = Server::start(database);
    let created =
        cli(&server, &["tokens", "create", "ci", "--scope", "hello:deploy,read", "--scope", "*:create"]);
    let created = created
        .succeeded()
        .says("created token ci with scopes *:create hello:read hello:deploy; it does not expire");
    let secret = created.text.lines().find(|line| line.starts_with("pcl_")).expect("the token").to_owned();
    let repository = Repository::hello();
    repository
        .push(&url(&server, &secret, "hello"), &["main"])
        .succeeded()
        .says("by ci")
        .says("LIVE as deploy 1");
    let listed = until("the use is recorded", || {
        let listed = cli(&server, &["tokens", "list"]).succeeded().text;
        let row = listed.lines().find(|line| line.starts_with("ci "))?.to_owned();
        row.split("never").count().eq(&2).then_some(row)
    });
    assert!(listed.contains("*:create hello:read hello:deploy") && !listed.contains(&secret), "{listed}");
    assert!(!api(&server, TOKEN, "GET", "tokens", None).body.contains(&secret[10..]));
    cli(&server, &["tokens", "create", "ci", "--scope", "admin"])
        .refused()
        .says("a token with this name exists");
    cli(&server, &["tokens", "revoke", "ci"]).succeeded().says("revoked ci");
    repository
        .try_git(&["ls-remote", &url(&server, &secret, "hello")])
        .refused()
        .says("Authentication failed");
    cli(&server, &["tokens", "revoke", "ci"]).refused().says("token not found");
    assert!(!server.log().contains(&secret), "the log holds the token");
}

#[test]
fn expired_token_is_rejected() {
    let server = Server::start(Database::sqlite());
    let body = serde_json::json!({"name": "brief", "scopes": ["admin"], "expires_in_seconds": 1});
    let created = api(&server, TOKEN, "POST", "tokens", Some(&body));
    assert_eq!(created.header("cache-control"), Some("no-store"));
    let secret = created.json()["secret"].as_str().expect("a token").to_owned();
    let refused = until("the token expires", || {
        let response = api(&server, &secret, "GET", "apps", None);
        (response.status == 401).then_some(response)
    });
    assert!(refused.body.contains("the token has expired"), "{}", refused.body);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn invalid_tokens_are_rate_limited_and_valid_ones_are_not() {
    let server = Server::start(Database::sqlite());
    let right = token(&server, "ci", &["*:read"]);
    let mistyped = format!("{}a", &right[..right.len() - 1]);
    let statuses: Vec<u16> = (0..12).map(|_| api(&server, &mistyped, "GET", "apps", None).status).collect();
    assert_eq!(statuses, [[401; 10].as_slice(), &[429; 2]].concat());
    let refused = api(&server, "anything", "GET", "apps", None);
    let seconds: u32 = refused.header("retry-after").expect("a time").parse().expect("a number");
    assert!(refused.status == 429 && (1..=60).contains(&seconds), "{refused:?}");
    Repository::hello()
        .try_git(&["ls-remote", &url(&server, "anything", "hello")])
        .refused()
        .says("too many invalid tokens");
    // Other clients are not affected.
    assert_eq!(api(&server, &right, "GET", "apps", None).status, 200);
    assert_eq!(api(&server, TOKEN, "GET", "apps", None).status, 200);
    assert_eq!(server.request("GET", "/-/api/v1/apps", &[], None).status, 401);
    assert!(server.log().contains("too many invalid tokens from this address"), "{}", server.log());
}

#[test]
fn valid_tokens_get_503_during_database_outage() {
    let postgres = tests::Postgres::start();
    let server = Server::start(Database::at(&postgres.url()));
    let right = token(&server, "ci", &["admin"]);
    postgres.stop();
    let response = api(&server, &right, "GET", "apps", None);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("5")), "{}", response.body);
    assert_eq!(api(&server, "pcl_mistyped", "GET", "apps", None).status, 401);
    Repository::hello()
        .try_git(&["ls-remote", &url(&server, &right, "hello")])
        .refused()
        .says("the database did not respond within");
}

#[test]
fn only_admin_creates_tokens() {
    let server = Server::start(Database::sqlite());
    let all_but_admin = token(&server, "much", &["*:read,preview,deploy,force,invoke,secrets,create"]);
    for arguments in [
        &["tokens", "list"][..],
        &["tokens", "create", "x", "--scope", "admin"],
        &["tokens", "revoke", "much"],
        &["audit"],
        &["nodes"],
    ] {
        cli_as(&server, &all_but_admin, arguments).refused().says("it needs the scope admin");
    }
    let admin = token(&server, "deputy", &["admin"]);
    cli_as(&server, &admin, &["tokens", "create", "x", "--scope", "*:read"]).succeeded();
    cli_as(&server, &admin, &["tokens", "create", "y", "--scope", "*:fly"])
        .refused()
        .says("invalid scope `*:fly`");
    cli_as(&server, &admin, &["tokens", "create", "a b", "--scope", "*:read"])
        .refused()
        .says("a token name must be");
}

#[test]
fn token_is_never_stored_as_a_name() {
    let server = Server::start(Database::sqlite());
    let other = token(&server, "other", &["*:read"]);
    let repository = Repository::hello();
    for (at, name) in [TOKEN, &other, &format!("x{other}")].into_iter().enumerate() {
        let url = format!("http://{name}:{TOKEN}@{}/hello.git", server.address);
        repository.commit("more");
        let pushed = repository.push(&url, &["main"]).succeeded().says("by admin");
        let output = pushed.text.lines().filter(|line| line.starts_with("remote:"));
        assert!(!output.clone().any(|line| line.contains(name)), "{at}: {}", pushed.text);
    }
    for path in ["apps/hello/deploys", "audit?limit=1000", "apps", "tokens"] {
        let shown = api(&server, TOKEN, "GET", path, None).body;
        assert!(!shown.contains(TOKEN) && !shown.contains(&other), "{path}: {shown}");
    }
    assert!(!server.log().contains(TOKEN) && !server.log().contains(&other), "{}", server.log());
    for file in std::fs::read_dir(server.data_dir()).unwrap() {
        let path = file.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for token in [TOKEN, &other] {
            let holds = bytes.windows(token.len()).any(|part| part == token.as_bytes());
            assert!(!holds, "{} holds a token", path.display());
        }
    }
}

/// Follows the logs of an app.
fn follow(server: &Server, token: &str, app: &str) -> Wire {
    let request = format!(
        "GET /-/api/v1/apps/{app}/logs/stream HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n",
        server.address
    );
    Wire::sent(server, request)
}

#[test]
fn streams_of_revoked_or_expired_token_are_closed() {
    let server = Server::start(Database::sqlite());
    for app in ["hello", "other"] {
        Repository::hello().push(&server.git_url(app), &["main"]).succeeded();
    }
    let revoked = token(&server, "revoked", &["*:read"]);
    let body = serde_json::json!({"name": "brief", "scopes": ["*:read"], "expires_in_seconds": 3});
    let brief =
        api(&server, TOKEN, "POST", "tokens", Some(&body)).json()["secret"].as_str().unwrap().to_owned();
    let mut streams = [
        follow(&server, &revoked, "hello"),
        follow(&server, &brief, "hello"),
        follow(&server, TOKEN, "other"),
    ];
    let mut stays = follow(&server, TOKEN, "hello");
    for stream in streams.iter_mut().chain([&mut stays]) {
        assert_eq!(stream.head().status, 200);
    }
    cli(&server, &["tokens", "revoke", "revoked"]).succeeded();
    cli(&server, &["apps", "delete", "other", "--yes"]).succeeded();
    let start = Instant::now();
    streams.iter_mut().for_each(|stream| drop(stream.rest()));
    println!("streams ended {:?} after their tokens", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    // The other streams get only heartbeats.
    server.get("/hello/greet/Ann");
    assert!(!stays.is_closed());
}

#[test]
fn streams_of_one_token_leave_slots_for_others() {
    let server = Server::start(Database::sqlite());
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    let (hog, other) = (token(&server, "hog", &["*:read"]), token(&server, "other", &["*:read"]));
    let mut all: Vec<Wire> = (0..16).map(|_| follow(&server, &hog, "hello")).collect();
    all.iter_mut().for_each(|stream| assert_eq!(stream.head().status, 200));
    let refused = follow(&server, &hog, "hello").head();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    assert_eq!(follow(&server, &other, "hello").head().status, 200);
    assert_eq!(follow(&server, TOKEN, "hello").head().status, 200);
}

/// The output of a node's first start without a preset token, on a terminal or not.
fn greeting(folder: &Path, on_a_terminal: bool) -> String {
    let picloud = picloud().display().to_string();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", folder.to_str().unwrap()];
    let mut command = match on_a_terminal {
        true => {
            let mut command = Command::new("script");
            let shell = [&[picloud.as_str()], serve.as_slice()].concat().join(" ");
            command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]);
            command
        }
        false => {
            let mut command = Command::new(picloud);
            command.args(serve);
            command
        }
    };
    command.env_remove("PICLOUD_ADMIN_TOKEN").env_remove("DATABASE_URL").process_group(0);
    let mut node = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines().map(|line| line.unwrap_or_default());
    let mut expected = String::new();
    while !expected.contains("first push") {
        expected += &lines.next().expect("a greeting");
    }
    let _ = rustix::process::kill_process_group(Pid::from_child(&node), Signal::KILL);
    let _ = node.wait();
    expected
}

#[test]
fn first_admin_token_is_shown_on_a_terminal_only() {
    let [terminal, journal] = [true, false].map(|on_a_terminal| {
        let folder = tempfile::tempdir().unwrap();
        let expected = greeting(folder.path(), on_a_terminal);
        let kept = std::fs::read_to_string(folder.path().join("admin-token")).unwrap();
        let path = folder.path().join("admin-token").display().to_string();
        assert!(expected.contains("new, ") && expected.contains(&path), "{expected}");
        expected.contains(kept.trim())
    });
    assert!(terminal && !journal);
}
