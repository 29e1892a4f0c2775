//! Several nodes on one PostgreSQL: a push at one is live on all.
//!
//! - `propagation`: pushes, news that are missed, nodes that come and go
//! - `roles`: a control plane kept apart
//! - `database_outage`: a database that goes away and comes back
//! - `ambiguous_commit`: one that goes away between COMMIT and its answer
//! - `point_in_time_recovery`: one that comes back as it was earlier

mod ambiguous_commit;
mod database_outage;
mod point_in_time_recovery;
mod propagation;
mod roles;

use serde_json::Value;
use tests::{Database, Server, TOKEN};

/// Nodes that share a database, each called by its place.
pub(crate) fn nodes(database: &Database, names: &[&str]) -> Vec<Server> {
    names.iter().map(|name| Server::start_with(database.clone(), &["--node-name", name])).collect()
}

/// Nodes that share their key of secrets.
pub(crate) fn nodes_with_a_key(database: &Database, names: &[&str], key: &tempfile::TempDir) -> Vec<Server> {
    let file = key.path().join("key");
    std::fs::write(&file, "ab".repeat(32)).unwrap();
    let file = file.to_str().unwrap();
    let start =
        |name| Server::start_with(database.clone(), &["--node-name", name, "--secret-key-file", file]);
    names.iter().copied().map(start).collect()
}

/// What an app answers at a node.
fn says(node: &Server, path: &str) -> (u16, String) {
    let answer = node.get(path);
    (answer.status, answer.body)
}

/// The nodes as the API of one of them lists them.
fn listed(node: &Server) -> Vec<Value> {
    let bearer = format!("Bearer {TOKEN}");
    let answer = node.request("GET", "/-/api/v1/nodes", &[("authorization", &bearer)], None);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["nodes"].as_array().expect("nodes").clone()
}

fn names(nodes: &[Value]) -> Vec<&str> {
    nodes.iter().map(|node| node["name"].as_str().expect("a name")).collect()
}
