//! Executions and logs, as users of an app see them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use tests::repository::environment;
use tests::server::picloud;
use tests::{Database, Postgres, Repository, Server, TOKEN, on_both_databases, until};

use crate::client_commands::run;

on_both_databases!(
    executions_are_recorded_with_their_cost,
    failure_is_shown_with_source_line_of_its_commit,
    last_executions_are_recorded_before_shutdown,
);

const MANIFEST: &str = r#"
    sdk = "1.1"
    [[routes]]
    path = "/greet/{name}"
    script = "greet.rhai"
    [[routes]]
    path = "/fail"
    script = "fail.rhai"
    [[routes]]
    path = "/long"
    script = "long.rhai"
    [[functions]]
    name = "double"
    script = "double.rhai"
    [[schedules]]
    name = "tick"
    cron = "0 0 1 1 *"
    script = "tick.rhai"
"#;

fn serve(database: Database) -> (Server, Repository) {
    let server = Server::start(database);
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("greet.rhai", "log::info(`to ${ctx.request.params.name}`, #{ n: 1 });\n`hi`");
    repository.write("fail.rhai", "let a = 1;\n  throw \"no luck\";");
    // Longer than the wait for a slot.
    repository.write(
        "long.rhai",
        "log::warn(\"begun\"); let n = 0; for i in 0..200_000 { n += i; } log::error(`${n}`); n",
    );
    repository.write("double.rhai", "ctx.request.body.n * 2");
    repository.write("tick.rhai", "log::trace(\"tick\")");
    repository.commit("first");
    repository.git(&["remote", "add", "picloud", &server.git_url("app")]);
    repository.push("picloud", &["main"]).succeeded();
    (server, repository)
}

fn get_json(server: &Server, path: &str) -> Value {
    let bearer = format!("Bearer {TOKEN}");
    let response =
        server.request("GET", &format!("/-/api/v1/apps/app/{path}"), &[("authorization", &bearer)], None);
    assert_eq!(response.status, 200, "{}", response.body);
    response.json()
}

/// The executions that `query` finds, once there are `count`.
fn executions(server: &Server, query: &str, count: usize) -> Vec<Value> {
    until("the executions are recorded", || {
        let found = get_json(server, &format!("executions?{query}"))["executions"].as_array().cloned();
        found.filter(|found| found.len() == count)
    })
}

fn messages(server: &Server, query: &str) -> Vec<String> {
    let found = get_json(server, &format!("logs?{query}"));
    let lines = found["lines"].as_array().expect("lines");
    lines.iter().map(|line| line["message"].as_str().expect("a message").to_owned()).collect()
}

