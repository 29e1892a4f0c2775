//! Limits of request heads and bodies.

use tests::Wire;

use super::{echo, exchange};

#[test]
fn oversized_request_heads_get_414_or_431() {
    let server = echo(&[]);
    let target =
        |bytes: usize| exchange(&server, &format!("GET /app/echo/{} HTTP/1.1", "a".repeat(bytes))).status;
    assert_eq!((target(8_000), target(17_000)), (200, 414));
    let value = |bytes: usize| {
        exchange(&server, &format!("GET /app/hello HTTP/1.1\r\nX: {}", "a".repeat(bytes))).status
    };
    assert_eq!((value(16_000), value(40_000), value(1_000_000)), (200, 431, 431));
    let lines = |number: usize| {
        exchange(&server, &format!("GET /app/hello HTTP/1.1{}", "\r\nX: a".repeat(number))).status
    };
    assert_eq!((lines(90), lines(110), lines(5_000)), (200, 431, 431));
    assert_eq!(target(100_000), 431, "above the limit of the whole head the status is 431");
    let mut endless = Wire::sent(&server, "GET /");
    for _ in 0..100 {
        endless.send("a".repeat(10_000));
    }
    assert_eq!(endless.response().status, 431, "a client that continues to send still gets the response");
    assert!(endless.is_closed());
}

#[test]
fn oversized_bodies_get_413() {
    let server = echo(&[]);
    let head = "POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\n";
    let sized = |bytes: usize| {
        Wire::sent(&server, format!("{head}Content-Length: {bytes}\r\n\r\n{}", "a".repeat(bytes)))
            .response()
            .status
    };
    assert_eq!((sized(64 * 1024), sized(64 * 1024 + 1), sized(5_000_000)), (200, 413, 413));
    let chunked = |chunks: usize| {
        let mut wire = Wire::sent(&server, format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
        (0..chunks).for_each(|_| wire.send(format!("1000\r\n{}\r\n", "a".repeat(4096))));
        wire.send("0\r\n\r\n");
        wire.response().status
    };
    assert_eq!((chunked(16), chunked(17), chunked(1000)), (200, 413, 413));
    let mut announced = Wire::sent(&server, format!("{head}Content-Length: 1000000000000\r\n\r\n"));
    let response = announced.response();
    assert_eq!((response.status, &response.json()["limit"]), (413, &65536.into()));
}

#[test]
fn trailers_are_limited() {
    let server = echo(&[]);
    let chunked = "POST /app/ HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    for trailers in ["X: a\r\n".repeat(5_000), format!("X: {}\r\n", "a".repeat(1_000_000))] {
        let mut wire = Wire::sent(&server, format!("{chunked}{trailers}\r\n"));
        assert_eq!(wire.response().status, 400);
        assert!(wire.is_closed());
    }
}
