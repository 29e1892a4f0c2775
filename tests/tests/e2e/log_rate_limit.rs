//! An app that logs as much as it can, next to one that logs a little: nothing of the other one is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Database, Repository, Server, TOKEN, on_both_databases, until};

use crate::executions::Follower;
use crate::status::problems;

on_both_databases!(log_flood_of_one_app_loses_no_lines_of_another);

/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(3);

/// What a run of it logs: 30 lines of 8 kB, about as much as a run can.
const LINES: usize = 30;
const LINE_BYTES: usize = 8000;

/// What is kept of all log lines, 2 MiB: far less than the flood logs.
const LOGS_BYTES: u64 = 2 << 20;

/// What the node's own log takes of each app: so much a second, and sixteen times as much at once.
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

/// Everything that is recorded of the quiet app: its executions, and its lines.
fn recorded(server: &Server) -> (usize, Vec<String>) {
    let asked = |path: &str| -> Value {
        let bearer = format!("Bearer {TOKEN}");
        let path = format!("/-/api/v1/apps/quiet/{path}?limit=1000");
        let answer = server.request("GET", &path, &[("authorization", &bearer)], None);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let executions = asked("executions")["executions"].as_array().map_or(0, Vec::len);
    let message = |line: &Value| line["message"].as_str().expect("a message").to_owned();
    let lines = asked("logs")["lines"].as_array().expect("lines").iter().map(message).collect();
    (executions, lines)
}

fn log_flood_of_one_app_loses_no_lines_of_another(database: Database) {
    let server = Server::start_with(database, &["--logs-bytes", "2MiB", "--node-name", "pi"]);
    let line = "x".repeat(LINE_BYTES);
    push(&server, "flood", &format!("for i in 0..{LINES} {{ log::info(\"{line}\"); }} 1"));
    let quiet = push(&server, "quiet", "log::info(`number ${ctx.request.params.n}`); 1");
    let ask = |number: usize| assert_eq!(server.get(&format!("/quiet/{number}")).status, 200);
    (0..20).for_each(ask);
    until("the first ones are recorded", || (recorded(&server).1.len() == 20).then_some(()));
    let follower = Follower::new(&quiet, &["-n", "0"]);
    let (began, done) = (Instant::now(), AtomicBool::new(false));
    let asked = scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(server.get("/flood/1").status, 200);
                }
            });
        }
        let mut asked = 20;
        while began.elapsed() < FLOOD {
            ask(asked);
            asked += 1;
            sleep(Duration::from_millis(10));
        }
        done.store(true, Ordering::SeqCst);
        asked
    });

    // All of it is recorded, what came before the flood among it, and soon: it does not wait for what the flood has left to write.
    let expected: Vec<String> = (0..asked).map(|number| format!("number {number}")).collect();
    until("all is recorded", || (recorded(&server) == (asked, expected.clone())).then_some(()));
    for expected in &expected[20..] {
        let line = follower.line();
        assert!(line.ends_with(expected.as_str()), "{line} instead of {expected}");
    }

    // The node's log has all of it too, and of the flood what is the flood's part.
    let log = server.log();
    let seconds = usize::try_from(began.elapsed().as_secs()).expect("a short time") + 1;
    let of = |app: &str| log.lines().filter(|line| line.contains(&format!("app={app} "))).collect::<Vec<_>>();
    let logged = of("quiet");
    assert!(
        expected.iter().all(|words| logged.iter().any(|line| line.contains(words.as_str()))),
        "{logged:?}"
    );
    let flooded: usize = of("flood").iter().map(|line| line.len() + 1).sum();
    assert!(flooded <= (16 + seconds) * LOG_RATE + 2 * LINE_BYTES, "{flooded} bytes in {seconds} s");
    until("it is said what was left out", || {
        let words = "left out of this log, which takes 65536 bytes a second of each app";
        server.log().lines().find(|line| line.contains(words) && line.contains("app=flood")).map(drop)
    });

    // What the flood has lost is its own loss, and it keeps no more than there is room for.
    let lost = until("its losses are told", || {
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
    let kept = server.alter(&["SELECT sum(bytes) FROM record_bytes WHERE kind = 'logs'"]);
    let kept: u64 = kept.trim().parse().expect("a number");
    assert!(kept <= LOGS_BYTES * 2, "{kept} bytes of lines are kept");
}
