//! State: a run is one transaction, also with many clients, a killed node, and a full disk.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tests::faults::{self, SeededRandom};
use tests::wire::Wire;
use tests::{Database, Repository, Server, on_both_databases, until};

use crate::access::cli;
use crate::disk_faults::Node;

on_both_databases!(
    sum_of_many_clients_is_right,
    answered_runs_survive_kills_and_no_run_is_partial,
    state_stays_over_pushes_rollbacks_and_restarts,
    key_that_is_named_twice_is_read_once,
);

/// An app with a route for each script.
pub(crate) fn repository(scripts: &[(&str, &str)]) -> Repository {
    let repository = Repository::new();
    let mut manifest = "sdk = \"1.3\"\n".to_owned();
    for (name, source) in scripts {
        let path = format!("{name}.rhai");
        manifest += &format!("\n[[routes]]\npath = \"/{name}\"\nscript = \"{path}\"\n");
        repository.write(&path, source);
    }
    repository.write("picloud.toml", manifest);
    repository.commit("app");
    repository
}

pub(crate) fn serve(database: Database, scripts: &[(&str, &str)]) -> Server {
    let server = Server::start(database);
    repository(scripts).push(&server.git_url("app"), &["main"]).succeeded();
    server
}

fn sum_of_many_clients_is_right(database: Database) {
    const CLIENTS: usize = 64;
    const REQUESTS: usize = 8;
    let server = serve(
        database,
        &[
            ("set", "kv::set(\"set\", (kv::get(\"set\") ?? 0) + 1)"),
            ("incr", "kv::incr(\"incr\")"),
            ("add", "kv::add(\"add\", 1)"),
            (
                "slow",
                "let n = kv::get(\"slow\") ?? 0; for i in 0..20_000 { n += 0; } kv::set(\"slow\", n + 1)",
            ),
            ("sums", "kv::get_many([\"set\", \"incr\", \"add\", \"slow\"])"),
        ],
    );
    let numbers = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for number in 0..REQUESTS {
                    for path in ["/app/set", "/app/incr", "/app/add"] {
                        let response = server.get(path);
                        assert_eq!(response.status, 200, "{path}: {}", response.body);
                        if path == "/app/incr" {
                            numbers.lock().unwrap().insert(response.body);
                        }
                    }
                    if number == 0 {
                        assert_eq!(server.get("/app/slow").status, 200);
                    }
                }
            });
        }
    });
    let sum = (CLIENTS * REQUESTS) as u64;
    let sums = server.get("/app/sums").json();
    assert_eq!(sums, serde_json::json!({"set": sum, "incr": sum, "add": sum, "slow": CLIENTS}));
    assert_eq!(numbers.into_inner().unwrap().len() as u64, sum, "each client got another number");
    assert!(server.metric("picloud_state_conflicts_total{app=\"app\"}") > 0.0);
}

