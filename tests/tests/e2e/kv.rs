//! `picloud kv` and its API.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN, on_both_databases};

use super::access::{api, cli, cli_as, token};
use super::disk_faults::Node;

on_both_databases!(
    state_is_read_changed_and_copied_into_a_preview,
    export_is_imported_into_another_app_byte_for_byte,
);

fn serve(database: Database) -> (Server, Repository) {
    let server = Server::start(database);
    let app = Repository::new();
    app.write("picloud.toml", "sdk = \"1.3\"\n[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n");
    app.write(
        "a.rhai",
        "kv::set(\"from/script\", #{ n: 1, bytes: [1, 2] }); kv::set(\"photo\", blob(3, 255)); 1",
    );
    app.commit("app");
    app.push(&server.git_url("app"), &["main"]).succeeded();
    assert_eq!(server.get("/app/").status, 200);
    (server, app)
}

fn state_is_read_changed_and_copied_into_a_preview(database: Database) {
    let (server, app) = serve(database);
    let kv = |arguments: &[&str]| cli(&server, &[&["kv"], arguments, &["--app", "app"]].concat());
    assert_eq!(kv(&["get", "from/script"]).succeeded().text, "{\"bytes\":[1,2],\"n\":1}\n");
    assert_eq!(kv(&["get", "photo"]).succeeded().text, "////\n");
    kv(&["set", "flags", "{\"beta\":true}"]).succeeded();
    kv(&["set", "a notice", "Back at noon", "--text", "--ttl", "3h"]).succeeded();
    kv(&["set", "flags", "Back"]).refused().says("the value is no JSON").says("add --text");
    kv(&["set", "flags", "1", "--ttl", "1 hour"]).refused().says("`ttl` must be a duration");
    assert_eq!(kv(&["get", "a notice", "--raw"]).succeeded().text, "Back at noon");
    let listed = kv(&["list"]).succeeded().text;
    assert!(
        listed.contains("a notice") && listed.contains("a blob") && listed.contains("from/script"),
        "{listed}"
    );
    assert_eq!(kv(&["list", "f", "--keys", "--reverse"]).succeeded().text, "from/script\nflags\n");
    let first = kv(&["list", "--keys", "--limit", "1", "--after", "a notice"]).succeeded().text;
    assert!(first.starts_with("flags\nhint: next page with  picloud kv list"), "{first}");
    assert!(first.ends_with(" --after flags\n"), "{first}");

    app.push(&server.git_url("app"), &["main:feature"]).succeeded();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.jsonl");
    let file = file.to_str().unwrap();
    kv(&["export", "--output", file]).succeeded().says("exported 4 entries");
    kv(&["import", file, "--branch", "feature"]).succeeded().says("imported 4 entries");
    let exported = kv(&["export"]).succeeded().text;
    assert_eq!(kv(&["export", "--branch", "feature"]).succeeded().text.lines().count(), 4);
    assert_eq!(exported, std::fs::read_to_string(file).unwrap());
    std::fs::write(file, "{\"key\":\"a\",\"value\":1}\nnonsense\n").unwrap();
    kv(&["import", file]).refused().says("state.jsonl:2:");
    kv(&["get", "a"]).refused().says("key not found");

    kv(&["delete", "flags", "photo"]).succeeded();
    kv(&["delete", "flags"]).refused().says("cannot delete `flags`: key not found");
    kv(&["get", "flags", "--branch", "feature"]).succeeded();
    kv(&["get", "flags", "--branch", "nothing"]).refused().says("branch not found");
    let usage = kv(&["usage"]).succeeded().text;
    assert!(usage.contains("production") && usage.contains("feature") && usage.contains("256"), "{usage}");
    let audit = cli(&server, &["audit", "--app", "app"]).succeeded().text;
    for event in ["kv.set", "kv.delete", "kv.import"] {
        assert!(audit.contains(event), "{audit}");
    }
    assert!(!audit.contains("beta"), "no values: {audit}");
}

