//! `picloud test`: an app's own tests, without a server.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tests::server::picloud;

const MANIFEST: &str = "sdk = \"1.2\"\n[[routes]]\npath = \"/greet/{name}\"\nscript = \"greet.rhai\"\n\
    [[functions]]\nname = \"double\"\nscript = \"double.rhai\"\n[limits]\ntimeout = \"100ms\"\n";

const GREET: &str = "log::info(\"asked\", #{ n: 1 });\n#{ message: `Hello, ${ctx.request.params.name}` }\n\n";

const DOUBLE: &str = "if ctx.request.body.n == 0 { loop {} }\nctx.request.body.n * 2\n";

/// An app with these claims in `greet.rhai`.
fn app(claims: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("picloud.toml", MANIFEST);
    write("greet.rhai", &format!("{GREET}{claims}"));
    write("double.rhai", DOUBLE);
    write("double.test.rhai", "// call double {\"n\":2} => 4\n");
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(picloud()).args(arguments).current_dir(folder).output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// The text without the time in its last line.
fn without_time(text: &str) -> &str {
    text.rsplit_once(", in ").map_or(text, |(text, _)| text)
}

#[test]
fn true_claims_pass_and_files_of_tests_are_no_part_of_the_app() {
    let app = app("// GET /greet/Ann => {\"message\":\"Hello, Ann\"}\n");
    let (code, text) = run(app.path(), &["test"]);
    assert_eq!((code, without_time(&text)), (Some(0), "2 passed"));
    let (code, text) = run(app.path(), &["test", ".", "double"]);
    assert_eq!((code, without_time(&text)), (Some(0), "1 passed"));
    let (code, text) = run(app.path(), &["check"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("success: 2 scripts") && !text.contains("double.test.rhai"), "{text}");
}

#[test]
fn false_claim_is_reported_with_its_place_and_the_log() {
    let app = app("// GET /greet/Ann => {\"message\":\"Hello, Bob\"}\n");
    let (code, text) = run(app.path(), &["test"]);
    assert_eq!(
        (code, without_time(&text)),
        (
            Some(1),
            "greet.rhai:4:1: failed GET /greet/Ann => {\"message\":\"Hello, Bob\"}: /message: expected \"Hello, Bob\", found \"Hello, Ann\"\n  \
               log info \"asked\" {\"n\":1}  line 1\n1 passed, 1 failed"
        )
    );
    let (code, text) = run(app.path(), &["test", "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["failed"], &report["passed"]), (Some(1), &1.into(), &1.into()));
    let failed = &report["tests"][0];
    assert_eq!((&failed["line"], &failed["mismatch"]["what"]), (&4.into(), &"/message".into()));
    assert_eq!(failed["log"][0]["message"], "asked");
}

#[test]
fn checks_of_the_manifest_are_tests_too() {
    let app = app("// GET /greet/Ann => 200\n");
    let check = |name: &str| {
        let json = format!("{{ message = \"Hello, {name}\" }}");
        let check = "[[checks]]\nname = \"greeting\"\nrequest = \"GET /greet/Ann\"\n";
        let manifest = MANIFEST.replace("1.2", "1.3");
        std::fs::write(
            app.path().join("picloud.toml"),
            format!("{manifest}{check}expect = {{ json = {json} }}\n"),
        )
        .unwrap();
    };
    check("Ann");
    let (code, text) = run(app.path(), &["test"]);
    assert_eq!((code, without_time(&text)), (Some(0), "3 passed"));
    check("Bob");
    let (code, text) = run(app.path(), &["test", ".", "greeting"]);
    let failed = "picloud.toml:12:11: failed check `greeting`: GET /greet/Ann: /message: expected \"Hello, Bob\", \
                  found \"Hello, Ann\"\n0 passed, 1 failed";
    assert_eq!((code, without_time(&text)), (Some(1), failed));
}

#[test]
fn invalid_claims_and_apps_are_usage_errors() {
    let app = app("// GET /greet/Ann => 42x\n");
    let (code, text) = run(app.path(), &["test"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("error: greet.rhai:4:1  `42x` is not a status"), "{text}");
    assert!(text.contains("error: 1 problem in 1 file; no tests ran"), "{text}");
    std::fs::write(app.path().join("greet.rhai"), "nope()").unwrap();
    let (code, text) = run(app.path(), &["test"]);
    assert!(code == Some(2) && text.contains("unknown function `nope`"), "{text}");
    let manifest = MANIFEST.replace("\"double.rhai\"", "\"double.test.rhai\"");
    std::fs::write(app.path().join("picloud.toml"), manifest).unwrap();
    let (code, text) = run(app.path(), &["test"]);
    assert!(code == Some(2) && text.contains("is a file of tests"), "{text}");
    assert_eq!(run(app.path(), &["test", "--nope"]).0, Some(2));
}

#[test]
fn app_without_tests_shows_how_to_write_one() {
    let app = app("");
    std::fs::remove_file(app.path().join("double.test.rhai")).unwrap();
    let (code, text) = run(app.path(), &["test"]);
    assert!(code == Some(0) && text.starts_with("no tests found: write one"), "{text}");
}

#[test]
fn one_script_runs_once() {
    let app = app("");
    let (code, text) = run(app.path(), &["test", "--run", "double.rhai", "--data", "{\"n\":21}"]);
    assert!(code == Some(0) && text.ends_with("\n\n42\n"), "{text}");
    let request =
        ["test", "--run", "greet.rhai", "--path", "/greet/Ann", "-H", "accept: text/html", "--json"];
    let (code, text) = run(app.path(), &request);
    let ran: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &ran["response"]["body"]), (Some(0), &r#"{"message":"Hello, Ann"}"#.into()));
    let (code, text) = run(app.path(), &["test", "--run", "double.rhai", "--data", "{\"n\":0}"]);
    assert!(code == Some(1) && text.starts_with("failed: "), "{text}");
}

#[test]
fn tests_of_two_apps_run_at_once() {
    let apps = [app("// GET /greet/Ann => 200\n"), app("// GET /greet/Ann => 404\n")];
    let codes: Vec<Option<i32>> = std::thread::scope(|scope| {
        let running: Vec<_> = apps.iter().map(|app| scope.spawn(|| run(app.path(), &["test"]).0)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(codes, [Some(0), Some(1)]);
}
