//! Message framing: lengths, chunks, pipelining, and request smuggling.

use tests::{Server, Wire};

use super::{echo, exchange};

const HELLO: &str = "GET /app/hello HTTP/1.1\r\nHost: test\r\n\r\n";

fn post(server: &Server, rest: &str) -> Wire {
    Wire::sent(server, format!("POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\n{rest}"))
}

#[test]
fn connection_is_kept_alive() {
    let server = echo(&[]);
    let mut wire = Wire::open(&server);
    for _ in 0..3 {
        wire.send(HELLO);
        let response = wire.response();
        assert_eq!((response.status, response.header("connection")), (200, None));
    }
    wire.send(
        "POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!(wire.response().json()["body"], "abc");
    wire.send("GET /app/nothing HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let last = wire.response();
    assert_eq!((last.status, last.header("connection")), (404, Some("close")));
    assert!(wire.is_closed());
}

#[test]
fn http_1_0_connection_is_closed_unless_keep_alive_is_requested() {
    let server = echo(&[]);
    let mut wire = Wire::sent(&server, "GET /app/hello HTTP/1.0\r\n\r\n");
    assert_eq!(wire.response().body, "\"hello\"");
    assert!(wire.is_closed());
    let mut wire = Wire::open(&server);
    for _ in 0..2 {
        wire.send("GET /app/hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = wire.response();
        assert_eq!((response.status, response.header("connection")), (200, Some("keep-alive")));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = echo(&[]);
    let requests: String =
        (0..50).map(|n| format!("GET /app/echo/{n} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    let mut wire = Wire::sent(&server, requests);
    for n in 0..50 {
        assert_eq!(wire.response().json()["rest"], n.to_string());
    }
    // In pieces too, and with empty lines between requests.
    let mut wire = Wire::open(&server);
    for piece in [&HELLO[..10], &HELLO[10..], "\r\n\r\n", &HELLO[..HELLO.len() - 1], "\n"] {
        wire.send(piece);
    }
    assert_eq!((wire.response().status, wire.response().status), (200, 200));
}

#[test]
fn chunked_bodies_and_trailers_are_read() {
    let server = echo(&[]);
    let chunked = "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    let mut wire = post(
        &server,
        &format!("{chunked}3\r\nabc\r\n2;name=\"a value\"\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n{HELLO}"),
    );
    let echoed = wire.response().json();
    assert_eq!(echoed["body"], "abcde");
    assert_eq!(echoed["headers"]["x-sum"], serde_json::Value::Null, "trailers are not headers");
    assert_eq!(wire.response().body, "\"hello\"");
    let broken = [
        "g\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nabc",
        "3\nabc\n0\n\n",
    ];
    for body in broken {
        let mut wire = post(&server, &format!("{chunked}{body}{HELLO}"));
        assert_eq!(wire.response().status, 400, "{body:?}");
        assert!(wire.is_closed(), "{body:?}: the rest of the connection is unreadable");
    }
}

#[test]
fn conflicting_lengths_smuggle_no_request() {
    let server = echo(&[]);
    // RFC 9112 section 6.3: chunked encoding overrides the length, and the connection closes after the response.
    let smuggled = "GET /app/echo/smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\ntransfer-encoding: Chunked\r\nContent-Length: 4\r\n",
    ] {
        let mut wire = post(&server, &format!("{lines}\r\n0\r\n\r\n{smuggled}"));
        let response = wire.response();
        assert_eq!((response.status, response.header("connection")), (200, Some("close")), "{lines:?}");
        assert_eq!(response.json()["body"], serde_json::Value::Null);
        assert!(wire.is_closed(), "{lines:?}");
    }
}

#[test]
fn invalid_lengths_and_codings_close_the_connection() {
    let server = echo(&[]);
    let bad_request = [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 4",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 0x3",
        "Content-Length: 3 3",
        "Content-Length: 99999999999999999999",
        "Content-Length:",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "Content-Length : 3",
        " Content-Length: 3",
        "Content-Length: 3\r\n X-Folded: 1",
        "X\u{1}: 1",
        "X: a\u{0}b",
        "X: a\rb",
        "no colon",
        ": no name",
    ];
    for lines in bad_request {
        let mut wire = post(&server, &format!("{lines}\r\n\r\nabc{HELLO}"));
        assert_eq!(wire.response().status, 400, "{lines:?}");
        assert!(wire.is_closed(), "{lines:?}: the rest of the connection is unreadable");
    }
    let mut wire = post(&server, "Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(wire.response().status, 501, "an unknown coding");
    let mut old = Wire::sent(&server, "POST /app/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(old.response().status, 400, "HTTP/1.0 has no chunks");
    let same = post(&server, "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc").response();
    assert_eq!(
        (same.status, &same.json()["body"]),
        (200, &"abc".into()),
        "equal repeated lengths are accepted"
    );
}

#[test]
fn malformed_request_lines_are_rejected() {
    let server = echo(&[]);
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.2x",
        "GET / HTTP/3.0",
        "GET / http/1.1",
        "GET\t/ HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "/ HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}\u{0}",
        "hello",
    ] {
        let mut wire = Wire::sent(&server, format!("{line}\r\nHost: test\r\n\r\n"));
        assert_eq!(wire.response().status, 400, "{line:?}");
        assert!(wire.is_closed(), "{line:?}");
    }
}

#[test]
fn expect_continue_gets_100_when_body_is_read() {
    let server = echo(&[]);
    let expecting = |path: &str, length: usize| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain");
        Wire::sent(&server, format!("{head}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"))
    };
    let mut wanted = expecting("/app/", 3);
    assert_eq!(wanted.head().status, 100);
    wanted.send("abc");
    assert_eq!(wanted.response().json()["body"], "abc");
    assert_eq!(expecting("/app/nothing", 3).head().status, 404);
    assert_eq!(expecting("/app/hello", 3).head().status, 405);
    assert_eq!(expecting("/app/", 1_000_000).head().status, 413);
    // A client that does not wait for 100 does not have to.
    let mut impatient = expecting("/app/", 3);
    impatient.send("abc");
    assert_eq!(impatient.head().status, 100);
    assert_eq!(impatient.response().json()["body"], "abc");
    let old = "POST /app/ HTTP/1.0\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc";
    assert_eq!(Wire::sent(&server, old).response().json()["body"], "abc", "HTTP/1.0 knows no 100");
}

#[test]
fn unread_body_does_not_become_a_request() {
    let server = echo(&[]);
    for path in ["/app/nothing", "/app/hello", "/", "/-/health/live"] {
        let body = "GET /app/hello HTTP/1.1\r\nHost: test\r\n\r\n";
        let mut wire = Wire::sent(
            &server,
            format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        );
        assert!(matches!(wire.response().status, 404 | 405), "{path}");
        wire.send("GET /app/echo/next HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let rest = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(!rest.contains("\"hello\""), "{path}: {rest}");
    }
    assert_eq!(exchange(&server, "GET /app/hello HTTP/1.1").status, 200);
}
