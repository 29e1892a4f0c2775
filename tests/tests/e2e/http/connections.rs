//! Ten thousand concurrent connections, and the behavior at the limit.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::{Database, Server, TOKEN, Wire, until};

use super::echo;

/// The number of connections.
const CONNECTIONS: usize = 10_000;

/// The file descriptors that this process and the server need besides them.
const OTHER_FILES: u64 = 1_000;

const LIVE: &str = "GET /-/health/live HTTP/1.1\r\nHost: test\r\n\r\n";

const HELLO: &str = "GET /app/hello HTTP/1.1\r\nHost: test\r\n\r\n";

/// Raises the soft limit of open files to the hard limit.
fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let needed = CONNECTIONS as u64 + OTHER_FILES;
    assert!(
        hard >= needed,
        "this machine lets a process open {hard} files at the most (ulimit -Hn); to hold {CONNECTIONS} connections the test \
         needs {needed}: raise the hard limit and run it again"
    );
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

#[test]
fn ten_thousand_idle_connections_use_little_memory() {
    raise_open_file_limit();
    let server = echo(&["--max-connections", "10100"]);
    let before = server.memory();
    let started = Instant::now();
    // Half of them have sent a request before, half have sent nothing.
    let mut open: Vec<Wire> = Vec::with_capacity(CONNECTIONS);
    while open.len() < CONNECTIONS {
        let mut some: Vec<Wire> = (0..250).map(|_| Wire::sent(&server, LIVE)).collect();
        some.iter_mut().for_each(|wire| assert_eq!(wire.response().status, 200));
        open.append(&mut some);
        open.extend((0..250).map(|_| Wire::open(&server)));
    }
    let opened = started.elapsed();
    // New connections get responses, and so does each open one.
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(server.get("/app/hello").status, 200);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    // Buffers would take more; idle connections have freed them.
    let each = until("idle connections use little memory", || {
        let each = server.memory().saturating_sub(before) / CONNECTIONS as u64;
        (each <= 8192).then_some(each)
    });
    println!("{CONNECTIONS} connections in {opened:?}, {each} bytes each");
    open.iter_mut().for_each(|wire| wire.send(LIVE));
    open.iter_mut().for_each(|wire| assert_eq!(wire.response().body, "ok\n"));
}

#[test]
fn longest_idle_connection_is_evicted_at_the_limit() {
    let server = echo(&["--max-connections", "8"]);
    let mut idle: Vec<Wire> = (0..8).map(|_| Wire::sent(&server, HELLO)).collect();
    idle.iter_mut().for_each(|wire| assert_eq!(wire.response().status, 200));
    for _ in 0..3 {
        assert_eq!(server.get("/app/hello").status, 200);
    }
    let closed = idle.iter_mut().map(Wire::is_silent).filter(|silent| !silent).count();
    assert!((1..=4).contains(&closed), "{closed} of 8 were evicted for 3");
    assert_eq!(evicted_connections(&server, "idle"), closed as u64);
    assert_eq!(evicted_connections(&server, "slow"), 0);
    assert_eq!(server.log().matches("connection limit reached").count(), 1, "{}", server.log());
}

/// How many connections the node closed to free slots.
fn evicted_connections(server: &Server, reason: &str) -> u64 {
    let bearer = format!("Bearer {TOKEN}");
    let page = server.request("GET", "/-/metrics", &[("authorization", &bearer)], None);
    let name = format!("picloud_connections_closed_total{{reason=\"{reason}\"}} ");
    let count = page.body.lines().find_map(|line| line.strip_prefix(&name)).expect("the count");
    count.parse().expect("a number")
}

#[test]
fn new_connection_is_not_evicted_before_its_first_request() {
    let server = echo(&["--max-connections", "4", "--body-timeout", "60s"]);
    let started =
        "POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nab";
    let _busy: Vec<Wire> = (0..3).map(|_| Wire::sent(&server, started)).collect();
    let close = HELLO.replace("Host", "Connection: close\r\nHost");
    let mut last = Wire::open(&server);
    let mut waiting = Wire::sent(&server, &close);
    until("it waits for a slot", || server.log().contains("connection limit reached").then_some(()));
    last.send(&close);
    assert_eq!(last.response().status, 200);
    assert_eq!(waiting.response().status, 200);
}

