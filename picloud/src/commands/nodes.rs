//! `picloud nodes`: lists the nodes of a server.

use super::error::CommandError;
use super::output::show;
use crate::api_types::Nodes;
use crate::client::{Client, ClientArgs};
use crate::render::nodes;

pub(crate) fn nodes(options: &ClientArgs) -> Result<(), CommandError> {
    let nodes: Nodes = Client::find(options)?.get("nodes")?;
    show(&nodes, options.json, |list| nodes::list(&list.nodes))
}
