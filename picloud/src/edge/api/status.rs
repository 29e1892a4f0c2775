//! Whether all is well.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::Response;

use super::{Api, allow_admin, document, failed, nodes};
use crate::edge::credentials::Caller;
use crate::rest;

/// Whether the nodes are ready and serve what they should.
#[utoipa::path(
    get,
    path = "/-/api/v1/status",
    tag = "nodes",
    responses((status = 200, body = rest::Status), rest::Refusals),
)]
pub(super) async fn show(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    let (nodes, apps) = match (nodes::all(&api).await, api.store.apps().await) {
        (Ok(nodes), Ok(apps)) => (nodes, apps),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    let troubles: Vec<String> =
        nodes.iter().filter_map(|node| Some(format!("{}: {}", node.name, node.trouble.as_ref()?))).collect();
    let is_live = |app: &&store::App| api.table.get_production(app.name.as_str()).is_some();
    document(&rest::Status {
        well: troubles.is_empty(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: api.node.identity.name.clone(),
        database: if api.store.cluster().is_some() { "PostgreSQL" } else { "SQLite" }.to_owned(),
        nodes: nodes.len(),
        nodes_ready: nodes.len() - troubles.len(),
        troubles,
        apps: apps.len(),
        apps_live: apps.iter().filter(is_live).count(),
    })
}
