//! One node on a network without DNS names.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use tests::server::peak_memory;
use tests::{Database, Repository, Server, TOKEN, until};

use super::{Caddy, Release, free_port, with_each_release};

with_each_release!(
    push_clone_and_call_work_through_proxy,
    large_push_is_streamed,
    early_responses_are_complete,
    requests_rejected_before_their_bodies_are_read_keep_the_connection,
    unread_bodies_are_not_sent_after_expect_continue,
);

fn lan(release: Release, server: &Server) -> (Caddy, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let site = format!("http://{address}");
    let environment = [("PICLOUD_NODE", server.address.as_str()), ("PICLOUD_SITE", &site)];
    let caddy = Caddy::start(release, "Caddyfile.lan", &environment);
    until("the proxy responds", || {
        let response = ureq::get(format!("{site}/-/health/ready")).call().ok()?;
        (response.status() == 200).then_some(())
    });
    (caddy, address)
}

fn push_clone_and_call_work_through_proxy(release: Release) {
    let server = Server::start(Database::sqlite());
    let (_caddy, address) = lan(release, &server);
    let repository = Repository::hello();
    let url = format!("http://ada:{TOKEN}@{address}/hello.git");
    repository
        .push(&url, &["main"])
        .succeeded()
        .says("LIVE as deploy 1")
        .says(&format!("http://{address}/hello/"));
    let mut response = ureq::get(format!("http://{address}/hello/greet/Ann")).call().unwrap();
    assert_eq!(response.body_mut().read_to_string().unwrap(), r#"{"message":"Hello, Ann"}"#);
    assert_eq!(Repository::clone_of(&url).head(), repository.head());
}

/// The bytes of arriving pushes: unlinked files in the node's data folder.
fn arriving(server: &Server) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().filter_map(Result::ok);
    let spooled = open.filter(|file| {
        let named = std::fs::read_link(file.path()).unwrap_or_default();
        named.starts_with(server.data_dir()) && named.to_string_lossy().ends_with("(deleted)")
    });
    spooled.filter_map(|file| std::fs::metadata(file.path()).ok()).map(|file| file.len()).sum()
}

fn large_push_is_streamed(release: Release) {
    let server = Server::start(Database::sqlite());
    let (_caddy, address) = lan(release, &server);
    let mut client = TcpStream::connect(&address).unwrap();
    let head = format!(
        "POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    for sent in 1..=4 {
        client.write_all(b"100000\r\n").unwrap();
        client.write_all(&vec![b'x'; 0x10_0000]).unwrap();
        client.write_all(b"\r\n").unwrap();
        // All but the bytes in socket buffers has reached the node, before the client is done.
        let most = sent * 0x10_0000;
        until("the data arrives", || (arriving(&server) + 0x8_0000 >= most).then_some(()));
    }
}

const MANIFEST: &str = r#"sdk = "1.2"

[[routes]]
path = "/long"
script = "long.rhai"
"#;

/// An app that responds with 100,000 letters.
fn long_responses(server: &Server) -> String {
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("long.rhai", r#"let long = ""; long.pad(100_000, "y"); long"#);
    repository.commit("long");
    let url = server.git_url("long");
    repository.push(&url, &["main"]).succeeded();
    url
}

fn early_responses_are_complete(release: Release) {
    let server = Server::start(Database::sqlite());
    let (caddy, address) = lan(release, &server);
    long_responses(&server);
    // Requests with a length whose responses start before Caddy has seen their end.
    let clone = format!("http://ada:{TOKEN}@{address}/long.git");
    for _ in 0..60 {
        Repository::clone_of(&clone);
    }
    let agent = ureq::Agent::new_with_defaults();
    for _ in 0..100 {
        let mut response = agent.post(format!("http://{address}/long/long")).send("body").unwrap();
        assert_eq!(response.body_mut().read_to_string().unwrap().len(), 100_002);
    }
    assert!(!caddy.log().contains("aborting with incomplete response"));
}

fn requests_rejected_before_their_bodies_are_read_keep_the_connection(release: Release) {
    let server = Server::start(Database::sqlite());
    let (_caddy, address) = lan(release, &server);
    let body = vec![b'x'; 200_000];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let config = ureq::Agent::config_builder().http_status_as_error(false);
                let agent = ureq::Agent::new_with_config(config.build());
                for _ in 0..25 {
                    let nowhere =
                        agent.post(format!("http://{address}/nothing/here")).send(&body[..]).unwrap();
                    assert_eq!(nowhere.status(), 404);
                    let ready = agent.get(format!("http://{address}/-/health/ready")).call().unwrap();
                    assert_eq!(ready.status(), 200);
                }
            });
        }
    });
}

fn unread_bodies_are_not_sent_after_expect_continue(release: Release) {
    let server = Server::start(Database::sqlite());
    let (caddy, address) = lan(release, &server);
    let before = peak_memory(caddy.process.id());
    let head = format!(
        "POST /nobody.git/git-receive-pack HTTP/1.1\r\nHost: {address}\r\nContent-Length: 64000000\r\n\r\n"
    );
    let chunk = vec![b'x'; 0x10_0000];
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = TcpStream::connect(&address).unwrap();
            client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            client.write_all(head.as_bytes()).unwrap();
            // As much as the proxy accepts.
            let _ = (0..32).try_for_each(|_| client.write_all(&chunk));
            client
        })
        .collect();
    let (held, node) = (peak_memory(caddy.process.id()) - before, server.peak_memory());
    assert!(held < 64 << 20, "the proxy used {held} more bytes");
    assert!(node < 256 << 20, "the node used {node} bytes");
    drop(clients);
}
