//! Traces for an OpenTelemetry collector.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tests::{Database, Repository, Server, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A collector that accepts OTLP in JSON and stores the spans.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&spans);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = Vec::new();
                while !head.last().is_some_and(String::is_empty) {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    head.push(line.trim().to_ascii_lowercase());
                }
                assert_eq!(head[0], "post /v1/traces http/1.1");
                assert!(head.contains(&"content-type: application/json".to_owned()), "{head:?}");
                assert!(head.contains(&"x-key: secret".to_owned()), "{head:?}");
                let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                reader.read_exact(&mut body).unwrap();
                let document: Value = serde_json::from_slice(&body).unwrap();
                let resource = &document["resourceSpans"][0];
                let service = &resource["resource"]["attributes"][0];
                assert_eq!(
                    (&service["key"], &service["value"]["stringValue"]),
                    (&"service.name".into(), &"picloud".into())
                );
                let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap().clone();
                kept.lock().unwrap().extend(spans);
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
                    .unwrap();
            }
        });
        Self { url, spans }
    }

    fn server(&self) -> Server {
        let flags = ["--otlp-endpoint", &self.url, "--otlp-headers", "x-key=secret"];
        Server::start_with(Database::sqlite(), &flags)
    }

    /// The first span that matches `wanted`, as soon as there is one.
    fn span(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.spans.lock().unwrap().iter().find(|span| wanted(span)).cloned())
    }
}

fn attribute<'v>(span: &'v Value, name: &str) -> Option<&'v str> {
    let all = span["attributes"].as_array()?;
    let value = &all.iter().find(|attribute| attribute["key"] == name)?["value"];
    value["stringValue"].as_str().or_else(|| value["intValue"].as_str())
}

#[test]
fn request_trace_spans_caller_to_script() {
    let collector = Collector::start();
    let server = collector.server();
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let response = server.request("GET", "/hello/greet/Ann?secret=1", &[("traceparent", &parent)], None);
    let request = collector.span("the request", |span| span["traceId"] == TRACE && span["kind"] == 2);
    assert_eq!((&request["parentSpanId"], &request["name"]), (&CALLER.into(), &"GET".into()));
    for (name, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/hello/greet/Ann"),
        ("http.response.status_code", "200"),
        ("app", "hello"),
        ("deploy", "1"),
    ] {
        assert_eq!(attribute(&request, name), Some(value), "{request}");
    }
    let execution = collector.span("the execution", |span| span["parentSpanId"] == request["spanId"]);
    assert_eq!((&execution["name"], &execution["traceId"]), (&"execution".into(), &TRACE.into()));
    assert_eq!(attribute(&execution, "script"), Some("greet.rhai"));
    assert_eq!(attribute(&execution, "execution"), response.header("picloud-execution"));
    let nanos = |span: &Value, field: &str| span[field].as_str().unwrap().parse::<u128>().unwrap();
    assert!(nanos(&execution, "startTimeUnixNano") >= nanos(&request, "startTimeUnixNano"));
    assert!(nanos(&execution, "endTimeUnixNano") <= nanos(&request, "endTimeUnixNano"));
}

#[test]
fn push_trace_has_stages_and_marks_failures() {
    let collector = Collector::start();
    let mut server = collector.server();
    let repository = Repository::hello();
    repository.write("greet.rhai", "throw \"no\"");
    repository.commit("fails");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    let push = collector.span("the push", |span| span["name"] == "push");
    for stage in ["unpack", "check", "commit", "activate"] {
        collector.span(stage, |span| span["name"] == stage && span["parentSpanId"] == push["spanId"]);
    }
    server.get("/hello/greet/Ann");
    let failed = collector.span("the execution", |span| span["name"] == "execution");
    assert_eq!(
        (&failed["status"]["code"], attribute(&failed, "error.type")),
        (&2.into(), Some("script_error"))
    );
    // Unsampled requests are not traced, and pending spans are flushed at shutdown.
    let unwanted = format!("00-{TRACE}-{CALLER}-00");
    server.request("GET", "/hello/greet/Eve", &[("traceparent", &unwanted)], None);
    server.get("/-/health/live");
    server.get("/hello/last");
    server.stop();
    collector.span("the last request", |span| attribute(span, "url.path") == Some("/hello/last"));
    let spans = collector.spans.lock().unwrap();
    assert!(!spans.iter().any(|span| span["traceId"] == TRACE), "the request was not sampled");
    assert!(!spans.iter().any(|span| attribute(span, "url.path") == Some("/-/health/live")));
}

#[test]
fn unreachable_collector_is_reported_once_and_blocks_nothing() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start_with(Database::sqlite(), &["--otlp-endpoint", &format!("http://{nobody}")]);
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    until("it is logged", || server.log().contains("cannot export traces; spans are dropped").then_some(()));
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
    assert!(!server.log().contains("execution{"), "spans are not in the log: {}", server.log());
}
