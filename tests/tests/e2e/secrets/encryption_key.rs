//! The encryption key of secrets: created, lost, wrong, rotated.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tests::{Database, Server};

use super::{app, secrets};

#[test]
fn key_file_is_readable_by_owner_only_and_a_lost_one_is_reported() {
    let mut server = Server::start(Database::sqlite());
    let key = server.data_dir().join("secret-key");
    assert!(!key.exists());
    secrets(&server, &["set", "API_KEY"], "tangerine-1").succeeded();
    assert_eq!(fs::metadata(&key).expect("a key").permissions().mode() & 0o777, 0o600);
    let repository = app();
    let url = server.git_url("hello");
    repository.push(&url, &["main"]).succeeded();

    let kept = fs::read_to_string(&key).expect("a key");
    server.stop();
    fs::remove_file(&key).expect("remove the key");
    server.restart();
    assert!(server.log().contains("there is no secret key in"), "{}", server.log());
    assert_eq!(server.get("/hello/").status, 503);
    secrets(&server, &["set", "API_KEY"], "other")
        .refused()
        .says("there is no secret key in")
        .says("restore the key");
    assert!(!key.exists(), "a lost key is not replaced automatically");
    repository.push(&server.git_url("hello"), &["main:next"]).refused().says("there is no secret key in");
    fs::write(&key, "cd".repeat(32)).expect("another key");
    repository
        .push(&server.git_url("hello"), &["main:next"])
        .refused()
        .says("is not in this node's key file");
    secrets(&server, &["rotate"], "").refused().says("is not in this node's key file");
    secrets(&server, &["list"], "").succeeded().says("API_KEY");
    assert!(!key.with_extension("partial").exists());

    fs::write(&key, kept).expect("the key");
    server.stop();
    server.restart();
    assert_eq!(server.get("/hello/").body, "\"Hello 11 true\"");
}

#[test]
fn key_is_rotated_without_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys");
    let (old, new) = ("ab".repeat(32), "cd".repeat(32));
    fs::write(&file, &old).expect("a key");
    let mut server =
        Server::start_with(Database::sqlite(), &["--secret-key-file", file.to_str().expect("a path")]);
    secrets(&server, &["set", "API_KEY"], "tangerine-1").succeeded();
    app().push(&server.git_url("hello"), &["main"]).succeeded();
    fs::write(&file, format!("{new}\n{old}\n")).expect("both keys");
    secrets(&server, &["rotate"], "").succeeded().says("re-encrypted 1 secret with the first key");
    secrets(&server, &["rotate"], "").succeeded().says("re-encrypted 0 secrets with the first key");
    fs::write(&file, &new).expect("the new key");
    server.stop();
    server.restart();
    assert_eq!(server.get("/hello/").body, "\"Hello 11 true\"");
    fs::write(&file, "not a key").expect("a file");
    secrets(&server, &["set", "API_KEY"], "x-tangerine")
        .refused()
        .says("line 1 of")
        .says("openssl rand -hex 32");
}

#[test]
fn key_is_read_from_systemd_credential() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("secret-key"), "ab".repeat(32)).expect("a key");
    let flags = ["--credentials-directory", folder.path().to_str().expect("a path")];
    let server = Server::start_with(Database::sqlite(), &flags);
    secrets(&server, &["set", "API_KEY"], "tangerine-1").succeeded();
    assert!(!server.data_dir().join("secret-key").exists());
    app().push(&server.git_url("hello"), &["main"]).succeeded();
    assert_eq!(server.get("/hello/").body, "\"Hello 11 true\"");
}
