//! An app that floods the log, next to one that logs a little: the quiet app loses no lines.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Database, Repository, Server, SetOnDrop, TOKEN, on_both_databases, until};

use crate::executions::Follower;
use crate::status::problems;

on_both_databases!(log_flood_of_one_app_loses_no_lines_of_another);

/// How long the flood lasts.
const FLOOD_DURATION: Duration = Duration::from_secs(3);

/// The log of one execution: 30 lines of 8 kB, about the maximum.
const LINES: usize = 30;
const LINE_BYTES: usize = 8000;

/// The storage limit of all log lines, 2 MiB: much less than the flood logs.
const LOG_BYTES_MAX: u64 = 2 << 20;

/// The rate limit of an app in the node's own log; the burst is sixteen times as much.
const LOG_RATE: usize = 64 << 10;

fn push(server: &Server, app: &str, script: &str) -> Repository {
    let repository = Repository::new();
    repository.write("picloud.toml", "sdk = \"1.1\"\n[[routes]]\npath = \"/{n}\"\nscript = \"main.rhai\"\n");
    repository.write("main.rhai", script);
    repository.commit("app");
    repository.git(&["remote", "add", "picloud", &server.git_url(app)]);
    repository.push("picloud", &["main"]).succeeded();
    repository
}

/// All records of the quiet app: its executions and its log lines.
fn records_of_quiet(server: &Server) -> (usize, Vec<String>) {
    let requests = |path: &str| -> Value {
        let bearer = format!("Bearer {TOKEN}");
        let path = format!("/-/api/v1/apps/quiet/{path}?limit=1000");
        let response = server.request("GET", &path, &[("authorization", &bearer)], None);
        assert_eq!(response.status, 200, "{}", response.body);
        response.json()
    };
    let executions = requests("executions")["executions"].as_array().map_or(0, Vec::len);
    let message = |line: &Value| line["message"].as_str().expect("a message").to_owned();
    let lines = requests("logs")["lines"].as_array().expect("lines").iter().map(message).collect();
    (executions, lines)
}

fn log_flood_of_one_app_loses_no_lines_of_another(database: Database) {
    let server = Server::start_with(database, &["--max-log-storage", "2MiB", "--node-name", "pi"]);
    let line = "x".repeat(LINE_BYTES);
    push(&server, "flood", &format!("for i in 0..{LINES} {{ log::info(\"{line}\"); }} 1"));
    let quiet = push(&server, "quiet", "log::info(`number ${ctx.request.params.n}`); 1");
    let send = |number: usize| assert_eq!(server.get(&format!("/quiet/{number}")).status, 200);
    (0..20).for_each(send);
    until("the first executions are recorded", || (records_of_quiet(&server).1.len() == 20).then_some(()));
    let follower = Follower::new(&quiet, &["-n", "0"]);
    let (start, done) = (Instant::now(), AtomicBool::new(false));
    let requests = scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(server.get("/flood/1").status, 200);
                }
            });
        }
        let stop = SetOnDrop(&done);
        let mut requests = 20;
        while start.elapsed() < FLOOD_DURATION {
            send(requests);
            requests += 1;
            sleep(Duration::from_millis(10));
        }
        drop(stop);
        requests
    });

    // All of it is recorded soon, including the lines from before the flood: it does not wait for the backlog of the flood.
    let expected: Vec<String> = (0..requests).map(|number| format!("number {number}")).collect();
    until("all records are written", || {
        (records_of_quiet(&server) == (requests, expected.clone())).then_some(())
    });
    for expected in &expected[20..] {
        let line = follower.line();
        assert!(line.ends_with(expected.as_str()), "{line} instead of {expected}");
    }

    // The node's log has all lines of the quiet app, and of the flood no more than its rate.
    let log = server.log();
    let seconds = usize::try_from(start.elapsed().as_secs()).expect("a short time") + 1;
    let of = |app: &str| log.lines().filter(|line| line.contains(&format!("app={app} "))).collect::<Vec<_>>();
    let logged = of("quiet");
    assert!(
        expected.iter().all(|expected| logged.iter().any(|line| line.contains(expected.as_str()))),
        "{logged:?}"
    );
    let flooded: usize = of("flood").iter().map(|line| line.len() + 1).sum();
    assert!(flooded <= (16 + seconds) * LOG_RATE + 2 * LINE_BYTES, "{flooded} bytes in {seconds} s");
    until("dropped lines are logged", || {
        let expected = "were suppressed, the limit is 65536 bytes per second and app";
        server.log().lines().find(|line| line.contains(expected) && line.contains("app=flood")).map(drop)
    });

    // Dropped records belong to the flooding app, and it keeps no more than the limit.
    let lost = until("dropped records are reported", || {
        let (_, problems) = problems(&server.address);
        let lost: Vec<String> = problems
            .iter()
            .filter(|problem| problem["kind"] == "records_dropped")
            .map(|problem| problem["message"].as_str().expect("a message").to_owned())
            .collect();
        (!lost.is_empty()).then_some(lost)
    });
    let [lost] = &lost[..] else { panic!("{lost:?}") };
    assert!(lost.starts_with("node pi dropped the records of ") && lost.contains(" of app flood "), "{lost}");
    let kept = server.execute_sql(&["SELECT sum(bytes) FROM record_bytes WHERE kind = 'logs'"]);
    let kept: u64 = kept.trim().parse().expect("a number");
    assert!(kept <= LOG_BYTES_MAX * 2, "{kept} bytes of lines are stored");
}
