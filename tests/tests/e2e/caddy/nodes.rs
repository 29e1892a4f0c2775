//! Several nodes, balanced by their readiness.

use tests::{Database, Repository, Server, until};

use super::{Caddy, DOMAIN, Release, free_port, send_requests_during, with_each_release};

with_each_release!(stopping_one_node_under_load_fails_no_request);

const MANIFEST: &str = r#"sdk = "1.1"

[app]
domains = ["shop.example"]

[[routes]]
path = "/"
script = "hello.rhai"
"#;

fn stopping_one_node_under_load_fails_no_request(release: Release) {
    let database = Database::postgres();
    let flags = |name: &'static str| {
        ["--domain", DOMAIN, "--node-name", name, "--shutdown-delay", "5s", "--domain-verification", "off"]
    };
    let first = Server::start_with(database.clone(), &flags("first"));
    let mut second = Server::start_with(database, &flags("second"));
    let nodes = format!("{} {}", first.address, second.address);
    let request_at = format!("127.0.0.1:{}", free_port());
    let caddy =
        Caddy::start(release, "Caddyfile.nodes", &[("PICLOUD_NODES", &nodes), ("PICLOUD_ASK", &request_at)]);
    caddy.ready();
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("hello.rhai", "\"hello\"");
    repository.commit("shop");
    caddy.for_git(&repository);
    repository.push(&caddy.git_url("hello"), &["main"]).succeeded().says("on 2/2 nodes");
    assert_eq!(caddy.curl("shop.example", "/", &[]).status, 200);
    assert_eq!(caddy.curl("other.example", "/", &[]).status, 0);

    let send = |arguments: &[&str]| {
        let got = caddy.curl("shop.example", "/", arguments);
        if got.status == 200 { Ok(()) } else { Err(format!("{got:?}")) }
    };
    let requests = send_requests_during(
        || send(&[]).and_then(|()| send(&["-X", "POST"])),
        || {
            second.stop();
            second.restart_in_place();
            until("it is ready", || (second.get("/-/health/ready").status == 200).then_some(()));
        },
    );
    assert!(requests > 40, "{requests}");
    // Like a machine that loses power. A POST that the node has received cannot be sent again.
    let requests = send_requests_during(
        || send(&[]),
        || {
            second.kill();
            second.restart_in_place();
        },
    );
    assert!(requests > 40, "{requests}");
}
