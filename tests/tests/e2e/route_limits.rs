//! Limits of routes and timeouts of schedules.

use tests::{Database, Repository, Server, TOKEN};

const MANIFEST: &str = r#"sdk = "1.3"

[limits]
timeout = "1s"
operations = 1_000_000_000

[[routes]]
path = "/small"
script = "echo.rhai"
limits = { body = "1KiB" }

[[routes]]
path = "/large"
script = "echo.rhai"

[[routes]]
path = "/short"
script = "loop.rhai"
limits = { timeout = "50ms" }

[[routes]]
path = "/few"
script = "loop.rhai"
limits = { operations = 1000 }

[[schedules]]
name = "long"
cron = "0 0 1 1 *"
script = "slow.rhai"
timeout = "30s"
"#;

/// Computes for longer than the timeout of the app.
const SLOW: &str = "let begun = 0; while begun < 1_500_000 { begun += 1; }";

fn limited(manifest: &str) -> Repository {
    let repository = Repository::new();
    repository.write("picloud.toml", manifest);
    repository.write("echo.rhai", "ctx.request.body.len()");
    repository.write("loop.rhai", "loop {}");
    repository.write("slow.rhai", SLOW);
    repository.commit("first");
    repository
}

#[test]
fn executions_have_the_limits_of_their_route_or_schedule() {
    let server = Server::start(Database::sqlite());
    let manifest = MANIFEST.replace("timeout = \"1s\"", "timeout = \"200ms\"");
    limited(&manifest).push(&server.git_url("hello"), &["main"]).succeeded();
    let post = |path: &str, bytes: usize| {
        let body = vec![b'x'; bytes];
        server.request("POST", path, &[("content-type", "text/plain")], Some(&body))
    };
    assert_eq!(post("/hello/small", 1024).body, "1024");
    assert_eq!(post("/hello/small", 1025).status, 413);
    assert_eq!(post("/hello/large", 1025).body, "1025");
    let failure = |path: &str| {
        let response = server.get(path);
        let execution = response.header("picloud-execution").unwrap().to_owned();
        let bearer = format!("Bearer {TOKEN}");
        let path = format!("/-/api/v1/apps/hello/executions/{execution}");
        let record = tests::until("the record is written", || {
            let response = server.request("GET", &path, &[("authorization", &bearer)], None);
            (response.status == 200).then(|| response.json())
        });
        record["execution"]["failure"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(failure("/hello/short"), "took longer than 50ms");
    assert_eq!(failure("/hello/few"), "ran more than 1000 operations");
    // Nobody waits for a scheduled run, so it can take longer than a request.
    let bearer = format!("Bearer {TOKEN}");
    let ran = server.request(
        "POST",
        "/-/api/v1/apps/hello/schedules/long/run",
        &[("authorization", &bearer)],
        None,
    );
    assert_eq!(ran.json()["run"]["outcome"], "succeeded", "{}", ran.body);
}

#[test]
fn limits_above_those_of_the_app_reject_a_push() {
    let server = Server::start(Database::sqlite());
    let manifest = MANIFEST.replace("timeout = \"50ms\"", "timeout = \"2s\"");
    limited(&manifest)
        .push(&server.git_url("hello"), &["main"])
        .refused()
        .says("picloud.toml:19:22  `timeout` is 2s, more than the 1s that [limits] allows")
        .says("raise `timeout` in [limits]");
}
