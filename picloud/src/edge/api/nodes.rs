//! Nodes: who is there, and what each of them serves.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::Response;
use chrono::Utc;
use store::StoreError;
use store::cluster::Disk;

use super::{Api, allow_admin, document, failed};
use crate::edge::credentials::Caller;
use crate::rest::{self, Node, Nodes};

/// All nodes that are there, by name. On the embedded database that is the one that answers.
#[utoipa::path(
    get,
    path = "/-/api/v1/nodes",
    tag = "nodes",
    responses((status = 200, body = rest::Nodes), rest::Refusals),
)]
pub(super) async fn list(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    match all(&api).await {
        Ok(nodes) => document(&Nodes { nodes }),
        Err(error) => failed(&error),
    }
}

/// All nodes that are there, by name.
pub(super) async fn all(api: &Api) -> Result<Vec<Node>, StoreError> {
    match api.store.cluster() {
        Some(cluster) => Ok(cluster.nodes().await?.into_iter().map(shown).collect()),
        None => Ok(vec![alone(api).await?]),
    }
}

fn shown(node: store::cluster::Node) -> Node {
    Node {
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
        disk: node.disk.map(shown_disk),
    }
}

async fn alone(api: &Api) -> Result<Node, StoreError> {
    let taken = api.activation.taken_up();
    let apps = api.store.apps().await?;
    let is_current = |app: &&store::App| {
        let taken = taken.get(&app.name);
        taken.is_some_and(|taken| taken.generation == app.generation && taken.fault.is_none())
    };
    let current = apps.iter().filter(is_current).count() as u64;
    Ok(Node {
        id: api.node.identity.id,
        name: api.node.identity.name.clone(),
        role: api.node.role.as_str().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: api.node.address.to_string(),
        started_at: api.node.started_at,
        seen_at: Utc::now(),
        trouble: api.activation.trouble(),
        apps_current: current,
        apps_behind: apps.len() as u64 - current,
        serving_since: None,
        clock_skew_ms: None,
        disk: platform::disk::of(&api.data_dir).await.map(shown_disk),
    })
}

fn shown_disk(Disk { free_bytes, size_bytes }: Disk) -> rest::Disk {
    rest::Disk { free_bytes, size_bytes }
}
