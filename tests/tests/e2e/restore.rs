//! A restored node pauses schedules until an operator resumes them.

use std::time::Instant;

use serde_json::{Value, json};
use tests::faults::recovered;
use tests::{Database, Repository, Response, Server, TOKEN, on_both_databases, until};

on_both_databases!(
    schedules_are_paused_after_restore_until_resumed,
    restore_can_leave_schedules_running,
    swept_state_is_restored_into_an_empty_server_on_both_databases,
);

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

fn api(server: &Server, method: &str, path: &str) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    let body = (method == "POST").then_some(&b""[..]);
    server.request(method, &format!("/-/api/v1/{path}"), &[("authorization", &bearer)], body)
}

/// The runs of the schedule, latest first.
fn runs(server: &Server) -> Vec<Value> {
    let runs = api(server, "GET", "apps/hello/schedules/secondly/runs?limit=1000").json();
    runs["runs"].as_array().expect("runs").clone()
}

fn cli(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(tests::server::picloud());
    command.args(arguments).env("PICLOUD_URL", format!("http://{}", server.address));
    let output =
        command.env("PICLOUD_TOKEN", TOKEN).env("PICLOUD_APP", "hello").output().expect("picloud runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// A node that ran a schedule and was restored from a backup, and the output of the restore.
fn restored_node(database: Database, flags: &[&str]) -> (Server, String) {
    let mut server = Server::start(database);
    let repository = Repository::new();
    let dropped = "[[schedules]]\nname = \"dropped\"\ncron = \"* * * * * *\"\nscript = \"one.rhai\"\n";
    repository.write("one.rhai", "1");
    // Its row remains after it is no longer declared.
    for manifest in [format!("{MANIFEST}{dropped}"), MANIFEST.to_owned()] {
        repository.write("picloud.toml", manifest);
        repository.commit("next");
        repository.push(&server.git_url("hello"), &["main"]).succeeded();
        let runs = || api(&server, "GET", "apps/hello/schedules/secondly/runs?limit=1000").json();
        let before = runs()["runs"].as_array().map(Vec::len);
        until("all schedules are registered", || {
            (runs()["runs"].as_array().map(Vec::len) > before).then_some(())
        });
    }
    until("the schedule runs", || (!runs(&server).is_empty()).then_some(()));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all");
    let made = server.command(&["backup"]).arg(&file).output().expect("picloud runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    server.stop();
    let output =
        server.command(&["restore", "--replace"]).arg(&file).args(flags).output().expect("picloud runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.restart();
    (server, String::from_utf8(output.stdout).expect("text"))
}

fn schedules_are_paused_after_restore_until_resumed(database: Database) {
    let (mut server, output) = restored_node(database, &[]);
    assert!(output.contains("schedules are held until  picloud resume --all"), "{output}");
    assert!(server.log().contains("resume them with  picloud resume --all"), "{}", server.log());
    let before = runs(&server).len();
    let all = api(&server, "GET", "apps/hello/schedules").json();
    assert!(all["held"]["by"].as_str().is_some_and(|by| by.contains("the restore of a backup")), "{all}");
    assert_eq!(all["schedules"][0]["next"], json!([]));
    let (code, text) = cli(&server, &["status"]);
    assert!(code == Some(1) && text.contains("picloud resume --all"), "{text}");
    let (_, text) = cli(&server, &["schedules"]);
    assert!(text.contains("the schedules do not run: all apps are held since "), "{text}");
    // The node serves requests, and runs schedules on request.
    assert_eq!(server.get("/hello/").body, "1");
    let (code, text) = cli(&server, &["run", "secondly"]);
    assert!(code == Some(0) && text.contains("succeeded"), "{text}");
    // The timer has logged at some due time that schedules are paused.
    until("a due time was skipped", || {
        server.log().contains("the schedules of all apps are held; resume").then_some(())
    });
    assert_eq!(runs(&server).len(), before + 1, "the manual run");
    server.stop();
    server.restart();
    assert_eq!(
        api(&server, "GET", "status").json()["schedules_held"],
        all["held"],
        "a restart does not resume schedules"
    );

    let resumed = Instant::now();
    let (code, text) = cli(&server, &["resume", "--all"]);
    assert!(code == Some(0) && text.contains("resumed 1 schedule of all apps"), "{text}");
    until("the schedule runs again", || (runs(&server).len() > before + 3).then_some(()));
    recovered("schedules were paused after a restore: three runs after `resume --all`", resumed);
    let rows = runs(&server);
    let held: Vec<_> =
        rows.iter().filter(|run| run["detail"].as_str().is_some_and(|why| why.contains("held"))).collect();
    assert_eq!((held.len(), &held[0]["outcome"]), (1, &json!("skipped")), "{rows:?}");
    assert!(held[0]["due_times"].as_u64() >= Some(1), "{held:?}");
    assert_eq!(api(&server, "GET", "status").json()["schedules_held"], Value::Null);
    let (_, text) = cli(&server, &["resume", "--all"]);
    assert!(text.contains("schedules are not held"), "{text}");
}

fn restore_can_leave_schedules_running(database: Database) {
    let (server, output) = restored_node(database, &["--run-schedules"]);
    assert!(output.contains("schedules run when a node starts"), "{output}");
    let before = runs(&server).len();
    until("the schedule runs", || (runs(&server).len() > before + 1).then_some(()));
}

fn swept_state_is_restored_into_an_empty_server_on_both_databases(database: Database) {
    let mut from = Server::start(database);
    let repository = Repository::new();
    let manifest = ["fill", "all", "count"]
        .map(|name| format!("[[routes]]\npath = \"/{name}\"\nscript = \"{name}.rhai\"\n"));
    repository.write("picloud.toml", format!("sdk = \"1.3\"\n{}", manifest.concat()));
    let fill = "for n in 0..20 { kv::set(`ends/${n}`, n, #{ ttl: \"1s\" }); }
                kv::set(\"lasts\", 1, #{ ttl: \"1h\" }); kv::set(\"photo\", blob(3, 255)); kv::set(\"ä\", [()]);
                kv::incr(\"n\")";
    repository.write("fill.rhai", fill);
    repository.write("all.rhai", "kv::list(\"\").map(|entry| [entry.key, `${entry.value}`])");
    repository.write("count.rhai", "kv::incr(\"n\")");
    repository.commit("app");
    repository.push(&from.git_url("hello"), &["main", "main:feature"]).succeeded();
    for path in ["/hello/fill", "/hello@feature/fill"] {
        assert_eq!(from.get(path).body, "1");
    }
    let entries = |server: &Server| -> Vec<u64> {
        let usage = api(server, "GET", "apps/hello/kv/usage").json();
        let namespaces = usage["namespaces"].as_array().unwrap_or_else(|| panic!("{usage}"));
        namespaces.iter().map(|namespace| namespace["entries"].as_u64().expect("a number")).collect()
    };
    until("what has expired is swept", || (entries(&from) == [4, 4]).then_some(()));
    let expected = ["/hello/all", "/hello@feature/all"].map(|path| from.get(path).json());
    assert_eq!(expected[0].as_array().map(Vec::len), Some(4), "{}", expected[0]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all");
    let made = from.command(&["backup"]).arg(&file).output().expect("picloud runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for database in [Database::sqlite(), Database::postgres()] {
        let mut into = Server::start(database);
        into.stop();
        let output = into.command(&["restore"]).arg(&file).output().expect("picloud runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        into.restart();
        let restored = ["/hello/all", "/hello@feature/all"].map(|path| into.get(path).json());
        assert_eq!(restored, expected);
        assert_eq!(entries(&into), [4, 4]);
        // It goes on, for each database by itself.
        assert_eq!(
            (into.get("/hello/count").body, into.get("/hello@feature/count").body),
            ("2".into(), "2".into())
        );
        into.stop();
        into.restart();
        assert_eq!(into.get("/hello/count").body, "3");
    }
    from.stop();
    from.restart();
    assert_eq!(from.get("/hello/count").body, "2", "the server of the backup is as before");
}
