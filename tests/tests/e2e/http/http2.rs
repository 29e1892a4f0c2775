//! HTTP/2 without TLS on the same port: with curl, and frame by frame.

use std::process::Command;
use std::time::{Duration, Instant};

use tests::frames::{
    DATA, Frame, Frames, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, literals,
};
use tests::{Response, Server, Wire, until};

use super::{app, echo};

const CONTINUATION: u8 = 9;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// curl's response over HTTP/2 with prior knowledge.
fn curl(server: &Server, path: &str, arguments: &[&str]) -> Response {
    let output = Command::new("curl")
        .args([
            "--http2-prior-knowledge",
            "--silent",
            "--show-error",
            "--include",
            "--max-time",
            "60",
            "--path-as-is",
        ])
        .args(arguments)
        .arg(format!("http://{}{path}", server.address))
        .output()
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/2 ")).expect("HTTP/2");
    let headers = lines.filter_map(|line| line.split_once(": "));
    Response {
        status: status.trim().parse().unwrap(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: body.to_owned(),
    }
}

/// The first byte of the header block, which is the status if it is a common one (RFC 7541 appendix A).
fn status(frames: &mut Frames, stream: u32) -> Option<u16> {
    let headers = frames.until("a response", |frame| frame.kind == HEADERS && frame.stream == stream);
    [(0x88, 200), (0x89, 204), (0x8b, 304), (0x8c, 400), (0x8d, 404), (0x8e, 500)]
        .into_iter()
        .find_map(|(byte, status)| (headers.payload[0] == byte).then_some(status))
}

fn ended(stream: u32) -> impl Fn(&Frame) -> bool {
    move |frame| frame.stream == stream && (frame.is_last() || frame.kind == RST_STREAM)
}

#[test]
fn responses_equal_those_over_http_1() {
    let server = echo(&[]);
    let response = curl(&server, "/app/echo/a%20b?x=1", &["-H", "content-type: text/plain", "--data", "abc"]);
    let echoed = response.json();
    assert_eq!(
        (response.status, &echoed["path"], &echoed["body"]),
        (200, &"/echo/a b".into(), &"abc".into())
    );
    assert!(response.header("picloud-execution").is_some() && response.header("date").is_some());
    let large = "x".repeat(60_000);
    let sent = curl(&server, "/app/", &["-H", "content-type: text/plain", "--data", &large]);
    assert_eq!(sent.json()["body"], large);
    assert_eq!(curl(&server, "/-/health/ready", &[]).body, "ok\n");
    assert_eq!(curl(&server, "/hello", &["-H", "host: app.localhost"]).body, "\"hello\"");
    let refused = curl(&server, "/app/hello", &["-X", "DELETE"]);
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(curl(&server, "/app/hello", &["-X", "TRACE"]).status, 501);
    assert_eq!(curl(&server, "/app/../-/health/live", &[]).status, 400);
    assert_eq!(curl(&server, &format!("/app/echo/{}", "a".repeat(20_000)), &[]).status, 414);
    let options = curl(&server, "/", &["-X", "OPTIONS", "--request-target", "*"]);
    assert_eq!((options.status, options.header("allow").is_some()), (204, true));
    let repeated =
        curl(&server, "/app/", &["-H", "x-a: 1", "-H", "x-a: 2", "-H", "cookie: a=1", "-H", "cookie: b=2"]);
    let headers = &repeated.json()["headers"];
    assert_eq!((&headers["x-a"], &headers["cookie"]), (&"1, 2".into(), &"a=1; b=2".into()));
}

#[test]
fn responses_without_content_have_no_body() {
    let route = |status: u16| format!("[[routes]]\npath = \"/{status}\"\nscript = \"{status}.rhai\"\n");
    let statuses = [101u16, 103, 200, 204, 205, 304];
    let manifest: String = statuses.iter().map(|status| route(*status)).collect();
    let scripts: Vec<_> = statuses
        .iter()
        .map(|status| (format!("{status}.rhai"), format!("#{{ statusCode: {status}, body: \"content\" }}")))
        .collect();
    let scripts: Vec<_> = scripts.iter().map(|(path, source)| (path.as_str(), source.as_str())).collect();
    let server = app(&[], &manifest, &scripts);
    let head = curl(&server, "/app/200", &["--head"]);
    assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (200, Some("7"), ""));
    for status in statuses {
        let echoed = if status < 200 { 500 } else { status };
        let response = curl(&server, &format!("/app/{status}"), &[]);
        assert_eq!(response.status, echoed);
        if ![200, 500].contains(&echoed) {
            assert_eq!(response.body, "", "{status}");
            assert!(response.header("content-length").is_none_or(|length| length == "0"), "{status}");
        }
    }
}

#[test]
fn many_requests_share_one_connection() {
    let server = echo(&[]);
    let mut frames = Frames::open(&server, &[]);
    (0..100).for_each(|number| frames.get(2 * number + 1, "/app/hello"));
    let mut answered: Vec<u32> =
        (0..100).map(|_| frames.until("a response", Frame::is_last).stream).collect();
    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered.len(), 100);
}