fn answered_runs_survive_kills_and_no_run_is_partial(database: Database) {
    let mut server = serve(
        database,
        &[
            (
                "pair",
                "let id = ctx.request.query.id; kv::set(`a/${id}`, 1); kv::set(`b/${id}`, 1); kv::incr(\"n\")",
            ),
            (
                "count",
                "let after = ctx.request.query.after;
                 let page = kv::keys(ctx.request.query.of + \"/\", if after == \"\" { #{ limit: 1000 } } else { #{ limit: 1000, after: after } });
                 #{ keys: page, n: kv::get(\"n\") ?? 0 }",
            ),
        ],
    );
    let keys = |server: &Server, of: &str| {
        let (mut all, mut after) = (BTreeSet::new(), String::new());
        loop {
            let page = server.get(&format!("/app/count?of={of}&after={after}"));
            assert_eq!(page.status, 200, "{}", page.body);
            let page = page.json();
            let names = page["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned());
            let before = all.len();
            all.extend(names);
            if all.len() == before {
                let ids: BTreeSet<String> = all.iter().map(|key| key[2..].to_owned()).collect();
                return (ids, page["n"].as_u64().unwrap());
            }
            after = all.last().cloned().unwrap_or_default();
        }
    };
    let mut moments = SeededRandom::new("answered_runs_survive_kills");
    let (mut answered, next) = (BTreeSet::<String>::new(), AtomicU64::new(0));
    for _ in 0..faults::rounds(6, 200) {
        let (killed, seen) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
        let moment = moments.within(Duration::from_millis(150));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !killed.load(Ordering::SeqCst) {
                        let id = format!("{:06}", next.fetch_add(1, Ordering::SeqCst));
                        match server.try_request("GET", &format!("/app/pair?id={id}"), &[], None) {
                            Ok(response) if response.status == 200 => {
                                seen.lock().unwrap().insert(id);
                            }
                            _ => {}
                        }
                    }
                });
            }
            until("some are answered", || (seen.lock().unwrap().len() > 16).then_some(()));
            thread::sleep(moment);
            server.send_kill();
            killed.store(true, Ordering::SeqCst);
        });
        server.kill();
        answered.extend(seen.into_inner().unwrap());
        server.restart();
        until("the app is live again", || (server.get("/app/count?of=a").status == 200).then_some(()));
        let ((first, sum), (second, _)) = (keys(&server, "a"), keys(&server, "b"));
        let lost: Vec<_> = answered.difference(&first).collect();
        assert!(lost.is_empty(), "answered and lost: {lost:?}");
        assert_eq!(first, second, "each run has both keys or none");
        assert_eq!(sum, first.len() as u64, "the counter is of the same runs");
        // What is there without an answer was cut off by the kill: at most one request of each client.
        assert!(first.len() - answered.len() <= 8);
        answered = first;
    }
}

fn state_stays_over_pushes_rollbacks_and_restarts(database: Database) {
    let mut server = Server::start(database);
    let app = repository(&[("hits", "kv::incr(\"hits\")")]);
    let url = server.git_url("app");
    app.push(&url, &["main"]).succeeded();
    assert_eq!(server.get("/app/hits").body, "1");
    let first = app.head();
    app.write("hits.rhai", "[kv::incr(\"hits\")]");
    app.commit("in a list");
    app.push(&url, &["main"]).succeeded();
    assert_eq!(server.get("/app/hits").body, "[2]");
    let rolled_back = app.push(&url, &[&format!("+{first}:refs/heads/main")]).succeeded();
    rolled_back.says("a rollback moves code, not data");
    assert_eq!(server.get("/app/hits").body, "3", "a rollback moves code, not data");
    // A preview has its own state.
    app.push(&url, &[&format!("{first}:refs/heads/feature")]).succeeded();
    assert_eq!(server.get("/app@feature/hits").body, "1");
    server.stop();
    server.restart();
    let url = server.git_url("app");
    until("the app is live again", || (server.get("/app/hits").body == "4").then_some(()));
    assert_eq!(server.get("/app@feature/hits").body, "2");
    app.push(&url, &[":refs/heads/feature"]).succeeded();
    app.push(&url, &[&format!("{first}:refs/heads/feature")]).succeeded();
    let again = until("the preview is live again", || {
        Some(server.get("/app@feature/hits")).filter(|response| response.status == 200)
    });
    assert_eq!(again.body, "1", "its state was deleted with its branch");
}

/// It was then absent for all others too.
fn key_that_is_named_twice_is_read_once(database: Database) {
    let mut server =
        serve(database, &[("incr", "kv::incr(\"a\")"), ("twice", "kv::get_many([\"a\", \"b\", \"a\"])")]);
    assert_eq!(server.get("/app/incr").body, "1");
    // Nothing is in memory.
    server.stop();
    server.restart();
    let twice = until("the app is live again", || {
        Some(server.get("/app/twice")).filter(|response| response.status == 200)
    });
    assert_eq!(twice.json(), serde_json::json!({"a": 1}));
    assert_eq!(server.get("/app/incr").body, "2");
}

