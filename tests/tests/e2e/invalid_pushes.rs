//! Invalid and hostile pushes get a clear message and the right status, and change nothing.

use tests::{Database, Repository, Response, Server, TOKEN, on_both_databases};

on_both_databases!(corrupt_pack_changes_nothing, unreadable_manifest_is_rejected);

fn assert_unchanged(server: &Server) {
    assert_eq!(server.get("/hello/greet/Ann").status, 404);
    if server.database.is_external() {
        let rows = "SELECT (SELECT count(*) FROM apps) + (SELECT count(*) FROM objects) + (SELECT count(*) FROM refs)";
        assert_eq!(server.database.query(rows), "0");
    }
}

fn receive(server: &Server, body: &[u8]) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/x-git-receive-pack-request")];
    server.request("POST", "/hello.git/git-receive-pack", &headers, Some(body))
}

fn corrupt_pack_changes_nothing(database: Database) {
    let server = Server::start(database);
    let repository = Repository::hello();
    let command = format!("{:040} {} refs/heads/main\0report-status\n", 0, repository.head());
    let head = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
    for pack in [&b""[..], b"PACK", b"not a pack at all, but long enough to be one", &[0xff; 4096]] {
        let response = receive(&server, &[&head, pack].concat());
        assert_eq!(response.status, 200, "git reads the reason from the response");
        assert!(
            response.body.contains("unpack ") && !response.body.contains("unpack ok"),
            "{}",
            response.body
        );
        assert!(response.body.contains("ng refs/heads/main"), "{}", response.body);
        assert_unchanged(&server);
    }
    for garbage in [&b"hello"[..], b"zzzz", b"0005"] {
        assert_eq!(receive(&server, garbage).status, 400);
    }
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
}

fn unreadable_manifest_is_rejected(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::new();
    let push = |files: &[(&str, &[u8])], expected: &str| {
        for (path, content) in files {
            repository.write(path, content);
        }
        repository.commit("bad");
        repository.push(&url, &["main"]).refused().says(expected).says("nothing changed");
        assert_unchanged(&server);
    };
    push(&[("a.md", b"")], "no picloud.toml");
    push(&[("picloud.toml", b"sdk = ")], "picloud.toml:1:");
    push(&[("picloud.toml", b"sdk = \"1.1\"\n\xff\xfe")], "picloud.toml:2:1");
    push(&[("picloud.toml", b"sdk = \"9.9\"")], "picloud.toml:1:7");
    push(&[("picloud.toml", &[b'#'; 1024 * 1024])], "the manifest is larger than 256 KiB");
    let good = tests::repository::HELLO_MANIFEST.as_bytes();
    push(&[("picloud.toml", good)], "script `greet.rhai` is not in the repository");
    push(&[("greet.rhai", b"\"a\n\xff\"")], "greet.rhai:2:1  the script is not UTF-8");
}

#[test]
fn invalid_token_and_app_name_are_reported_in_one_line() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    let url = |user: &str, app: &str| format!("http://{user}@{}/{app}.git", server.address);
    repository.push(&url("ada:wrong", "hello"), &["main"]).refused().says("Authentication failed");
    repository
        .push(&url(&format!("ada:{TOKEN}"), "Hello"), &["main"])
        .refused()
        .says("app name `Hello` must be");
    let clone = repository.try_git(&["ls-remote", &url(&format!("ada:{TOKEN}"), "none")]).refused();
    clone.says("app none not found");
    let status = |app: &str, token: &str| {
        let path = format!("/{app}.git/info/refs?service=git-upload-pack");
        server.request("GET", &path, &[("authorization", &format!("Bearer {token}"))], None).status
    };
    assert_eq!((status("hello", "wrong"), status("Hello", TOKEN), status("none", TOKEN)), (401, 400, 404));
    let missing = server.get("/hello.git/info/refs?service=git-upload-pack");
    assert_eq!(missing.status, 401);
    assert!(missing.header("www-authenticate").is_some_and(|value| value.starts_with("Basic")));
}

