//! Scripts, their source and their compiled form stay within the node's memory limit.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::{Database, Repository, Response, Server, SetOnDrop, TOKEN, until};

use super::{MIB, OVERHEAD, bytes_held};

fn api(server: &Server, method: &str, path: &str, body: Option<&str>) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    server.request(method, &format!("/-/api/v1{path}"), &headers, body.map(str::as_bytes))
}

/// An app with functions and routes `/0`, `/1` ..., with these scripts.
fn app(scripts: &[String], limits: &str) -> Repository {
    let repository = Repository::new();
    write(&repository, scripts, limits);
    repository
}

fn write(repository: &Repository, scripts: &[String], limits: &str) {
    let mut manifest = format!("sdk = \"1.1\"\n{limits}");
    for (number, script) in scripts.iter().enumerate() {
        let _ = write!(manifest, "[[routes]]\npath = \"/{number}\"\nscript = \"{number}.rhai\"\n");
        repository.write(&format!("{number}.rhai"), script);
    }
    repository.write("picloud.toml", manifest);
    repository.commit("app");
}

/// A script of 256 KiB that returns `value` and compiles to little.
fn large(value: &str) -> String {
    let script = format!("let text = \"\"; {value} //");
    format!("{script}{}", "x".repeat(256 * 1024 - script.len()))
}

/// A script of 256 KiB that compiles to 22 MiB.
fn dense(value: &str) -> String {
    let script = "let a = #{ b: 1 };\n";
    let end = format!("\n{value}");
    format!("{script}{}{end}", "a.b;".repeat((256 * 1024 - script.len() - end.len()) / 4))
}

fn hello(server: &Server) {
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
}

/// Asserts that the node's memory never exceeded its limit above `before`.
#[track_caller]
fn assert_within_limit(server: &Server, before: u64, budget: u64) {
    let more = server.peak_memory().saturating_sub(before);
    println!("peak: {} MiB more than at rest", more / MIB);
    assert!(more < budget + OVERHEAD, "{} MiB more than at rest", more / MIB);
}

#[track_caller]
fn assert_serves(server: &Server) {
    assert_eq!(server.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
}

#[test]
fn equal_scripts_of_many_previews_share_memory() {
    let mut server = Server::start_with(Database::sqlite(), &["--memory", "64MiB"]);
    hello(&server);
    assert_serves(&server);
    let before = server.peak_memory();
    let scripts = vec![large("1"); 126];
    let repository = app(&scripts, "");
    repository.push(&server.git_url("many"), &["main"]).succeeded();
    for preview in 0..15 {
        // Other commits with the same files, so that they share only the source.
        repository.git(&["commit", "--allow-empty", "-qm", &format!("preview {preview}")]);
        repository.push(&server.git_url("many"), &[&format!("main:preview-{preview}")]).succeeded();
    }
    assert_eq!(server.get("/many@preview-14/125").body, "1");
    let sources = bytes_held(&server, "sources");
    assert!(sources < 8 * MIB, "{sources} bytes of sources");
    assert_within_limit(&server, before, 16 * MIB);
    server.stop();
    server.restart();
    assert_eq!(server.get("/many@preview-14/125").body, "1");
    assert_serves(&server);
    assert_within_limit(&server, before, 16 * MIB);
}

#[test]
fn compiled_scripts_stay_within_memory_budget() {
    let server = Server::start_with(Database::sqlite(), &["--memory", "160MiB"]);
    hello(&server);
    assert_serves(&server);
    let before = server.peak_memory();
    let repository = app(&[dense("0"), dense("1")], "");
    repository.push(&server.git_url("dense"), &["main"]).succeeded();
    for preview in 1..=8 {
        write(&repository, &[dense(&format!("{preview}")), dense(&format!("{preview} + 1"))], "");
        repository.push(&server.git_url("dense"), &[&format!("main:preview-{preview}")]).succeeded();
    }
    let after_pushes = bytes_held(&server, "programs");
    assert!(after_pushes < 64 * MIB, "previews are not compiled: {after_pushes} bytes of programs");
    // 400 MiB of compiled scripts in all; the app's share of the limit holds three.
    for preview in 1..=8 {
        for (route, response) in [(0, preview), (1, preview + 1)] {
            let got = server.get(&format!("/dense@preview-{preview}/{route}"));
            assert_eq!((got.status, got.body), (200, response.to_string()));
        }
    }
    let programs = bytes_held(&server, "programs");
    assert!(programs > 16 * MIB && programs <= 80 * MIB, "{programs} bytes of programs");
    assert_serves(&server);
    assert_within_limit(&server, before, 160 * MIB);
}

#[test]
fn memory_hungry_scripts_are_stopped_and_others_run() {
    let server = Server::start_with(Database::sqlite(), &["--memory", "128MiB"]);
    hello(&server);
    assert_serves(&server);
    let before = server.peak_memory();
    let limits = "[limits]\nmemory = \"256MiB\"\ntimeout = \"20s\"\noperations = 100_000_000\n";
    let grow = "let a = []; while a.len() < 60 { a.push(blob(4_000_000)); for i in 0..2000 { i } } a.len()";
    let at_rest = server.memory();
    for name in ["one", "two", "three"] {
        app(&[grow.to_owned()], limits).push(&server.git_url(name), &["main"]).succeeded();
    }
    let done = AtomicBool::new(false);
    let responses = std::thread::scope(|scope| {
        let growing: Vec<_> = (0..9)
            .map(|run| {
                let name = ["one", "two", "three"][run % 3];
                let server = &server;
                scope.spawn(move || server.get(&format!("/{name}/0")))
            })
            .collect();
        let asking = scope.spawn(|| {
            let mut greeted = 0;
            while !done.load(Ordering::Relaxed) {
                assert_serves(&server);
                greeted += 1;
            }
            greeted
        });
        let stop = SetOnDrop(&done);
        let responses: Vec<_> = growing.into_iter().map(|run| run.join().unwrap()).collect();
        drop(stop);
        assert!(asking.join().unwrap() > 0);
        responses
    });
    for response in &responses {
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
        assert!(response.body.contains("node out of memory"), "{response:?}");
    }
    assert_within_limit(&server, before, 128 * MIB);
    // While the app used all its memory, there was none for records either, and until the next flush the app drops more.
    until("the executions are recorded with their error", || {
        assert_eq!(server.get("/one/0").status, 503);
        let page = api(&server, "GET", "/apps/one/executions", None).body;
        (page.contains("node_memory") && page.contains("more do not fit")).then_some(())
    });
    assert_eq!(bytes_held(&server, "scripts"), 0);
    // No requests meanwhile.
    until("memory is returned to the system", || (server.memory() < at_rest + 16 * MIB).then_some(()));
}

#[test]
fn self_referencing_closures_leak_no_memory() {
    let server = Server::start_with(Database::sqlite(), &["--memory", "256MiB"]);
    let cycles = "for i in 0..7 { let b = [blob(2_000_000)]; let f = || b; b += f; } 1";
    app(&[cycles.to_owned()], "").push(&server.git_url("cycles"), &["main"]).succeeded();
    assert_eq!(server.get("/cycles/0").body, "1");
    let before = server.memory();
    for _ in 0..20 {
        assert_eq!(server.get("/cycles/0").body, "1", "it is not quarantined");
    }
    assert_eq!(bytes_held(&server, "leaked"), 0);
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 32 * MIB, "it grew by {} MiB", grown / MIB);
}

