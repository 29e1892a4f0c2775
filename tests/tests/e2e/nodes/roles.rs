//! A separate control plane: a manager accepts pushes, a node serves apps.

use std::process::Command;

use tests::server::picloud;
use tests::{Database, Repository, Server, TOKEN};

use super::{listed, names};

#[test]
fn manager_accepts_pushes_and_node_serves_apps() {
    let database = Database::postgres();
    let manager = Server::start_with(database.clone(), &["--role", "manager", "--node-name", "control"]);
    let node = Server::start_with(database, &["--role", "node", "--node-name", "worker"]);
    let repository = Repository::hello();
    repository.push(&manager.git_url("hello"), &["main"]).succeeded().says("on 2/2 nodes");
    assert_eq!(node.get("/hello/greet/Ann").body, r#"{"message":"Hello, Ann"}"#);
    assert_eq!(names(&listed(&manager)), ["control", "worker"]);
    // Requests to the wrong role get a hint.
    assert_eq!(manager.get("/hello/greet/Ann").status, 421);
    let bearer = format!("Bearer {TOKEN}");
    let response = node.request("GET", "/-/api/v1/nodes", &[("authorization", &bearer)], None);
    assert_eq!((response.status, response.header("content-type")), (421, Some("application/problem+json")));
    repository.push(&node.git_url("hello"), &["main"]).refused().says("421");
    for server in [&manager, &node] {
        assert_eq!(server.get("/-/health/ready").status, 200);
    }
}

#[test]
fn role_needs_a_shared_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(picloud())
        .args(["serve", "--listen", "127.0.0.1:0", "--role", "node"])
        .current_dir(folder.path())
        .env_remove("DATABASE_URL")
        .output()
        .expect("the binary");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("set DATABASE_URL"), "{text}");
}
