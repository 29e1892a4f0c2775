//! A canary value that must not appear in any output or file of the server.

use std::path::Path;

use tests::{CommandOutput, Database, Server, TOKEN, on_both_databases, until};

use super::{app, secrets};

const CANARY: &str = "canary-7f3a \"quoted\" value-1";

on_both_databases!(secret_values_never_leave_the_server);

/// The canary, in each of its possible encodings.
fn forms() -> Vec<Vec<u8>> {
    let json = serde_json::to_string(CANARY).expect("JSON");
    let debugged = format!("{CANARY:?}");
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let in_json_twice = serde_json::to_string(&json).expect("JSON");
    [
        CANARY,
        json.trim_matches('"'),
        debugged.trim_matches('"'),
        &hex,
        in_json_twice.trim_matches('"'),
        "canary-7f3a",
    ]
    .map(|form| form.as_bytes().to_vec())
    .to_vec()
}

#[track_caller]
fn assert_no_canary(what: &str, bytes: &[u8]) {
    for form in forms() {
        let found = bytes.windows(form.len()).any(|part| part == form);
        assert!(
            !found,
            "{what} holds the secret:\n{}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(4000)])
        );
    }
}

fn assert_no_canary_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => assert_no_canary_below(&path),
            false => assert_no_canary(&path.display().to_string(), &std::fs::read(&path).expect("a file")),
        }
    }
}

fn secret_values_never_leave_the_server(database: Database) {
    let server = Server::start(database);
    let output = |pushed: CommandOutput| assert_no_canary("what a program prints", pushed.text.as_bytes());
    let url = server.git_url("hello");
    let repository = app();
    repository.write(
        "picloud.toml",
        "sdk = \"1.2\"\n[secrets]\nrequired = [\"API_KEY\"]\n[[routes]]\npath = \"/{how}\"\nscript = \"main.rhai\"\n\
         [[functions]]\nname = \"fail\"\nscript = \"fail.rhai\"\n[[schedules]]\nname = \"tick\"\ncron = \"0 0 1 1 \
         *\"\nscript = \"fail.rhai\"\n",
    );
    repository.write(
        "main.rhai",
        "let key = ctx.secrets.API_KEY;\nlog::trace(key); log::info(ctx.secrets); log::warn([key], #{ a: #{ b: key } \
         });\nlog::error(`${key}${key}`, key);\nswitch ctx.request.params.how {\n  \"throw\" => throw key,\n  \"map\" => \
         throw #{ key: key },\n  \"parse\" => parse_int(key),\n  \"index\" => ctx[key].x.y,\n  \"call\" => call(key),\n  \
         \"status\" => #{ statusCode: key },\n  \"header\" => { let headers = #{}; headers[key + \"\\n\"] = key; #{ statusCode: 200, headers: headers } },\n  \"value\" => #{ statusCode: 200, headers: #{ a: key + \"\\n\" } },\n  \"debug\" => throw to_debug(ctx.secrets),\n  _ => 1\n}\n",
    );
    repository.write("fail.rhai", "log::info(ctx); throw `failed with ${ctx.secrets.API_KEY}`");
    repository.commit("canary");
    output(secrets(&server, &["set", "API_KEY"], CANARY).succeeded());
    output(secrets(&server, &["set", "API_KEY", "--preview"], &format!("{CANARY}-preview")).succeeded());
    output(repository.push(&url, &["main", "main:next"]).succeeded());
    for how in ["fine", "throw", "map", "parse", "index", "call", "status", "header", "value", "debug"] {
        let response = server.get(&format!("/hello/{how}"));
        assert_no_canary(how, format!("{response:?}").as_bytes());
    }
    let bearer = format!("Bearer {TOKEN}");
    let send = |method: &str, path: &str, body: Option<&[u8]>| {
        let response =
            server.request(method, &format!("/-/api/v1/{path}"), &[("authorization", &bearer)], body);
        assert_no_canary(path, format!("{response:?}").as_bytes());
        response
    };
    assert_eq!(send("POST", "apps/hello/functions/fail", Some(b"null")).status, 500);
    send("POST", "apps/hello/schedules/tick/run", Some(b""));
    until("all records are written", || {
        let recorded = send("GET", "apps/hello/executions?trigger=scheduled", None).json();
        recorded["executions"].as_array().is_some_and(|found| found.len() == 1).then_some(())
    });
    for path in [
        "apps",
        "apps/hello/secrets",
        "apps/hello/schedules",
        "apps/hello/schedules/tick/runs",
        "audit?limit=1000",
        "apps/hello/deploys",
        "apps/hello/logs",
        "apps/hello/executions",
        "nodes",
        "tokens",
    ] {
        assert_eq!(send("GET", path, None).status, 200, "{path}");
    }
    repository.write("leak.txt", CANARY);
    repository.commit(&format!("oops {CANARY}"));
    output(repository.push(&url, &["main"]).refused());
    output(repository.try_git(&["ls-remote", &url]));
    output(secrets(&server, &["list"], "").succeeded());
    output(secrets(&server, &["set", "API_KEY"], &format!("{CANARY}\0")).refused());

    until("the lines are recorded", || server.log().contains("[secret API_KEY]").then_some(()));
    assert_no_canary("the log", server.log().as_bytes());
    assert_no_canary_below(server.data_dir());
    let backup = server.data_dir().join("backup");
    let made = server.command(&["backup", backup.to_str().expect("a path")]).output().expect("the binary");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_no_canary("the backup", &std::fs::read(&backup).expect("a backup"));
    if server.database.is_external() {
        for table in [
            "secrets",
            "preview_secrets",
            "audit_events",
            "deploys",
            "schedule_runs",
            "apps",
            "executions",
            "logs",
        ] {
            assert_no_canary(table, server.database.query(&format!("SELECT * FROM {table}")).as_bytes());
        }
    }
}
