//! Nodes that read and change the same state.
//!
//! - `reads`: what one node has answered is seen by all others at once
//! - `contention`: nodes that change the same keys
//! - `roles`: schedules on a manager, requests on a node
//! - `restored`: the database is set back to an older copy

mod contention;
mod reads;
mod restored;
mod roles;

use tests::{Client, Database, Server, until};

use super::nodes;
use crate::state::repository;

/// Nodes that serve an app with a route for each script.
fn serve(database: &Database, names: &[&str], scripts: &[(&str, &str)]) -> Vec<Server> {
    let nodes = nodes(database, names);
    let live = format!("on {0}/{0} nodes", nodes.len());
    repository(scripts).push(&nodes[0].git_url("app"), &["main"]).succeeded().says(&live);
    nodes
}

fn clients(nodes: &[Server]) -> Vec<Client> {
    nodes.iter().map(Client::of).collect()
}

/// The response of a node that is ready for executions with state.
fn get_when_available(node: &Server, path: &str) -> String {
    until("the state is available", || {
        let response = node.get(path);
        assert!(matches!(response.status, 200 | 503), "{path}: {response:?}");
        (response.status == 200).then_some(response.body)
    })
}
