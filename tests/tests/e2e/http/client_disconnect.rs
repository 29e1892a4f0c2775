//! A client that disconnects stops its script.

use std::time::{Duration, Instant};

use tests::{Frames, Server, Wire, until};

use super::app;

/// Much longer than the tests wait.
const TIMEOUT: &str = "GET /app/long HTTP/1.1\r\nHost: test\r\n\r\n";

/// An app with one slot; `/long` runs for a minute.
fn single_slot_app() -> Server {
    let manifest = "[[routes]]\npath = \"/long\"\nscript = \"long.rhai\"\n\
        [[routes]]\npath = \"/quick\"\nscript = \"quick.rhai\"\n\
        [limits]\ntimeout = \"60s\"\noperations = 1_000_000_000\nconcurrency = 1\n";
    app(
        &[],
        manifest,
        &[("long.rhai", "log::info(`begun`); let n = 0; loop { n += 1; }"), ("quick.rhai", "`quick`")],
    )
}

/// Asserts that the app's only slot is in use, and free again soon after `leave`.
#[track_caller]
fn assert_frees_slot(server: &Server, leave: impl FnOnce()) {
    let quick = || server.get("/app/quick").status;
    until("the script runs", || server.log().contains("begun").then_some(()));
    let left = Instant::now();
    leave();
    until("the script was stopped", || (quick() == 200).then_some(()));
    assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
    until("the line is logged", || server.log().contains("kind=\"stopped\"").then_some(()));
}

#[test]
fn disconnect_over_http_1_stops_script() {
    let server = single_slot_app();
    let wire = Wire::sent(&server, TIMEOUT);
    assert_frees_slot(&server, || drop(wire));
}

#[test]
fn disconnect_over_http_1_with_body_and_keep_alive_stops_script() {
    let server = single_slot_app();
    let mut wire = Wire::sent(&server, "GET /app/quick HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(wire.response().status, 200);
    wire.send("POST /app/long HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc");
    assert_frees_slot(&server, || drop(wire));
}

#[test]
fn half_close_over_http_1_stops_script() {
    // A client that shuts down its sending side could still read; most are gone, and the two cases cannot be distinguished.
    let server = single_slot_app();
    let mut wire = Wire::sent(&server, TIMEOUT);
    assert_frees_slot(&server, || wire.end());
    assert!(wire.is_closed());
}

#[test]
fn stream_reset_over_http_2_stops_script() {
    let server = single_slot_app();
    let mut frames = Frames::open(&server, &[]);
    frames.get(1, "/app/long");
    assert_frees_slot(&server, || frames.reset(1));
    frames.get(3, "/app/quick");
    frames.until("the next response", |frame| frame.stream == 3 && frame.is_last());
}

#[test]
fn disconnect_over_http_2_stops_script() {
    let server = single_slot_app();
    let mut frames = Frames::open(&server, &[]);
    frames.get(1, "/app/long");
    assert_frees_slot(&server, || frames.close());
}
