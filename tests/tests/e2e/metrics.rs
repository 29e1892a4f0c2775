//! Metrics for Prometheus, and logs as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};

use tests::{Database, Repository, Server, TOKEN, until};

/// A parsed metrics page. Parsing checks the rules of the Prometheus text format: every sample belongs to the family that was
/// declared before it, no series occurs twice, counters end in `_total`, and histograms add up.
struct Page {
    samples: BTreeMap<String, f64>,
    families: BTreeMap<String, String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let (mut samples, mut families) = (BTreeMap::new(), BTreeMap::new());
        let mut family: Option<(String, String)> = None;
        assert!(text.ends_with('\n'), "the last line is not ended");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, expected) = help.split_once(' ').expect("a text");
                assert!(is_name(name) && expected.ends_with('.'), "{line}");
                family = Some((name.to_owned(), String::new()));
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a kind");
                let (announced, _) = family.take().expect("HELP before TYPE");
                assert_eq!(name, announced);
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(families.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} occurs twice");
                family = Some((name.to_owned(), kind.to_owned()));
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                let (name, kind) = family.as_ref().expect("a declared family");
                let bare = series.split('{').next().unwrap();
                let suffix =
                    bare.strip_prefix(name.as_str()).unwrap_or_else(|| panic!("unexpected line: {line}"));
                let suffixes: &[&str] =
                    if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.contains(&suffix), "{line}");
                check_labels(series, line);
                assert!(samples.insert(series.to_owned(), value).is_none(), "{series} occurs twice");
            }
        }
        let page = Self { samples, families };
        page.check_histograms();
        page
    }

    fn check_histograms(&self) {
        let mut ends: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, value) in &self.samples {
            if let Some((name, rest)) = series.split_once("_bucket{") {
                let (labels, end) = rest.rsplit_once("le=\"").expect("an end");
                let end = end.trim_end_matches("\"}").replace("+Inf", "inf").parse().expect("a number");
                let labels = labels.trim_end_matches(',');
                let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                ends.entry(format!("{name}_count{labels}")).or_default().push((end, *value));
            }
        }
        for (count, mut classes) in ends {
            classes.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(classes.is_sorted_by_key(|(_, value)| *value), "{count}: {classes:?}");
            let (last, all) = *classes.last().unwrap();
            assert!(last.is_infinite() && self.samples[&count] == all, "{count}");
        }
    }

    fn of(server: &Server) -> Self {
        let authorization = format!("Bearer {TOKEN}");
        let response = server.request("GET", "/-/metrics", &[("authorization", &authorization)], None);
        assert_eq!(response.status, 200, "{}", response.body);
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::read(&response.body)
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} among {:#?}", self.samples))
    }
}

fn is_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
}

fn check_labels(series: &str, line: &str) {
    let Some((_, labels)) = series.split_once('{') else { return };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("unterminated label: {line}"));
    let mut names = BTreeSet::new();
    for label in labels.split(',') {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
        assert!(is_name(name) && names.insert(name), "{line}");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        assert!(value.is_some_and(|value| !value.contains(['"', '\\'])), "{line}");
    }
}

const MANIFEST: &str = r#"sdk = "1.1"
[[routes]]
path = "/{word}"
script = "say.rhai"
[[functions]]
name = "call"
script = "say.rhai"
[[schedules]]
name = "tick"
cron = "* * * * * *"
script = "say.rhai"
[limits]
operations = 100_000
body = "1KiB"
"#;