#[test]
fn fragmented_preface_is_accepted() {
    let server = echo(&["--header-timeout", "1s"]);
    let mut wire = Wire::open(&server);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    for piece in [&PREFACE[..1], &PREFACE[1..3], &PREFACE[3..23], &PREFACE[23..], &settings] {
        wire.send(piece);
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(wire.read(9)[3], 4, "settings come first");
    let mut almost = Wire::sent(&server, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(almost.response().status, 400);
    let mut half = Wire::sent(&server, &PREFACE[..20]);
    assert!(half.rest().starts_with(b"HTTP/1.1 400"), "an incomplete preface is not HTTP/2");
}

#[test]
fn malformed_requests_are_rejected() {
    let server = echo(&[]);
    // The server can report an error for the stream or for the connection.
    let send = |fields: &[(&str, &str)]| {
        let mut frames = Frames::open(&server, &[]);
        frames.request(1, fields);
        let answered = frames.until("a response", |frame| frame.kind != DATA);
        if answered.kind == HEADERS { Ok(answered.payload[0] == 0x88) } else { Err(answered.error()) }
    };
    let [method, scheme, path] = [(":method", "GET"), (":scheme", "http"), (":path", "/app/hello")];
    let authority = (":authority", "test");
    assert_eq!(send(&[method, scheme, authority, path]), Ok(true));
    assert_eq!(send(&[method, scheme, path, ("host", "test")]), Ok(true));
    assert_eq!(send(&[method, scheme, authority, path, ("host", "TEST")]), Ok(true));
    assert_eq!(send(&[method, scheme, path]), Ok(false), "no host");
    assert_eq!(send(&[method, scheme, authority, path, ("host", "other")]), Ok(false));
    assert_eq!(send(&[method, scheme, path, ("host", "a"), ("host", "a")]), Ok(false));
    assert_eq!(send(&[method, scheme, (":authority", "a,b"), path]), Ok(false));
    assert_eq!(send(&[method, scheme, authority, path, ("te", "trailers")]), Ok(true));
    for field in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "x"),
        ("te", "gzip"),
        ("X-Upper", "a"),
        (":other", "a"),
    ] {
        assert_eq!(send(&[method, scheme, authority, path, field]), Err(PROTOCOL_ERROR), "{field:?}");
    }
    assert_eq!(send(&[method, scheme, authority]), Err(PROTOCOL_ERROR), "no path");
    assert_eq!(send(&[method, scheme, authority, path, path]), Err(PROTOCOL_ERROR), "two paths");
}

#[test]
fn wrong_content_lengths_are_rejected() {
    let server = echo(&[]);
    let mut frames = Frames::open(&server, &[]);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/app/"),
        ("content-length", "5"),
    ];
    frames.send(HEADERS, 4, 1, &literals(&fields));
    frames.send(DATA, 1, 1, b"abc");
    let end = frames.until("an end", ended(1));
    assert_eq!((end.kind, end.error()), (RST_STREAM, PROTOCOL_ERROR));
}

#[test]
fn oversized_body_is_rejected_at_once() {
    let server = echo(&[]);
    let mut frames = Frames::open(&server, &[]);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/app/"),
        ("content-length", "100000"),
    ];
    frames.send(HEADERS, 4, 1, &literals(&fields));
    let response = frames.until("a response", |frame| frame.kind == DATA);
    assert!(String::from_utf8_lossy(&response.payload).contains("body too large"));
    // RFC 9113 section 8.1: the response is complete, and the rest of the request is not needed.
    let end = frames.until("an end", |frame| frame.kind == RST_STREAM);
    assert_eq!((end.stream, end.error()), (1, 0));
}

