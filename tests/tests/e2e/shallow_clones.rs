//! Pushes from shallow clones, as in CI, and the history that the server gets.

use std::process::Command;

use tests::repository::environment;
use tests::{CommandOutput, Database, Repository, Server, on_both_databases};

on_both_databases!(later_pushed_history_is_connected);

/// A repository with so many commits.
fn history(commits: usize) -> Repository {
    let repository = Repository::hello();
    for number in 1..commits {
        repository.write("greet.rhai", format!("`{number}`"));
        repository.commit(&format!("commit {number}"));
    }
    repository
}

/// A checkout of its last commit only.
fn checkout(of: &Repository) -> Repository {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", of.path().display());
    of.git(&["clone", "-q", "--depth", "1", &url, &folder.path().display().to_string()]);
    Repository::made_in(folder)
}

fn commits_of(clone: &Repository) -> String {
    clone.git(&["rev-list", "--count", "HEAD"])
}

/// Runs the command of a hint.
fn run(hint: &str, repository: &Repository) -> CommandOutput {
    let mut shell = Command::new("sh");
    shell.args(["-c", hint]).current_dir(repository.path());
    environment(&mut shell, repository.path());
    let output = shell.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    CommandOutput { accepted: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// The text after `before` in a line of the server.
fn hint(pushed: &CommandOutput, before: &str) -> String {
    let found = pushed.text.lines().find_map(|line| Some(line.split_once(before)?.1.trim().to_owned()));
    found.unwrap_or_else(|| panic!("no hint with {before:?}:\n{}", pushed.text))
}

#[test]
fn next_push_of_a_depth_1_clone_behaves_as_in_git() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(3);
    let first = repository.head();
    checkout(&repository)
        .push(&url, &["main"])
        .succeeded()
        .says(&format!("warning: this is a shallow clone: the server has no history before {}", &first[..7]))
        .says("fetch-depth: 0")
        .says("LIVE as deploy 1");
    repository.write("greet.rhai", "`next`");
    repository.commit("next");
    let next = checkout(&repository);
    // git rejects it locally, and sends the shallow boundary and no command.
    let refused = next.push(&url, &["main"]).refused().says("! [rejected]        main -> main (fetch first)");
    assert!(!refused.text.contains("RPC failed"), "{}", refused.text);
    let forced = next.push(&url, &["-f", "main"]).succeeded().says("LIVE as deploy 2");
    assert!(!forced.text.contains("warning:"), "its parent is stored: {}", forced.text);
    let same = next.push(&url, &["main"]).succeeded().says("Everything up-to-date");
    assert!(!same.text.contains("RPC failed"), "{}", same.text);
    let clone = Repository::clone_of(&url);
    clone.git(&["fsck", "--strict", "--full"]);
    assert_eq!(commits_of(&clone), "2");
}

#[test]
fn history_missing_from_shallow_push_is_reported_and_can_be_sent() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = history(4);
    repository.git(&["remote", "add", "picloud", &url]);
    checkout(&repository).push(&url, &["main"]).succeeded();
    let end = repository.head();
    repository.write("greet.rhai", "`whole`");
    repository.commit("from a whole clone");
    repository.push(&url, &["main"]).succeeded();
    let old = repository.git(&["rev-parse", "main~3"]);
    let expected = format!(
        "the server does not have {}: its history starts at {}, which came from a shallow clone",
        &old[..7],
        &end[..7]
    );
    let refused = repository.push(&url, &["-f", &format!("{old}:refs/heads/main")]).refused();
    let refused =
        refused.says(&format!("error: REJECTED main: {expected}")).says(&format!("-> main ({expected}"));
    // So is a push that builds on it.
    repository.git(&["checkout", "-q", "-b", "aside", &old]);
    repository.write("greet.rhai", "`aside`");
    repository.commit("aside");
    repository.push(&url, &["aside"]).refused().says(&expected);
    repository.git(&["checkout", "-q", "main"]);

    run(&hint(&refused, "revert with a new commit:"), &repository).succeeded();
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"1\"");
    run(&hint(&refused, "from a full clone:"), &repository).succeeded().says("-> history");
    assert_eq!(repository.git(&["rev-parse", "--is-shallow-repository"]), "false");
    repository.push(&url, &["-f", &format!("{old}:refs/heads/main")]).succeeded().says("LIVE as deploy 4");
    repository.push(&url, &["aside"]).succeeded();
    assert_eq!(commits_of(&Repository::clone_of(&url)), "2");
}

fn later_pushed_history_is_connected(database: Database) {
    let server = Server::start(database);
    let url = server.git_url("hello");
    let repository = history(4);
    repository.git(&["branch", "elsewhere", "main~1"]);
    checkout(&repository).push(&url, &["main"]).succeeded();
    let clone = || {
        let clone = Repository::clone_of(&url);
        clone.git(&["fsck", "--strict", "--full"]);
        (commits_of(&clone), clone.git(&["rev-parse", "--is-shallow-repository"]))
    };
    assert_eq!(clone(), ("1".to_owned(), "true".to_owned()));
    // A clone that does not know the server's refs sends everything it has.
    let other = Repository::new();
    other.git(&["fetch", "-q", repository.path().to_str().unwrap(), "elsewhere:elsewhere"]);
    other.push(&url, &["elsewhere"]).succeeded();
    assert_eq!(clone(), ("4".to_owned(), "false".to_owned()));
    let old = repository.git(&["rev-parse", "main~3"]);
    repository.push(&url, &["-f", &format!("{old}:refs/heads/main")]).succeeded().says("LIVE as deploy");
}

#[test]
fn go_live_hint_works_with_detached_head() {
    let server = Server::start(Database::sqlite());
    let url = server.git_url("hello");
    let repository = Repository::hello();
    repository.git(&["remote", "add", "picloud", &url]);
    repository.git(&["checkout", "-q", "--detach"]);
    let pushed = repository.push(&url, &["HEAD:refs/heads/try"]).succeeded();
    run(&hint(&pushed, "deploy to production with"), &repository).succeeded();
    assert_eq!(server.get("/hello/greet/Ann").status, 200);
}
