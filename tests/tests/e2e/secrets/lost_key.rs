//! A lost key: every report names the way out, and the app recovers without a restart.

use std::fs;
use std::time::Instant;

use tests::faults::recovered;
use tests::{Database, Server, on_both_databases, until};

use super::{app, secrets};

on_both_databases!(restored_app_recovers_with_new_key, concurrent_first_secrets_create_one_key,);

fn restored_app_recovers_with_new_key(database: Database) {
    let mut server = Server::start(database);
    secrets(&server, &["set", "API_KEY"], "tangerine-1").succeeded();
    secrets(&server, &["set", "OTHER"], "tangerine-2").succeeded();
    app().push(&server.git_url("hello"), &["main"]).succeeded();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all");
    let made = server.command(&["backup"]).arg(&file).output().expect("picloud");
    assert!(made.status.success(), "{made:?}");
    server.stop();
    let key = server.data_dir().join("secret-key");
    let _ = fs::remove_file(&key);
    let restored = server.command(&["restore", "--replace"]).arg(&file).output().expect("picloud");
    assert!(restored.status.success(), "{restored:?}");
    // On PostgreSQL this empties the data folder.
    server.restart();
    let key = server.data_dir().join("secret-key");

    assert_eq!(server.get("/hello/").status, 503);
    let ready = server.get("/-/health/ready");
    assert!(ready.status == 503 && ready.body.contains("`picloud secrets new-key`"), "{ready:?}");
    secrets(&server, &["set", "API_KEY"], "other-1").refused().says("`picloud secrets new-key`");
    let list = secrets(&server, &["list"], "").succeeded();
    assert_eq!(list.text.matches(" lost\n").count(), 2, "{}", list.text);
    secrets(&server, &["unset", "API_KEY"], "").refused().says("the live revision of main requires it");
    assert!(!key.exists());

    secrets(&server, &["new-key"], "")
        .succeeded()
        .says(&format!("encrypts with a new key at the top of {}", key.display()));
    assert_eq!(fs::read_to_string(&key).expect("a key").lines().count(), 1);
    assert_eq!(secrets(&server, &["list"], "").text.matches(" lost\n").count(), 2);
    secrets(&server, &["set", "API_KEY"], "clementine-1").succeeded();
    assert_eq!(secrets(&server, &["list"], "").text.matches(" lost\n").count(), 1);
    assert_eq!(server.get("/hello/").status, 503, "another secret of the app is still unreadable");
    secrets(&server, &["set", "OTHER"], "clementine-2").succeeded();
    let since = Instant::now();
    until("the app responds", || (server.get("/hello/").body == "\"Hello 12 true\"").then_some(()));
    recovered("a lost secret key, since the last secret was set again", since);
    assert!(!secrets(&server, &["list"], "").text.contains("lost"));
    until("the node is ready", || (server.get("/-/health/ready").status == 200).then_some(()));
    // Secrets that earlier keys have encrypted stay readable.
    secrets(&server, &["new-key"], "").succeeded();
    assert_eq!(fs::read_to_string(&key).expect("keys").lines().count(), 2);
    assert!(!secrets(&server, &["list"], "").text.contains("lost"));
    secrets(&server, &["rotate"], "").succeeded().says("re-encrypted 2 secrets with the first key");
}

#[test]
fn key_file_of_operator_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys");
    fs::write(&file, "ab".repeat(32)).expect("a key");
    let flags = ["--secret-key-file", file.to_str().expect("a path")];
    let server = Server::start_with(Database::sqlite(), &flags);
    secrets(&server, &["set", "API_KEY"], "tangerine-1").succeeded();
    app().push(&server.git_url("hello"), &["main"]).succeeded();
    fs::remove_file(&file).expect("remove the key");
    let refused =
        secrets(&server, &["set", "API_KEY"], "other-1").refused().says("or write a new one (`openssl rand");
    assert!(!refused.text.contains("new-key"), "{}", refused.text);
    secrets(&server, &["new-key"], "")
        .refused()
        .says(&format!("cannot write {}", file.display()))
        .says("prepend the output of `openssl rand -hex 32` to it");
    assert!(!file.exists());
    fs::write(&file, "cd".repeat(32)).expect("another key");
    secrets(&server, &["set", "API_KEY"], "clementine-1").succeeded();
    until("the app responds", || (server.get("/hello/").body == "\"Hello 12 true\"").then_some(()));
}

fn concurrent_first_secrets_create_one_key(database: Database) {
    let server = Server::start(database);
    let name = |number: u32| format!("KEY_{number}");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let server = &server;
            scope.spawn(move || secrets(server, &["set", &name(number)], "tangerine").succeeded());
        }
    });
    let list = secrets(&server, &["list"], "").succeeded();
    assert!(!list.text.contains("lost") && list.text.contains("KEY_7"), "{}", list.text);
    assert_eq!(fs::read_to_string(server.data_dir().join("secret-key")).expect("a key").lines().count(), 1);
}
