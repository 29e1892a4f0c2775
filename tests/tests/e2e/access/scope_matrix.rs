//! Every operation of the API and of git, with every scope.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use tests::{Database, Repository, Response, Server, TOKEN};

use super::{api, token, url};

/// The scopes of an app and a pair of them, the scopes of the node, and a token without access to the app.
const SCOPES: [&str; 10] = [
    "read",
    "preview",
    "deploy",
    "force",
    "deploy,force",
    "invoke",
    "secrets",
    "kv-read",
    "kv-write",
    "create",
];
const NODE_SCOPES: [&str; 2] = ["metrics", "status"];
const NO_ACCESS: &str = "-";

/// The scopes that allow each operation, besides `admin`, which allows everything.
const ALLOWED: &[(&str, &str)] = &[
    ("apps_change", ""),
    ("apps_create", "create"),
    ("apps_delete", ""),
    (
        "apps_list",
        "read preview deploy force deploy,force invoke secrets kv-read kv-write create metrics status -",
    ),
    ("apps_list_deleted", ""),
    ("apps_prune", ""),
    ("apps_rename", ""),
    ("apps_set", ""),
    ("apps_settings", "read"),
    ("apps_show", "read"),
    ("apps_start", ""),
    ("apps_stop", ""),
    ("apps_undelete", ""),
    ("audit_list", ""),
    ("branches_list", "read"),
    ("branches_set", "preview deploy deploy,force"),
    ("deploys_list", "read"),
    ("deploys_roll_back", "deploy deploy,force"),
    ("deploys_routes", "read"),
    ("domains_approve", ""),
    ("domains_list", "read"),
    ("domains_release", "deploy deploy,force"),
    ("domains_verify", "deploy deploy,force"),
    ("executions_list", "read"),
    ("executions_show", "read"),
    ("functions_call", "invoke"),
    ("git: check", "preview deploy deploy,force"),
    ("git: fetch", "read"),
    ("git: push a tag", "deploy deploy,force"),
    ("git: push to a preview", "preview deploy deploy,force"),
    ("git: push to production", "deploy deploy,force"),
    ("git: set production back", "deploy,force"),
    ("kv_delete", "kv-write"),
    ("kv_import", "kv-write"),
    ("kv_list", "kv-read kv-write"),
    ("kv_set", "kv-write"),
    ("kv_show", "kv-read kv-write"),
    ("kv_usage", "kv-read kv-write"),
    ("logs_follow", "read"),
    ("logs_list", "read"),
    ("nodes_list", ""),
    ("nodes_show", "status"),
    ("schedules_list", "read"),
    ("schedules_pause", "invoke"),
    ("schedules_resume", "invoke"),
    ("schedules_resume_all", ""),
    ("schedules_run_now", "invoke"),
    ("schedules_runs", "read"),
    ("secrets_begin_new_key", ""),
    ("secrets_list", "secrets"),
    ("secrets_rotate", ""),
    ("secrets_set previews", "secrets"),
    ("secrets_set production", "secrets"),
    ("secrets_unset previews", "secrets"),
    ("secrets_unset production", "secrets"),
    ("tokens_create", ""),
    ("tokens_list", ""),
    ("tokens_revoke", ""),
];

/// The request of an operation.
#[derive(Clone)]
struct Operation {
    method: String,
    path: String,
    takes_document: bool,
}

/// The operations of the OpenAPI document by name. Those with an environment parameter are listed once for each.
fn operations() -> BTreeMap<String, Operation> {
    let description: Value =
        serde_json::from_str(include_str!("../../../../docs/openapi.json")).expect("JSON");
    let mut found = BTreeMap::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let Some(name) = operation["operationId"].as_str() else { continue };
            let path = path.strip_prefix("/-/api/v1/").expect("the API's").to_owned();
            let takes = |name: &str| {
                let parameters = operation["parameters"].as_array();
                parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == name))
            };
            let operation = Operation {
                method: method.to_uppercase(),
                path,
                takes_document: operation.get("requestBody").is_some(),
            };
            if takes("environment") {
                for environment in ["production", "previews"] {
                    let path = format!("{}?environment={environment}", operation.path);
                    found.insert(format!("{name} {environment}"), Operation { path, ..operation.clone() });
                }
            } else {
                found.insert(name.to_owned(), operation);
            }
        }
    }
    found
}

