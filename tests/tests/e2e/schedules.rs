//! Every due time runs once while its schedule is declared, through failures of nodes and databases.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;
use tests::faults::long;
use tests::postgres::Postgres;
use tests::{Database, Repository, Server, TOKEN, on_both_databases, until};

on_both_databases!(
    schedule_fires_and_is_replaced_with_routes,
    run_of_killed_node_is_lost_and_not_retried,
    schedule_is_run_manually_paused_and_resumed,
    total_schedule_frequency_is_limited,
);

const MANIFEST: &str = r#"sdk = "1.1"

[[schedules]]
name = "tick"
cron = "* * * * * *"
script = "tick.rhai"
"#;

/// Keeps a CPU busy for some seconds in a debug build.
const SLOW: &str = "log::info(\"begun\"); let n = 0; while n < 3_000_000 { n += 1; }";

const LONG: &str = "\n[limits]\noperations = 100_000_000\ntimeout = \"60s\"\n";

fn clock(manifest: &str, script: &str) -> Repository {
    let repository = Repository::new();
    repository.write("picloud.toml", manifest);
    repository.write("tick.rhai", script);
    repository.commit("first");
    repository
}

/// Sends an API request for the app `clock`.
fn api(server: &Server, method: &str, path: &str) -> tests::Response {
    let bearer = format!("Bearer {TOKEN}");
    server.request(method, &format!("/-/api/v1/apps/clock/{path}"), &[("authorization", &bearer)], None)
}

fn runs(server: &Server) -> Vec<serde_json::Value> {
    let response = api(server, "GET", "schedules/tick/runs?limit=1000");
    assert_eq!(response.status, 200, "{}", response.body);
    response.json()["runs"].as_array().expect("runs").clone()
}

fn total_schedule_frequency_is_limited(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("clock");
    let every_second = |count: usize| {
        let schedule =
            |n| format!("[[schedules]]\nname = \"t{n}\"\ncron = \"* * * * * *\"\nscript = \"tick.rhai\"\n");
        format!("sdk = \"1.1\"\n{}", (0..count).map(schedule).collect::<String>())
    };
    let repository = clock(&every_second(1000), "1");
    repository
        .push(&url, &["main"])
        .refused()
        .says("picloud.toml:2:1  `schedules` has 1000 entries, more than the 100 that the server grants the app")
        .says("picloud.toml:24:8  the schedules together run up to 60000 times a minute, more than the 300 that the server grants the app")
        .says("picloud apps limits clock --schedule-runs-per-minute 60000");
    assert_eq!(api(&server, "GET", "schedules").status, 404, "the routes are not live");

    // Accepted runs continue, as often as still allowed.
    repository.write("picloud.toml", every_second(5));
    repository.commit("as many as can be");
    repository.push(&url, &["main"]).succeeded();
    let ran = || {
        let rows = server.execute_sql(&["SELECT count(*) FROM schedule_runs WHERE execution IS NOT NULL"]);
        rows.trim().parse::<usize>().expect("a number")
    };
    until("the schedules run", || (ran() > 0).then_some(()));
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = br#"{"schedule_runs_per_minute": 10}"#;
    let response = server.request("PATCH", "/-/api/v1/apps/clock/limits", &headers, Some(body));
    assert_eq!(response.status, 200, "{}", response.body);
    let expected =
        "reached their limit of 10 runs per minute; an admin can raise it with  picloud apps limits clock";
    until("skipped due times are logged", || server.log().contains(expected).then_some(()));
    let minute = || Utc::now().timestamp() / 60;
    let (started, before, at) = (minute(), ran(), Instant::now());
    until("some due times pass", || (at.elapsed() > Duration::from_secs(2)).then_some(()));
    let now = ran();
    assert!(now == before || minute() != started, "{before} ran, and {now} two seconds later");
    if long() {
        while ran() < before + 10 {
            assert!(at.elapsed() < Duration::from_secs(70), "no run in the next minute");
            std::thread::sleep(Duration::from_millis(50));
        }
        let rows =
            server.execute_sql(&["SELECT schedule, detail FROM schedule_runs WHERE outcome = 'skipped'"]);
        assert_eq!(rows.lines().filter(|row| row.contains(expected)).count(), 5, "{rows}");
    }
}

