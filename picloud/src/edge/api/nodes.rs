//! Nodes of the cluster, and what they serve.

use axum::Json;
use axum::extract::State;

use super::extract::{AdminCaller, NoQuery};
use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::rest;

/// Lists the nodes by name. With the embedded database there is only this one.
#[utoipa::path(
    get,
    path = "/-/api/v1/nodes",
    tag = "nodes",
    responses((status = 200, body = rest::Nodes), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    _: AdminCaller,
    _: NoQuery,
) -> Result<Json<rest::Nodes>, ApiError> {
    Ok(Json(rest::Nodes { nodes: api.nodes.list().await?.into_iter().map(to_api).collect() }))
}

fn to_api(node: platform::nodes::Node) -> rest::Node {
    rest::Node {
        id: node.id,
        name: node.name,
        role: node.role,
        version: node.program,
        address: node.address,
        started_at: node.started_at,
        seen_at: node.seen_at,
        trouble: node.trouble,
        apps_current: node.current,
        apps_behind: node.behind,
        serving_since: node.since,
        clock_skew_ms: node.clock_skew_ms,
        disk: node.disk.map(|disk| rest::Disk { free_bytes: disk.free_bytes, size_bytes: disk.size_bytes }),
    }
}