#[test]
fn invalid_entries_and_missing_scopes_are_rejected() {
    let (server, _) = serve(Database::sqlite());
    let put = |key: &str, document| {
        api(&server, TOKEN, "PUT", &format!("apps/app/kv/entry?key={key}"), Some(&document))
    };
    for (key, document, status) in [
        ("a", json!({}), 400),
        ("a", json!({"value": null}), 400),
        ("a", json!({"value": 1, "blob": ""}), 400),
        ("a", json!({"blob": "no base64"}), 400),
        ("", json!({"value": 1}), 400),
        ("a", json!({"value": "x".repeat(1024 * 1024)}), 422),
        ("a", json!({"value": "x".repeat(1000)}), 200),
    ] {
        assert_eq!(put(key, document).status, status, "{key}");
    }
    for query in ["limit=0", "limit=1001", "prefix=%00", "cursor=a%00", "order=key"] {
        assert_eq!(api(&server, TOKEN, "GET", &format!("apps/app/kv?{query}"), None).status, 400, "{query}");
    }
    let reader = token(&server, "reader", &["app:kv-read"]);
    cli_as(&server, &reader, &["kv", "get", "from/script", "--app", "app"]).succeeded();
    let refused = cli_as(&server, &reader, &["kv", "set", "a", "1", "--app", "app"]).refused();
    refused.says("it needs the scope app:kv-write");
    let other = token(&server, "other", &["app:read"]);
    cli_as(&server, &other, &["kv", "list", "--app", "app"]).refused().says("app:kv-read");
    let writer = token(&server, "writer", &["app:kv-write"]);
    cli_as(&server, &writer, &["kv", "set", "a", "2", "--app", "app"]).succeeded();
    assert_eq!(cli_as(&server, &writer, &["kv", "get", "a", "--app", "app"]).succeeded().text, "2\n");
    for command in [&["kv", "delete", "a"][..], &["kv", "import", "/dev/null"]] {
        cli_as(&server, &reader, &[command, &["--app", "app"]].concat()).refused().says("app:kv-write");
    }
}