const SCRIPT: &str = r#"
if ctx.invocation_type == "http" {
    switch ctx.request.params.word {
        "fail" => throw "as asked",
        "long" => loop { },
        "teapot" => return #{ statusCode: 418 },
    }
}
log::info("a line\nand \"more\"", #{ word: 1 });
1
"#;

fn serve_app() -> Repository {
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("say.rhai", SCRIPT);
    repository.commit("first");
    repository
}

tests::on_both_databases!(metrics_count_all_events);

fn metrics_count_all_events(database: Database) {
    let server = Server::start(database);
    let page = Page::of(&server);
    assert_eq!((page.value("picloud_apps"), page.value("picloud_database_up")), (0.0, 1.0));
    assert!(!page.samples.keys().any(|series| series.contains("app=")), "no app metrics yet");
    let repository = serve_app();
    repository.push(&server.git_url("hello"), &["main", "main:dev"]).succeeded();
    repository.write("say.rhai", "nope()");
    repository.commit("broken");
    repository.push(&server.git_url("hello"), &["main"]).refused();
    for (word, times) in [("fine", 3), ("teapot", 2), ("fail", 1), ("long", 1)] {
        (0..times).for_each(|_| drop(server.get(&format!("/hello/{word}"))));
    }
    server.get("/hello@dev/fine");
    server.get("/nowhere/");
    server.request("POST", "/hello/fine", &[], Some(&[b'x'; 2000]));
    let authorization = format!("Bearer {TOKEN}");
    let function = "/-/api/v1/apps/hello/functions/call";
    server.request("POST", function, &[("authorization", &authorization)], Some(b"null"));
    let lateness = r#"picloud_schedule_lateness_seconds_bucket{le="+Inf"}"#;
    let page = until("the schedule has run", || {
        let page = Page::of(&server);
        let ran = page.value(r#"picloud_schedule_runs_total{outcome="succeeded"}"#);
        (ran >= 1.0 && page.value(lateness) >= ran).then_some(page)
    });
    for (series, value) in [
        (r#"picloud_requests_total{app="hello",status="2xx"}"#, 4.0),
        (r#"picloud_requests_total{app="hello",status="4xx"}"#, 3.0),
        (r#"picloud_requests_total{app="hello",status="5xx"}"#, 2.0),
        (r#"picloud_request_duration_seconds_count{app="hello"}"#, 9.0),
        (r#"picloud_executions_total{app="hello",trigger="http",outcome="ok"}"#, 6.0),
        (r#"picloud_executions_total{app="hello",trigger="http",outcome="script_error"}"#, 1.0),
        (r#"picloud_executions_total{app="hello",trigger="function",outcome="ok"}"#, 1.0),
        (r#"picloud_limit_hits_total{app="hello",limit="operations"}"#, 1.0),
        (r#"picloud_limit_hits_total{app="hello",limit="body"}"#, 1.0),
        (r#"picloud_executions_in_progress{app="hello",state="waiting"}"#, 0.0),
        (r#"picloud_http_requests_total{handler="none",status="4xx"}"#, 1.0),
        (r#"picloud_pushes_total{verdict="live"}"#, 1.0),
        (r#"picloud_pushes_total{verdict="preview"}"#, 1.0),
        (r#"picloud_pushes_total{verdict="rejected"}"#, 1.0),
        ("picloud_push_duration_seconds_count", 2.0),
        (r#"picloud_pushes_in_progress{state="waiting"}"#, 0.0),
        ("picloud_apps", 1.0),
    ] {
        assert_eq!(page.value(series), value, "{series}");
    }
    assert!(page.value(r#"picloud_executions_total{app="hello",trigger="scheduled",outcome="ok"}"#) >= 1.0);
    assert!(page.value(r#"picloud_http_requests_total{handler="git",status="2xx"}"#) >= 4.0);
    assert!(page.value("process_resident_memory_bytes") > 1e6 && page.value("process_open_fds") > 3.0);
    assert!(page.value("process_cpu_seconds_total") > 0.0);
    assert_eq!(page.families["picloud_request_duration_seconds"], "histogram");
    let pooled = page.samples.contains_key(r#"picloud_database_connections{state="idle"}"#);
    assert_eq!(pooled, server.database.is_external());
}

#[test]
fn metrics_need_a_token_unless_public() {
    let server = Server::start(Database::sqlite());
    let refused = server.get("/-/metrics");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    let wrong = server.request("GET", "/-/metrics", &[("authorization", "Bearer wrong")], None);
    assert_eq!(wrong.status, 401);
    let open = Server::start_with(Database::sqlite(), &["--metrics", "open"]);
    assert_eq!(Page::read(&open.get("/-/metrics").body).value("picloud_apps"), 0.0);
}

#[test]
fn node_without_api_serves_metrics() {
    let server = Server::start_with(Database::postgres(), &["--role", "node"]);
    assert_eq!(Page::of(&server).value("picloud_database_up"), 1.0);
}

#[test]
fn json_log_has_one_object_per_line() {
    let server = Server::start_with(Database::sqlite(), &["--log-format", "json"]);
    serve_app().push(&server.git_url("hello"), &["main"]).succeeded();
    let execution = server.get("/hello/fine").header("picloud-execution").unwrap().to_owned();
    server.get("/hello/fail");
    until("the failure is logged", || server.log().contains("as asked").then_some(()));
    let lines = || -> Vec<serde_json::Value> {
        let log = server.log();
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    };
    let line =
        lines().into_iter().find(|line| line["execution"] == execution.as_str()).expect("the script's line");
    for (field, value) in [
        ("level", "INFO"),
        ("target", "script"),
        ("app", "hello"),
        ("script", "say.rhai"),
        ("message", "a line\nand \"more\""),
        ("data", "{\"word\":1}"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!((&line["line"], line["timestamp"].is_string()), (&9.into(), true));
    let failed = lines().into_iter().find(|line| line["kind"] == "script_error").expect("the failure");
    assert_eq!(
        (failed["location"].as_str(), failed["level"].as_str()),
        (Some("say.rhai:4:19"), Some("WARN"))
    );
    assert_eq!(failed["message"], "failed: as asked");
}

#[test]
fn text_log_has_one_line_per_event() {
    let server = Server::start(Database::sqlite());
    serve_app().push(&server.git_url("hello"), &["main"]).succeeded();
    server.get("/hello/fine");
    until("the line is logged", || {
        let line = "script: a line\\u{a}and \"more\" app=hello script=say.rhai line=9";
        server.log().contains(line).then_some(())
    });
}

#[test]
fn log_lines_under_systemd_have_level_prefix_and_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    let known = file.metadata().unwrap();
    let stopped = std::process::Command::new(tests::server::picloud())
        .args(["serve", "--listen", "127.0.0.1:1", "--data-dir"])
        .arg(folder.path().join("data"))
        .env("PICLOUD_LOG", "trace")
        .env("JOURNAL_STREAM", format!("{}:{}", known.dev(), known.ino()))
        .env_remove("DATABASE_URL")
        .stdout(std::process::Stdio::piped())
        .stderr(file)
        .spawn();
    let mut process = stopped.unwrap();
    let first = until("it logs", || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().next().map(str::to_owned)
    });
    let _ = process.kill();
    let _ = process.wait();
    let (level, rest) = first.strip_prefix('<').and_then(|rest| rest.split_once('>')).expect(&first);
    assert!(["3", "4", "6", "7"].contains(&level) && !rest.starts_with("20"), "{first}");
}
