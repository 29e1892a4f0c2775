//! Several nodes on one PostgreSQL: a push to one is live on all.
//!
//! - `propagation`: pushes, lost notifications, nodes that start and stop
//! - `roles`: a separate control plane
//! - `database_outage`: a database that stops and starts again
//! - `ambiguous_commit`: a connection that is lost between COMMIT and its reply
//! - `state`: nodes that read and change the same state
//! - `state_history`: random transactions at all nodes, through failures, are strictly serializable
//! - `point_in_time_recovery`: a database that is restored to an earlier time

mod ambiguous_commit;
mod database_outage;
mod point_in_time_recovery;
mod propagation;
mod roles;
mod state;
mod state_history;

use serde_json::Value;
use tests::{Database, Server, TOKEN};

/// Nodes that share a database, in order of their names.
pub(crate) fn nodes(database: &Database, names: &[&str]) -> Vec<Server> {
    names.iter().map(|name| Server::start_with(database.clone(), &["--node-name", name])).collect()
}

/// Nodes that share their secret key.
pub(crate) fn nodes_with_a_key(database: &Database, names: &[&str], key: &tempfile::TempDir) -> Vec<Server> {
    let file = key.path().join("key");
    std::fs::write(&file, "ab".repeat(32)).unwrap();
    let file = file.to_str().unwrap();
    let start =
        |name| Server::start_with(database.clone(), &["--node-name", name, "--secret-key-file", file]);
    names.iter().copied().map(start).collect()
}

/// An app's response at a node.
fn get(node: &Server, path: &str) -> (u16, String) {
    let response = node.get(path);
    (response.status, response.body)
}

/// The nodes, as the API of one of them lists them.
fn listed(node: &Server) -> Vec<Value> {
    let bearer = format!("Bearer {TOKEN}");
    let response = node.request("GET", "/-/api/v1/nodes", &[("authorization", &bearer)], None);
    assert_eq!(response.status, 200, "{}", response.body);
    response.json()["nodes"].as_array().expect("nodes").clone()
}

fn names(nodes: &[Value]) -> Vec<&str> {
    nodes.iter().map(|node| node["name"].as_str().expect("a name")).collect()
}