/// Fills the state with more than a page and more than a batch of an import.
const FILL: &str = r#"
let what = ctx.request.query.what;
switch what {
    "small" => for n in 0..2500 { kv::set(`small/${n}`, #{ n: n, text: "ä\n\u0001\"", half: n + 0.5 }); },
    "large" => for n in 0..3 { kv::set(`large/${ctx.request.query.n}/${n}`, "x".repeat(1_000_000)); },
    "other" => {
        let deep = 1;
        for level in 0..127 { deep = [deep]; }
        kv::set("deep", deep);
        kv::set("null", [(), #{ z: (), a: 1e300 }]);
        kv::set("blob", blob(1000, 255));
        kv::set("日本/😀", true);
        kv::set("session", 7, #{ ttl: "9h" });
    },
}
kv::keys("", #{ limit: 1000 }).len()
"#;

fn repository(script: &str) -> Repository {
    let app = Repository::new();
    let limits = "[limits]\noperations = 10_000_000\ntimeout = \"20s\"\nmemory = \"64MiB\"\n";
    let route = "[[routes]]\npath = \"/\"\nscript = \"a.rhai\"\n";
    app.write("picloud.toml", format!("sdk = \"1.3\"\n{limits}{route}"));
    app.write("a.rhai", script);
    app.commit("app");
    app
}

fn export_is_imported_into_another_app_byte_for_byte(database: Database) {
    let server = Server::start(database);
    let app = repository(FILL);
    app.push(&server.git_url("app"), &["main"]).succeeded();
    for query in ["small", "large&n=1", "large&n=2", "other"] {
        let filled = server.get(&format!("/app/?what={query}"));
        assert_eq!(filled.status, 200, "{}", server.log());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (one, two) = (path("one.jsonl"), path("two.jsonl"));
    cli(&server, &["kv", "export", "--app", "app", "--output", &one])
        .succeeded()
        .says("exported 2511 entries");
    repository("kv::get(\"deep\")").push(&server.git_url("copy"), &["main"]).succeeded();
    cli(&server, &["kv", "import", &one, "--app", "copy"]).succeeded().says("imported 2511 entries");
    cli(&server, &["kv", "export", "--app", "copy", "--output", &two]).succeeded();
    let (one, two) = (fs::read_to_string(one).unwrap(), fs::read_to_string(two).unwrap());
    for (exported, again) in one.lines().zip(two.lines()) {
        assert_eq!(exported, again);
    }
    assert_eq!(one.len(), two.len());
    assert!(one.contains(&format!("{}1{}", "[".repeat(127), "]".repeat(127))), "as deep as scripts can nest");
    assert_eq!(server.get("/copy/").body.len(), 2 * 127 + 1, "a script reads it");

    // The API has the same in pages, in both directions. This client cannot parse what is nested deeper.
    cli(&server, &["kv", "delete", "deep", "--app", "app"]).succeeded();
    let mut keys: Vec<String> = Vec::new();
    for (query, pages) in [("limit=1000&keys=true", 3), ("limit=1000", 6), ("limit=1000&reverse=true", 6)] {
        let (mut found, mut cursor, mut requests) = (Vec::new(), String::new(), 0);
        loop {
            let page = api(&server, TOKEN, "GET", &format!("apps/app/kv?{query}{cursor}"), None).json();
            let entries = page["entries"].as_array().unwrap();
            found.extend(entries.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()));
            let with_value = entries.iter().filter(|entry| entry["value"] != Value::Null).count();
            assert!(with_value == 0 || !query.contains("keys"), "{query}");
            requests += 1;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", percent_encoded(next)),
                None => break,
            }
        }
        assert!(requests <= pages, "{query}: {requests}");
        if query.contains("reverse") {
            found.reverse();
        }
        if keys.is_empty() {
            keys.clone_from(&found);
        }
        assert!(found.len() == 2510 && found == keys && found.is_sorted(), "{query}: {}", found.len());
    }
    let large = cli(&server, &["kv", "list", "large/", "--app", "app"]).succeeded().text;
    assert_eq!(large.matches("large/").count(), 6, "a list goes on until its limit: {large}");
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}

/// The output of `picloud kv`, which can be any bytes.
fn bytes(server: &Server, arguments: &[&str]) -> Vec<u8> {
    let Output { status, stdout, stderr } = Command::new(picloud())
        .arg("kv")
        .args(arguments)
        .args(["--app", "app"])
        .env("PICLOUD_URL", format!("http://{}", server.address))
        .env("PICLOUD_TOKEN", TOKEN)
        .output()
        .unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    stdout
}

#[test]
fn blobs_and_files_are_stored_as_they_are() {
    let (server, _) = serve(Database::sqlite());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (image, text, document) = (path("a.png"), path("a.txt"), path("a.json"));
    let any: Vec<u8> = (0..=255).rev().collect();
    fs::write(&image, &any).unwrap();
    fs::write(&text, "Grüße\n").unwrap();
    fs::write(&document, "{\n  \"b\": 1.50,\n  \"a\": []\n}\n").unwrap();
    bytes(&server, &["set", "image", "--file", &image, "--blob"]);
    bytes(&server, &["set", "text", "--file", &text, "--text"]);
    bytes(&server, &["set", "document", "--file", &document]);
    assert_eq!(bytes(&server, &["get", "image", "--raw"]), any);
    assert_eq!(bytes(&server, &["get", "text", "--raw"]), "Grüße\n".as_bytes());
    assert_eq!(bytes(&server, &["get", "document"]), b"{\"b\":1.5,\"a\":[]}\n");
    assert_eq!(bytes(&server, &["get", "photo", "--raw"]), [255; 3], "the blob of a script");
    cli(&server, &["kv", "set", "a", "--file", &image, "--app", "app"])
        .refused()
        .says("the value is no JSON");
    cli(&server, &["kv", "set", "a", "--file", &image, "--text", "--app", "app"]).refused().says("--blob");

    let put = api(&server, TOKEN, "PUT", "apps/app/kv/entry?key=raw", Some(&json!({"blob": "AP8="})));
    assert_eq!(put.status, 200, "{}", put.body);
    let got = api(&server, TOKEN, "GET", "apps/app/kv/entry?key=raw", None);
    assert_eq!(got.json(), json!({"key": "raw", "blob": "AP8="}));
    assert_eq!(bytes(&server, &["get", "raw", "--raw"]), [0, 255]);

    // The production branch is production.
    assert_eq!(bytes(&server, &["get", "raw", "--raw", "--branch", "main"]), [0, 255]);
    bytes(&server, &["set", "on_main", "1", "--branch", "main"]);
    assert_eq!(bytes(&server, &["get", "on_main"]), b"1\n");
    let deleted = bytes(&server, &["delete", "on_main", "raw", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&deleted).unwrap(), json!({"keys": 2}), "one document");
    let partly = cli(&server, &["kv", "delete", "text", "raw", "--app", "app"]).refused();
    partly.says("deleted text").says("cannot delete `raw`: key not found").says("1 key before it deleted");
}

#[test]
fn errors_of_an_import_name_the_line() {
    let (server, _) = serve(Database::sqlite());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.jsonl");
    let import = |lines: &[String]| {
        fs::write(&file, lines.join("\n")).unwrap();
        cli(&server, &["kv", "import", file.to_str().unwrap(), "--app", "app"])
    };
    let entry = |number: usize| format!("{{\"key\":\"k/{number}\",\"value\":{number}}}");
    let with = |at: usize, line: &str| -> Vec<String> {
        let mut lines: Vec<String> = (1..=1500).map(entry).collect();
        line.clone_into(&mut lines[at - 1]);
        lines
    };
    let too_large = format!("{{\"key\":\"a\",\"value\":\"{}\"}}", "x".repeat(1024 * 1024));
    let too_deep = format!("{{\"key\":\"a\",\"value\":{}1{}}}", "[".repeat(128), "]".repeat(128));
    for (line, message) in [
        ("{\"key\":\"\",\"value\":1}", "a key must not be empty"),
        ("{\"key\":\"a\",\"value\":null}", "which is not null"),
        ("{\"key\":\"a\",\"blob\":\"?\"}", "`blob` must be Base64"),
        ("{\"key\":\"a\",\"value\":1e999}", "invalid `value`: number out of range"),
        (
            "{\"key\":\"a\",\"value\":1,\"expires_at\":\"2999-01-01T00:00:00Z\"}",
            "`expires_at` must be within",
        ),
        (too_large.as_str(), "would have 1048578 bytes"),
        (too_deep.as_str(), "invalid `value`: recursion limit exceeded"),
    ] {
        let refused = import(&with(1201, line)).refused();
        let refused = refused.says("state.jsonl:1201: ").says(message);
        refused.says("00 entries before this are imported; correct this and import again");
    }
    let refused = import(&with(1201, "{\"key\":\"a\"")).refused();
    refused.says("state.jsonl:1201:10: no entry of an export: EOF while parsing an object\n");
    let refused = import(&with(7, "{\"key\":\"\",\"value\":1}")).refused();
    refused.says("state.jsonl:7: ").says("hint: nothing is imported");
    cli(&server, &["apps", "limits", "app", "--state", "50KiB"]).succeeded();
    import(&with(1, &entry(1))).refused().says("state.jsonl:1001-1500: ").says("its quota is 51200");
    cli(&server, &["apps", "limits", "app", "--state", "1MiB"]).succeeded();

    // What has ended since the export is left out.
    let ended = "{\"key\":\"ended\",\"value\":1,\"expires_at\":\"2020-01-01T00:00:00Z\"}";
    let imported = import(&with(3, ended)).succeeded();
    imported.says("imported 1499 entries; left out 1 entry, which ended");
    cli(&server, &["kv", "get", "ended", "--app", "app"]).refused().says("key not found");
    cli(&server, &["kv", "import", "/dev/null", "--app", "app", "--branch", "nothing"])
        .refused()
        .says("branch not found");
}

#[test]
fn refused_changes_are_not_audited() {
    let (server, _) = serve(Database::sqlite());
    let entry = |method, key: &str, document: Option<Value>| {
        api(&server, TOKEN, method, &format!("apps/app/kv/entry?key={key}"), document.as_ref()).status
    };
    let large = Some(json!({"value": "x".repeat(20_000)}));
    assert_eq!(entry("PUT", "large", large.clone()), 200);
    cli(&server, &["apps", "limits", "app", "--state", "10KiB"]).succeeded();
    let larger = Some(json!({"value": "x".repeat(30_000)}));
    assert_eq!(entry("PUT", "larger", larger), 422);
    assert_eq!(entry("DELETE", "absent", None), 404);
    assert_eq!(entry("PUT", "too_large", Some(json!({"value": "x".repeat(1 << 20)}))), 422);
    assert_eq!(entry("PUT", "large", large), 200, "what does not grow is stored");
    assert_eq!(entry("DELETE", "large", None), 200);
    let audit = api(&server, TOKEN, "GET", "audit?app=app", None).json();
    let events = audit["events"].as_array().unwrap().iter();
    let events = events.filter(|event| event["action"].as_str().unwrap().starts_with("kv."));
    let events: Vec<_> =
        events.map(|event| format!("{} {}", event["action"], event["subject"]).replace('"', "")).collect();
    assert_eq!(events, ["kv.delete large", "kv.set large", "kv.set large"]);
}

#[test]
fn nearly_full_state_is_a_problem() {
    let (server, app) = serve(Database::sqlite());
    app.push(&server.git_url("app"), &["main:feature"]).succeeded();
    cli(&server, &["apps", "limits", "app", "--state", "100KiB"]).succeeded();
    let kv = |arguments: &[&str]| cli(&server, &[&["kv"], arguments, &["--app", "app"]].concat()).succeeded();
    let fill = |bytes: usize, branch: &str| {
        kv(&["set", "filler", &"x".repeat(bytes), "--text", "--branch", branch]);
    };
    fill(80_000, "main");
    cli(&server, &["status"]).succeeded();
    fill(82_000, "main");
    let status = cli(&server, &["status"]).refused();
    let status =
        status.says("warning: the state of app app has 80.").says(" of its 100.0 KiB (102400 bytes)");
    status.says("picloud kv usage --app app").says("picloud apps limits app --state SIZE");
    fill(102_000, "feature");
    let status = cli(&server, &["status"]).refused();
    status.says("error: the state of preview feature of app app has 99.");
    kv(&["delete", "filler"]);
    kv(&["delete", "filler", "--branch", "feature"]);
    cli(&server, &["status"]).succeeded();
    // The quota of an app that is not live is its own, too.
    cli(&server, &["apps", "stop", "app"]).succeeded();
    cli(&server, &["apps", "limits", "app", "--state", "50KiB"]).succeeded();
    let refused = cli(&server, &["kv", "set", "a", &"x".repeat(60_000), "--text", "--app", "app"]).refused();
    refused.says("its quota is 51200");
    assert!(kv(&["usage"]).text.contains("50.0 KiB"));
}

#[test]
fn state_that_cannot_be_stored_is_503_with_retry_after() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "24m");
    repository("kv::incr(\"n\")").push(&node.git_url(), &["main"]).succeeded();
    assert_eq!(node.request("GET", "/hello/", None), (200, "1".to_owned()));
    node.fill_disk();
    let entry = "/-/api/v1/apps/hello/kv/entry?key=n";
    for (method, path, body) in [("GET", "/hello/", None), ("PUT", entry, Some("{\"value\":5}"))] {
        let (status, retry_after, body) = retry_after(&node, method, path, body);
        assert_eq!((status, retry_after.as_deref()), (503, Some("1")), "{path}: {body}");
    }
    let (status, body) = node.request("GET", entry, None);
    assert_eq!((status, body.as_str()), (200, "{\"key\":\"n\",\"value\":1}"), "reads go on");
}

/// The status of a response, its `Retry-After`, and its body.
fn retry_after(node: &Node, method: &str, path: &str, body: Option<&str>) -> (u16, Option<String>, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", node.address))
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json");
    let mut response = match body {
        Some(body) => agent.run(request.body(body.to_owned()).unwrap()),
        None => agent.run(request.body(()).unwrap()),
    }
    .unwrap();
    let after = response.headers().get("retry-after").map(|after| after.to_str().unwrap().to_owned());
    (response.status().as_u16(), after, response.body_mut().read_to_string().unwrap())
}
