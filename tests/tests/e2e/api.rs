//! The REST API: its OpenAPI document, and the properties of all lists and documents.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Database, Repository, Response, Server, TOKEN, on_both_databases, until};

use crate::client_commands::run;

on_both_databases!(deploys_are_listed_and_rolled_back_to, server_conforms_to_its_openapi_document);

const MANIFEST: &str = r#"
    sdk = "1.1"
    [[routes]]
    path = "/greet/{name}"
    methods = ["GET"]
    script = "greet.rhai"
    [[functions]]
    name = "double"
    script = "double.rhai"
    [[schedules]]
    name = "tick"
    cron = "0 0 1 1 *"
    script = "tick.rhai"
"#;

fn serve(database: Database, flags: &[&str]) -> (Server, Repository) {
    let server = Server::start_with(database, flags);
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("greet.rhai", "`first`");
    repository.write("double.rhai", "2");
    repository.write("tick.rhai", "log::info(\"tick\")");
    repository.commit("first");
    repository.git(&["remote", "add", "picloud", &server.git_url("hello")]);
    repository.push("picloud", &["main"]).succeeded();
    (server, repository)
}

fn api(server: &Server, method: &str, path: &str, body: Option<&Value>) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    let body = body.map(|body| body.to_string().into_bytes());
    server.request(method, &format!("/-/api/v1/{path}"), &[("authorization", &bearer)], body.as_deref())
}

fn deploys_are_listed_and_rolled_back_to(database: Database) {
    let (server, repository) = serve(database, &[]);
    let first = repository.head();
    repository.write("greet.rhai", "`second`");
    repository.commit("the second one");
    repository.push("picloud", &["main", "HEAD:refs/heads/try"]).succeeded();
    assert_eq!(server.get("/hello/greet/Ann").body, "\"second\"");

    let (code, text, _) = run(repository.path(), &["rollback"]);
    let output = format!(
        "rolled back to deploy 1: {} \"first\" is live as deploy 4 at http://{}/hello/\n",
        &first[..7],
        server.address
    );
    assert_eq!((code, text), (Some(0), output));
    let response = server.get("/hello/greet/Ann");
    assert_eq!(
        (response.body.as_str(), response.header("picloud-revision")),
        ("\"first\"", Some(first.as_str()))
    );
    let (code, _, text) = run(repository.path(), &["rollback", "1"]);
    assert!(code == Some(1) && text.contains("deploy 1 is already live"), "{text}");
    let (code, _, text) = run(repository.path(), &["rollback", "99"]);
    assert!(code == Some(1) && text.contains("no deploy 99"), "{text}");
    let rolled = api(&server, "POST", "apps/hello/rollback", Some(&json!({"deploy": 2})));
    assert_eq!((rolled.status, &rolled.json()["deploy"]), (200, &json!(5)), "{}", rolled.body);
    assert_eq!(server.get("/hello/greet/Ann").body, "\"second\"");

    let deploys = api(&server, "GET", "apps/hello/deploys?limit=3", None).json();
    let numbers = |deploys: &Value| -> Vec<u64> {
        let deploys = deploys["deploys"].as_array().expect("deploys");
        deploys.iter().map(|deploy| deploy["number"].as_u64().expect("a number")).collect()
    };
    assert_eq!(numbers(&deploys), [5, 4, 3]);
    let latest = &deploys["deploys"][0];
    assert_eq!((&latest["live"], &latest["subject"]), (&json!(true), &json!("the second one")));
    let more = format!("apps/hello/deploys?cursor={}", deploys["next_cursor"].as_str().expect("more"));
    assert_eq!(numbers(&api(&server, "GET", &more, None).json()), [2, 1]);
    assert_eq!(numbers(&api(&server, "GET", "apps/hello/deploys?branch=try", None).json()), [3]);
    let (_, text, _) = run(repository.path(), &["deploys"]);
    assert!(text.contains("the second one") && text.lines().count() == 6, "{text}");

    let branches = api(&server, "GET", "apps/hello/branches", None).json();
    let (main, preview) = (&branches["branches"][0], &branches["branches"][1]);
    assert!(main["deployed_at"].is_string() && preview["deployed_at"].is_string(), "{branches}");
    assert!(preview["expires_at"].is_string(), "{branches}");
    assert_eq!(
        *preview,
        json!({
            "name": "try",
            "label": "try",
            "production": false,
            "scheduled": false,
            "url": format!("http://{}/hello@try/", server.address),
            "deploy": 3,
            "commit": repository.head(),
            "deployed_at": preview["deployed_at"],
            "expires_at": preview["expires_at"],
        })
    );
    assert_eq!(
        *main,
        json!({
            "name": "main",
            "label": main["label"],
            "production": true,
            "scheduled": true,
            "url": format!("http://{}/hello/", server.address),
            "deploy": 5,
            "commit": repository.head(),
            "deployed_at": main["deployed_at"],
            "expires_at": null,
        })
    );
    let (_, text, _) = run(repository.path(), &["previews"]);
    assert!(text.contains("production") && text.contains("preview"), "{text}");
    let (_, text, _) = run(repository.path(), &["routes"]);
    assert!(text.contains("GET      /greet/{name}  greet.rhai") && text.contains("double"), "{text}");
    assert_eq!(server.get("/hello@try/greet/Ann").status, 200);
    let of_branch = |branch: &str| -> Vec<u64> {
        let path = format!("apps/hello/executions?branch={branch}");
        let found = api(&server, "GET", &path, None).json();
        let all = found["executions"].as_array().expect("executions").iter();
        all.map(|execution| execution["deploy"].as_u64().expect("a deploy")).collect()
    };
    until("the execution is recorded", || (of_branch("try") == [3]).then_some(()));
    assert!(!of_branch("main").contains(&3), "{:?}", of_branch("main"));
    assert_eq!(api(&server, "GET", "apps/hello/executions?branch=tri", None).status, 404);
    let (code, text, _) = run(repository.path(), &["routes", "--branch", "try"]);
    assert!(code == Some(0) && text.contains("/greet/{name}"), "{text}");
    let (code, _, text) = run(repository.path(), &["routes", "--branch", "tri"]);
    assert!(code != Some(0) && text.contains("did you mean `try`?"), "{text}");
    let (code, text, _) = run(repository.path(), &["status"]);
    assert!(code == Some(0) && text.starts_with("healthy\n"), "{text}");
}

