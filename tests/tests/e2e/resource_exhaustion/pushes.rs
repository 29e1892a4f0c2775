//! Pushes that take much memory while they arrive, are unpacked and checked.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::{Pid, Signal};
use tests::repository::command;
use tests::{Repository, Response, Server, TOKEN, Wire, until};

use super::{MIB, assert_within_memory, bearer, bytes_held, incompressible, large_node, node};
use crate::access::{token, url};

/// An incomplete request to receive-pack of `app`.
fn incomplete_request(app: &str) -> String {
    incomplete_request_by(TOKEN, app)
}

/// The same with another token.
fn incomplete_request_by(token: &str, app: &str) -> String {
    request(token, app, "Transfer-Encoding: chunked\r\n") + "10\r\n0123"
}

fn request(token: &str, app: &str, headers: &str) -> String {
    format!(
        "POST /{app}.git/git-receive-pack HTTP/1.1\r\nHost: test\r\nAuthorization: {}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\n{headers}\r\n",
        bearer(token)
    )
}

/// The numbers of waiting and running pushes.
fn pushes(server: &Server) -> (usize, usize) {
    let of =
        |state: &str| server.metric(&format!("picloud_pushes_in_progress{{state=\"{state}\"}}")) as usize;
    (of("waiting"), of("running"))
}

#[test]
fn push_whose_objects_exceed_memory_is_rejected() {
    let server = node(&["--app-memory-share", "8MiB"]);
    let before = server.peak_memory();
    let repository = Repository::hello();
    repository.write("zeros.bin", vec![0; 7 * MIB as usize]);
    repository.commit("zeros");
    let rejected = |_| {
        repository
            .push(&server.git_url("app"), &["main:zeros"])
            .refused()
            .says("of its share of 6.0 MiB, and ")
            .says("nothing was changed");
    };
    (0..2).for_each(rejected);
    assert_eq!(bytes_held(&server, "pushes"), 0);
    // Small pushes still fit, in this app and in others.
    Repository::hello().push(&server.git_url("app"), &["main:hello"]).succeeded();
    Repository::hello().push(&server.git_url("other"), &["main:hello"]).succeeded();
    assert_within_memory(&server, before);
}

#[test]
fn concurrent_large_pushes_wait_for_memory_and_other_apps_are_served() {
    let server = node(&["--max-push-size", "64MiB"]);
    let before = server.peak_memory();
    let repositories: Vec<Repository> = (1..=6).map(|seed| incompressible(8, seed)).collect();
    std::thread::scope(|scope| {
        for (number, repository) in repositories.iter().enumerate() {
            let url = server.git_url("app");
            scope.spawn(move || repository.push(&url, &[&format!("main:large-{number}")]).succeeded());
        }
        Repository::hello().push(&server.git_url("other"), &["main:hello"]).succeeded();
        assert_eq!(server.get("/other/hello").body, "\"hello\"");
    });
    assert_within_memory(&server, before);
    until("all memory is freed", || (bytes_held(&server, "pushes") == 0).then_some(()));
}

#[test]
fn incomplete_pushes_block_no_other_app() {
    let server = node(&[]);
    let before = server.peak_memory();
    let mut all: Vec<Wire> = (0..300).map(|_| Wire::sent(&server, incomplete_request("app"))).collect();
    let refused = until("pushes above the limit are rejected", || {
        all.iter_mut().rev().find_map(|wire| (!wire.is_silent()).then(|| wire.response()))
    });
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let reasons = ["the app is at its memory limit", "too many concurrent pushes of this token"];
    assert!(reasons.iter().any(|reason| refused.body.contains(reason)), "{}", refused.body);
    assert!(bytes_held(&server, "pushes") <= 24 * MIB);
    Repository::hello().push(&server.git_url("other"), &["main:hello"]).succeeded();
    Repository::hello().push(&server.git_url("new"), &["main"]).succeeded();
    assert_within_memory(&server, before);
    drop(all);
    until("all memory is freed", || (bytes_held(&server, "pushes") == 0).then_some(()));
    Repository::hello().push(&server.git_url("app"), &["main:hello"]).succeeded();
}

#[test]
fn incomplete_pushes_of_one_token_yield_to_other_tokens() {
    let server = large_node(&[]);
    let hog = token(&server, "hog", &["app:preview", "other:preview"]);
    let other = token(&server, "other", &["app:preview"]);
    let send = |number: usize| Wire::sent(&server, incomplete_request_by(&hog, ["app", "other"][number % 2]));
    let mut all: Vec<Wire> = (0..256).map(send).collect();
    until("they use all slots", || (pushes(&server).0 == 256).then_some(()));
    // With the same token none is evicted, since no other has more.
    let refused = send(0).response();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(refused.body.contains("too many concurrent pushes of this token"), "{}", refused.body);
    let repository = Repository::hello();
    repository.push(&url(&server, &other, "app"), &["main:mine"]).succeeded();
    // From the same address, and for the same app.
    repository.push(&server.git_url("app"), &["main:admins"]).succeeded();
    // Nor do they last: a client that sends nothing is disconnected.
    until("all pushes have ended", || (pushes(&server) == (0, 0)).then_some(()));
    let responses: Vec<Response> = all.iter_mut().map(Wire::response).collect();
    let evicted: Vec<&Response> = responses.iter().filter(|response| response.status == 503).collect();
    assert!(!evicted.is_empty());
    assert!(evicted[0].body.contains("evicted for others"), "{:?}", evicted[0]);
    assert!(responses.iter().all(|response| [503, 408].contains(&response.status)));
}

