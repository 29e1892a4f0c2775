use manifest_schema::limits::Ceiling;
use manifest_schema::manifest;

use super::*;
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
