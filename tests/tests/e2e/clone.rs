//! `git clone` and `git fetch` of the live code.

use tests::{Database, Repository, Server, on_both_databases};

on_both_databases!(
    clone_equals_pushed_commit,
    fetch_gets_new_commits,
    fetch_with_long_common_history_succeeds,
    shallow_clone_pushes_and_is_deepened,
    tags_are_fetched_with_their_objects,
);

fn clone_equals_pushed_commit(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    for number in 0..5 {
        repository.write(&format!("docs/{number}.md"), format!("{number}\n").repeat(200));
        repository.commit(&format!("page {number}"));
    }
    repository.push(&url, &["main"]).succeeded();
    repository.write("docs/3.md", "3\n".repeat(201));
    repository.commit("one line more");
    repository.push(&url, &["main"]).succeeded();
    for version in ["0", "2"] {
        let clone = Repository::new();
        clone.git(&["-c", &format!("protocol.version={version}"), "fetch", "-q", &url, "main:copy"]);
        assert_eq!(clone.git(&["rev-parse", "copy"]), repository.head());
        assert_eq!(clone.git(&["rev-parse", "copy^{tree}"]), repository.git(&["rev-parse", "HEAD^{tree}"]));
        clone.git(&["fsck", "--strict", "--full"]);
    }
    let clone = Repository::clone_of(&url);
    assert_eq!(clone.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
    assert_eq!(clone.git(&["status", "--porcelain"]), "");
}

fn fetch_gets_new_commits(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let clone = Repository::clone_of(&url);
    repository.write("greet.rhai", "2");
    repository.commit("second");
    repository.push(&url, &["main"]).succeeded();
    clone.git(&["pull", "-q", "--ff-only"]);
    assert_eq!(clone.head(), repository.head());
    clone.git(&["fsck", "--strict"]);
}

fn fetch_with_long_common_history_succeeds(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.push(&url, &["main"]).succeeded();
    let clone = Repository::clone_of(&url);
    // Enough unknown commits that git compresses its request and negotiates in several rounds.
    for number in 0..120 {
        clone.commit(&format!("local {number}"));
    }
    repository.write("greet.rhai", "2");
    let second = repository.commit("second");
    repository.push(&url, &["main"]).succeeded();
    for version in ["0", "2"] {
        clone.git(&["-c", &format!("protocol.version={version}"), "fetch", "-q", &url, "main"]);
        assert_eq!(clone.git(&["rev-parse", "FETCH_HEAD"]), second);
    }
    clone.git(&["fsck", "--strict"]);
}

fn shallow_clone_pushes_and_is_deepened(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    for number in 0..4 {
        repository.write("greet.rhai", format!("{number}"));
        repository.commit("change");
    }
    repository.push(&url, &["main"]).succeeded();
    for version in ["0", "2"] {
        let version = format!("protocol.version={version}");
        let shallow = Repository::new();
        shallow.git(&["-c", &version, "fetch", "-q", "--depth", "1", &url, "main:main", "--update-head-ok"]);
        shallow.git(&["reset", "-q", "--hard"]);
        assert_eq!(shallow.git(&["rev-list", "--count", "HEAD"]), "1");
        // A push from a checkout of depth 1, as in CI, to an app without that history.
        let elsewhere = server.git_url(&format!("ci-{}", &version[version.len() - 1..]));
        shallow.push(&elsewhere, &["main"]).succeeded().says("LIVE as deploy 1");
        assert_eq!(Repository::clone_of(&elsewhere).git(&["rev-list", "--count", "HEAD"]), "1");
        shallow.git(&["-c", &version, "fetch", "-q", "--depth", "3", &url, "main"]);
        assert_eq!(shallow.git(&["rev-list", "--count", "HEAD"]), "3");
        shallow.git(&["-c", &version, "fetch", "-q", "--unshallow", &url, "main"]);
        assert_eq!(shallow.git(&["rev-list", "--count", "HEAD"]), "5");
        shallow.git(&["fsck", "--strict"]);
    }
}

fn tags_are_fetched_with_their_objects(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.git(&["tag", "-a", "-m", "one", "v1"]);
    repository.push(&url, &["main", "v1"]).succeeded();
    for version in ["0", "2"] {
        let clone = Repository::new();
        let version = format!("protocol.version={version}");
        clone.git(&["-c", &version, "fetch", "-q", &url, "main", "refs/tags/*:refs/tags/*"]);
        assert_eq!(clone.git(&["rev-parse", "v1^{commit}"]), repository.head());
    }
    let clone = Repository::clone_of(&url);
    assert_eq!(clone.git(&["tag", "--list"]), "v1");
}