/// The bytes of unlinked files that the node holds open.
fn unlinked_bytes(server: &Server) -> u64 {
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("a process of this user");
    let nameless = open.filter_map(Result::ok).map(|file| file.path()).filter(|path| {
        std::fs::read_link(path).is_ok_and(|file| file.to_string_lossy().ends_with(" (deleted)"))
    });
    nameless.filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum()
}

#[test]
fn incoming_pushes_use_a_limited_part_of_the_disk() {
    let server = large_node(&["--max-push-size", "1MiB"]);
    let hog = token(&server, "hog", &["app:preview", "other:preview"]);
    let small = token(&server, "small", &["app:preview"]);
    // Of one app 24 MiB fit at once, and 48 in all: sixteen of the largest requests.
    let piece = vec![b'x'; 2 * MIB as usize];
    let send = |app: &str| {
        let mut wire = Wire::sent(&server, request(&hog, app, "Content-Length: 3000000\r\n"));
        wire.send(&piece);
        wire
    };
    let _all: Vec<Wire> = (0..20).map(|_| send("app")).chain((0..20).map(|_| send("other"))).collect();
    let most = until("the allowed pushes have arrived", || {
        Some(unlinked_bytes(&server)).filter(|bytes| *bytes > 44 * MIB)
    });
    assert!(most <= 48 * MIB, "{most}");
    let repository = incompressible(0, 1);
    repository.write(
        "noise.bin",
        (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>(),
    );
    repository.commit("noise");
    repository.push(&url(&server, &small, "app"), &["main:mine"]).succeeded();
    assert!(unlinked_bytes(&server) <= 48 * MIB);
}

#[test]
fn zlib_bomb_push_is_rejected() {
    let server = large_node(&[]);
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    (0..32).for_each(|_| bomb.write_all(&vec![b'0'; MIB as usize]).unwrap());
    let bomb = bomb.finish().unwrap();
    let headers = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", bomb.len());
    let mut all: Vec<Wire> = (0..50).map(|_| Wire::sent(&server, request(TOKEN, "app", &headers))).collect();
    all.iter_mut().for_each(|wire| wire.send(&bomb));
    for wire in &mut all {
        let response = wire.response();
        assert_eq!(response.status, 400, "{response:?}");
        assert!(response.body.contains("more than 10 times its size"), "{response:?}");
    }
    assert_eq!(unlinked_bytes(&server), 0);
}

/// A repository whose scripts are slow to check and small when packed.
fn slow_to_check(scripts: usize, uses: usize) -> Repository {
    let repository = Repository::new();
    let mut manifest = "sdk = \"1.2\"\n".to_owned();
    for number in 0..scripts {
        manifest += &format!("[[functions]]\nname = \"f{number}\"\nscript = \"{number}.rhai\"\n");
        // Every use of the first variable is looked up among all of them.
        let variables: String = (0..3990).map(|n| format!("let v{n} = {number};\n")).collect();
        repository.write(&format!("{number}.rhai"), variables + &"v0;".repeat(uses));
    }
    repository.write("picloud.toml", manifest);
    repository.commit("slow");
    repository
}

/// A push that runs in the background.
struct BackgroundPush(Child);

impl BackgroundPush {
    fn start(repository: &Repository, url: &str, refspec: &str) -> Self {
        let mut push = command(repository.path(), &["push", url, refspec]);
        Self(push.stderr(Stdio::null()).process_group(0).spawn().unwrap())
    }
}

impl Drop for BackgroundPush {
    fn drop(&mut self) {
        // git starts child processes, one of which has the connection.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
fn slow_checks_block_no_push_of_others() {
    let server = large_node(&[]);
    let hog = token(&server, "hog", &["app:preview", "other:preview"]);
    let other = token(&server, "other", &["app:preview"]);
    let slow = slow_to_check(60, 30_000);
    let check = |number: usize| {
        let url = url(&server, &hog, ["app", "other"][number % 2]);
        BackgroundPush::start(&slow, &url, "HEAD:refs/picloud/check")
    };
    let checks: Vec<BackgroundPush> = (0..8).map(check).collect();
    until("a token has all slots but one", || (pushes(&server) == (5, 3)).then_some(()));
    let start = Instant::now();
    Repository::hello().push(&url(&server, &other, "app"), &["main:mine"]).succeeded();
    let took = start.elapsed();
    assert_eq!(pushes(&server), (5, 3), "they are not evicted");
    println!("a push of another token took {took:?} during slow checks");
    assert!(took < Duration::from_secs(10), "{took:?}");
    drop(checks);
}

#[test]
fn commit_is_checked_once_for_many_ref_updates() {
    let server = large_node(&[]);
    let slow = slow_to_check(3, 2000);
    let branches: Vec<String> = (0..8).map(|n| format!("main:branch-{n}")).collect();
    let pushed = slow.push(&server.git_url("new"), &branches.iter().map(String::as_str).collect::<Vec<_>>());
    let pushed = pushed.succeeded().says("branch-7");
    assert_eq!(pushed.text.matches("3 scripts, sdk").count(), 1, "{}", pushed.text);
}

#[test]
fn push_is_cancelled_when_client_disconnects() {
    let server = large_node(&[]);
    let slow = slow_to_check(60, 30_000);
    let push = BackgroundPush::start(&slow, &server.git_url("app"), "HEAD:refs/heads/slow");
    until("the push is running", || (pushes(&server).1 == 1).then_some(()));
    drop(push);
    let start = Instant::now();
    until("the push is no longer running", || (pushes(&server) == (0, 0)).then_some(()));
    println!("a push ended {:?} after its client", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(10));
    let live =
        server.request("GET", "/-/api/v1/apps/app/deploys", &[("authorization", &bearer(TOKEN))], None);
    assert!(!live.body.contains("slow"), "{}", live.body);
}
