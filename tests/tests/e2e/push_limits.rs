//! Configurable limits of pushes: clear messages beyond them, and slow clients block nobody.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::{Database, Repository, Server, TOKEN, Wire};

/// Pushes the starter app with one more file, which must be rejected with this text, and then without it.
fn assert_limit(flags: &[&str], path: &str, content: &[u8], expected: &str) {
    let server = Server::start_with(Database::sqlite(), flags);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let small = repository.head();
    repository.write(path, content);
    repository.commit("more");
    repository.push(&url, &["main"]).refused().says(expected).says("[remote rejected]");
    assert_eq!(server.get("/hello/greet/Ann").status, 404, "nothing changed");
    repository.push(&url, &[&format!("{small}:refs/heads/main")]).succeeded();
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
}

/// Incompressible bytes.
fn incompressible(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(byte).collect()
}

#[test]
fn push_size_is_limited() {
    let expected =
        "the push is larger than 1 MiB; the operator can raise the limit with  picloud serve --max-push-size";
    assert_limit(&["--max-push-size", "1MiB"], "noise", &incompressible(1_500_000), expected);
    assert_limit(&["--max-push-size", "1MiB"], "noise", &incompressible(20_000_000), expected);
}

#[test]
fn objects_per_push_are_limited() {
    assert_limit(
        &["--max-push-objects", "4"],
        "more.md",
        b"more",
        "objects, more than 4; the operator can raise the limit with  picloud serve --max-push-objects",
    );
}

#[test]
fn object_size_is_limited() {
    assert_limit(
        &["--max-object-size", "10KiB"],
        "long.md",
        &[b'x'; 20_000],
        "error: REJECTED main: long.md takes 20000 bytes, more than 10240; the operator can raise the limit with  picloud serve --max-object-size",
    );
    let expected = "docs/pictures/large.bin takes 300000 bytes, more than 10240";
    assert_limit(
        &["--max-object-size", "10KiB"],
        "docs/pictures/large.bin",
        &incompressible(300_000),
        expected,
    );
}

#[test]
fn deltified_object_above_the_limit_is_named() {
    let server = Server::start_with(Database::sqlite(), &["--max-object-size", "10KiB"]);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.write("docs/notes.bin", incompressible(9000));
    repository.commit("small");
    repository.push(&url, &["main"]).succeeded();
    // As a delta against an existing object.
    repository.write("docs/notes.bin", incompressible(11_000));
    repository.commit("larger");
    repository.push(&url, &["main"]).refused().says("docs/notes.bin takes 11000 bytes, more than 10240");
}

#[test]
fn unpacked_size_is_limited() {
    let flags = ["--max-unpacked-size", "1MiB"];
    let expected = "the objects take more than 1 MiB together; the operator can raise the limit with  picloud serve --max-unpacked-size";
    assert_limit(&flags, "long.md", &[b'x'; 1_500_000], expected);
}

#[test]
fn tree_entries_are_limited() {
    assert_limit(
        &["--max-tree-entries", "2"],
        "more.md",
        b"more",
        "the tree has more than 2 files (1 problem",
    );
}

#[test]
fn path_length_is_limited() {
    let path = format!("{}/long.md", "folder".repeat(5));
    let expected = format!("the tree has a path of more than 30 bytes: {path}...");
    assert_limit(&["--max-path-length", "30B"], &path, b"more", &expected);
    assert_limit(
        &["--max-path-length", "30B"],
        &path,
        b"more",
        "hint: the operator can raise the limit with  picloud serve --max-path-length",
    );
}

#[test]
fn refs_per_app_are_limited() {
    let server = Server::start_with(Database::sqlite(), &["--max-refs", "3"]);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main", "main:a", "main:b"]).succeeded();
    let expected = "the app would have 4 branches and tags, more than the limit of 3; delete some first, or have the operator raise picloud \
                 serve --max-refs";
    repository.push(&url, &["main:c"]).refused().says(expected);
    // Existing refs can be updated, and deleted ones free space for new ones.
    repository.commit("next");
    repository.push(&url, &["main", "main:a"]).succeeded();
    repository.push(&url, &[":b", "main:c"]).succeeded();
}

/// So many tags of the commit.
fn create_tags(repository: &Repository, tags: usize) {
    let head = repository.head();
    let lines: String = (0..tags).map(|number| format!("{head} refs/tags/v{number:04}\n")).collect();
    repository.write(".git/packed-refs", lines);
}

