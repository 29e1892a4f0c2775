//! Responses that clients do not read, or read slowly.

use std::time::{Duration, Instant};

use tests::frames::{DATA, GOAWAY, HEADERS, RST_STREAM, WINDOW_UPDATE};
use tests::{Frames, Wire, until};

use super::{BIG, MEMORY, assert_within_memory, bytes_held, node, node_with, rejected_for_memory};

/// The setting of the initial window of each stream (RFC 9113 section 6.5.2).
const INITIAL_WINDOW: u16 = 4;

/// Sends a WINDOW_UPDATE for a stream, or for the connection.
fn open_window(frames: &mut Frames, stream: u32, bytes: u32) {
    frames.send(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
}

#[test]
fn unread_responses_hold_at_most_the_memory_share_of_their_app() {
    const CONNECTIONS: u64 = 4;
    const STREAMS: u64 = 25;
    let server = node(&[]);
    server.get("/app/big");
    let before = server.peak_memory();
    let open = |_| {
        let mut frames = Frames::open(&server, &[(INITIAL_WINDOW, 1)]);
        (0..STREAMS).for_each(|number| frames.get(number as u32 * 2 + 1, "/app/big"));
        frames
    };
    let mut connections: Vec<Frames> = (0..CONNECTIONS).map(open).collect();
    let fit = MEMORY / 2 / (BIG as u64);
    until("the others are rejected", || {
        (rejected_for_memory(&server, "app") >= CONNECTIONS * STREAMS - fit).then_some(())
    });
    let bytes = bytes_held(&server, "responses");
    assert!((MEMORY / 8..=MEMORY / 2).contains(&bytes), "{bytes}");
    // Small responses need no memory, and another app has its own share.
    assert_eq!((server.get("/app/hello").status, server.get("/app/big").status), (200, 503));
    assert_eq!(server.get("/other/big").body.len(), BIG);
    assert_within_memory(&server, before);
    // A waiting response is accepted after all.
    let first = &mut connections[0];
    first.until("the first frame", |frame| frame.kind == DATA && frame.stream == 1);
    open_window(first, 0, 1 << 30);
    open_window(first, 1, 1 << 30);
    first.until("its end", |frame| frame.stream == 1 && frame.is_last());
    connections.into_iter().for_each(Frames::close);
    until("all memory is freed", || (bytes_held(&server, "responses") == 0).then_some(()));
    assert_eq!(server.get("/app/big").status, 200);
}

#[test]
fn unread_response_holds_no_slot() {
    let server = node_with(&[], "[limits]\nconcurrency = 1\n");
    let mut frames = Frames::open(&server, &[(INITIAL_WINDOW, 1)]);
    for stream in [1, 3, 5] {
        frames.get(stream, "/app/big");
        frames.until("its first byte", |frame| frame.kind == DATA && frame.stream == stream);
    }
    assert!(bytes_held(&server, "responses") >= 3 * BIG as u64);
    assert_eq!(server.get("/app/hello").status, 200);
}

#[test]
fn stream_with_one_byte_window_updates_is_reset() {
    let server = node(&["--write-timeout", "1s"]);
    let mut frames = Frames::open(&server, &[(INITIAL_WINDOW, 1)]);
    frames.get(1, "/app/big");
    let start = Instant::now();
    let reset = loop {
        let frame = frames.frame().expect("the connection stays open");
        match frame.kind {
            DATA => open_window(&mut frames, 1, 1),
            RST_STREAM => break frame,
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(10));
        assert!(start.elapsed() < Duration::from_secs(20), "it never ends");
    };
    assert_eq!(reset.stream, 1);
    // The connection stays usable.
    frames.get(3, "/app/hello");
    open_window(&mut frames, 3, 100);
    frames.until("another response", |frame| frame.stream == 3 && frame.is_last());
}

#[test]
fn stream_with_unread_tail_is_reset_during_other_requests() {
    let server = node(&["--write-timeout", "1s", "--min-rate", "64KiB/s"]);
    let mut frames = Frames::open(&server, &[(INITIAL_WINDOW, 1)]);
    frames.get(1, "/app/hello");
    frames.until("its first byte", |frame| frame.kind == DATA && frame.stream == 1);
    let start = Instant::now();
    for stream in (3..).step_by(2) {
        frames.get(stream, "/app/hello");
        open_window(&mut frames, stream, 100);
        // The connection is closed in the middle of it.
        loop {
            match frames.frame() {
                None => return,
                Some(frame) if frame.stream == stream && frame.is_last() => break,
                Some(frame) => assert!(matches!(frame.kind, DATA | HEADERS | GOAWAY), "{frame:?}"),
            }
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the connection stays open");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn slow_http_1_reader_is_disconnected() {
    let server = node(&["--write-timeout", "2s", "--min-rate", "16MiB/s"]);
    let mut wire = Wire::with_small_buffer(&server);
    wire.send("GET /app/big HTTP/1.1\r\nHost: test\r\n\r\n".repeat(4));
    let mut taken = 0;
    let start = Instant::now();
    // Two megabytes a second: never idle for long, as far as the server can see through the kernel's buffers.
    while start.elapsed() < Duration::from_secs(30) {
        match wire.read_up_to(200_000) {
            0 => break,
            read => taken += read,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(taken < 4 * BIG, "{taken} bytes were read in {:?}", start.elapsed());
    assert!(taken > 100_000, "{taken}");
}