#[test]
fn streams_header_lists_and_resets_are_limited() {
    let server = echo(&[]);
    // One stream too many, while no other one is finished.
    let mut frames = Frames::open(&server, &[]);
    let post =
        literals(&[(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/app/")]);
    (0..101).for_each(|number| frames.send(HEADERS, 4, 2 * number + 1, &post));
    let refused = frames.until("a rejection", |frame| frame.kind == RST_STREAM);
    assert_eq!((refused.stream, refused.error()), (201, REFUSED_STREAM));

    // A header that is too long, and headers without an end.
    let mut frames = Frames::open(&server, &[]);
    let long = "a".repeat(3_900);
    let mut fields =
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", "/app/hello")];
    fields.extend((0..12).map(|_| ("x-long", long.as_str())));
    let block = literals(&fields);
    let mut pieces = block.chunks(16_000);
    frames.send(HEADERS, 1, 1, pieces.next().unwrap());
    let last = pieces.len() - 1;
    for (number, piece) in pieces.enumerate() {
        frames.send(CONTINUATION, if number == last { 4 } else { 0 }, 1, piece);
    }
    assert_eq!(status(&mut frames, 1), None, "431 is none of the common ones");
    let mut frames = Frames::open(&server, &[]);
    frames.send(HEADERS, 1, 1, &literals(&fields[..4]));
    for _ in 0..2_000 {
        frames.send(CONTINUATION, 0, 1, &literals(&[("x", "y")]));
    }
    let echoed = frames.until("the end", |frame| frame.kind == GOAWAY);
    assert_eq!(echoed.error(), ENHANCE_YOUR_CALM);
    assert!(frames.is_closed());

    // Requests that are reset as soon as they are sent.
    let mut frames = Frames::open(&server, &[]);
    for number in 0..5_000 {
        frames.get(2 * number + 1, "/app/hello");
        frames.reset(2 * number + 1);
    }
    assert!(frames.is_closed());
    assert_eq!(server.get("/app/hello").status, 200);
    assert!(!server.log().contains("panic"), "{}", server.log());
}

#[test]
fn many_cancelled_requests_close_the_connection() {
    let server = echo(&[]);
    let mut frames = Frames::open(&server, &[]);
    let post =
        literals(&[(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/app/")]);
    frames.get(1, "/app/hello");
    frames.until("a response", |frame| frame.stream == 1 && frame.is_last());
    let mut given_up = 1;
    // A few at a time, so that each is running when it is reset.
    while given_up < 2_000 {
        for number in given_up..given_up + 10 {
            frames.send(HEADERS, 4, 2 * number + 1, &post);
        }
        std::thread::sleep(Duration::from_millis(5));
        (given_up..given_up + 10).for_each(|number| frames.reset(2 * number + 1));
        given_up += 10;
    }
    assert!(frames.is_closed());
    assert_eq!(server.get("/app/hello").status, 200);
}

#[test]
fn unread_response_is_reset() {
    let manifest = "[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n";
    let script = "let s = \"x\"; s.pad(200_000, 'x'); s";
    let server = app(&["--write-timeout", "500ms"], manifest, &[("a.rhai", script)]);
    let no_window = (4, 0);
    let mut frames = Frames::open(&server, &[no_window]);
    frames.get(1, "/app/");
    assert_eq!(status(&mut frames, 1), Some(200));
    let end = frames.until("an end", ended(1));
    assert_eq!(end.kind, RST_STREAM);
    // A slow reader gets the complete response, and the connection stays usable.
    frames.get(3, "/app/");
    assert_eq!(status(&mut frames, 3), Some(200));
    let mut taken = 0;
    while taken < 200_000 {
        let room = 20_000u32.to_be_bytes();
        frames.send(WINDOW_UPDATE, 0, 3, &room);
        frames.send(WINDOW_UPDATE, 0, 0, &room);
        let data = frames.until("a part of the response", |frame| frame.stream == 3);
        assert_eq!(data.kind, DATA);
        taken += data.payload.len();
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn idle_connection_gets_goaway() {
    let server = echo(&["--idle-timeout", "500ms"]);
    let mut frames = Frames::open(&server, &[]);
    frames.get(1, "/app/hello");
    frames.until("a response", |frame| frame.stream == 1 && frame.is_last());
    let started = Instant::now();
    assert_eq!(frames.until("GOAWAY", |frame| frame.kind == GOAWAY).error(), 0);
    assert!(frames.is_closed());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let mut silent = Wire::sent(&server, PREFACE);
    silent.rest();
}

#[test]
fn idle_connections_are_evicted() {
    let server = echo(&["--max-connections", "3"]);
    let mut open: Vec<Frames> = (0..3).map(|_| Frames::open(&server, &[])).collect();
    for frames in &mut open {
        frames.get(1, "/app/hello");
        frames.until("a response", |frame| frame.stream == 1 && frame.is_last());
    }
    // A slot is freed with a delay: an earlier request may find its connection closed.
    let answered =
        || server.try_request("GET", "/app/hello", &[], None).is_ok_and(|response| response.status == 200);
    until("a slot is free", || answered().then_some(()));
}

/// Each frame gets a response and requests nothing.
#[test]
fn ping_and_settings_floods_close_the_connection() {
    let server = echo(&[]);
    let priority = 2;
    let kinds: [(u8, u8, &[u8]); 5] = [
        (PING, 0, &[0; 8]),
        (SETTINGS, 0, &[]),
        (SETTINGS, 1, &[]),
        (PING, 1, &[0; 8]),
        (priority, 0, &[0, 0, 0, 0, 1]),
    ];
    for (kind, flags, payload) in kinds {
        let mut frames = Frames::open(&server, &[]);
        frames.get(1, "/app/hello");
        frames.until("a response", |frame| frame.stream == 1 && frame.is_last());
        let stream = if kind == priority { 1 } else { 0 };
        // Few enough that the responses do not fill the connection.
        let start = Instant::now();
        for _ in 0..1_000 {
            frames.send(kind, flags, stream, payload);
        }
        assert!(frames.is_closed(), "{kind} {flags}");
        // A connection without requests is closed after more than a minute anyway.
        assert!(start.elapsed() < Duration::from_secs(30), "{kind} {flags}: {:?}", start.elapsed());
    }
    // An occasional PING, as clients send to measure latency, is accepted.
    let mut frames = Frames::open(&server, &[]);
    for number in 0..50 {
        frames.send(PING, 0, 0, &[0; 8]);
        frames.get(2 * number + 1, "/app/hello");
        frames.until("a response", |frame| frame.stream == 2 * number + 1 && frame.is_last());
    }
    assert_eq!(server.get("/app/hello").status, 200);
}
