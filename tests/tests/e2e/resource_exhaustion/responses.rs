//! Answers that nobody takes, or hardly.

use std::time::{Duration, Instant};

use tests::frames::{DATA, GOAWAY, HEADERS, RST_STREAM, WINDOW_UPDATE};
use tests::{Frames, Wire, until};

use super::{BIG, MEMORY, assert_within_memory, held, node, node_with, turned_away};

/// The setting that says how much room each stream has at first (RFC 9113 section 6.5.2).
const INITIAL_WINDOW: u16 = 4;

/// Gives the server room for more of a stream, or of all.
fn give_room(frames: &mut Frames, stream: u32, bytes: u32) {
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
    until("the others are turned away", || {
        (turned_away(&server, "app") >= CONNECTIONS * STREAMS - fit).then_some(())
    });
    let bytes = held(&server, "responses");
    assert!((MEMORY / 8..=MEMORY / 2).contains(&bytes), "{bytes}");
    // Small answers need nothing, and another app has what is its own.
    assert_eq!((server.get("/app/hello").status, server.get("/app/big").status), (200, 503));
    assert_eq!(server.get("/other/big").body.len(), BIG);
    assert_within_memory(&server, before);
    // One of those that wait is taken after all.
    let first = &mut connections[0];
    first.until("the first piece", |frame| frame.kind == DATA && frame.stream == 1);
    give_room(first, 0, 1 << 30);
    give_room(first, 1, 1 << 30);
    first.until("its end", |frame| frame.stream == 1 && frame.is_last());
    connections.into_iter().for_each(Frames::leave);
    until("all is given back", || (held(&server, "responses") == 0).then_some(()));
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
    assert!(held(&server, "responses") >= 3 * BIG as u64);
    assert_eq!(server.get("/app/hello").status, 200);
}

#[test]
fn stream_with_one_byte_window_updates_is_reset() {
    let server = node(&["--answer-time", "1s"]);
    let mut frames = Frames::open(&server, &[(INITIAL_WINDOW, 1)]);
    frames.get(1, "/app/big");
    let began = Instant::now();
    let reset = loop {
        let frame = frames.frame().expect("the connection goes on");
        match frame.kind {
            DATA => give_room(&mut frames, 1, 1),
            RST_STREAM => break frame,
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(10));
        assert!(began.elapsed() < Duration::from_secs(20), "it is read on and on");
    };
    assert_eq!(reset.stream, 1);
    // The connection has done nothing wrong.
    frames.get(3, "/app/hello");
    give_room(&mut frames, 3, 100);
    frames.until("another answer", |frame| frame.stream == 3 && frame.is_last());
}

#[test]
fn stream_with_unread_tail_is_reset_during_other_requests() {
    let server = node(&["--answer-time", "1s", "--min-rate", "64KiB"]);
    let mut frames = Frames::open(&server, &[(INITIAL_WINDOW, 1)]);
    frames.get(1, "/app/hello");
    frames.until("its first byte", |frame| frame.kind == DATA && frame.stream == 1);
    let began = Instant::now();
    for stream in (3..).step_by(2) {
        frames.get(stream, "/app/hello");
        give_room(&mut frames, stream, 100);
        // The connection ends in the midst of it.
        loop {
            match frames.frame() {
                None => return,
                Some(frame) if frame.stream == stream && frame.is_last() => break,
                Some(frame) => assert!(matches!(frame.kind, DATA | HEADERS | GOAWAY), "{frame:?}"),
            }
        }
        assert!(began.elapsed() < Duration::from_secs(20), "nobody minds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn slow_http_1_reader_is_disconnected() {
    let server = node(&["--answer-time", "2s", "--min-rate", "16MiB"]);
    let mut wire = Wire::narrow(&server);
    wire.send("GET /app/big HTTP/1.1\r\nHost: test\r\n\r\n".repeat(4));
    let mut taken = 0;
    let began = Instant::now();
    // Two megabytes a second: never nothing for long, as far as the server can see through the kernel's buffers.
    while began.elapsed() < Duration::from_secs(30) {
        match wire.read_up_to(200_000) {
            0 => break,
            read => taken += read,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(taken < 4 * BIG, "{taken} bytes were taken in {:?}", began.elapsed());
    assert!(taken > 100_000, "{taken}");
}
