//! Nodes of the cluster, and what they serve.

use axum::Json;
use axum::extract::State;

use super::extract::{AdminCaller, NoQuery};
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

/// Lists the nodes by name. With the embedded database there is only this one.
#[utoipa::path(
    get,
    path = "/-/api/v1/nodes",
    tag = "nodes",
    responses((status = 200, body = api_types::Nodes), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    _: AdminCaller,
    _: NoQuery,
) -> Result<Json<api_types::Nodes>, ApiError> {
    Ok(Json(api_types::Nodes { nodes: api.nodes.list().await?.into_iter().map(to_api).collect() }))
}

fn to_api(node: platform::nodes::Node) -> api_types::Node {
    api_types::Node {
        id: node.id,
        name: node.name,
        role: node.role,
        version: node.version,
        address: node.address,
        started_at: node.started_at,
        seen_at: node.seen_at,
        not_ready_reason: node.not_ready_reason,
        apps_up_to_date: node.apps_up_to_date,
        apps_stale: node.apps_stale,
        serving_since: node.applied_at,
        clock_skew_ms: node.clock_skew_ms,
        disk: node
            .disk
            .map(|disk| api_types::Disk { free_bytes: disk.free_bytes, size_bytes: disk.size_bytes }),
    }
}