fn schedule_fires_and_is_replaced_with_routes(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("clock");
    let repository = clock(MANIFEST, "log::info(`first ${ctx.invocation_type}`)");
    repository.push(&url, &["main"]).succeeded().says("+ tick  * * * * * *  UTC  tick.rhai  next ");
    until("three runs", || (server.log().matches("first scheduled").count() >= 3).then_some(()));
    repository.write("tick.rhai", "log::info(\"second\")");
    repository.commit("second");
    repository.push(&url, &["main"]).succeeded();
    until("the new script", || server.log().contains("second").then_some(()));
    let ran = runs(&server);
    assert!(ran.iter().all(|run| run["late_ms"].as_i64().is_some_and(|late| late < 5000)), "{ran:?}");
    repository.write("picloud.toml", "sdk = \"1.1\"\n[[routes]]\npath = \"/\"\nscript = \"tick.rhai\"\n");
    repository.commit("no schedule");
    repository.push(&url, &["main"]).succeeded().says("- tick");
    assert_eq!(server.get("/clock/").status, 200);
    if server.database.is_external() {
        let runs = |what: &str| server.database.query(&format!("SELECT {what} FROM schedule_runs"));
        until("all runs have ended", || {
            (runs("count(*) FILTER (WHERE finished_at IS NULL)") == "0").then_some(())
        });
        assert_eq!(runs("count(*) - count(DISTINCT due_at)"), "0", "no due time ran twice");
        assert_eq!(runs("count(*) FILTER (WHERE outcome <> 'succeeded')"), "0");
    }
}

fn run_of_killed_node_is_lost_and_not_retried(database: Database) {
    let mut server = Server::start(database);
    let repository = clock(&format!("{MANIFEST}{LONG}"), SLOW);
    repository.push(&server.git_url("clock"), &["main"]).succeeded();
    until("a run has started", || server.log().contains("begun").then_some(()));
    let killed = runs(&server).into_iter().find(|run| run["outcome"] == "running").expect("a running run");
    server.kill();
    server.restart();
    let same = |run: &serde_json::Value| run["due_at"] == killed["due_at"] && run["manual"] == false;
    let lost = until("it is recorded as lost", || {
        runs(&server).into_iter().find(|run| same(run) && run["outcome"] != "running")
    });
    assert_eq!(lost["outcome"], "lost");
    assert_eq!((&lost["node"], &lost["execution"]), (&killed["node"], &killed["execution"]));
    let why = format!(
        "the lease of node {} expired during the run",
        killed["node"]["name"].as_str().expect("a name")
    );
    assert_eq!(lost["detail"], why.as_str());
    let execution = killed["execution"].as_str().expect("an id");
    assert_eq!(
        server.log().lines().filter(|line| line.contains("begun") && line.contains(execution)).count(),
        1
    );
}