#[test]
fn refs_per_push_are_limited() {
    let server = Server::start(Database::sqlite());
    let repository = Repository::hello();
    create_tags(&repository, 1001);
    let url = server.git_url("hello");
    let refused = repository.push(&url, &["--tags"]).refused();
    let expected = "the push names 1001 refs, more than 1000; the operator can raise the limit with  picloud serve --max-refs";
    assert_eq!(refused.text.matches(&format!("({expected})")).count(), 1001, "{}", refused.text);
    assert!(!refused.text.contains("HTTP"), "{}", refused.text);
    let server = Server::start_with(Database::sqlite(), &["--max-refs", "2000"]);
    repository.push(&server.git_url("hello"), &["--tags"]).succeeded().says("STORED v1000");
}

#[test]
fn push_options_are_limited() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let options = |number: usize| ["-o", "option"].repeat(number);
    let repository = Repository::hello();
    let refused = repository.push(&url, &[options(65), vec!["main"]].concat()).refused();
    refused.says("main -> main (unpack failed: the push has 65 options, more than 64)");
    assert_eq!(server.get("/hello/greet/Ann").status, 404, "nothing changed");
    // After options, the URL follows.
    repository.push(options(64)[0], &[&options(64)[1..], &[&url, "main"]].concat()).succeeded();
}

#[test]
fn invalid_limit_is_a_usage_error() {
    let status = |flags: &[&str]| {
        let mut command = std::process::Command::new(tests::server::picloud());
        command.arg("serve").args(flags).output().unwrap().status.code()
    };
    assert_eq!(status(&["--max-push-size", "lots"]), Some(2));
    assert_eq!(status(&["--push-timeout", "soon"]), Some(2));
    assert_eq!(status(&["--max-concurrent-pushes", "0"]), Some(2));
}

/// A pkt-line.
fn pkt_line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

#[test]
fn push_timeout_is_reported_by_git() {
    let server = Server::start_with(Database::sqlite(), &["--push-timeout", "2s"]);
    let command =
        format!("{} {} refs/heads/main\0 report-status side-band-64k", "0".repeat(40), "1".repeat(40));
    let started = pkt_line(&command) + "0000PACK";
    let head = format!(
        "POST /hello.git/git-receive-pack HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/x-git-receive-pack-request\r\ncontent-length: 5000000\r\n\r\n",
        server.address
    );
    let response = Wire::sent(&server, head + &started).response();
    assert_eq!(response.status, 200, "{response:?}");
    let expected = "push timeout; nothing was changed; a push must arrive within 2 s (picloud serve --push-timeout) and with at least 1.0 KiB a second";
    for expected in [format!("error: REJECTED main: {expected}"), format!("ng refs/heads/main {expected}")] {
        assert!(response.body.contains(&expected), "{response:?}");
    }
}

/// Starts a push on its own connection, and sends no more.
fn open_stalled_push(server: &Server) -> TcpStream {
    let mut connection = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST /hello.git/git-receive-pack HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/x-git-receive-pack-request\r\ncontent-length: 5000000\r\n\r\n",
        server.address
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&[b'x'; 200_000]).unwrap();
    connection
}

#[test]
fn stalled_clients_block_no_others_and_are_disconnected() {
    let server =
        Server::start_with(Database::sqlite(), &["--max-concurrent-pushes", "1", "--push-timeout", "3s"]);
    let started = Instant::now();
    let connections: Vec<TcpStream> = (0..20).map(|_| open_stalled_push(&server)).collect();
    Repository::hello().push(&server.git_url("hello"), &["main"]).succeeded();
    for mut connection in connections {
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    }
    assert!(started.elapsed() >= Duration::from_secs(3));
}

#[test]
fn pushes_above_max_concurrent_pushes_are_rejected() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    let connections: Vec<TcpStream> = (0..256).map(|_| open_stalled_push(&server)).collect();
    // They have all arrived once another one is rejected.
    let one_more = |number| repository.push(&url, &[&format!("HEAD:refs/tags/{number}")]);
    let refused = (0..100).map(one_more).find(|push| !push.accepted).expect("pushes are never rejected");
    refused.says("too many concurrent pushes of this token; nothing was changed; push again in a moment");
    drop(connections);
    assert!((100..200).map(one_more).any(|push| push.accepted), "disconnected clients still hold slots");
}
