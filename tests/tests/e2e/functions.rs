//! Routes and functions as their callers see them.

use serde_json::json;
use tests::{Database, Repository, Server, TOKEN, until};

fn serve(manifest: &str, scripts: &[(&str, &str)]) -> Server {
    let server = Server::start(Database::sqlite());
    let repository = Repository::new();
    repository.write("picloud.toml", format!("sdk = \"1.1\"\n{manifest}"));
    scripts.iter().for_each(|(path, source)| repository.write(path, source));
    repository.commit("app");
    repository.push(&server.git_url("app"), &["main"]).succeeded();
    server
}

const ANY: &str = "[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n";

#[test]
fn script_reads_request_and_builds_response() {
    let script = "let r = ctx.request;\n\
        #{ statusCode: 201, headers: #{ \"x-kind\": ctx.invocation_type }, \
           body: #{ body: r.body, query: r.query.q, header: r.headers[\"x-a\"], path: r.path, rest: r.rest } }";
    let server = serve("[[routes]]\npath = \"/files/{*rest}\"\nscript = \"a.rhai\"\n", &[("a.rhai", script)]);
    let headers = [("content-type", "application/json"), ("x-a", "1")];
    let response =
        server.request("POST", "/app/files/a/b%20c?q=x+y", &headers, Some(br#"{"n":[1,2.5,null,true]}"#));
    assert_eq!(response.status, 201);
    assert_eq!(response.header("x-kind"), Some("http"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(
        response.json(),
        json!({
            "body": {"n": [1, 2.5, null, true]}, "query": "x y", "header": "1",
            "path": "/files/a/b c", "rest": "a/b c"
        })
    );
}

#[test]
fn undeclared_methods_get_405_and_paths_404() {
    let manifest = "[[routes]]\npath = \"/a\"\nmethods = [\"GET\", \"PUT\"]\nscript = \"a.rhai\"\n";
    let server = serve(manifest, &[("a.rhai", "1")]);
    assert_eq!(server.get("/app/b").status, 404);
    let refused = server.request("POST", "/app/a", &[], Some(b""));
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, PUT, OPTIONS")));
    assert_eq!(server.request("OPTIONS", "/app/a", &[], None).status, 204);
    let head = server.request("HEAD", "/app/a", &[], None);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let moved = server.get("/app");
    assert_eq!((moved.status, moved.header("location")), (308, Some("/app/")));
}

#[test]
fn script_error_is_logged_and_hidden_from_caller() {
    let server = serve(ANY, &[("a.rhai", "let a = 1;\n  throw \"secret detail\";")]);
    let response = server.get("/app/");
    assert_eq!(response.status, 500);
    let execution = response.header("picloud-execution").expect("an id");
    assert_eq!(response.json(), json!({"error": "script error", "execution_id": execution}));
    let log = until("the line is logged", || Some(server.log()).filter(|log| log.contains("secret detail")));
    assert!(log.contains("a.rhai:2:3"), "{log}");
    assert!(log.contains(execution), "{log}");
}

#[test]
fn every_limit_stops_script_and_spares_node() {
    let limits = "[limits]\ntimeout = \"2s\"\noperations = 1_000_000_000\nmemory = \"8MiB\"\nbody = \"1KiB\"\nconcurrency = 2\n";
    let route = |name: &str| format!("[[routes]]\npath = \"/{name}\"\nscript = \"{name}.rhai\"\n");
    let names = ["loop", "grow", "deep", "fine"];
    let manifest = names.iter().map(|name| route(name)).collect::<String>() + limits;
    let server = serve(
        &manifest,
        &[
            ("loop.rhai", "loop { }"),
            (
                "grow.rhai",
                "fn f(n) { let s = \"x\"; s.pad(200_000, 'x'); if n > 60 { 0 } else { f(n + 1) + s.len() } } f(0)",
            ),
            ("deep.rhai", "fn f(n) { f(n + 1) } f(0)"),
            ("fine.rhai", "`fine`"),
        ],
    );
    let failed = |name: &str, kind: &str, status: u16| {
        assert_eq!(server.get(&format!("/app/{name}")).status, status, "{name}: {}", server.log());
        until(kind, || server.log().contains(&format!("kind=\"{kind}\"")).then_some(()));
    };
    failed("loop", "timeout", 504);
    failed("grow", "memory", 500);
    failed("deep", "depth", 500);
    let large = server.request("POST", "/app/fine", &[], Some(&[b'x'; 2000]));
    assert_eq!(large.status, 413);
    let busy = std::thread::scope(|scope| {
        let requests: Vec<_> = (0..8).map(|_| scope.spawn(|| server.get("/app/loop"))).collect();
        requests
            .into_iter()
            .map(|response| response.join().unwrap())
            .filter(|response| response.status == 503)
            .collect::<Vec<_>>()
    });
    assert!(!busy.is_empty() && busy.iter().all(|response| response.header("retry-after").is_some()));
    assert_eq!(server.get("/app/fine").body, "\"fine\"");
}

#[test]
fn function_is_called_by_name_with_token() {
    let manifest = "[[functions]]\nname = \"double\"\nscript = \"a.rhai\"\n";
    let server =
        serve(manifest, &[("a.rhai", "#{ kind: ctx.invocation_type, twice: ctx.request.body.n * 2 }")]);
    let path = "/-/api/v1/apps/app/functions/double";
    let bearer = format!("Bearer {TOKEN}");
    let call = |path: &str, token: &str| {
        server.request("POST", path, &[("authorization", token)], Some(b"{\"n\": 21}"))
    };
    let response = call(path, &bearer);
    assert_eq!((response.status, response.json()), (200, json!({"kind": "function", "twice": 42})));
    assert_eq!(call(path, "Bearer wrong").status, 401);
    assert_eq!(call("/-/api/v1/apps/app/functions/triple", &bearer).status, 404);
    assert_eq!(call("/-/api/v1/apps/none/functions/double", &bearer).status, 404);
    assert_eq!(server.request("POST", path, &[], Some(b"")).status, 401);
}

#[test]
fn apps_and_control_plane_have_separate_origins_with_domain() {
    let server = Server::start_with(Database::sqlite(), &["--domain", "example.test"]);
    let repository = Repository::hello();
    let header = "http.extraHeader=Host: example.test";
    let url = server.git_url("hello");
    repository
        .try_git(&["-c", header, "push", "--progress", &url, "main"])
        .succeeded()
        .says("LIVE as deploy 1")
        .says("https://hello.example.test/");
    let status = |host: &str, path: &str| server.request("GET", path, &[("host", host)], None).status;
    assert_eq!(status("hello.example.test", "/greet/Ann"), 200);
    assert_eq!(status("example.test", "/-/health/live"), 200);
    assert_eq!(status("example.test", "/hello/greet/Ann"), 404);
    assert_eq!(status("hello.example.test", "/-/health/live"), 404);
    assert_eq!(status("elsewhere.test", "/-/health/live"), 404);
}

#[test]
fn health_distinguishes_liveness_from_readiness() {
    let server = Server::start(Database::sqlite());
    assert_eq!(server.get("/-/health/live").status, 200);
    assert_eq!(server.get("/-/health/ready").status, 200);
    assert_eq!(server.get("/-/nothing").status, 404);
}