fn schedule_is_run_manually_paused_and_resumed(database: Database) {
    let mut server = Server::start(database);
    let yearly = MANIFEST.replace("* * * * * *", "0 0 1 1 *");
    let repository = clock(&yearly, "log::info(\"ran\")");
    repository.push(&server.git_url("clock"), &["main"]).succeeded();
    let refused = server.request("GET", "/-/api/v1/apps/clock/schedules", &[], None);
    assert_eq!((refused.status, refused.header("content-type")), (401, Some("application/problem+json")));
    assert_eq!(api(&server, "POST", "schedules/none/run").status, 404);

    let listed = api(&server, "GET", "schedules").json();
    let tick = &listed["schedules"][0];
    assert_eq!(
        (&tick["name"], &tick["cron"], &tick["timezone"]),
        (&"tick".into(), &"0 0 1 1 *".into(), &"UTC".into())
    );
    assert_eq!(tick["next"].as_array().expect("times").len(), 3);

    let ran = api(&server, "POST", "schedules/tick/run");
    assert_eq!(ran.status, 200, "{}", ran.body);
    let ran = ran.json();
    assert_eq!((&ran["run"]["outcome"], &ran["run"]["manual"]), (&"succeeded".into(), &true.into()));
    assert_eq!(ran["run"]["commit"], repository.head().as_str());
    let is_line = |line: &&str| line.contains("script") && line.contains("ran ");
    until("the log has the line", || (server.log().lines().filter(is_line).count() == 1).then_some(()));

    let paused = api(&server, "POST", "schedules/tick/pause").json();
    assert_eq!((&paused["paused"]["by"], &paused["next"]), (&"admin".into(), &serde_json::json!([])));
    // A paused schedule stays paused over restarts and deploys.
    server.kill();
    server.restart();
    repository.write("tick.rhai", "log::info(\"new\")");
    repository.commit("second");
    repository.push(&server.git_url("clock"), &["main"]).succeeded();
    assert_eq!(api(&server, "GET", "schedules").json()["schedules"][0]["paused"], paused["paused"]);
    let resumed = api(&server, "POST", "schedules/tick/resume").json();
    assert_eq!(
        (&resumed["paused"], resumed["next"].as_array().map(Vec::len)),
        (&serde_json::Value::Null, Some(3))
    );
    assert_eq!(runs(&server).len(), 1);
}

/// The number of schedules that are due every second, and the total of due times to reach.
const SCHEDULES: usize = 25;
const DUE_TIMES: usize = 1000;

/// The time between two kills of nodes.
const BETWEEN_KILLS: Duration = Duration::from_secs(4);

#[test]
fn thousand_due_times_run_once_on_three_nodes_that_are_killed() {
    let database = Database::postgres();
    let often = ["--app-schedule-runs-per-minute", "10000"];
    let mut nodes: Vec<Server> = (0..3).map(|_| Server::start_with(database.clone(), &often)).collect();
    let manifest = (0..SCHEDULES).fold("sdk = \"1.1\"\n".to_owned(), |manifest, number| {
        let script = if number == 0 { "slow.rhai" } else { "tick.rhai" };
        manifest
            + &format!(
                "[[schedules]]\nname = \"tick-{number}\"\ncron = \"* * * * * *\"\nscript = \"{script}\"\n"
            )
    });
    let repository = clock(&manifest, "log::info(\"trace\")");
    repository.write("slow.rhai", "log::info(\"trace\"); let n = 0; while n < 200_000 { n += 1; }");
    repository.commit("first");
    repository.push(&nodes[0].git_url("clock"), &["main"]).succeeded();
    for node in &mut nodes[1..] {
        // The nodes learn of it at their start.
        node.kill();
        node.restart();
    }
    let count = |what: &str| -> usize {
        database.query(&format!("SELECT {what} FROM schedule_runs")).parse().expect("a number")
    };
    let mut last_kill = Instant::now();
    let mut victims = [1, 2, 0].into_iter().cycle();
    let mut kills = 0;
    until("all due times have passed", || {
        if last_kill.elapsed() > BETWEEN_KILLS {
            let node = &mut nodes[victims.next().expect("a cycle")];
            node.kill();
            node.restart();
            kills += 1;
            last_kill = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(200));
        (count("coalesce(sum(due_times), 0)") >= DUE_TIMES).then_some(())
    });
    repository.write("picloud.toml", "sdk = \"1.1\"\n");
    repository.commit("nothing is scheduled");
    repository.push(&nodes[0].git_url("clock"), &["main"]).succeeded();
    until("every run has ended or is lost", || {
        (count("count(*) FILTER (WHERE finished_at IS NULL)") == 0).then_some(())
    });

    // Each due time is in one row: they follow each other without a gap.
    let gaps = "count(*) FROM (SELECT coalesce(first_due_at, due_at) - lag(due_at) OVER (PARTITION BY schedule ORDER BY due_at) AS step,
        due_times, due_at - coalesce(first_due_at, due_at) AS range FROM schedule_runs) AS rows
        WHERE step <> interval '1 second' OR extract(epoch FROM range) <> due_times - 1";
    assert_eq!(database.query(&format!("SELECT {gaps}")), "0");
    let outcomes =
        database.query("SELECT outcome, count(*), sum(due_times) FROM schedule_runs GROUP BY 1 ORDER BY 1");
    assert_eq!(count("count(*) FILTER (WHERE outcome = 'lost' AND (node_name IS NULL OR node IS NULL))"), 0);

    // Rows and executions agree: every execution ran once, on its node.
    let mut traces: BTreeMap<String, usize> = BTreeMap::new();
    for node in &nodes {
        for line in node.log().lines().filter(|line| line.contains("trace")) {
            let (_, rest) = line.split_once("execution=").expect("a line with its execution");
            *traces.entry(rest.chars().take(36).collect()).or_default() += 1;
        }
    }
    assert_eq!(traces.values().filter(|count| **count > 1).count(), 0, "an execution ran twice");
    let rows = database.query("SELECT execution, outcome FROM schedule_runs WHERE execution IS NOT NULL");
    let rows: BTreeMap<&str, &str> = rows.lines().filter_map(|line| line.split_once('|')).collect();
    let mut without_a_trace = 0;
    for (execution, outcome) in &rows {
        match *outcome {
            "succeeded" => without_a_trace += usize::from(!traces.contains_key(*execution)),
            "lost" => {}
            other => panic!("{execution} {other}"),
        }
    }
    // A killed node loses the lines of its last moment.
    assert!(
        without_a_trace <= kills * SCHEDULES,
        "{without_a_trace} succeeded and left no trace, with {kills} kills"
    );
    for execution in traces.keys() {
        assert!(rows.contains_key(execution.as_str()), "{execution} has no row");
    }
    let ran = count("count(*) FILTER (WHERE outcome = 'succeeded')");
    assert!(ran * 2 > DUE_TIMES, "only {ran} ran:\n{outcomes}");
}

