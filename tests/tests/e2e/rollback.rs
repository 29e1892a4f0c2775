//! A rollback pushes an older commit.

use serde_json::{Value, json};
use tests::{Database, Repository, Response, Server, TOKEN, on_both_databases};

use crate::client_commands::run;

on_both_databases!(
    push_of_older_commit_rolls_back,
    push_of_deploy_ref_rolls_back,
    second_rollback_goes_back_further,
    rollback_after_push_of_older_commit_goes_back_further,
    rollback_message_is_recorded,
);

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

fn push_of_older_commit_rolls_back(database: Database) {
    let server = Server::start(database);
    let (repository, first) = two_deploys(&server);
    let second = repository.head();
    let url = server.git_url("hello");
    repository.push(&url, &["HEAD~1:main"]).refused().says("non-fast-forward");
    repository
        .push(&url, &["-f", "HEAD~1:main"])
        .succeeded()
        .says("LIVE as deploy 3")
        .says("(already validated)")
        .says(&format!("hint: undo with  git push -f picloud {}:main", &second[..7]));
    let response = server.get("/hello/greet/Ann");
    assert_eq!(response.body, r#"{"message":"Hello, Ann"}"#);
    assert_eq!(response.header("picloud-revision"), Some(first.as_str()));
    repository.push(&url, &["main"]).succeeded().says("LIVE as deploy 4").says("(already validated)");
    assert_eq!(server.get("/hello/greet/Ann").body, "\"second\"");
}

fn push_of_deploy_ref_rolls_back(database: Database) {
    let server = Server::start(database);
    let (_, first) = two_deploys(&server);
    let url = server.git_url("hello");
    let elsewhere = Repository::clone_of(&url);
    elsewhere.git(&["fetch", "-q", &url, "refs/deploys/*:refs/deploys/*"]);
    elsewhere.push(&url, &["-f", "refs/deploys/1:refs/heads/main"]).succeeded().says("LIVE as deploy 3");
    assert_eq!(server.get("/hello/greet/Ann").header("picloud-revision"), Some(first.as_str()));
}

/// An app with so many deploys, each of a commit whose subject equals its response.
fn deployed(server: &Server, subjects: &[&str]) -> Repository {
    let repository = Repository::hello();
    repository.git(&["remote", "add", "picloud", &server.git_url("hello")]);
    for subject in subjects {
        repository.write("greet.rhai", format!("`{subject}`"));
        repository.commit(subject);
        repository.push("picloud", &["main"]).succeeded();
    }
    repository
}

fn response(server: &Server) -> String {
    server.get("/hello/greet/Ann").body.trim_matches('"').to_owned()
}

fn roll_back(server: &Server, request: Value) -> Response {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let body = request.to_string().into_bytes();
    server.request("POST", "/-/api/v1/apps/hello/rollback", &headers, Some(&body))
}

fn second_rollback_goes_back_further(database: Database) {
    let server = Server::start(database);
    let repository = deployed(&server, &["A", "B", "C"]);
    let rolled = roll_back(&server, json!({})).json();
    assert_eq!(
        rolled,
        json!({
            "to": 2,
            "deploy": 4,
            "commit": repository.git(&["rev-parse", "HEAD~1"]),
            "subject": "B",
            "url": format!("http://{}/hello/", server.address),
            "message": null,
            "nodes_live": rolled["nodes_live"],
            "nodes": rolled["nodes"],
        })
    );
    assert_eq!(response(&server), "B");
    let rolled = roll_back(&server, json!({})).json();
    assert_eq!(
        (&rolled["to"], &rolled["subject"]),
        (&json!(1), &json!("A")),
        "the bad deploy is not restored"
    );
    assert_eq!(response(&server), "A");
    let refused = roll_back(&server, json!({}));
    assert!(refused.status == 409 && refused.body.contains("there is no earlier deploy"), "{}", refused.body);

    repository.write("greet.rhai", "`D`");
    repository.commit("D");
    repository.push("picloud", &["main"]).succeeded();
    roll_back(&server, json!({}));
    assert_eq!(response(&server), "A", "the deploy before D");
}

fn rollback_after_push_of_older_commit_goes_back_further(database: Database) {
    let server = Server::start(database);
    let repository = deployed(&server, &["A", "B", "C"]);
    repository.push("picloud", &["-f", "HEAD~1:main"]).succeeded();
    assert_eq!(response(&server), "B");
    let (code, text, errors) = run(repository.path(), &["rollback"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        text.contains("rolled back to deploy 1: ") && text.contains("\"A\" is live as deploy 5 at "),
        "{text}"
    );
    assert_eq!(response(&server), "A");
}

fn rollback_message_is_recorded(database: Database) {
    let server = Server::start(database);
    let repository = deployed(&server, &["A", "B"]);
    let (code, _, errors) = run(repository.path(), &["rollback", "--message", "orders fail\u{1b}[2J"]);
    assert_eq!(code, Some(0), "{errors}");
    let (_, text, _) = run(repository.path(), &["deploys"]);
    assert!(text.contains("A (orders fail\\u{1b}[2J)"), "{text}");
    let refused = roll_back(&server, json!({"deploy": 2, "message": "x".repeat(501)}));
    assert!(
        refused.status == 400 && refused.body.contains("the message exceeds 500 characters"),
        "{}",
        refused.body
    );
    assert_eq!(response(&server), "A");
}