#[test]
fn push_above_memory_budget_is_rejected_and_changes_nothing() {
    let server = Server::start_with(Database::sqlite(), &["--memory", "160MiB"]);
    let repository = app(&[large("1")], "");
    repository.push(&server.git_url("big"), &["main"]).succeeded();
    let share = |bytes: u64| {
        let body = format!("{{\"memory_share_bytes\":{bytes}}}");
        assert_eq!(api(&server, "PATCH", "/apps/big/limits", Some(&body)).status, 200);
    };
    share(24 * MIB);
    let many: Vec<String> = (0..110).map(|number| large(&number.to_string())).collect();
    write(&repository, &many, "");
    let url = server.git_url("big");
    for refspec in ["main", "main:preview", "HEAD:refs/picloud/check"] {
        repository
            .push(&url, &[refspec])
            .refused()
            .says("of its share of 18.0 MiB, and ")
            .says("nothing was changed; delete branches whose previews are not needed");
    }
    assert_eq!(server.get("/big/0").body, "1");
    assert_eq!(server.get("/big/1").status, 404);
    let sources = bytes_held(&server, "sources");
    assert!(sources < MIB, "{sources} bytes of rejected sources are kept");
    // It fits if the operator grants more.
    share(80 * MIB);
    repository.push(&url, &["main"]).succeeded();
    assert_eq!(server.get("/big/109").body, "109");
}

#[test]
fn node_restarted_with_less_memory_serves_what_fits_and_reports_the_rest() {
    let mut server = Server::start_with(Database::sqlite(), &["--memory", "96MiB"]);
    hello(&server);
    let text = |number: usize| {
        (0..24).map(|script| large(&format!("{}", number * 100 + script))).collect::<Vec<_>>()
    };
    let repository = app(&text(1), "");
    let url = server.git_url("big");
    repository.push(&url, &["main"]).succeeded();
    for preview in 2..=4 {
        write(&repository, &text(preview), "");
        repository.push(&url, &[&format!("main:preview-{preview}")]).succeeded();
    }
    server.stop();
    server.restart_with(&["--memory", "36MiB"]);
    assert_serves(&server);
    assert_eq!(server.get("/big/0").body, "100", "production gets the remaining memory");
    let statuses = |server: &Server| {
        (2..=4).map(|preview| server.get(&format!("/big@preview-{preview}/0")).status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&server), [200, 503, 503]);
    let ready = server.get("/-/health/ready");
    assert!(ready.body.contains("big: out of memory: the app uses "), "{ready:?}");
    assert_eq!(server.get("/-/health/serving").status, 200);
    let log = server.log();
    assert!(log.contains("of its share of 13.5 MiB"), "{log}");
    // Memory is freed.
    repository.push(&server.git_url("big"), &[":preview-2"]).succeeded();
    assert_eq!(server.get("/big@preview-2/0").status, 404);
    until("the next preview is served", || (server.get("/big@preview-3/0").body == "300").then_some(()));
    assert_eq!(server.get("/big@preview-4/0").status, 503);
}
