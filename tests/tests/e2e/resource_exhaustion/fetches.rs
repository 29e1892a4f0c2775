//! Fetch requests that expand, and packs that clients do not read.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tests::{Repository, Server, TOKEN, Wire, until};

use super::{MEMORY, MIB, assert_within_memory, bearer, bytes_held, incompressible, large_node, node};
use crate::access::{token, url};

/// A request to upload-pack of `app`, as sent.
fn request(app: &str, headers: &str, length: usize) -> String {
    request_by(TOKEN, app, headers, length)
}

/// The same with another token.
fn request_by(token: &str, app: &str, headers: &str, length: usize) -> String {
    format!(
        "POST /{app}.git/git-upload-pack HTTP/1.1\r\nHost: test\r\nAuthorization: {}\r\n\
         Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {length}\r\n{headers}\r\n",
        bearer(token)
    )
}

/// A request for a whole commit in protocol version 0.
fn wants(commit: &str) -> String {
    format!("0032want {commit}\n00000009done\n")
}

#[test]
fn gzip_bomb_requests_are_rejected() {
    let server = node(&[]);
    let before = server.peak_memory();
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    (0..16).for_each(|_| bomb.write_all(&vec![b'0'; MIB as usize]).unwrap());
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 20_000, "{}", bomb.len());
    let send = |_| {
        let mut wire = Wire::sent(&server, request("app", "Content-Encoding: gzip\r\n", bomb.len()));
        wire.send(&bomb);
        wire
    };
    let mut all: Vec<Wire> = (0..100).map(send).collect();
    for wire in &mut all {
        let response = wire.response();
        assert_eq!(response.status, 400);
        assert!(response.body.contains("more than 50 times its size"), "{}", response.body);
    }
    assert_within_memory(&server, before);
    assert_eq!(bytes_held(&server, "fetches"), 0);
}

#[test]
fn incomplete_fetch_requests_hold_memory_of_their_app() {
    let server = node(&[]);
    let before = server.peak_memory();
    let short = "0032have 0123456789012345678901234567890123456789\n".repeat(4 * MIB as usize / 50);
    let send = |_| {
        let mut wire = Wire::sent(&server, request("app", "", short.len() + 4));
        wire.send(&short);
        wire
    };
    let mut all: Vec<Wire> = (0..20).map(send).collect();
    let refused = until("requests without memory are rejected", || {
        let refused = all.iter_mut().filter_map(|wire| (!wire.is_silent()).then(|| wire.response())).next();
        refused.filter(|_| bytes_held(&server, "fetches") > MEMORY / 8)
    });
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(refused.body.contains("the app is at its memory limit"), "{}", refused.body);
    assert!(bytes_held(&server, "fetches") <= MEMORY / 2);
    assert_within_memory(&server, before);
    // Meanwhile fetches of other apps succeed.
    Repository::clone_of(&server.git_url("other"));
}

#[test]
fn unread_packs_hold_memory_of_their_app_and_no_slot() {
    let server = node(&["--write-timeout", "2s", "--max-push-size", "64MiB"]);
    let repository = incompressible(20, 1);
    let app = server.git_url("noise");
    repository.push(&app, &["main"]).succeeded();
    Repository::clone_of(&app);
    let before = server.peak_memory();
    let wants = wants(&repository.head());
    let send = |_| {
        let mut wire = Wire::with_small_buffer(&server);
        wire.send(request("noise", "", wants.len()) + &wants);
        wire
    };
    let slow: Vec<Wire> = (0..20).map(send).collect();
    until("they hold as much as allowed", || (bytes_held(&server, "fetches") > MEMORY / 4).then_some(()));
    // As many as memory allows; those that wait for memory block no others.
    Repository::clone_of(&server.git_url("other"));
    assert!(bytes_held(&server, "fetches") <= MEMORY / 2);
    // A client that reads its pack gets it once the others are disconnected.
    let clone = Repository::clone_of(&app);
    assert_eq!(clone.head(), repository.head());
    assert_within_memory(&server, before);
    drop(slow);
    until("all memory is freed", || (bytes_held(&server, "fetches") == 0).then_some(()));
}