#[test]
fn due_times_during_outage_are_caught_up_in_one_row() {
    let postgres = Postgres::start();
    let server = Server::start(Database::on(postgres.url()));
    let repository = clock(MANIFEST, "log::info(\"ran\")");
    repository.push(&server.git_url("clock"), &["main"]).succeeded();
    until("the schedule runs", || (server.log().matches("ran").count() > 2).then_some(()));
    let before = runs(&server).len();
    postgres.stop();
    until("a due time could not be claimed", || {
        server.log().contains("cannot claim run, will retry").then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    postgres.restart();
    until("the schedule runs again", || {
        let response = api(&server, "GET", "schedules/tick/runs?limit=1000");
        let runs =
            response.status == 200 && response.json()["runs"].as_array().expect("runs").len() > before + 3;
        runs.then_some(())
    });
    let rows = "SELECT count(*) FROM (SELECT coalesce(first_due_at, due_at) - lag(due_at) OVER (ORDER BY due_at) AS step
        FROM schedule_runs) AS rows WHERE step <> interval '1 second'";
    assert_eq!(server.database.query(rows), "0", "each due time is in exactly one row");
    assert_ne!(server.database.query("SELECT count(*) FROM schedule_runs WHERE due_times > 1"), "0");
}

#[test]
fn paused_node_does_not_overwrite_the_result_of_its_lost_run() {
    let database = Database::postgres();
    let frozen = Server::start(database.clone());
    let repository = clock(&format!("{MANIFEST}{LONG}"), SLOW);
    repository.push(&frozen.git_url("clock"), &["main"]).succeeded();
    until("a run has started", || frozen.log().contains("begun").then_some(()));
    let run = runs(&frozen).into_iter().find(|run| run["outcome"] == "running").expect("a running run");
    frozen.freeze();
    let other = Server::start(database);
    let same = |found: &serde_json::Value| found["execution"] == run["execution"];
    let recorded = || runs(&other).into_iter().find(same).expect("its row");
    until("it is recorded as lost", || (recorded()["outcome"] == "lost").then_some(()));
    frozen.thaw();
    until("the node notices", || {
        let log = frozen.log();
        (log.contains("the run was recorded as lost") || log.contains("cannot record the outcome"))
            .then_some(())
    });
    assert_eq!(recorded()["outcome"], "lost");
    assert_eq!(recorded()["node"], run["node"]);
}