/// Sends an operation's request with a token.
fn send(server: &Server, token: &str, app: &str, operation: &Operation) -> Response {
    let path = operation.path.replace("{app}", app).replace(['{', '}'], "");
    // A successful log stream would not end.
    let path = if path.ends_with("/stream") { path + "?level=none" } else { path };
    let document = operation.takes_document.then(|| json!({"none": true}));
    let response = api(server, token, &operation.method, &path, document.as_ref());
    assert!(response.status < 500 && response.status != 401, "{path}: {}", response.body);
    response
}

/// Whether a token is authorized. Other errors of the request are reported only to authorized tokens, and an app without
/// access is not found.
fn is_authorized(server: &Server, token: &str, operation: &Operation) -> bool {
    let response = send(server, token, "hello", operation);
    let is_hidden = || {
        let absent = send(server, token, "absent", operation);
        let is_same = absent.body.replace("absent", "hello") == response.body;
        operation.path.contains("{app}") && response.status == 404 && is_same
    };
    response.status != 403 && !is_hidden()
}

/// The git operations that a token is allowed.
fn allowed_git_operations(server: &Server, token: &str, repository: &Repository) -> Vec<&'static str> {
    let url = url(server, token, "hello");
    let mut allowed = Vec::new();
    if repository.try_git(&["ls-remote", &url]).accepted {
        allowed.push("git: fetch");
    }
    for (what, refspec) in [
        ("git: push to production", "HEAD:refs/heads/main"),
        ("git: set production back", "HEAD~1:refs/heads/main"),
        ("git: push to a preview", "HEAD:refs/heads/try"),
        ("git: push a tag", "HEAD:refs/tags/v1"),
        ("git: check", "HEAD:refs/picloud/check"),
    ] {
        let force = format!("+{refspec}");
        if repository.push(&url, &[&force]).accepted {
            allowed.push(what);
        }
    }
    allowed
}

#[test]
fn every_operation_accepts_exactly_its_scopes() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    repository.commit("more");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    assert!(
        api(&server, TOKEN, "PATCH", "apps/hello/settings", Some(&json!({"protected": true}))).status < 300
    );
    let operations = operations();
    let mut allowed: BTreeMap<&str, Vec<&str>> =
        operations.keys().map(|name| (name.as_str(), Vec::new())).collect();
    for scope in SCOPES {
        let token = token(&server, &scope.replace(',', "-"), &[&format!("hello:{scope}")]);
        for (name, operation) in &operations {
            if is_authorized(&server, &token, operation) {
                allowed.entry(name).or_default().push(scope);
            }
        }
        repository.commit(scope);
        for what in allowed_git_operations(&server, &token, &repository) {
            allowed.entry(what).or_default().push(scope);
        }
    }
    for scope in NODE_SCOPES {
        let token = token(&server, scope, &[scope]);
        for (name, operation) in &operations {
            if is_authorized(&server, &token, operation) {
                allowed.entry(name).or_default().push(scope);
            }
        }
        assert!(allowed_git_operations(&server, &token, &repository).is_empty(), "{scope}");
        let bearer = format!("Bearer {token}");
        let metrics = server.request("GET", "/-/metrics", &[("authorization", &bearer)], None);
        assert_eq!(metrics.status, if scope == "metrics" { 200 } else { 403 });
    }
    let stranger = token(&server, "stranger", &["another:read,deploy,force,invoke,secrets,create"]);
    for (name, operation) in &operations {
        if is_authorized(&server, &stranger, operation) {
            allowed.entry(name).or_default().push(NO_ACCESS);
        }
        // Operations on an absent app change nothing, so all of them can be tried.
        assert_ne!(send(&server, TOKEN, "absent", operation).status, 403, "admin: {name}");
    }
    let mut table = String::new();
    for (name, scopes) in &allowed {
        let _ = writeln!(table, "    (\"{name}\", \"{}\"),", scopes.join(" "));
    }
    let expected: BTreeMap<&str, Vec<&str>> =
        ALLOWED.iter().map(|(name, scopes)| (*name, scopes.split_whitespace().collect())).collect();
    assert!(allowed == expected, "the actual table:\n{table}");
}
