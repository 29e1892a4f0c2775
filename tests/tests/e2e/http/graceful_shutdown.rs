//! Graceful shutdown: unready first, then no new connections, and running requests finish.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::faults::recovered;
use tests::frames::{self, Frames};
use tests::{Server, Wire, until};

use super::echo;

const HELLO: &str = "GET /app/hello HTTP/1.1\r\nHost: test\r\n\r\n";

/// A request whose response starts when its last byte, `c`, has arrived.
const PARTIAL_REQUEST: &str =
    "POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nab";

fn started(server: &Server) -> Wire {
    let mut wire = Wire::sent(server, HELLO);
    assert_eq!(wire.response().status, 200);
    wire.send(PARTIAL_REQUEST);
    wire
}

fn accepts_connections(server: &Server) -> bool {
    TcpStream::connect(&server.address).is_ok()
}

#[test]
fn node_is_unready_before_the_listener_closes() {
    let mut server = echo(&["--shutdown-delay", "2s"]);
    assert_eq!(server.get("/-/health/ready").status, 200);
    server.terminate();
    until("the node is not ready", || (server.get("/-/health/ready").status == 503).then_some(()));
    assert_eq!(server.get("/-/health/live").status, 200);
    assert_eq!(server.get("/app/hello").status, 200, "existing connections are served");
    until("the listener is closed", || (!accepts_connections(&server)).then_some(()));
    until("the node stops", || server.has_stopped().then_some(()));
}

#[test]
fn running_requests_finish_and_idle_connections_are_closed() {
    let mut server = echo(&[]);
    let mut idle = Wire::sent(&server, HELLO);
    assert_eq!(idle.response().status, 200);
    let mut fresh = Wire::open(&server);
    let mut running = started(&server);
    server.terminate();
    assert!(idle.is_closed() && fresh.is_closed());
    until("the listener is closed", || (!accepts_connections(&server)).then_some(()));
    assert!(running.is_silent() && !server.has_stopped());
    running.send("c");
    let response = running.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert_eq!(response.json()["body"], "abc");
    assert!(running.is_closed());
    until("the node stops", || server.has_stopped().then_some(()));
    assert!(!server.log().contains("aborting running requests"), "{}", server.log());
}

/// Sends SIGTERM to the node, and waits until connections get their last responses.
fn start_drain(server: &mut Server) {
    server.terminate();
    until("responses close their connections", || {
        let response = Wire::sent(server, "GET /-/health/ready HTTP/1.1\r\nHost: test\r\n\r\n").response();
        (response.status == 503 && response.header("connection") == Some("close")).then_some(())
    });
}

#[test]
fn keep_alive_connection_gets_connection_close_before_it_is_closed() {
    let mut server = echo(&[]);
    // Two thirds have sent a request before, and some of those are in the middle of the next head.
    let mut kept: Vec<Wire> = (0..120).map(|_| Wire::open(&server)).collect();
    for wire in &mut kept[40..] {
        wire.send(HELLO);
        assert_eq!(wire.response().status, 200);
    }
    let (head, rest) = HELLO.split_at(20);
    kept[100..].iter_mut().for_each(|wire| wire.send(head));
    let since = Instant::now();
    start_drain(&mut server);
    kept[100..].iter_mut().for_each(|wire| wire.send(rest));
    kept[..100].iter_mut().for_each(|wire| wire.send(HELLO));
    for (number, wire) in kept.iter_mut().enumerate() {
        let response = wire.response();
        assert_eq!((response.status, response.header("connection")), (200, Some("close")), "{number}");
        assert!(wire.is_closed(), "{number}");
    }
    until("the node stops after the last connection", || server.has_stopped().then_some(()));
    recovered("a shutdown with 120 idle connections, none closed early", since);
    assert!(!server.log().contains("aborting running requests"), "{}", server.log());
}

