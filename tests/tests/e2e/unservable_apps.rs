//! Apps that a node cannot serve: it reports which and why, serves the others, and recovers without a restart.

use std::fs;
use std::time::Instant;

use tests::faults::recovered;
use tests::{Database, Repository, Response, Server, TOKEN, on_both_databases, until};

on_both_databases!(unservable_app_does_not_affect_others);

/// An app whose production needs a secret and has a custom domain.
fn shop(server: &Server) {
    let repository = Repository::new();
    let route =
        "[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n[[functions]]\nname = \"f\"\nscript = \"a.rhai\"\n";
    let head = "sdk = \"1.2\"\n[app]\ndomains = [\"shop.example\"]\n[secrets]\nrequired = [\"KEY\"]\n";
    repository.write("picloud.toml", format!("{head}{route}"));
    repository.write("a.rhai", "ctx.secrets.KEY.len()");
    repository.commit("shop");
    assert_eq!(api(server, "PUT", "/apps/shop", None).status, 201);
    assert_eq!(api(server, "PUT", "/apps/shop/secrets/KEY", Some(r#"{"value":"tangerine"}"#)).status, 200);
    repository.push(&server.git_url("shop"), &["main"]).succeeded();
}

fn api(server: &Server, method: &str, path: &str, body: Option<&str>) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    server.request(method, &format!("/-/api/v1{path}"), &headers, body.map(str::as_bytes))
}

/// Asserts that a response asks the client to retry.
#[track_caller]
fn assert_unavailable(response: &Response) {
    assert_eq!((response.status, response.header("retry-after")), (503, Some("15")), "{response:?}");
}

fn unservable_app_does_not_affect_others(database: Database) {
    let key = tempfile::tempdir().unwrap();
    let key = key.path().join("key");
    fs::write(&key, "ab".repeat(32)).unwrap();
    let mut server = Server::start_with(
        database,
        &["--secret-key-file", key.to_str().unwrap(), "--domain-verification", "off"],
    );
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    let broken = Repository::hello();
    broken.push(&server.git_url("broken"), &["main", "main:next"]).succeeded();
    shop(&server);
    assert_eq!(server.get("/-/health/ready").status, 200);

    // The key and the objects of a commit are lost.
    server.stop();
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let blobs = "kind = 'blob' AND repository = (SELECT repository FROM apps WHERE name = 'broken')";
    server.execute_sql(&[
        &format!("CREATE TABLE lost AS SELECT * FROM objects WHERE {blobs}"),
        &format!("DELETE FROM objects WHERE {blobs}"),
    ]);
    server.restart();

    let ready = server.get("/-/health/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.body.starts_with("cannot serve the latest revision of 2 of 3 apps: broken: "), "{ready:?}");
    assert!(ready.body.contains("; shop: there is no secret key in "), "{ready:?}");
    assert_eq!(
        server.get("/-/health/serving").status,
        200,
        "the load balancer keeps it, since it serves hello"
    );
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
    for path in ["/broken/greet/Ann", "/broken@next/greet/Ann", "/shop/"] {
        assert_unavailable(&server.get(path));
    }
    for host in ["shop.example", "shop.localhost", "next--broken.localhost"] {
        assert_unavailable(&server.request("GET", "/", &[("host", host)], None));
    }
    assert_unavailable(&api(&server, "POST", "/apps/shop/functions/f", Some("1")));
    assert_unavailable(&api(&server, "GET", "/apps/broken/routes", None));
    // Unknown apps are still not found, and certificates are renewed meanwhile.
    assert_eq!(server.get("/broken@other/").status, 404);
    assert_eq!(server.get("/nothing/").status, 404);
    assert_eq!(server.get("/-/api/v1/tls-allowed?domain=shop.example").status, 200);

    // All apps recover without a restart.
    fs::write(&key, kept).unwrap();
    server.execute_sql(&["INSERT INTO objects SELECT * FROM lost", "DROP TABLE lost"]);
    let since = Instant::now();
    until("the node is ready", || (server.get("/-/health/ready").status == 200).then_some(()));
    recovered("a lost key and lost objects of apps were put back: the node is ready and serves them", since);
    assert_eq!(server.get("/shop/").body, "9");
    assert_eq!(server.request("GET", "/", &[("host", "shop.example")], None).body, "9");
    for path in ["/broken/greet/Ann", "/broken@next/greet/Ann"] {
        assert_eq!(server.get(path).body, r#"{"message":"Hello, Ann"}"#);
    }
    let log = server.log();
    assert_eq!(log.matches("cannot serve the latest revision").count(), 2, "each is logged once:\n{log}");
}
