//! Load: deploys fail no request, apps are isolated from each other, and waiting requests are rejected in time.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::faults::recovered;
use tests::{Database, Repository, Response, Server, Wire, on_both_databases, until};

on_both_databases!(deploys_under_load_fail_no_request_and_mix_no_revisions);

const QUICK: &str = "[[routes]]\npath = \"/quick\"\nscript = \"quick.rhai\"\n";
const LONG: &str = "[[routes]]\npath = \"/long\"\nscript = \"long.rhai\"\n";

fn push(server: &Server, app: &str, manifest: &str, scripts: &[(&str, &str)]) {
    let repository = Repository::new();
    repository.write("picloud.toml", format!("sdk = \"1.1\"\n{manifest}"));
    scripts.iter().for_each(|(path, source)| repository.write(path, source));
    repository.commit("app");
    repository.push(&server.git_url(app), &["main"]).succeeded();
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// The manifest and the scripts both name their deploy; the route's capture does too.
fn deploys_under_load_fail_no_request_and_mix_no_revisions(database: Database) {
    const DEPLOYS: usize = 12;
    let server = Server::start(database);
    let repository = Repository::new();
    let (deployed, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let deploy = |number: usize| {
        let route = format!("[[routes]]\npath = \"/mark/{{mark{number}}}\"\nscript = \"mark.rhai\"\n");
        repository.write("picloud.toml", format!("sdk = \"1.1\"\n{route}"));
        let response = format!("#{{ script: {number}, route: ctx.request.params.keys() }}");
        repository.write("mark.rhai", response);
        repository.commit(&format!("deploy {number}"));
        repository.push(&server.git_url("app"), &["main"]).succeeded();
        deployed.store(number, Ordering::SeqCst);
    };
    deploy(1);
    let requests: usize = std::thread::scope(|scope| {
        let send = || {
            let mut wire = Wire::open(&server);
            let mut responses = 0;
            // A request gets at least the revision that was live when it was sent, and that of the request before it.
            let mut newest = 0;
            while !done.load(Ordering::SeqCst) {
                newest = newest.max(deployed.load(Ordering::SeqCst));
                wire.send(get("/app/mark/x"));
                let response = wire.response();
                assert_eq!(response.status, 200, "{response:?}");
                let json = response.json();
                let script = usize::try_from(json["script"].as_u64().unwrap()).unwrap();
                assert_eq!(json["route"][0], format!("mark{script}"), "{response:?}");
                assert!(script >= newest, "rolled back from {newest} to {script}");
                newest = script;
                responses += 1;
            }
            responses
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        // Its threads stop also if a deploy fails.
        let deployed = catch_unwind(AssertUnwindSafe(|| (2..=DEPLOYS).for_each(deploy)));
        done.store(true, Ordering::SeqCst);
        deployed.unwrap_or_else(|failed| resume_unwind(failed));
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(requests > 100 * DEPLOYS, "only {requests} requests were sent meanwhile");
    let last = server.get("/app/mark/x");
    assert_eq!(last.json()["script"], DEPLOYS);
    assert_eq!(last.header("picloud-revision"), Some(repository.head().as_str()));
}

#[test]
fn requests_without_a_slot_wait_in_a_limited_queue() {
    let server = Server::start(Database::sqlite());
    let limits = "[limits]\ntimeout = \"2s\"\noperations = 1_000_000_000\nconcurrency = 1\n";
    let script = "log::info(`begun`); let n = 0; while n < 200_000 { n += 1; } n";
    push(&server, "app", &format!("{LONG}{limits}"), &[("long.rhai", script)]);
    let responses: Vec<Response> = std::thread::scope(|scope| {
        let requests: Vec<_> = (0..12).map(|_| scope.spawn(|| server.get("/app/long"))).collect();
        requests.into_iter().map(|response| response.join().unwrap()).collect()
    });
    let busy: Vec<&Response> = responses.iter().filter(|response| response.status == 503).collect();
    let served = responses.iter().filter(|response| response.status == 200).count();
    assert_eq!(served + busy.len(), responses.len(), "{responses:?}");
    assert!(served >= 2, "one runs and one waits: {responses:?}");
    assert!(!busy.is_empty() && busy.iter().all(|response| response.header("retry-after").is_some()));
    assert!(busy.iter().all(
        |response| response.body == "{\"error\":\"the app is at its limit of 1 concurrent executions\"}"
    ));
}

#[test]
fn long_executions_do_not_starve_other_requests_and_schedules_of_their_app() {
    let server = Server::start(Database::sqlite());
    let schedule = "[[schedules]]\nname = \"tick\"\ncron = \"* * * * * *\"\noverlap = \"allow\"\nscript = \"tick.rhai\"\n";
    let limits = "[limits]\ntimeout = \"60s\"\noperations = 1_000_000_000\n";
    let other = LONG.replace("long", "other");
    let scripts = [
        ("quick.rhai", "`quick`"),
        ("long.rhai", "log::info(`begun`); loop { }"),
        ("other.rhai", "let n = 0; while n < 200_000 { n += 1; } n"),
        ("tick.rhai", "log::info(`ticked`)"),
    ];
    push(&server, "app", &format!("{QUICK}{LONG}{other}{schedule}{limits}"), &scripts);
    // As many as an app has slots.
    let turns =
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get).saturating_sub(1).max(1);
    let hogs: Vec<Wire> = (0..turns).map(|_| Wire::sent(&server, get("/app/long"))).collect();
    let times = |expected: &str| server.log().matches(expected).count();
    until("all slots are in use", || (times("begun") == turns).then_some(()));
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(server.get("/app/quick").body, "\"quick\"");
        let other = server.get("/app/other");
        assert_eq!((other.status, other.body.as_str()), (200, "200000"));
    }
    recovered("long executions of an app use all CPU slots: ten of its other requests", start);
    // Before, each would have waited for ten seconds and been rejected.
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    let ticked = times("ticked");
    until("the schedule runs meanwhile", || (times("ticked") >= ticked + 2).then_some(()));
    // More long executions than slots: they share, and requests without a slot are rejected.
    let more: Vec<Wire> = (0..40).map(|_| Wire::sent(&server, get("/app/long"))).collect();
    until("some of them share slots", || (times("begun") >= turns + 2).then_some(()));
    let refused =
        until("one gets no slot", || Some(server.get("/app/other")).filter(|other| other.status == 503));
    assert_eq!(refused.body, "{\"error\":\"the app got no CPU permit within 10 s\"}");
    drop((hogs, more));
    until("their clients have disconnected", || (server.get("/app/other").status == 200).then_some(()));
}

#[test]
fn saturated_apps_do_not_starve_another() {
    let server = Server::start(Database::sqlite());
    let limits = "[limits]\ntimeout = \"60s\"\noperations = 1_000_000_000\n";
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let greedy: Vec<String> = (0..(processors + 1).min(9)).map(|number| format!("greedy-{number}")).collect();
    for app in &greedy {
        let forever = format!("log::info(`begun: {app}`); let n = 0; loop {{ n += 1; }}");
        push(&server, app, &format!("{LONG}{limits}"), &[("long.rhai", &forever)]);
    }
    let counts = "let n = 0; while n < 50_000 { n += 1; } n";
    let scripts = [("quick.rhai", "`quick`"), ("long.rhai", counts)];
    push(&server, "modest", &format!("{QUICK}{LONG}"), &scripts);
    let requests = greedy.iter().flat_map(|app| std::iter::repeat_n(app, 20));
    let hogs: Vec<Wire> = requests.map(|app| Wire::sent(&server, get(&format!("/{app}/long")))).collect();
    let all_started = |log: &str| greedy.iter().all(|app| log.contains(&format!("begun: {app}")));
    until("one of each runs", || all_started(&server.log()).then_some(()));
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(server.get("/modest/quick").body, "\"quick\"");
    }
    assert_eq!(server.get("/modest/long").body, "50000");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    drop(hogs);
}

#[test]
fn looping_preview_takes_no_slot_of_production() {
    let server = Server::start(Database::sqlite());
    let limits = "[limits]\ntimeout = \"60s\"\noperations = 1_000_000_000\nconcurrency = 4\n";
    let counts = ("long.rhai", "let n = 0; while n < 50_000 { n += 1; } n");
    let quick = ("quick.rhai", "`quick`");
    for app in ["app", "other"] {
        push(&server, app, &format!("{QUICK}{LONG}{limits}"), &[quick, counts]);
    }
    let looping = Repository::new();
    // A preview sets its own limits.
    let greedy = limits.replace("concurrency = 4", "concurrency = 64");
    looping.write("picloud.toml", format!("sdk = \"1.1\"\n{QUICK}{LONG}{greedy}"));
    looping.write(quick.0, quick.1);
    looping.write("long.rhai", "log::info(`begun`); loop { }");
    looping.commit("loops");
    looping.push(&server.git_url("app"), &["main:loops"]).succeeded();
    let mut hogs: Vec<Wire> = (0..100).map(|_| Wire::sent(&server, get("/app@loops/long"))).collect();
    until("one runs, and some are rejected", || {
        let refused = hogs.iter_mut().filter_map(|hog| (!hog.is_silent()).then(|| hog.response())).next();
        refused.filter(|_| server.log().contains("begun"))
    });
    let start = Instant::now();
    for app in ["app", "other"] {
        for _ in 0..20 {
            let response = server.get(&format!("/{app}/quick"));
            assert_eq!((response.status, response.body.as_str()), (200, "\"quick\""));
        }
        // As many at once as there are slots.
        let long = std::thread::scope(|scope| {
            let requests: Vec<_> =
                (0..4).map(|_| scope.spawn(|| server.get(&format!("/{app}/long")))).collect();
            requests.into_iter().map(|response| response.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(long.iter().all(|response| response.status == 200 && response.body == "50000"), "{long:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    drop(hogs);
}
