//! One node on a network without names.

use std::io::Write as _;
use std::net::TcpStream;

use tests::{Database, Repository, Server, TOKEN, until};

use super::{Caddy, free_port};

fn lan(server: &Server) -> (Caddy, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let site = format!("http://{address}");
    let caddy = Caddy::start("Caddyfile.lan", &[("PICLOUD_NODE", &server.address), ("PICLOUD_SITE", &site)]);
    until("the proxy answers", || {
        let answer = ureq::get(format!("{site}/-/health/ready")).call().ok()?;
        (answer.status() == 200).then_some(())
    });
    (caddy, address)
}

#[test]
fn a_push_a_clone_and_a_call_go_through_the_proxy() {
    let server = Server::start(Database::sqlite());
    let (_caddy, address) = lan(&server);
    let repository = Repository::hello();
    let url = format!("http://ada:{TOKEN}@{address}/hello.git");
    repository
        .push(&url, &["main"])
        .succeeded()
        .says("LIVE as deploy 1")
        .says(&format!("http://{address}/hello/"));
    let mut answer = ureq::get(format!("http://{address}/hello/greet/Ann")).call().unwrap();
    assert_eq!(answer.body_mut().read_to_string().unwrap(), r#"{"message":"Hello, Ann"}"#);
    // Answers that come at once were cut off now and then, see the Caddyfile.
    for _ in 0..10 {
        assert_eq!(Repository::clone_of(&url).head(), repository.head());
    }
}

/// The bytes of pushes that are still arriving: files without a name in the node's data folder.
fn arriving(server: &Server) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().filter_map(Result::ok);
    let spooled = open.filter(|file| {
        let named = std::fs::read_link(file.path()).unwrap_or_default();
        named.starts_with(server.data_dir()) && named.to_string_lossy().ends_with("(deleted)")
    });
    spooled.filter_map(|file| std::fs::metadata(file.path()).ok()).map(|file| file.len()).sum()
}

#[test]
fn a_large_push_streams_through() {
    let server = Server::start(Database::sqlite());
    let (_caddy, address) = lan(&server);
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
        // All but what the sockets on the way hold has come to the node, while the client is not at its end.
        let most = sent * 0x10_0000;
        until("it arrives", || (arriving(&server) + 0x8_0000 >= most).then_some(()));
    }
}
