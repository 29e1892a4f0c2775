//! `[[checks]]`: a commit goes live only if it answers their requests as expected.

use std::process::Command;

use tests::server::picloud;
use tests::{Database, Repository, Server, on_both_databases};

use super::secrets::secrets;

on_both_databases!(failed_check_rejects_a_push, checks_read_secrets_of_previews_only);

const MANIFEST: &str = r#"sdk = "1.3"

[[routes]]
path = "/health"
script = "health.rhai"

[[checks]]
name = "health"
request = "GET /health"
expect = { json = { ok = true } }
"#;

const FAILED: &str = "picloud.toml:9:11  check `health` failed: `GET /health` /ok is false, not true";

fn checked(script: &str) -> Repository {
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("health.rhai", script);
    repository.commit("first");
    repository
}

fn failed_check_rejects_a_push(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = checked("#{ ok: true, version: 1 }");
    repository.push(&url, &["main"]).succeeded().says("check     1 check").says("LIVE as deploy 1");

    repository.write("health.rhai", "#{ ok: false, version: 2 }");
    repository.commit("broken");
    let rejected = repository.push(&url, &["main"]).refused();
    rejected.says(FAILED).says("1 of 1 check failed").says("deploy 1 is still live");
    repository.push(&url, &["HEAD:feature"]).refused().says(FAILED);
    repository.push(&url, &["HEAD:refs/picloud/check"]).refused().says(FAILED);
    assert_eq!(server.get("/hello/health").json()["version"], 1);
    assert_eq!(server.get("/hello@feature/health").status, 404);

    repository.write("health.rhai", "#{ ok: true, version: 3 }");
    repository.commit("mended");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2");
    repository.push(&url, &["-f", "HEAD~2:main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(server.get("/hello/health").json()["version"], 1);
}

fn checks_read_secrets_of_previews_only(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = checked("#{ ok: true }");
    repository.push(&url, &["main"]).succeeded();
    secrets(&server, &["set", "API_KEY"], "tangerine of production").succeeded();

    let manifest = format!("{MANIFEST}[secrets]\nrequired = [\"API_KEY\"]\n");
    let script = "#{ ok: `${ctx.secrets.API_KEY}`.starts_with(\"of previews\") }";
    repository.write("picloud.toml", &manifest);
    repository.write("health.rhai", script);
    repository.commit("with a secret");
    let rejected = repository.push(&url, &["main"]).refused();
    let rejected = rejected.says("check `health` failed: `GET /health` /ok is false, not true");
    rejected.says("secret API_KEY has no value for the check").says("picloud secrets set API_KEY --preview");

    // A value in the check itself.
    let own = manifest.replace("expect =", "secrets = { API_KEY = \"of previews\" }\nexpect =");
    repository.write("picloud.toml", own);
    repository.commit("a value in the check");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 2");
    assert_eq!(server.get("/hello/health").json()["ok"], false, "production reads its own value");

    secrets(&server, &["set", "API_KEY", "--preview"], "of previews: plum").succeeded();
    repository.write("picloud.toml", &manifest);
    repository.commit("a value for previews");
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 3");

    // The check depends on the value now, so that it fails for a commit that was live: a warning.
    secrets(&server, &["set", "API_KEY", "--preview"], "another").succeeded();
    repository.push(&url, &["-f", "HEAD~1:main"]).succeeded().says("LIVE as deploy 4");
    let again = repository.push(&url, &["main"]).succeeded();
    again.says("warning: picloud.toml  check `health` failed").says("LIVE as deploy 5");
    repository.write("health.rhai", format!("{script} // the same"));
    repository.commit("the same in a new commit");
    repository.push(&url, &["main"]).refused().says("/ok is false, not true");
}

#[test]
fn hostile_checks_end_in_seconds_and_change_nothing() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let endless = (1..100).map(|n| format!("[[checks]]\nname = \"c{n}\"\nrequest = \"GET /health\"\n"));
    let repository = checked("loop {}");
    let limits = "[limits]\noperations = 1_000_000_000\ntimeout = \"30s\"\n";
    repository.write("picloud.toml", format!("{MANIFEST}{limits}{}", endless.collect::<String>()));
    repository.commit("endless");
    let begun = std::time::Instant::now();
    let rejected = repository.push(&url, &["main"]).refused();
    rejected.says("was stopped: all checks together took longer than 5s").says("100 of 100 checks failed");
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    let huge = "let a = []; loop { a += \"x\".repeat(1000000); }";
    repository.write("picloud.toml", MANIFEST);
    repository.write("health.rhai", huge);
    repository.commit("huge");
    repository.push(&url, &["main"]).refused().says("health.rhai:1:");
    assert_eq!(server.get("/hello/health").status, 404);
}

#[test]
fn check_command_runs_the_checks() {
    let repository = checked("#{ ok: false }");
    let check = || {
        let output = Command::new(picloud()).arg("check").current_dir(repository.path()).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, output) = check();
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(FAILED), "{output}");
    repository.write("health.rhai", "#{ ok: true }");
    repository.commit("mended");
    let (code, output) = check();
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("1 route, 0 schedules, 0 functions, 1 check, sdk 1.3"), "{output}");
    // The server can have the secret that is missing here.
    repository.write("picloud.toml", format!("{MANIFEST}[secrets]\nrequired = [\"API_KEY\"]\n"));
    repository.write("health.rhai", "#{ ok: ctx.secrets.API_KEY == \"plum\" }");
    repository.commit("with a secret");
    let (code, output) = check();
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("warning: picloud.toml:9:11  check `health` failed"), "{output}");
    std::fs::write(repository.path().join(".env"), "API_KEY=plum\n").unwrap();
    let (code, output) = check();
    assert_eq!((code, output.contains("check `health`")), (Some(0), false), "{output}");
}
