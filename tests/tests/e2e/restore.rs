//! What a restored node does not do by itself, and what ends that.

use std::time::Instant;

use serde_json::{Value, json};
use tests::faults::recovered;
use tests::{Answer, Database, Repository, Server, TOKEN, on_both_databases, until};

on_both_databases!(schedules_are_paused_after_restore_until_resumed, restore_can_leave_schedules_running,);

const MANIFEST: &str = r#"
    sdk = "1.1"
    [[routes]]
    path = "/"
    script = "one.rhai"
    [[schedules]]
    name = "secondly"
    cron = "* * * * * *"
    script = "one.rhai"
"#;

fn ask(server: &Server, method: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    let body = (method == "POST").then_some(&b""[..]);
    server.request(method, &format!("/-/api/v1/{path}"), &[("authorization", &bearer)], body)
}

/// The rows of the schedule, the latest first.
fn runs(server: &Server) -> Vec<Value> {
    let runs = ask(server, "GET", "apps/hello/schedules/secondly/runs?limit=1000").json();
    runs["runs"].as_array().expect("runs").clone()
}

fn verb(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(tests::server::picloud());
    command.args(arguments).env("PICLOUD_URL", format!("http://{}", server.address));
    let output =
        command.env("PICLOUD_TOKEN", TOKEN).env("PICLOUD_APP", "hello").output().expect("picloud runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// A node that has run a schedule, and was restored from a backup that was made then. What the restore said comes with it.
fn restored(database: Database, flags: &[&str]) -> (Server, String) {
    let mut server = Server::start(database);
    let repository = Repository::new();
    let dropped = "[[schedules]]\nname = \"dropped\"\ncron = \"* * * * * *\"\nscript = \"one.rhai\"\n";
    repository.write("one.rhai", "1");
    // Its row stays when it is not declared any more.
    for manifest in [format!("{MANIFEST}{dropped}"), MANIFEST.to_owned()] {
        repository.write("picloud.toml", manifest);
        repository.commit("next");
        repository.push(&server.git_url("hello"), &["main"]).succeeded();
        let runs = || ask(&server, "GET", "apps/hello/schedules/secondly/runs?limit=1000").json();
        let before = runs()["runs"].as_array().map(Vec::len);
        until("all schedules are registered", || {
            (runs()["runs"].as_array().map(Vec::len) > before).then_some(())
        });
    }
    until("it runs by the clock", || (!runs(&server).is_empty()).then_some(()));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all");
    let made = server.verb(&["backup"]).arg(&file).output().expect("picloud runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    server.stop();
    let output =
        server.verb(&["restore", "--replace"]).arg(&file).args(flags).output().expect("picloud runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.restart();
    (server, String::from_utf8(output.stdout).expect("text"))
}

fn schedules_are_paused_after_restore_until_resumed(database: Database) {
    let (mut server, said) = restored(database, &[]);
    assert!(said.contains("none runs by the clock until  picloud resume --all"), "{said}");
    assert!(server.log().contains("resume them with  picloud resume --all"), "{}", server.log());
    let before = runs(&server).len();
    let all = ask(&server, "GET", "apps/hello/schedules").json();
    assert!(all["held"]["by"].as_str().is_some_and(|by| by.contains("the restore of a backup")), "{all}");
    assert_eq!(all["schedules"][0]["next"], json!([]));
    let (code, text) = verb(&server, &["status"]);
    assert!(code == Some(1) && text.contains("picloud resume --all"), "{text}");
    let (_, text) = verb(&server, &["schedules"]);
    assert!(text.contains("They do not run by the clock"), "{text}");
    // The node answers, and runs what it is asked to.
    assert_eq!(server.get("/hello/").body, "1");
    let (code, text) = verb(&server, &["run", "secondly"]);
    assert!(code == Some(0) && text.contains("succeeded"), "{text}");
    // A clock that has met the hold has said so, at some due time.
    until("a due time has come and was not run", || {
        server.log().contains("the schedules of all apps are held; resume").then_some(())
    });
    assert_eq!(runs(&server).len(), before + 1, "the one that was asked for");
    server.stop();
    server.restart();
    assert_eq!(
        ask(&server, "GET", "status").json()["schedules_held"],
        all["held"],
        "a new start ends nothing"
    );

    let resumed = Instant::now();
    let (code, text) = verb(&server, &["resume", "--all"]);
    assert!(code == Some(0) && text.contains("The schedules of all apps run again (1 schedule)"), "{text}");
    until("it runs by the clock again", || (runs(&server).len() > before + 3).then_some(()));
    recovered("schedules were held after a restore: three rows after `resume --all`", resumed);
    let rows = runs(&server);
    let held: Vec<_> =
        rows.iter().filter(|run| run["detail"].as_str().is_some_and(|why| why.contains("held"))).collect();
    assert_eq!((held.len(), &held[0]["outcome"]), (1, &json!("skipped")), "{rows:?}");
    assert!(held[0]["due_times"].as_u64() >= Some(1), "{held:?}");
    assert_eq!(ask(&server, "GET", "status").json()["schedules_held"], Value::Null);
    let (_, text) = verb(&server, &["resume", "--all"]);
    assert!(text.contains("are not held"), "{text}");
}

fn restore_can_leave_schedules_running(database: Database) {
    let (server, said) = restored(database, &["--run-schedules"]);
    assert!(said.contains("schedules run by the clock as soon as a node starts"), "{said}");
    let before = runs(&server).len();
    until("it runs by the clock", || (runs(&server).len() > before + 1).then_some(()));
}
