//! Rejected requests change nothing: every modifying endpoint gets invalid requests, and all tables
//! are compared.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Database, Repository, Response, Server, TOKEN, Wire, on_both_databases, until};

on_both_databases!(rejected_requests_change_nothing, rejected_secret_creates_no_app);

const MANIFEST: &str = r#"
    sdk = "1.1"
    [[routes]]
    path = "/"
    script = "one.rhai"
    [[functions]]
    name = "one"
    script = "one.rhai"
    [[schedules]]
    name = "yearly"
    cron = "0 0 1 1 *"
    script = "one.rhai"
"#;

/// Tables that change without a request: heartbeats, outcomes of transactions, and the
/// minute of a token's last use.
const VOLATILE: &[&str] = &["nodes", "node_generations", "transaction_outcomes"];

/// A path and method of the OpenAPI document.
struct Endpoint {
    method: String,
    /// With parameters such as `{app}`.
    template: String,
    /// A valid request body.
    document: Option<&'static str>,
    takes_query: bool,
}

/// A request that an endpoint must reject.
struct InvalidRequest {
    what: &'static str,
    path: String,
    token: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    /// How many bytes fewer are sent than declared.
    cut: usize,
}

fn rejected_requests_change_nothing(database: Database) {
    let server = Server::start(database);
    let repository = Repository::new();
    repository.write("picloud.toml", MANIFEST);
    repository.write("one.rhai", "1");
    repository.commit("first");
    let url = server.git_url("hello");
    repository.push(&url, &["main", "main:preview"]).succeeded();
    repository.write("one.rhai", "2");
    repository.commit("second");
    repository.push(&url, &["main"]).succeeded();
    let set = |path: &str, body: Value| api(&server, path, "PUT", body.to_string().as_bytes());
    assert_eq!(set("apps/hello/secrets/API_KEY", json!({"value": "tangerine"})).status, 200);
    let reader = api(
        &server,
        "tokens",
        "POST",
        json!({"name": "reader", "scopes": ["*:read"]}).to_string().as_bytes(),
    );
    assert_eq!(reader.status, 201, "{}", reader.body);
    let reader = reader.json()["secret"].as_str().expect("a token").to_owned();
    repository.push(&server.git_url("gone"), &["main"]).succeeded();
    assert_eq!(api(&server, "apps/gone", "DELETE", b"").status, 200);
    let gone = api(&server, "deleted-apps", "GET", b"").json()["apps"][0]["id"].clone();
    let tables = tables(&server);
    let before = stable_tables(&server, &tables);

    let endpoints = endpoints(&server.get("/-/api/openapi.json").json(), gone.as_str().expect("an id"));
    assert!(endpoints.len() >= 13, "the document lists every endpoint: {}", endpoints.len());
    for endpoint in &endpoints {
        for bad in endpoint.invalid_requests(&reader) {
            let label = format!("{} {}: {}", endpoint.method, bad.path, bad.what);
            let response = bad.send(&server, &endpoint.method);
            assert!(
                (400..500).contains(&response.status),
                "{label}: status {}: {}",
                response.status,
                response.body
            );
            let after = dump(&server, &tables);
            let differs: Vec<_> = after.symmetric_difference(&before).collect();
            assert!(differs.is_empty(), "{label}: status {}, changed {differs:#?}", response.status);
        }
    }
}

fn rejected_secret_creates_no_app(database: Database) {
    let server = Server::start(database);
    let path = "apps/ghost/secrets/API_KEY";
    for body in
        [&b"no json"[..], b"{}", b"{\"value\": 1}", b"{\"value\": \"\"}", b"{\"value\": \"a\\u0000b\"}"]
    {
        let response = api(&server, path, "PUT", body);
        assert_eq!(response.status, 400, "{}", response.body);
        let apps = api(&server, "apps", "GET", b"").json();
        assert_eq!(apps["apps"], json!([]), "{} created the app", String::from_utf8_lossy(body));
    }
    assert_eq!(api(&server, path, "PUT", b"{\"value\": \"tangerine\"}").status, 200);
    let acts = api(&server, "audit", "GET", b"").json();
    let actions: Vec<_> = acts["events"].as_array().expect("acts").iter().map(|act| &act["action"]).collect();
    assert_eq!(actions, ["secret.set", "app.create"]);
}

impl Endpoint {
    /// The path with its parameters replaced.
    fn path(&self, app: &str, name: &str) -> String {
        let filled = self.template.replace("{app}", app).replace("{name}", name).replace("{token}", "reader");
        filled
            .replace("{schedule}", "yearly")
            .replace("{function}", "one")
            .replace("{domain}", "shop.example.com")
    }

