//! Ten thousand connections at once, and what happens beyond the bound.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::{Database, Server, Wire, until};

use super::echo;

/// How many connections are held.
const MANY: usize = 10_000;

/// The files that this process and the server need beside them.
const BESIDE: u64 = 1_000;

const LIVE: &str = "GET /-/health/live HTTP/1.1\r\nHost: test\r\n\r\n";

const HELLO: &str = "GET /app/hello HTTP/1.1\r\nHost: test\r\n\r\n";

/// Lets this process open as many files as it may.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let needed = MANY as u64 + BESIDE;
    assert!(
        hard >= needed,
        "this machine lets a process open {hard} files at the most (ulimit -Hn); to hold {MANY} connections the test \
         needs {needed}: raise the hard limit and run it again"
    );
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

#[test]
fn ten_thousand_connections_are_held_and_cost_little() {
    raise_open_files();
    let server = echo(&["--connections", "10100"]);
    let before = server.memory();
    let started = Instant::now();
    // Half of them have asked for something before, half have never said a word.
    let mut open: Vec<Wire> = Vec::with_capacity(MANY);
    while open.len() < MANY {
        let mut some: Vec<Wire> = (0..250).map(|_| Wire::sent(&server, LIVE)).collect();
        some.iter_mut().for_each(|wire| assert_eq!(wire.answer().status, 200));
        open.append(&mut some);
        open.extend((0..250).map(|_| Wire::open(&server)));
    }
    let opened = started.elapsed();
    // New connections are answered, and so is each of those that are open.
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(server.get("/app/hello").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    // Buffers alone would take more; idle ones have given them back.
    let each = until("connections that do nothing are small", || {
        let each = server.memory().saturating_sub(before) / MANY as u64;
        (each <= 8192).then_some(each)
    });
    println!("{MANY} connections in {opened:?}, {each} bytes each");
    open.iter_mut().for_each(|wire| wire.send(LIVE));
    open.iter_mut().for_each(|wire| assert_eq!(wire.answer().body, "ok\n"));
}

#[test]
fn beyond_the_bound_the_connection_that_has_been_idle_for_longest_gives_way() {
    let server = echo(&["--connections", "8"]);
    let mut idle: Vec<Wire> = (0..8).map(|_| Wire::sent(&server, HELLO)).collect();
    idle.iter_mut().for_each(|wire| assert_eq!(wire.answer().status, 200));
    for _ in 0..3 {
        assert_eq!(server.get("/app/hello").status, 200);
    }
    let closed = idle.iter_mut().map(Wire::is_silent).filter(|silent| !silent).count();
    assert!((1..=4).contains(&closed), "{closed} of 8 gave way to 3");
}

#[test]
fn connections_in_the_midst_of_a_request_do_not_give_way() {
    let server = echo(&["--connections", "4", "--body-time", "5s"]);
    let begun =
        "POST /app/ HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nab";
    let mut busy: Vec<Wire> = (0..4).map(|_| Wire::sent(&server, begun)).collect();
    let mut late = Wire::sent(&server, HELLO);
    assert!(late.is_silent(), "it waits for a place");
    busy.iter_mut().for_each(|wire| wire.send("c"));
    busy.iter_mut().for_each(|wire| assert_eq!(wire.answer().status, 200));
    assert_eq!(late.answer().status, 200);
}

#[test]
fn the_limit_of_open_files_is_raised_and_told_where_it_is_too_low() {
    let roomy = Server::start_under(Database::sqlite(), &["--connections", "300"], Some("-Sn 64"));
    let open: Vec<Wire> = (0..200).map(|_| Wire::open(&roomy)).collect();
    assert_eq!(roomy.get("/-/health/live").status, 200);
    assert!(!roomy.log().contains("hard limit"), "{}", roomy.log());
    drop(open);
    let tight = Server::start_under(Database::sqlite(), &[], Some("-n 600"));
    let log = tight.log();
    assert!(log.contains("may open 600 files") && log.contains("raise the hard limit"), "{log}");
    let open: Vec<Wire> = (0..700).map(|_| Wire::open(&tight)).collect();
    assert_eq!(tight.get("/-/health/ready").status, 200, "{}", tight.log());
    assert!(!tight.log().contains("cannot accept"), "{}", tight.log());
    drop(open);
}
