//! The control plane under `/-/`: health, and the REST API.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::get;
use store::Store;

use super::api::{self, Api, problem};
use super::listener::Stopping;
use super::reply;

/// What tells whether a node is well.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) store: Store,
    pub(crate) stopping: Arc<Stopping>,
}

/// The routes of the control plane.
pub(crate) fn router(health: Health, api: Api) -> Router {
    Router::new()
        .route("/-/health/live", get(live))
        .route("/-/health/ready", get(ready))
        .with_state(health)
        .merge(api::router(api))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        })
}

/// The process answers.
async fn live() -> &'static str {
    "ok\n"
}

/// The node can do its whole work: it is not about to stop, and the database answers.
async fn ready(State(health): State<Health>) -> Response<Body> {
    if health.stopping.is_turning_away() {
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match health.store.ping().await {
        Ok(()) => reply::text(StatusCode::OK, "ok\n"),
        Err(error) => reply::unavailable(&error),
    }
}
