//! Incomplete request bodies.

use std::time::{Duration, Instant};

use tests::{Server, Wire, until};

use super::{MEMORY, MIB, assert_within_memory, bytes_held, node, rejected_for_memory};

/// The limit of a body of `app`.
const BODY_MAX: usize = MIB as usize;

fn head(length: usize) -> String {
    format!(
        "POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// A body to `app` without its last byte.
fn incomplete_body(server: &Server) -> Wire {
    let mut wire = Wire::sent(server, head(BODY_MAX));
    wire.send(vec![b'a'; BODY_MAX - 1]);
    wire
}

#[test]
fn incomplete_bodies_hold_at_most_the_memory_share_of_their_app() {
    const MANY: u64 = 300;
    let server = node(&["--body-timeout", "60s"]);
    let before = server.peak_memory();
    let mut first = incomplete_body(&server);
    until("the first body is read", || (bytes_held(&server, "requests") >= MIB).then_some(()));
    let others: Vec<Wire> = (1..MANY).map(|_| incomplete_body(&server)).collect();
    let refused = until("the share of the app is used up", || {
        let refused = rejected_for_memory(&server, "app");
        (refused >= MANY - MEMORY / 2 / MIB).then_some(refused)
    });
    let bytes = bytes_held(&server, "requests");
    assert!((MEMORY / 8..=MEMORY / 2).contains(&bytes), "{refused} rejected, {bytes} bytes held");
    // Complete bodies hold no memory, and other apps have their own share.
    assert_eq!(server.request("POST", "/app/", &[("content-type", "text/plain")], Some(b"abc")).body, "3");
    let large = vec![b'a'; BODY_MAX];
    assert_eq!(
        server.request("POST", "/other/", &[("content-type", "text/plain")], Some(&large)).body,
        "1048576"
    );
    assert_eq!(server.get("/app/hello").status, 200);
    // Some of the rejected ones had freed a little memory.
    let mut late: Vec<Wire> = Vec::new();
    while late.iter_mut().all(Wire::is_silent) {
        late.push(incomplete_body(&server));
    }
    let response = late.last_mut().map(Wire::response).unwrap();
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(response.json()["error"], "the app is at its memory limit; try again in a moment");
    assert_within_memory(&server, before);
    let log = server.log();
    assert_eq!(log.matches("requests rejected: out of memory").count(), 1, "rate-limited: {log}");
    first.send("a");
    assert_eq!(first.response().body, "1048576");
    drop((others, late));
    until("all memory is freed", || (bytes_held(&server, "requests") == 0).then_some(()));
    assert!(incomplete_body(&server).is_silent(), "there is memory again");
}

#[test]
fn trickling_body_is_ended_by_min_rate() {
    // The rate is an average over a third of the timeout, and the first third is free.
    let server = node(&["--body-timeout", "6s", "--min-rate", "1KiB/s"]);
    let start = Instant::now();
    let mut wire = Wire::sent(&server, head(BODY_MAX));
    wire.send(vec![b'a'; BODY_MAX - 1000]);
    while wire.is_silent() {
        wire.send("a");
    }
    let response = wire.response();
    assert_eq!(response.status, 408);
    assert_eq!(response.json()["error"], "request body slower than 1024 bytes per second");
    assert!(start.elapsed() < Duration::from_millis(5500), "{:?}", start.elapsed());
    // A body at the minimum rate is accepted.
    let mut slow = Wire::sent(&server, head(20_000));
    for _ in 0..20 {
        slow.send(vec![b'a'; 1000]);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(slow.response().body, "20000");
}

#[test]
fn incomplete_body_holds_no_slot() {
    let server = super::node_with(&[], "[limits]\nconcurrency = 1\n");
    let slow: Vec<Wire> = (0..20).map(|_| incomplete_body(&server)).collect();
    until("the bodies are read", || (bytes_held(&server, "requests") >= 10 * MIB).then_some(()));
    assert_eq!(server.get("/app/hello").status, 200);
    drop(slow);
}