#[test]
fn connections_with_a_request_in_progress_are_not_evicted() {
    let server = echo(&["--max-connections", "4", "--body-timeout", "5s"]);
    let started =
        "POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nab";
    let mut busy: Vec<Wire> = (0..4).map(|_| Wire::sent(&server, started)).collect();
    let mut late = Wire::sent(&server, HELLO);
    assert!(late.is_silent(), "it waits for a slot");
    busy.iter_mut().for_each(|wire| wire.send("c"));
    busy.iter_mut().for_each(|wire| assert_eq!(wire.response().status, 200));
    assert_eq!(late.response().status, 200);
}

/// The limit that slow clients reach, and the number of connections that they open.
const CONNECTIONS_MAX: usize = 100;
const SLOW_CONNECTIONS: usize = 150;

/// Opens connections that send `started` and nothing more.
fn open_slow(server: &Server, address: Ipv4Addr, started: &str) -> Vec<Wire> {
    let open = |_| {
        let mut wire = Wire::open_from(server, address);
        wire.send(started);
        wire
    };
    (0..SLOW_CONNECTIONS).map(open).collect()
}

/// Asserts that a node serves others at once, as soon as it has evicted some of the slow connections.
#[track_caller]
fn assert_serves_others(server: &Server) {
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(server.get("/app/hello").status, 200);
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        // On its own connection.
        let mut wire = Wire::sent(server, HELLO.replace("Host", "Connection: close\r\nHost"));
        assert_eq!(wire.response().status, 200);
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
}

#[test]
fn slow_requests_from_one_address_block_no_others() {
    let flags = [
        "--max-connections",
        &CONNECTIONS_MAX.to_string(),
        "--header-timeout",
        "60s",
        "--body-timeout",
        "60s",
    ];
    let server = echo(&flags);
    let body = "POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nab";
    // Another slow client with a single connection.
    let mut modest = Wire::sent(&server, body);
    for started in ["GET /app/hello HTTP/1.1\r\nHo", body, "PRI * HTTP/2.0\r\n"] {
        let slow = open_slow(&server, Ipv4Addr::new(127, 0, 0, 2), started);
        assert_serves_others(&server);
        drop(slow);
    }
    assert!(modest.is_silent());
    assert!(evicted_connections(&server, "slow") > 0);
    modest.send("c");
    assert_eq!(modest.response().status, 200);
}

#[test]
fn slow_bodies_through_proxy_count_for_their_clients() {
    let server = echo(&["--max-connections", &CONNECTIONS_MAX.to_string(), "--body-timeout", "60s"]);
    let body = |client: &str| {
        format!(
            "POST /app/ HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {client}\r\nContent-Type: text/plain\r\n\
             Content-Length: 3\r\n\r\nab"
        )
    };
    let mut modest: Vec<Wire> =
        (1..=20).map(|number| Wire::sent(&server, body(&format!("192.0.2.{number}")))).collect();
    let slow = open_slow(&server, Ipv4Addr::LOCALHOST, &body("198.51.100.1"));
    assert_serves_others(&server);
    drop(slow);
    modest.iter_mut().for_each(|wire| wire.send("c"));
    modest.iter_mut().for_each(|wire| assert_eq!(wire.response().status, 200));
}

#[test]
fn open_file_limit_is_raised_and_reported_if_too_low() {
    let server = Server::start_under(Database::sqlite(), &["--max-connections", "300"], Some("-Sn 64"));
    let open: Vec<Wire> = (0..200).map(|_| Wire::open(&server)).collect();
    assert_eq!(server.get("/-/health/live").status, 200);
    assert!(!server.log().contains("hard limit"), "{}", server.log());
    drop(open);
    let tight = Server::start_under(Database::sqlite(), &[], Some("-n 600"));
    let log = tight.log();
    assert!(log.contains("the limit of open files is 600") && log.contains("raise the hard limit"), "{log}");
    let open: Vec<Wire> = (0..700).map(|_| Wire::open(&tight)).collect();
    assert_eq!(tight.get("/-/health/ready").status, 200, "{}", tight.log());
    assert!(!tight.log().contains("cannot accept"), "{}", tight.log());
    drop(open);
}