#[test]
fn slowly_read_pack_is_complete() {
    let server = node(&["--max-push-size", "64MiB"]);
    let repository = incompressible(6, 1);
    repository.push(&server.git_url("noise"), &["main"]).succeeded();
    let wants = wants(&repository.head());
    // In HTTP/1.0 the end of the connection is the end of the response.
    let request = request("noise", "", wants.len()).replace("HTTP/1.1", "HTTP/1.0") + &wants;
    let mut quick = Wire::sent(&server, &request);
    assert_eq!(quick.head().status, 200);
    let whole = quick.rest();
    let mut slow = Wire::with_small_buffer(&server);
    slow.send(&request);
    assert_eq!(slow.head().status, 200);
    let mut taken = 0;
    loop {
        match slow.read_up_to(300_000) {
            0 => break,
            read => taken += read,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(taken, whole.len());
}

/// The slowest response of another app during `attack`.
fn slowest_meanwhile<T: Send>(server: &Server, attack: impl FnOnce() -> T + Send) -> (T, Duration) {
    std::thread::scope(|scope| {
        let attack = scope.spawn(attack);
        let mut slowest = Duration::ZERO;
        while !attack.is_finished() {
            let start = Instant::now();
            assert_eq!(server.get("/other/hello").body, "\"hello\"");
            slowest = slowest.max(start.elapsed());
        }
        (attack.join().unwrap(), slowest)
    })
}

#[test]
fn ls_refs_with_millions_of_arguments_stalls_no_app() {
    const ARGUMENTS: usize = 3_300_000;
    let server = large_node(&[]);
    let (_, quiet) = slowest_meanwhile(&server, || std::thread::sleep(Duration::from_secs(1)));
    let before = server.peak_memory();
    let mut lines = b"0014command=ls-refs\n0001".to_vec();
    lines.extend(b"0004".repeat(ARGUMENTS));
    lines.extend(b"0000");
    let mut zipped = GzEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(&lines).unwrap();
    let zipped = zipped.finish().unwrap();
    assert!(zipped.len() < 24 * 1024, "{}", zipped.len());
    // The most work that a token can cause with requests that inflate no further than allowed.
    let padded = [zipped.as_slice(), &vec![0; lines.len() / 40]].concat();
    for (sent, encoding, expected) in [
        (&zipped, "Content-Encoding: gzip\r\n", "more than 50 times its size"),
        (&padded, "Content-Encoding: gzip\r\n", "the request"),
        (&lines, "", "the request is too large"),
    ] {
        let send = || {
            let mut wire = Wire::sent(
                &server,
                request("app", &format!("Git-Protocol: version=2\r\n{encoding}"), sent.len()),
            );
            wire.send(sent);
            let response = wire.response();
            assert!(response.body.contains(expected), "{response:?}");
        };
        let ten = || std::thread::scope(|scope| drop((0..10).map(|_| scope.spawn(send)).collect::<Vec<_>>()));
        let ((), slowest) = slowest_meanwhile(&server, ten);
        println!("{} bytes: another app's slowest answer took {slowest:?}, quiet {quiet:?}", sent.len());
        assert!(slowest < Duration::from_secs(1), "{slowest:?}, and {quiet:?} without the attack");
    }
    assert!(server.peak_memory() - before < 256 * MIB);
    assert_eq!(bytes_held(&server, "fetches"), 0);
}

#[test]
fn fetches_of_one_token_yield_to_other_tokens() {
    const SLOTS: usize = 128;
    let server = node(&[]);
    let (hog, other) = (token(&server, "hog", &["app:read"]), token(&server, "other", &["app:read"]));
    let evicted = until("the oldest are evicted before their timeout", || {
        let mut all: Vec<Wire> =
            (0..SLOTS + 10).map(|_| Wire::sent(&server, request_by(&hog, "app", "", 1000))).collect();
        // Requests without a slot wait, and none is evicted among equals.
        let wait = all.iter_mut().step_by(20).all(Wire::is_silent);
        Repository::clone_of(&url(&server, &other, "app"));
        let oldest = until("one of the oldest gets a response", || {
            all.iter_mut().take(2).find_map(|wire| (!wire.is_silent()).then(|| wire.response()))
        });
        // On a busy machine they can time out first.
        (wait && oldest.status != 408).then_some(oldest)
    });
    assert_eq!((evicted.status, evicted.header("retry-after")), (503, Some("1")));
    assert!(evicted.body.contains("evicted for others"), "{}", evicted.body);
}
