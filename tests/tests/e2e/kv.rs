//! `picloud kv` and its API.

use serde_json::json;
use tests::{Database, Repository, Server, TOKEN, on_both_databases};

use super::access::{api, cli, cli_as, token};

on_both_databases!(state_is_read_changed_and_copied_into_a_preview);

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
    assert_eq!(kv(&["list", "--keys", "--limit", "1", "--after", "a notice"]).succeeded().text, "flags\n");

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
    kv(&["delete", "flags"]).refused().says("key not found");
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
    let reader = token(&server, "reader", &["app:kv-read"]);
    cli_as(&server, &reader, &["kv", "get", "from/script", "--app", "app"]).succeeded();
    let refused = cli_as(&server, &reader, &["kv", "set", "a", "1", "--app", "app"]).refused();
    refused.says("it needs the scope app:kv-write");
    let other = token(&server, "other", &["app:read"]);
    cli_as(&server, &other, &["kv", "list", "--app", "app"]).refused().says("app:kv-read");
}