#[test]
fn failed_and_stopped_scripts_have_done_nothing() {
    let server = serve(
        Database::sqlite(),
        &[
            ("throws", "kv::set(\"a\", 1); throw \"no\""),
            ("loops", "kv::set(\"a\", 1); loop {}"),
            ("interim", "kv::set(\"a\", 1); #{ statusCode: 101 }"),
            ("not_found", "kv::set(\"found\", 1); #{ statusCode: 404 }"),
            ("misfit", "kv::set(\"text\", \"x\")"),
            ("adds", "kv::set(\"a\", 1); kv::add(\"text\", 1)"),
            ("reads", "#{ a: kv::has(\"a\"), found: kv::has(\"found\") }"),
        ],
    );
    assert_eq!(server.get("/app/throws").status, 500);
    assert_eq!(server.get("/app/interim").status, 500, "no response at all");
    assert_eq!(server.get("/app/misfit").status, 200);
    let misfit = server.get("/app/adds");
    assert_eq!(misfit.status, 500);
    let execution = misfit.header("picloud-execution").expect("an id").to_owned();
    let log = until("the failure is recorded", || Some(server.log()).filter(|log| log.contains(&execution)));
    assert!(log.contains("`text` holds no number"), "{log}");
    assert_eq!(server.get("/app/not_found").status, 404);
    // A client that leaves stops its run before that is stored.
    let client = Wire::sent(&server, "GET /app/loops HTTP/1.1\r\nhost: a\r\n\r\n");
    until("it runs", || {
        (server.metric("picloud_executions_in_progress{app=\"app\",state=\"running\"}") > 0.0).then_some(())
    });
    drop(client);
    until("it is stopped", || {
        (server.metric("picloud_executions_in_progress{app=\"app\",state=\"running\"}") == 0.0).then_some(())
    });
    assert_eq!(server.get("/app/reads").json(), serde_json::json!({"a": false, "found": true}));
}

#[test]
fn full_disk_refuses_writes_by_name_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "24m");
    let app = repository(&[("write", "kv::incr(\"n\")"), ("read", "kv::get(\"n\")")]);
    app.push(&node.git_url(), &["main"]).succeeded();
    assert_eq!(node.request("GET", "/hello/write", None), (200, "1".to_owned()));
    node.fill_disk();
    let (status, body) = node.request("GET", "/hello/write", None);
    assert_eq!(status, 503, "{body}");
    assert_eq!(node.request("GET", "/hello/read", None), (200, "1".to_owned()), "reads go on");
    node.free_space();
    let written = until("writes work again without a restart", || {
        Some(node.request("GET", "/hello/write", None)).filter(|(status, _)| *status == 200)
    });
    assert_eq!(written.1, "2", "what was refused changed nothing");
}

#[test]
fn quota_is_of_each_app_and_can_be_changed() {
    let server = serve(
        Database::sqlite(),
        &[
            ("grow", "kv::set(ctx.request.query.key, \"x\".repeat(60_000)); 1"),
            ("shrink", "kv::set(\"a\", 1); kv::delete(\"b\"); 1"),
        ],
    );
    let limit = |size: &str| {
        cli(&server, &["apps", "limits", "app", "--state", size]).succeeded();
    };
    limit("100KiB");
    assert_eq!(server.get("/app/grow?key=a").status, 200);
    assert_eq!(server.get("/app/grow?key=b").status, 500);
    let log = until("the failure names the key", || Some(server.log()).filter(|log| log.contains("quota")));
    assert!(log.contains("`b`"), "{log}");
    assert_eq!(server.get("/app/grow?key=a").status, 200, "what does not grow works");
    limit("200KiB");
    assert_eq!(server.get("/app/grow?key=b").status, 200);
    limit("10KiB");
    assert_eq!(server.get("/app/grow?key=c").status, 500);
    assert_eq!(server.get("/app/shrink").status, 200, "what shrinks works");
}
