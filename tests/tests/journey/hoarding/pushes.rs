//! Pushes that take much memory while they arrive, are unpacked and checked.

use tests::{Repository, TOKEN, Wire, until};

use super::{MIB, assert_within_memory, held, incompressible, node};

/// A request to receive-pack of `app` that does not come to its end.
fn unfinished(app: &str) -> String {
    format!(
        "POST /{app}.git/git-receive-pack HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123"
    )
}

#[test]
fn push_whose_objects_have_no_room_is_rejected_by_name() {
    let server = node(&["--app-memory-share", "8MiB"]);
    let before = server.peak_memory();
    let repository = Repository::hello();
    repository.write("zeros.bin", vec![0; 7 * MIB as usize]);
    repository.commit("zeros");
    let rejected = |_| {
        repository
            .push(&server.git_url("app"), &["main:zeros"])
            .refused()
            .says("of the node's memory and can hold 6.0 MiB for this: ")
            .says("nothing was changed");
    };
    (0..2).for_each(rejected);
    assert_eq!(held(&server, "pushes"), 0);
    // What is small still has room, in this app and in others.
    Repository::hello().push(&server.git_url("app"), &["main:hello"]).succeeded();
    Repository::hello().push(&server.git_url("other"), &["main:hello"]).succeeded();
    assert_within_memory(&server, before);
}

#[test]
fn large_pushes_at_once_wait_for_memory_and_others_are_served() {
    let server = node(&["--push-bytes", "64MiB"]);
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
    until("all is given back", || (held(&server, "pushes") == 0).then_some(()));
}

#[test]
fn pushes_that_do_not_come_to_their_end_keep_no_other_app_out() {
    let server = node(&[]);
    let before = server.peak_memory();
    let mut all: Vec<Wire> = (0..300).map(|_| Wire::sent(&server, unfinished("app"))).collect();
    let refused = until("those that are too many are refused", || {
        all.iter_mut().rev().find_map(|wire| (!wire.is_silent()).then(|| wire.answer()))
    });
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let reasons = ["the app holds all the memory that it can have", "too many pushes are arriving"];
    assert!(reasons.iter().any(|reason| refused.body.contains(reason)), "{}", refused.body);
    assert!(held(&server, "pushes") <= 24 * MIB);
    Repository::hello().push(&server.git_url("other"), &["main:hello"]).succeeded();
    Repository::hello().push(&server.git_url("new"), &["main"]).succeeded();
    assert_within_memory(&server, before);
    drop(all);
    until("all is given back", || (held(&server, "pushes") == 0).then_some(()));
    Repository::hello().push(&server.git_url("app"), &["main:hello"]).succeeded();
}
