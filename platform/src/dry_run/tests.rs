use manifest_schema::limits::Ceiling;
use manifest_schema::manifest;

use super::*;
use manifest_schema::diagnostic::Severity;

use crate::deploy::{File, Snapshot, check};

pub(super) fn app(manifest: &str, scripts: &[(&str, &str)]) -> DryRun {
    let mut snapshot = Snapshot::default();
    snapshot.add(manifest::FILE_NAME, || File::Bytes(manifest.to_owned().into()));
    for (path, text) in scripts {
        snapshot.add(path, || File::Bytes((*text).to_owned().into()));
    }
    let prepared = check(&snapshot, &Ceiling::DEFAULT).unwrap().prepared;
    DryRun::of_folder(AppName::new("shop").unwrap(), prepared, &Secrets::default()).unwrap()
}

fn get(target: &str) -> DryRequest {
    DryRequest { method: Method::Get, target: target.to_owned(), headers: Vec::new(), body: Bytes::new() }
}

fn body(answer: &Answer) -> String {
    let Answer::Script(run) = answer else { panic!("{answer:?}") };
    String::from_utf8(run.execution.outcome.as_ref().unwrap().body.to_vec()).unwrap()
}

const MANIFEST: &str = "sdk = \"1.3\"\n[[routes]]\npath = \"/{name}\"\nmethods = [\"GET\", \"POST\"]\n\
                        limits = { body = \"8B\" }\nscript = \"a.rhai\"\n";