fn executions_are_recorded_with_their_cost(database: Database) {
    let (server, repository) = serve(database);
    let request = "11111111-2222-4333-8444-555555555555";
    let response = server.request("GET", "/app/greet/Ann?secret=1", &[("x-request-id", request)], None);
    let id = response.header("picloud-execution").expect("an id").to_owned();
    server.get("/app/long");
    let (code, _, text) = run(repository.path(), &["invoke", "double", "--data", "{\"n\": 2}"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(run(repository.path(), &["run", "tick"]).0, Some(0));

    let all = executions(&server, "", 4);
    let of = |script: &str| all.iter().find(|found| found["script"] == script).expect(script);
    let greet = of("greet.rhai");
    assert_eq!((&greet["id"], &greet["request_id"]), (&id.into(), &request.into()));
    assert_eq!((&greet["target"], &greet["trigger"]), (&"GET /greet/Ann".into(), &"http".into()));
    assert_eq!(
        (&greet["status"], &greet["deploy"], &greet["log_lines"]),
        (&200.into(), &1.into(), &1.into())
    );
    assert_eq!(greet["commit"], repository.head());
    assert!(greet["failure"].is_null() && greet["memory_peak_bytes"].as_u64() > Some(0), "{greet}");
    let long = of("long.rhai");
    assert!(long["operations"].as_u64() > Some(200_000) && long["duration_us"].as_u64() > Some(0), "{long}");
    assert_eq!(long["log_lines"], 2);
    let double = of("double.rhai");
    assert_eq!((&double["target"], &double["trigger"]), (&"double".into(), &"function".into()));
    assert!(double["status"].is_null());
    let tick = of("tick.rhai");
    assert_eq!((&tick["target"], &tick["trigger"]), (&"tick".into(), &"scheduled".into()));

    assert_eq!(executions(&server, "script=long.rhai", 1)[0]["script"], "long.rhai");
    assert_eq!(executions(&server, "trigger=scheduled", 1)[0]["script"], "tick.rhai");
    let first = get_json(&server, "executions?limit=3");
    let rest =
        get_json(&server, &format!("executions?cursor={}", first["next_cursor"].as_str().expect("more")));
    assert_eq!(rest["executions"].as_array().map(Vec::len), Some(1));
    assert!(rest["next_cursor"].is_null());

    assert_eq!(messages(&server, ""), ["to Ann", "begun", "19999900000", "tick"]);
    assert_eq!(messages(&server, "level=warn"), ["begun", "19999900000"]);
    assert_eq!(messages(&server, "script=tick.rhai"), ["tick"]);
    assert_eq!(messages(&server, &format!("execution={}", greet["id"].as_str().expect("an id"))), ["to Ann"]);
    assert!(messages(&server, "since=2999-01-01T00:00:00Z").is_empty());
    let older = get_json(&server, "logs?limit=1")["next_cursor"].as_str().map(str::to_owned);
    assert_eq!(messages(&server, &format!("limit=1&cursor={}", older.expect("more"))), ["19999900000"]);
}

fn failure_is_shown_with_source_line_of_its_commit(database: Database) {
    let (server, repository) = serve(database);
    let id = server.get("/app/fail").json()["execution_id"].as_str().expect("an id").to_owned();
    executions(&server, "failed=true", 1);
    repository.write("fail.rhai", "\"repaired\"");
    repository.commit("second");
    repository.push("picloud", &["main"]).succeeded();

    let (code, text, _) = run(repository.path(), &["executions", &id]);
    assert_eq!(code, Some(0), "{text}");
    for expected in [
        "http GET /fail",
        "script_error 500",
        "error: fail.rhai:2:3  ",
        "no luck",
        "  2 |   throw \"no luck\";\n    |   ^\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
    let (_, text, _) = run(repository.path(), &["executions", "--failed"]);
    assert!(text.contains("GET /fail") && text.contains(&id), "{text}");
    let (_, text, _) = run(repository.path(), &["logs"]);
    assert!(
        text.contains("ERROR  fail.rhai:2  script_error at fail.rhai:2:3: ") && text.contains(&id),
        "{text}"
    );
    let unknown = "00000000-0000-4000-8000-000000000000";
    let (code, _, text) = run(repository.path(), &["executions", unknown]);
    assert!(code == Some(1) && text.contains("execution not found"), "{text}");
    assert_eq!(run(repository.path(), &["executions", "nonsense"]).0, Some(2));
}

fn last_executions_are_recorded_before_shutdown(database: Database) {
    let (mut server, _repository) = serve(database);
    for _ in 0..20 {
        assert_eq!(server.get("/app/greet/Ann").status, 200);
    }
    server.stop();
    server.restart();
    assert_eq!(get_json(&server, "executions")["executions"].as_array().map(Vec::len), Some(20));
    assert_eq!(messages(&server, "").len(), 20);
}

/// `picloud logs -f` in the folder of a repository, and the lines that it prints.
pub(crate) struct Follower {
    process: Child,
    lines: Receiver<String>,
    messages: Receiver<String>,
}

impl Follower {
    pub(crate) fn new(repository: &Repository, arguments: &[&str]) -> Self {
        let mut command = Command::new(picloud());
        environment(&mut command, repository.path());
        command.args(["logs", "-f"]).args(arguments).current_dir(repository.path());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        let lines = lines_of(process.stdout.take().expect("a pipe"));
        let messages = lines_of(process.stderr.take().expect("a pipe"));
        Self { process, lines, messages }
    }

    pub(crate) fn line(&self) -> String {
        until("a line is printed", || self.lines.try_recv().ok())
    }

    pub(crate) fn receives(&self, expected: &str) {
        until(expected, || self.messages.try_recv().ok().filter(|line| line.contains(expected)));
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

#[test]
fn followed_logs_include_all_nodes_and_survive_a_restart() {
    let database = Database::postgres();
    let (mut one, repository) = serve(database.clone());
    let two = Server::start_with(database, &["--node-name", "two"]);
    one.get("/app/greet/Early");
    until("the execution is recorded", || (messages(&one, "").len() == 1).then_some(()));

    let follower = Follower::new(&repository, &[]);
    assert!(follower.line().ends_with("INFO   greet.rhai:1  to Early  {\"n\":1}"), "stored lines come first");
    let errors = Follower::new(&repository, &["--level", "error", "--json", "-n", "0"]);
    two.get("/app/greet/Bob");
    assert!(follower.line().contains("to Bob"));
    two.get("/app/fail");
    assert!(follower.line().contains("no luck"));
    let line: Value = serde_json::from_str(&errors.line()).expect("JSON");
    assert_eq!((&line["level"], &line["failure"]), (&"error".into(), &true.into()), "{line}");

    // The follower is connected to the first node; the second one logs while the first is down.
    let address = one.address.clone();
    one.stop();
    follower.receives("reconnecting");
    for name in ["Cleo", "Dan"] {
        two.get(&format!("/app/greet/{name}"));
    }
    until("the executions are recorded", || (messages(&two, "script=greet.rhai").len() == 4).then_some(()));
    one.restart_at(&address);
    follower.receives("no lines were lost");
    assert!(follower.line().contains("to Cleo"));
    assert!(follower.line().contains("to Dan"));
}

#[test]
fn executions_during_database_outage_are_recorded_or_counted_as_dropped() {
    let postgres = Postgres::start();
    let server = Server::start_with(Database::on(postgres.url()), &["--node-name", "pi"]);
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("greet.rhai", "log::info(ctx.request.params.name); 1");
    ["fail", "long", "double", "tick"]
        .iter()
        .for_each(|script| repository.write(&format!("{script}.rhai"), "1"));
    repository.commit("first");
    repository.git(&["remote", "add", "picloud", &server.git_url("app")]);
    repository.push("picloud", &["main"]).succeeded();
    let follower = Follower::new(&repository, &["-n", "0"]);
    server.get("/app/greet/Ann");
    assert!(follower.line().ends_with("Ann"));

    postgres.stop();
    follower.receives("the database is unavailable");
    let bearer = format!("Bearer {TOKEN}");
    let outage = server.request("GET", "/-/api/v1/apps/app/logs", &[("authorization", &bearer)], None);
    assert_eq!(outage.status, 503, "{}", outage.body);
    server.get("/app/greet/Bob");
    // More routine executions than the buffer holds.
    let failing: u32 = 12_000;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..failing / 4).for_each(|_| assert_eq!(server.get("/app/fail").status, 200)));
        }
    });
    postgres.restart();
    follower.receives("the database is available again");
    assert!(follower.line().ends_with("Bob"), "executions with lines are recorded before those without");
    follower.receives("node pi dropped");
    let database = &server.database;
    let (kept, lost) = until("all executions are recorded or counted", || {
        let kept: u32 = database.query("SELECT count(*) FROM executions").parse().expect("a number");
        let lost: u32 = database
            .query("SELECT coalesce(sum(executions), 0) FROM dropped_records")
            .parse()
            .expect("a number");
        (kept + lost == failing + 2).then_some((kept, lost))
    });
    let (code, problems) = crate::status::problems(&server.address);
    let dropped = problems.iter().find(|problem| problem["kind"] == "records_dropped").expect("a problem");
    let message = dropped["message"].as_str().expect("a message");
    let expected = format!("node pi dropped the records of {lost} execution");
    assert!(code == Some(1) && message.starts_with(&expected), "{message}");
    // More than the queue holds, which is also drained while the database is down.
    assert!(kept > 768 && lost > 0, "{kept} recorded and {lost} dropped");
}
