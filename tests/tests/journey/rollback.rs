//! Rolling back is pushing an older commit.

use tests::{Database, Repository, Server, on_both_databases};

on_both_databases!(an_older_commit_goes_live_again, a_deploy_ref_goes_live_again);

fn two_deploys(server: &Server) -> (Repository, String) {
    let repository = Repository::hello();
    let first = repository.head();
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    repository.write("greet.rhai", "`second`");
    repository.commit("second");
    repository.push(&server.git_url("hello"), &["main"]).succeeded();
    assert_eq!(server.get("/hello/greet/Ann").body, "\"second\"");
    (repository, first)
}

fn an_older_commit_goes_live_again(database: Database) {
    let server = Server::start(database);
    let (repository, first) = two_deploys(&server);
    let second = repository.head();
    let url = server.git_url("hello");
    repository.push(&url, &["HEAD~1:main"]).refused().says("non-fast-forward");
    repository
        .push(&url, &["-f", "HEAD~1:main"])
        .succeeded()
        .says("LIVE as deploy 3")
        .says("(validated before)")
        .says(&format!("hint: undo with  git push -f picloud {}:main", &second[..7]));
    let answer = server.get("/hello/greet/Ann");
    assert_eq!(answer.body, r#"{"message":"Hello, Ann"}"#);
    assert_eq!(answer.header("picloud-revision"), Some(first.as_str()));
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 4").says("(validated before)");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"second\"");
}

fn a_deploy_ref_goes_live_again(database: Database) {
    let server = Server::start(database);
    let (_, first) = two_deploys(&server);
    let url = server.git_url("hello");
    let elsewhere = Repository::clone_of(&url);
    elsewhere.git(&["fetch", "-q", &url, "refs/deploys/*:refs/deploys/*"]);
    elsewhere.push(&url, &["-f", "refs/deploys/1:refs/heads/main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(server.get("/hello/greet/Ann").header("picloud-revision"), Some(first.as_str()));
}