#[test]
fn request_is_routed_and_logged() {
    let app = app(
        MANIFEST,
        &[("a.rhai", "log::info(\"called\"); [ctx.request.params.name, ctx.request.query.q, ctx.branch]")],
    );
    let answer = app.request(get("/a%20b?q=1#x"), &RunOptions::default());
    assert_eq!(body(&answer), r#"["a b","1","main"]"#);
    let Answer::Script(run) = answer else { unreachable!() };
    assert_eq!(run.log.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["called"]);
    let status = |method, target: &str, body: &str| {
        let request = DryRequest { method, body: body.to_owned().into(), ..get(target) };
        app.request(request, &RunOptions::default()).status()
    };
    assert_eq!(status(Method::Get, "/a/b", ""), 404);
    assert_eq!(status(Method::Put, "/a", ""), 405);
    assert_eq!(status(Method::Options, "/a", ""), 204);
    assert_eq!(status(Method::Get, "/%", ""), 400);
    assert_eq!(status(Method::Post, "/a", "12345678"), 200);
    assert_eq!(status(Method::Post, "/a", "123456789"), 413);
}

#[test]
fn time_and_random_numbers_can_be_fixed() {
    let app = app(MANIFEST, &[("a.rhai", "[time::now(), random::int(1, 1000000000)]")]);
    let fixed = RunOptions {
        started_at_ms: parse_time("2026-12-01T09:00:00Z"),
        seed: Some(7),
        ..RunOptions::default()
    };
    let [first, second] = [(); 2].map(|()| body(&app.request(get("/a"), &fixed)));
    assert!(first.starts_with("[1796115600000,"), "{first}");
    assert_eq!(first, second);
    assert_ne!(first, body(&app.request(get("/a"), &RunOptions { seed: Some(8), ..fixed })));
}

#[test]
fn failure_and_limit_have_the_status_that_clients_see() {
    let endless =
        app(MANIFEST, &[("a.rhai", "if ctx.request.params.name == \"a\" { loop {} } throw \"no\"")]);
    let options = RunOptions { timeout_max: Some(Duration::from_millis(20)), ..RunOptions::default() };
    assert_eq!(endless.request(get("/a"), &options).status(), 504);
    assert_eq!(endless.request(get("/b"), &options).status(), 500);
}

#[test]
fn secrets_are_those_of_the_manifest() {
    let manifest = format!("{MANIFEST}[secrets]\nrequired = [\"KEY\"]\n");
    let app = app(
        &manifest,
        &[("a.rhai", "#{ length: ctx.secrets.KEY.len(), sealed: crypto::open(crypto::seal(1)) }")],
    );
    assert_eq!(app.request(get("/a"), &RunOptions::default()).status(), 500);
    let secrets =
        [("KEY", "tangerine"), ("OTHER", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let app = app.with_secrets(&Secrets::new(secrets.into_iter().collect()));
    assert_eq!(body(&app.request(get("/a"), &RunOptions::default())), r#"{"length":9,"sealed":1}"#);
}

const CHECKS: &str = r#"sdk = "1.3"
[[routes]]
path = "/{name}"
script = "a.rhai"
[secrets]
required = ["KEY"]
"#;

const CHECKED: &str = r#"switch ctx.request.params.name {
    "json" => #{ ok: true, at: 7, list: [1, 2] },
    "key" => response::text(ctx.secrets.KEY),
    "echo" => ctx.request.body,
    "moved" => response::redirect("/there"),
    "loop" => { loop {} },
    _ => { throw "no " + ctx.secrets.KEY }
}"#;

/// The failures of these checks, with the secrets of previews.
fn failures(checks: &[&str], secrets: &[(&str, &str)]) -> Vec<String> {
    let numbered =
        checks.iter().enumerate().map(|(n, check)| format!("[[checks]]\nname = \"c{n}\"\n{check}\n"));
    let manifest = CHECKS.to_owned() + numbered.collect::<String>().as_str();
    let app = app(&manifest, &[("a.rhai", CHECKED)]);
    let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let report = run_checks(&app, &Secrets::new(secrets));
    assert_eq!(report.passed + report.failed.len(), checks.len());
    let shown = report.diagnostics(Severity::Error, Some(manifest.as_bytes()));
    let shown = shown.iter().map(|diagnostic| {
        let line = diagnostic.span.as_ref().unwrap().line;
        let help = diagnostic.help.as_ref().map(|help| format!(" | {help}")).unwrap_or_default();
        format!("{line} {}{help}", diagnostic.message)
    });
    shown.collect()
}

#[test]
fn checks_pass_where_the_answer_is_as_expected() {
    let passing = [
        r#"request = "GET /json""#,
        "request = \"GET /json\"\nexpect = { json = { ok = true, list = [1, 2.0] } }",
        "request = \"GET /moved\"\nexpect = { status = 303, headers = { location = \"/there\" } }",
        "request = \"POST /echo\"\nbody = { a = 1 }\nexpect = { json = { a = 1 } }",
        "request = \"POST /echo\"\nbody = \"grape\"\nexpect = { contains = \"rap\" }",
        "request = \"GET /key\"\nexpect = { contains = \"tangerine\" }",
        "request = \"GET /key\"\nsecrets = { KEY = \"plum\" }\nexpect = { contains = \"plum\" }",
        "request = \"GET /a/b\"\nexpect = { status = 404 }",
    ];
    assert_eq!(failures(&passing, &[("KEY", "tangerine")]), Vec::<String>::new());
}

#[test]
fn failed_check_names_the_difference_at_the_request() {
    let failing = [
        r#"request = "GET /a/b""#,
        "request = \"GET /json\"\nexpect = { json = { ok = false } }",
        "request = \"GET /json\"\nexpect = { json = [] }",
        "request = \"GET /moved\"\nexpect = { status = 303, headers = { location = \"/here\" } }",
        "request = \"GET /json\"\nexpect = { headers = { etag = \"1\" } }",
        "request = \"GET /moved\"\nexpect = { status = 303, json = 1 }",
        "request = \"GET /key\"\nexpect = { contains = \"plum\" }",
        "request = \"GET /key\"\nexpect = { json = 1 }",
        r#"request = "GET /other""#,
    ];
    assert_eq!(
        failures(&failing, &[("KEY", "\"tangerine\"")]),
        [
            "9 check `c0` failed: `GET /a/b` answers 404, not 200: no route has this path",
            "12 check `c1` failed: `GET /json` /ok is true, not false",
            "16 check `c2` failed: `GET /json` the body is {\"at\":7,\"list\":[1,2],\"ok\":true}, not []",
            "20 check `c3` failed: `GET /moved` header `location` is `/there`, not `/here`",
            "24 check `c4` failed: `GET /json` header `etag` is missing, not `1`",
            "28 check `c5` failed: `GET /moved` the body is no JSON: EOF while parsing a value at line 1 column 0",
            "32 check `c6` failed: `GET /key` the body does not contain `plum`",
            "36 check `c7` failed: `GET /key` the body is [secret KEY], not 1",
            "40 check `c8` failed: `GET /other` answers 500, not 200: a.rhai:7:12: no [secret KEY]",
        ]
    );
}

#[test]
fn missing_secret_is_named() {
    let [failure] = failures(&[r#"request = "GET /key""#], &[]).try_into().unwrap();
    assert!(
        failure.ends_with(
            "| secret KEY has no value for the check; write `secrets = { KEY = \"…\" }` in it, or set one with  \
             picloud secrets set KEY --preview"
        ),
        "{failure}"
    );
}

#[test]
fn checks_have_five_seconds_in_all() {
    let manifest =
        CHECKS.replace("[[routes]]", "[limits]\ntimeout = \"4s\"\noperations = 1_000_000_000\n[[routes]]");
    let checks = ["loop", "loop", "json"]
        .map(|path| format!("[[checks]]\nname = \"c-{path}\"\nrequest = \"GET /{path}\"\n"));
    let checks = checks.concat().replacen("c-loop", "c-first", 1);
    let app = app(&(manifest + checks.as_str()), &[("a.rhai", CHECKED)]);
    let report = run_checks(&app, &Secrets::default());
    let failed: Vec<_> = report.failed.iter().map(|failed| failed.failure.to_string()).collect();
    let late =
        ["was stopped", "did not run"].map(|what| format!("{what}: all checks together took longer than 5s"));
    assert_eq!(failed[1..], late);
    assert!(failed[0].starts_with("answers 504, not 200: a.rhai:"), "{failed:?}");
}

#[test]
fn large_bodies_are_not_parsed_and_count_until_they_are_dropped() {
    let manifest = "sdk = \"1.3\"\n[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n\
                    [[checks]]\nname = \"large\"\nrequest = \"GET /\"\nexpect = { json = [] }\n";
    let large =
        app(manifest, &[("a.rhai", "let text = \"[\"; text.pad(4_000_000, ' '); response::text(text)")]);
    let report = run_checks(&large, &Secrets::default());
    assert_eq!(
        report.failed[0].failure.to_string(),
        "the body has 4000000 bytes; checks compare at most 1048576 as JSON"
    );
    let answer = large.request(get("/"), &RunOptions::default());
    assert!(large.scripts.account().used_bytes() > 4_000_000, "{}", large.scripts.account().used_bytes());
    drop(answer);
    assert!(large.scripts.account().used_bytes() < 4_000_000);
}
