//! Shutdown finishes pushes, scheduled runs and their records.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Database, Repository, Server, TOKEN, Wire, on_both_databases, until};

on_both_databases!(shutdown_finishes_accepted_pushes, shutdown_finishes_and_records_scheduled_runs);

/// The body of a push of a new branch `main`, as git sends it.
fn push_of(repository: &Repository) -> Vec<u8> {
    let command = format!("{:040} {} refs/heads/main\0report-status\n", 0, repository.head());
    let mut packing =
        tests::repository::command(repository.path(), &["pack-objects", "--stdout", "-q", "--revs"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    packing.stdin.take().unwrap().write_all(b"HEAD\n").unwrap();
    let pack = packing.wait_with_output().unwrap().stdout;
    [format!("{:04x}{command}0000", command.len() + 4).into_bytes(), pack].concat()
}

fn shutdown_finishes_accepted_pushes(database: Database) {
    let mut server = Server::start(database);
    let body = push_of(&Repository::hello());
    let (first, rest) = body.split_at(body.len() / 2);
    let head = format!(
        "POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
        server.address,
        body.len()
    );
    let mut wire = Wire::sent(&server, [head.as_bytes(), first].concat());
    until("the shutdown waits for the push", || {
        let page =
            server.request("GET", "/-/metrics", &[("authorization", &format!("Bearer {TOKEN}"))], None);
        page.body.contains("picloud_pushes_in_progress{state=\"waiting\"} 1").then_some(())
    });
    server.terminate();
    until("the node stops", || server.log().contains("shutting down").then_some(()));
    wire.send(rest);
    let response = wire.response();
    assert!(response.status == 200 && response.body.contains("ok refs/heads/main"), "{}", response.body);
    until("the node has stopped", || server.has_stopped().then_some(()));
    server.restart();
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
}

fn shutdown_finishes_and_records_scheduled_runs(database: Database) {
    let mut server = Server::start_with(database, &["--shutdown-timeout", "60s"]);
    let repository = Repository::new();
    repository.write(
        "picloud.toml",
        "sdk = \"1.1\"\n[[schedules]]\nname = \"tick\"\ncron = \"* * * * * *\"\nscript = \"tick.rhai\"\n\
         [limits]\noperations = 100_000_000\ntimeout = \"60s\"\n",
    );
    // Runs for longer than the shutdown needs to start.
    repository.write(
        "tick.rhai",
        "log::info(`begun`); let n = 0; while n < 1_500_000 { n += 1; } log::info(`ended`);",
    );
    repository.commit("tick");
    repository.push(&server.git_url("clock"), &["main"]).succeeded();
    until("the schedule runs", || server.log().contains("begun").then_some(()));
    server.stop();
    let log = server.log();
    assert_eq!(log.matches("begun").count(), log.matches("ended").count(), "{log}");
    server.restart();
    let bearer = format!("Bearer {TOKEN}");
    let of_tick = |what: &str| {
        let path = format!("/-/api/v1/apps/clock/{what}");
        server.request("GET", &path, &[("authorization", &bearer)], None).json()
    };
    let runs = of_tick("schedules/tick/runs?limit=1000");
    let outcomes: Vec<_> =
        runs["runs"].as_array().unwrap().iter().map(|run| run["outcome"].clone()).collect();
    assert!(!outcomes.contains(&"lost".into()) && outcomes.contains(&"succeeded".into()), "{outcomes:?}");
    let lines = of_tick("logs?limit=1000")["lines"].to_string();
    assert!(lines.contains("ended"), "{lines}");
}

#[test]
fn second_signal_does_not_wait_for_scripts() {
    let mut server = Server::start_with(Database::sqlite(), &["--shutdown-timeout", "60s"]);
    let repository = Repository::hello();
    repository.write(
        "picloud.toml",
        format!(
            "{}\n[limits]\ntimeout = \"60s\"\noperations = 1_000_000_000\n",
            tests::repository::HELLO_MANIFEST
        ),
    );
    repository.write("greet.rhai", "log::info(`begun`); let n = 0; loop { n += 1; }");
    repository.commit("for ever");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    let mut wire = Wire::sent(&server, "GET /hello/greet/Ann HTTP/1.1\r\nHost: test\r\n\r\n");
    until("the script runs", || server.log().contains("begun").then_some(()));
    server.terminate();
    until("it is logged", || {
        server.log().contains("send the signal again to exit immediately").then_some(())
    });
    assert!(!server.has_stopped());
    let start = Instant::now();
    // The terminal sends another signal (SIGINT).
    assert!(Command::new("kill").args(["-INT", &server.pid().to_string()]).status().unwrap().success());
    until("the node stops", || server.has_stopped().then_some(()));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(wire.is_closed() && server.log().contains("exiting immediately"), "{}", server.log());
}