#[test]
fn request_on_returning_connection_is_answered_during_drain() {
    let mut server = echo(&[]);
    let mut idle = Wire::sent(&server, HELLO);
    assert_eq!(idle.response().status, 200);
    start_drain(&mut server);
    for _ in 0..3 {
        let mut wire = Wire::sent(&server, HELLO);
        let response = wire.response();
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        assert!(wire.is_closed());
    }
    let mut frames = Frames::open(&server, &[]);
    frames.get(1, "/app/hello");
    frames.until("a response", |frame| frame.stream == 1 && frame.is_last());
    assert!(frames.is_closed());
    assert!(idle.is_closed(), "the connection was idle");
    until("the node stops", || server.has_stopped().then_some(()));
}

#[test]
fn first_http_2_request_is_answered_before_goaway() {
    let mut server = echo(&[]);
    let mut fresh: Vec<Frames> = (0..20).map(|_| Frames::open(&server, &[])).collect();
    for frames in &mut fresh[10..] {
        frames.get(1, "/app/hello");
        frames.until("a response", |frame| frame.stream == 1 && frame.is_last());
    }
    start_drain(&mut server);
    for (number, frames) in fresh.iter_mut().enumerate() {
        // Connections with an earlier request send this one before they read GOAWAY.
        let stream = if number < 10 { 1 } else { 3 };
        frames.get(stream, "/app/hello");
        let mut goaways = Vec::new();
        let mut finished = false;
        while let Some(frame) = frames.frame() {
            finished |= frame.stream == stream && frame.is_last();
            if frame.kind == frames::GOAWAY {
                goaways.push(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
            }
        }
        assert!(finished, "{number}: {goaways:?}");
        // First for all streams, then with the last accepted one (RFC 9113 section 6.8).
        assert_eq!(goaways, [0x7fff_ffff, stream], "{number}");
    }
    until("the node stops", || server.has_stopped().then_some(()));
    assert!(!server.log().contains("aborting running requests"), "{}", server.log());
}

#[test]
fn http_2_connection_gets_goaway_and_finishes() {
    let mut server = echo(&[]);
    let mut idle = Frames::open(&server, &[]);
    idle.get(1, "/app/hello");
    idle.until("a response", |frame| frame.stream == 1 && frame.is_last());
    let mut running = Frames::open(&server, &[]);
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/app/")];
    running.send(frames::HEADERS, 4, 1, &frames::literals(&fields));
    running.send(frames::DATA, 0, 1, b"ab");
    running.get(3, "/app/hello");
    running.until("a response", |frame| frame.stream == 3 && frame.is_last());
    server.terminate();
    let no_error = 0;
    let goaway = |frames: &mut Frames| frames.until("GOAWAY", |frame| frame.kind == frames::GOAWAY).error();
    assert_eq!((goaway(&mut idle), goaway(&mut running)), (no_error, no_error));
    assert!(idle.is_closed());
    running.send(frames::DATA, 1, 1, b"c");
    running.until("the response", |frame| frame.stream == 1 && frame.is_last());
    assert!(running.is_closed());
    until("the node stops", || server.has_stopped().then_some(()));
    assert!(!server.log().contains("aborting running requests"), "{}", server.log());
}

#[test]
fn requests_beyond_the_shutdown_timeout_are_aborted() {
    let mut server = echo(&["--shutdown-timeout", "500ms"]);
    let mut running = started(&server);
    let started = Instant::now();
    server.terminate();
    assert!(running.is_closed());
    until("the node stops", || server.has_stopped().then_some(()));
    assert!((Duration::from_millis(500)..Duration::from_secs(10)).contains(&started.elapsed()));
    assert!(server.log().contains("aborting running requests"), "{}", server.log());
}

#[test]
fn second_signal_exits_at_once() {
    let mut server = echo(&["--shutdown-timeout", "60s", "--body-timeout", "60s"]);
    let mut running = started(&server);
    let started = Instant::now();
    server.terminate();
    until("the listener is closed", || (!accepts_connections(&server)).then_some(()));
    assert!(running.is_silent() && !server.has_stopped());
    server.terminate();
    until("the node stops", || server.has_stopped().then_some(()));
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(running.is_closed());
}