    fn invalid_requests(&self, reader: &str) -> Vec<InvalidRequest> {
        let path = self.path("hello", "API_KEY");
        let document = self.document.unwrap_or("{}").as_bytes();
        let bad = |what, body: &[u8]| InvalidRequest {
            what,
            path: path.clone(),
            token: TOKEN.to_owned(),
            headers: vec![("content-type", "application/json")],
            body: body.to_vec(),
            cut: 0,
        };
        let mut all = vec![
            InvalidRequest { cut: 1, ..bad("a body that is cut off", b"{} ") },
            bad("a body that is too large", &vec![b' '; 2 * 1024 * 1024]),
            InvalidRequest { token: "wrong".to_owned(), ..bad("a wrong token", document) },
            InvalidRequest { token: reader.to_owned(), ..bad("a token without the right", document) },
            InvalidRequest {
                headers: vec![("if-match", "\"other\"")],
                ..bad("a condition that is not met", document)
            },
        ];
        if self.template.contains("{app}") {
            all.push(InvalidRequest {
                path: self.path("No-App!", "API_KEY"),
                ..bad("a name that is none", document)
            });
        }
        if self.template.contains("{name}") {
            all.push(InvalidRequest {
                path: self.path("hello", "no%20name"),
                ..bad("a name that is none", document)
            });
        }
        // Arguments of a function are validated by the app.
        if !self.template.contains("{function}") {
            let query = if self.takes_query { "nonsense=1&branch=main" } else { "branch=main" };
            all.extend([
                bad("a body that is no JSON", b"no json"),
                bad("a field that is unknown", b"{\"nonsense\": 1}"),
                bad("an array", b"[]"),
                bad("an array of values", b" [null, null]"),
                InvalidRequest {
                    headers: vec![("content-type", "text/plain")],
                    ..bad("another content type", b"{}")
                },
                InvalidRequest { path: format!("{path}?{query}"), ..bad("an unknown parameter", document) },
            ]);
            if self.document.is_some() {
                all.push(bad("no body", b""));
            }
        }
        all
    }
}

impl InvalidRequest {
    fn send(&self, server: &Server, method: &str) -> Response {
        let mut headers = format!(
            "host: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n",
            server.address, self.token
        );
        for (name, value) in &self.headers {
            headers.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = self.body.len() + self.cut;
        let head = format!("{method} {} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n", self.path);
        let mut wire = Wire::sent(server, head);
        wire.send(&self.body);
        if self.cut > 0 {
            wire.end();
        }
        wire.response()
    }
}

/// All modifying endpoints of the OpenAPI document.
fn endpoints(description: &Value, deleted_app: &str) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for (template, methods) in description["paths"].as_object().expect("paths") {
        for (method, described) in methods.as_object().expect("methods") {
            if method == "get" || method == "parameters" {
                continue;
            }
            let parameters = described["parameters"].as_array().cloned().unwrap_or_default();
            let takes_query = parameters.iter().any(|parameter| parameter["in"] == "query");
            let document = described.get("requestBody").map(|_| valid_body(method, template));
            found.push(Endpoint {
                method: method.to_uppercase(),
                template: template.replace("{id}", deleted_app),
                document,
                takes_query,
            });
        }
    }
    found
}

/// A valid body: with a valid token, it changes something.
fn valid_body(method: &str, template: &str) -> &'static str {
    match (method, template.trim_start_matches("/-/api/v1/")) {
        ("post", "tokens") => r#"{"name": "another", "scopes": ["*:read"]}"#,
        ("post", "apps/{app}/functions/{function}") => "{}",
        ("post", "apps/{app}/rollback") => r#"{"deploy": 1}"#,
        ("post", "apps/{app}/prune") => r#"{"deploys": 1}"#,
        ("post", "apps/{app}/rename") => r#"{"name": "other"}"#,
        ("post", "deleted-apps/{id}/undelete") => r#"{"name": "other"}"#,
        ("patch", "apps/{app}/branches") => r#"{"branch": "preview", "scheduled": true}"#,
        ("patch", "apps/{app}/limits") => r#"{"previews": 30}"#,
        ("patch", "apps/{app}/settings") => r#"{"protected": true}"#,
        ("put", "apps/{app}/secrets/{name}") => r#"{"value": "clementine"}"#,
        ("put", "apps/{app}/kv/entry") => r#"{"value": 1}"#,
        ("post", "apps/{app}/kv/import") => r#"{"entries": [{"key": "a", "value": 1}]}"#,
        _ => panic!("{method} {template} needs a valid body in this test"),
    }
}

fn api(server: &Server, path: &str, method: &str, body: &[u8]) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let body = Some(body).filter(|body| !body.is_empty());
    server.request(method, &format!("/-/api/v1/{path}"), &headers, body)
}

/// All tables, once pending records are written.
fn stable_tables(server: &Server, tables: &[String]) -> BTreeSet<String> {
    let mut last = dump(server, tables);
    until("the tables do not change", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = dump(server, tables);
        let still = now == last;
        last = now;
        still.then(|| last.clone())
    })
}

/// A query that reads every table at once.
fn tables(server: &Server) -> Vec<String> {
    let postgres = server.database.url().is_some();
    let names = match postgres {
        true => "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
        false => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY 1",
    };
    let names = server.execute_sql(&[names]);
    let still: Vec<_> = names.lines().filter(|name| !VOLATILE.contains(name)).collect();
    assert!(still.len() > 10 && still.contains(&"audit_events"), "{still:?}");
    let columns = |name: &str| if name == "tokens" { "id, name, scopes" } else { "*" };
    match postgres {
        true => {
            let select = |name: &&str| {
                let columns = columns(name);
                format!("SELECT '{name} ' || t::text FROM (SELECT {columns} FROM \"{name}\") AS t")
            };
            vec![still.iter().map(select).collect::<Vec<_>>().join(" UNION ALL ")]
        }
        false => {
            still.iter().map(|name| format!("SELECT '{name}', {} FROM \"{name}\"", columns(name))).collect()
        }
    }
}

/// The rows of all tables.
fn dump(server: &Server, tables: &[String]) -> BTreeSet<String> {
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    server.execute_sql(&tables).lines().map(str::to_owned).collect()
}