#[test]
fn unchanged_documents_get_not_modified() {
    let (server, _repository) = serve(Database::sqlite(), &[]);
    let first = api(&server, "GET", "apps/hello/deploys", None);
    let tag = first.header("etag").expect("a tag").to_owned();
    let again = |tag: &str| {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str()), ("if-none-match", tag)];
        server.request("GET", "/-/api/v1/apps/hello/deploys", &headers, None)
    };
    let known = again(&tag);
    assert_eq!((known.status, known.body.as_str(), known.header("etag")), (304, "", Some(tag.as_str())));
    assert_eq!(again("W/\"other\"").status, 200);
    let unknown = server.request("GET", "/-/api/v1/apps/hello/deploys", &[("if-none-match", &tag)], None);
    assert_eq!(unknown.status, 401, "requests without a token get 401");
}

#[test]
fn invalid_query_parameters_are_rejected() {
    let (server, _repository) = serve(Database::sqlite(), &[]);
    for query in
        ["deploys?limit=x", "deploys?nonsense=1", "logs?level=loud", "executions?cursor=x", "logs?since=now"]
    {
        let refused = api(&server, "GET", &format!("apps/hello/{query}"), None);
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
}

#[test]
fn unknown_query_parameters_are_rejected_everywhere() {
    let (server, _repository) = serve(Database::sqlite(), &[]);
    let description = server.get("/-/api/openapi.json").json();
    let paths = description["paths"].as_object().expect("paths");
    let read = paths.iter().filter(|(_, methods)| methods.get("get").is_some());
    let mut requests = 0;
    for (template, _) in read {
        let path = template
            .replace("{app}", "hello")
            .replace("{name}", "x")
            .replace("{id}", "00000000-0000-0000-0000-000000000000");
        let path = path.strip_prefix("/-/api/v1/").expect("a path of the API");
        let refused = api(&server, "GET", &format!("{path}?nonsense=abc"), None);
        assert_eq!(refused.status, 400, "{template}: {}", refused.body);
        assert!(refused.body.contains("nonsense"), "{template}: {}", refused.body);
        requests += 1;
    }
    assert!(requests > 10, "{requests}");
}

#[test]
fn unknown_names_get_suggestions() {
    let (server, repository) = serve(Database::sqlite(), &[]);
    repository.push(&server.git_url("secluded"), &["main"]).succeeded();
    repository.push(&server.git_url("hello"), &["main:feature"]).succeeded();
    let output = |bearer: &str, method: &str, path: &str| -> String {
        let headers = [("authorization", &*format!("Bearer {bearer}"))];
        let response = server.request(method, &format!("/-/api/v1/{path}"), &headers, None);
        assert_eq!(response.status, 404, "{path}: {}", response.body);
        response.json()["detail"].as_str().expect("a detail").to_owned()
    };
    for (method, path, meant) in [
        ("GET", "audit?app=helo", "hello"),
        ("GET", "apps/helo/deploys", "hello"),
        ("GET", "apps/helo/routes", "hello"),
        ("GET", "apps/helo/schedules", "hello"),
        ("POST", "apps/helo/functions/double", "hello"),
        ("GET", "apps/hello/deploys?branch=featrue", "feature"),
        ("GET", "apps/hello/schedules?branch=featrue", "feature"),
        ("GET", "apps/hello/logs?script=gret.rhai", "greet.rhai"),
        ("GET", "apps/hello/logs/stream?script=gret.rhai", "greet.rhai"),
        ("GET", "apps/hello/executions?script=gret.rhai", "greet.rhai"),
        ("POST", "apps/hello/functions/dubble", "double"),
        ("GET", "apps/hello/schedules/tik/runs", "tick"),
    ] {
        let output = output(TOKEN, method, path);
        assert!(output.ends_with(&format!("did you mean `{meant}`?")), "{path}: {output}");
    }
    assert_eq!(
        output(TOKEN, "GET", "audit?app=nothing-like-it"),
        "app not found, or no revision of it is live"
    );
    for path in ["logs?script=greet.rhai", "executions?script=greet.rhai", "deploys?branch=feature"] {
        assert_eq!(api(&server, "GET", &format!("apps/hello/{path}"), None).status, 200, "{path}");
    }
    // A token without access to an app gets no suggestion of its name, and cannot tell it from an absent one.
    let created = json!({"name": "reader", "scopes": ["hello:read"]});
    let token =
        api(&server, "POST", "tokens", Some(&created)).json()["secret"].as_str().expect("a token").to_owned();
    assert!(output(&token, "GET", "apps/helo/deploys").ends_with("did you mean `hello`?"));
    let absent = "app not found, or no revision of it is live";
    assert_eq!(output(&token, "GET", "apps/secluded/deploys"), absent);
    assert_eq!(output(&token, "GET", "apps/seclude/deploys"), absent);
}

/// schemathesis generates valid and invalid requests from the document, and validates the responses.
fn server_conforms_to_its_openapi_document(database: Database) {
    let (server, repository) = serve(database, &["--preview-ttl", "off"]);
    repository.push(&server.git_url("spare"), &["main"]).succeeded();
    let description = server.get("/-/api/openapi.json").json();
    assert!(
        description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
        "{description}"
    );
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = tests.join("../target/api-venv/bin/schemathesis");
    assert!(program.exists(), "schemathesis is not installed; run `make setup`");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(program)
        .arg("--config-file")
        .arg(tests.join("api/schemathesis.toml"))
        .args(["run", &format!("http://{}/-/api/openapi.json", server.address)])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1"])
        // A stream does not end, and the response of a function is the app's.
        .args(["--exclude-path-regex", "logs/stream|functions"])
        // A well-formed name need not exist; and so many invalid tokens are soon answered with 429.
        .args(["--exclude-checks", "positive_data_acceptance,unsupported_method,ignored_auth"])
        .args(["--request-timeout", "60", "--no-color", "--suppress-health-check", "all"])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .output()
        .expect("schemathesis runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
    assert_eq!(server.get("/spare/greet/Ann").status, 404, "the app was deleted");
}
