//! The connection is lost between COMMIT and its reply: the response reports the real outcome.

use tests::{Cut, Database, Postgres, Proxy, Repository, Response, Server, TOKEN, until};

use super::get;

/// A node that connects to its PostgreSQL through a proxy.
fn node() -> (Postgres, Proxy, Server) {
    let postgres = Postgres::start();
    let proxy = Proxy::to(postgres.port());
    let url = format!("postgres://picloud@127.0.0.1:{}/postgres", proxy.port());
    let node = Server::start(Database::at(&url));
    (postgres, proxy, node)
}

fn api(node: &Server, method: &str, path: &str, body: Option<&str>) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    node.request(method, &format!("/-/api/v1/{path}"), &headers, body.map(str::as_bytes))
}

fn deploys(node: &Server) -> usize {
    api(node, "GET", "apps/hello/deploys", None).json()["deploys"].as_array().expect("deploys").len()
}

#[test]
fn push_with_lost_commit_response_reports_its_outcome() {
    let (_postgres, proxy, node) = node();
    let repository = Repository::hello();
    let url = node.git_url("hello");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 1");

    repository.write("greet.rhai", "\"second\"");
    repository.commit("second");
    proxy.cut(Cut::AfterCommit, "refs/heads/main");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2");
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(get(&node, "/hello/greet/Ann"), (200, "\"second\"".to_owned()));

    repository.write("greet.rhai", "\"third\"");
    repository.commit("third");
    proxy.cut(Cut::BeforeCommit, "refs/heads/main");
    repository.push(&url, &["main"]).refused().says("nothing was changed");
    assert_eq!((proxy.cuts(), deploys(&node)), (2, 2));
    assert_eq!(get(&node, "/hello/greet/Ann"), (200, "\"second\"".to_owned()));
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(get(&node, "/hello/greet/Ann"), (200, "\"third\"".to_owned()));

    proxy.cut(Cut::AfterCommit, "refs/heads/main");
    let rolled_back = api(&node, "POST", "apps/hello/rollback", Some("{}"));
    assert_eq!((rolled_back.status, proxy.cuts()), (200, 3), "{}", rolled_back.body);
    assert_eq!(get(&node, "/hello/greet/Ann"), (200, "\"second\"".to_owned()));
}

#[test]
fn api_request_with_lost_commit_response_reports_its_outcome() {
    let (_postgres, proxy, node) = node();
    Repository::hello().push(&node.git_url("hello"), &["main"]).succeeded();

    let set = |name: &str| {
        api(&node, "PUT", &format!("apps/hello/secrets/{name}"), Some(r#"{"value":"tangerine"}"#))
    };
    let secrets = || api(&node, "GET", "apps/hello/secrets", None).body;
    proxy.cut(Cut::AfterCommit, "KEY_ONE");
    assert_eq!((set("KEY_ONE").status, proxy.cuts()), (200, 1));
    assert!(secrets().contains("KEY_ONE"));
    proxy.cut(Cut::BeforeCommit, "KEY_TWO");
    assert_eq!((set("KEY_TWO").status, proxy.cuts()), (503, 2));
    assert!(!secrets().contains("KEY_TWO"));
    assert_eq!(set("KEY_TWO").status, 200);

    let create = |name: &str| {
        api(&node, "POST", "tokens", Some(&format!(r#"{{"name":"{name}","scopes":["hello:read"]}}"#)))
    };
    proxy.cut(Cut::AfterCommit, "robot-one");
    let created = create("robot-one");
    assert_eq!((created.status, proxy.cuts()), (201, 3), "{}", created.body);
    let bearer = format!("Bearer {}", created.json()["secret"].as_str().expect("a token"));
    let read = node.request("GET", "/-/api/v1/apps/hello/deploys", &[("authorization", &bearer)], None);
    assert_eq!(read.status, 200, "{}", read.body);
    proxy.cut(Cut::BeforeCommit, "robot-two");
    assert_eq!((create("robot-two").status, proxy.cuts()), (503, 4));
    assert!(!api(&node, "GET", "tokens", None).body.contains("robot-two"));
    assert_eq!(create("robot-two").status, 201);
}

/// A node that does not know whether a push was committed learns it from its own notification only.
#[test]
fn push_with_unknown_outcome_is_reported_and_served_eventually() {
    let (_postgres, proxy, node) = node();
    let repository = Repository::hello();
    let url = node.git_url("hello");
    repository.push(&url, &["main"]).succeeded();
    repository.write("greet.rhai", "\"second\"");
    repository.commit("second");
    proxy.cut_and_disconnect(Cut::AfterCommit, "refs/heads/main");
    let push = repository.push(&url, &["main"]).refused();
    let push = push.says("lost the connection to the database before the result was known");
    assert!(!push.text.contains("nothing was changed") && !push.text.contains("still live"), "{}", push.text);
    assert_eq!(get(&node, "/hello/greet/Ann").1, r#"{"message":"Hello, Ann"}"#);
    proxy.accept_connections();
    let back = std::time::Instant::now();
    until("the committed revision is served", || {
        (get(&node, "/hello/greet/Ann").1 == "\"second\"").then_some(())
    });
    tests::faults::recovered(
        "the response to COMMIT was lost and PostgreSQL was down: the committed revision is served",
        back,
    );
    repository.push(&url, &["main"]).succeeded().says("up-to-date");
}
