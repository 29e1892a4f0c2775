//! Slow clients and timeouts.

use std::time::{Duration, Instant};

use tests::{Wire, until};

use super::{app, echo};

const HELLO: &str = "GET /app/hello HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn incomplete_head_times_out() {
    let server = echo(&["--header-timeout", "500ms"]);
    let mut half = Wire::sent(&server, "GET /app/hello HTTP/1.1\r\nHost: te");
    let response = half.response();
    assert_eq!((response.status, response.header("connection")), (408, Some("close")));
    assert!(half.is_closed());
    // A byte now and then, or an earlier response, does not extend the timeout.
    let mut trickling = Wire::sent(&server, HELLO);
    assert_eq!(trickling.response().status, 200);
    let started = Instant::now();
    for byte in "GET /app/hello HTTP/1.1\r\n".bytes().cycle() {
        trickling.send([byte]);
        std::thread::sleep(Duration::from_millis(50));
        if started.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    assert_eq!(trickling.response().status, 408);
    // The start of a second request on the same connection.
    let mut pipelined = Wire::sent(&server, format!("{HELLO}GET /"));
    assert_eq!((pipelined.response().status, pipelined.response().status), (200, 408));
}

#[test]
fn idle_connection_times_out() {
    let server = echo(&["--idle-timeout", "700ms", "--header-timeout", "300ms"]);
    let mut fresh = Wire::open(&server);
    let mut used = Wire::sent(&server, HELLO);
    assert_eq!(used.response().status, 200);
    let started = Instant::now();
    assert!(fresh.is_closed() && used.is_closed(), "without a response");
    assert!(started.elapsed() < Duration::from_secs(10));
    // Neither the header timeout nor the write timeout runs on an idle connection.
    let mut waiting = Wire::sent(&server, HELLO);
    assert_eq!(waiting.response().status, 200);
    std::thread::sleep(Duration::from_millis(500));
    waiting.send(HELLO);
    assert_eq!(waiting.response().status, 200);
}

#[test]
fn connection_works_after_a_long_idle_time() {
    let server = echo(&["--idle-timeout", "30s"]);
    let mut wire = Wire::sent(&server, HELLO);
    assert_eq!(wire.response().status, 200);
    // By then the connection has freed its buffers.
    std::thread::sleep(Duration::from_millis(4500));
    wire.send(HELLO);
    assert_eq!(wire.response().status, 200);
    wire.send(format!("{HELLO}{HELLO}"));
    assert_eq!((wire.response().status, wire.response().status), (200, 200));
}

#[test]
fn incomplete_body_times_out() {
    let server = echo(&["--body-timeout", "400ms"]);
    let head = "POST /app/ HTTP/1.1\r\nHost: test\r\n";
    for rest in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut wire = Wire::sent(&server, format!("{head}{rest}"));
        assert_eq!(wire.response().status, 408);
        assert!(wire.is_closed());
    }
}

#[test]
fn truncated_body_is_rejected() {
    let server = echo(&[]);
    let mut wire = Wire::sent(&server, "POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc");
    wire.end();
    let rest = String::from_utf8_lossy(&wire.rest()).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{rest}");
    assert!(!server.log().contains("panic"), "{}", server.log());
}

#[test]
fn unread_response_times_out() {
    let manifest = "[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n[limits]\nmemory = \"64MiB\"\n";
    let script = "let s = \"x\"; s.pad(200_000, 'x'); let a = []; for i in 0..35 { a.push(s); } a";
    let server = app(&["--write-timeout", "2s", "--max-connections", "2"], manifest, &[("a.rhai", script)]);
    let whole = server.get("/app/").body.len();
    assert!(whole > 6_000_000, "more than the kernel buffers for a client: {whole}");
    let request = "GET /app/ HTTP/1.1\r\nHost: test\r\n\r\n";
    let sent = || {
        let mut wire = Wire::with_small_buffer(&server);
        wire.send(request);
        wire
    };
    let mut asleep: Vec<Wire> = (0..2).map(|_| sent()).collect();
    asleep.iter_mut().for_each(|wire| assert_eq!(wire.head().status, 200));
    // Both slots are in use until their clients are disconnected.
    until("a slot is free again", || (server.get("/-/health/live").status == 200).then_some(()));
    for mut wire in asleep {
        assert!(wire.rest().len() < whole, "the aborted response is incomplete");
    }
    // Slow but complete.
    let mut slow = sent();
    let length: usize = slow.head().header("content-length").unwrap().parse().unwrap();
    let mut taken = 0;
    while taken < length {
        taken += slow.read(300_000.min(length - taken)).len();
        std::thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(taken, whole);
}