#[test]
fn url_of_no_repository_is_reported() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::new();
    let empty = repository.push(&server.git_url("hello"), &["main"]).refused();
    empty.says("src refspec main does not match any");
    let bearer = format!("Bearer {TOKEN}");
    let response = server.request("GET", "/hello.git/config", &[("authorization", &bearer)], None);
    assert_eq!(response.status, 404);
}

#[test]
fn file_of_ten_megabytes_is_rejected_in_one_line() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    repository.write("picloud.toml", vec![b'#'; 10 * 1024 * 1024]);
    repository.commit("huge");
    let refused = repository.push(&server.git_url("hello"), &["main"]).refused();
    refused
        .says("picloud.toml takes 10485760 bytes, more than 8388608; the operator can raise the limit with  picloud serve --max-object-size")
        .says("[remote rejected]");
    assert_unchanged(&server);
}

#[test]
fn script_of_five_megabytes_is_rejected_in_one_line() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    repository.write("greet.rhai", "1;\n".repeat(5 * 1024 * 1024 / 3));
    repository.commit("huge");
    let refused = repository.push(&server.git_url("hello"), &["main"]).refused();
    refused.says("error: greet.rhai  the script is larger than 256 KiB").says("1 problem in 1 file");
    assert_unchanged(&server);
}

/// An app of `number` scripts with equal content.
fn many_scripts(number: usize, source: &str) -> Repository {
    let repository = Repository::new();
    let mut manifest = "sdk = \"1.1\"\n".to_owned();
    for index in 0..number {
        let path = format!("scripts/{}/{index}.rhai", index / 500);
        // A manifest names at most two thousand.
        if index < 2000 {
            manifest += &format!("[[functions]]\nname = \"f{index}\"\nscript = \"{path}\"\n");
        }
        repository.write(&path, source);
    }
    repository.write("picloud.toml", manifest);
    repository.commit("many");
    repository
}

#[test]
fn ten_thousand_scripts_go_live() {
    let server = Server::start(Database::sqlite());
    let repository = many_scripts(10_000, "1 + 1\n");
    let pushed = repository.push(&server.git_url("hello"), &["main"]).succeeded();
    pushed
        .clone()
        .says("10001 files, 10000 scripts")
        .says("LIVE as deploy 1")
        .says("warnings more not shown");
    assert!(pushed.text.lines().count() < 400, "{}", pushed.text.lines().count());
}

#[test]
fn ten_thousand_errors_are_truncated_with_a_summary() {
    let server = Server::start(Database::sqlite());
    let repository = many_scripts(2000, "nope();\n".repeat(10).as_str());
    let pushed = repository.push(&server.git_url("hello"), &["main"]).refused();
    let pushed = pushed
        .says("unknown function `nope`")
        .says("error: 19950 problems more not shown: 10 in ")
        .says("others in 1990 files")
        .says("20000 problems in 2000 files; nothing changed")
        .says(" unknown function `nope` (20000 problems; nothing changed))");
    assert!(pushed.text.lines().count() < 300, "{}", pushed.text.lines().count());
    assert_unchanged(&server);
}

#[test]
fn symlinked_script_is_never_followed() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    std::fs::remove_file(repository.path().join("greet.rhai")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("greet.rhai")).unwrap();
    repository.commit("link");
    repository
        .push(&server.git_url("hello"), &["main"])
        .refused()
        .says("greet.rhai  the file is a symbolic link");
}

#[test]
fn malicious_gitmodules_is_rejected_even_if_its_blob_exists() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let bad = b"[submodule \"x\"]\n\tpath = x\n\turl = -u./payload\n";
    repository.write("notes.txt", bad);
    repository.commit("a text like any other");
    repository.push(&url, &["main"]).succeeded();
    let before = repository.head();
    repository.write(".gitmodules", bad);
    repository.commit("the same text where git reads it");
    repository.push(&url, &["main"]).refused().says("gitmodulesUrl");
    assert!(repository.git(&["ls-remote", &url, "refs/heads/main"]).contains(&before), "the ref has changed");
}
