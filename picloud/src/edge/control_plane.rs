//! The control plane under `/-/`: health checks, metrics, on-demand TLS and the REST API.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use clap::ValueEnum;
use platform::activation::Activation;
use platform::health::DatabaseHealth;
use platform::nodes::ClusterState;
use platform::tokens::{NodeRight, Right};

use super::api::{self, Api};
use super::api_error::ApiError;
use super::authenticator::Authenticator;
use super::on_demand_tls::{self, OnDemandTls};
use super::shutdown::Shutdown;
use super::target::TLS_ALLOWED;
use super::{client_ip, response};
use crate::api_types::NOT_FOUND;
use crate::metrics::MetricsEndpoint;
use crate::render::{printable, store_failure};

/// The state of the health checks.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) database: DatabaseHealth,
    pub(crate) activation: Activation,
    /// Set where nodes can share the database.
    pub(crate) presence: Option<ClusterState>,
    pub(crate) shutdown: Arc<Shutdown>,
}

/// Who can read the metrics of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricsAccess {
    /// Clients with a token.
    Token,
    /// Every client of the control plane.
    Open,
}

/// The state of `/-/metrics`.
#[derive(Clone)]
pub(crate) struct MetricsRoute {
    pub(crate) page: MetricsEndpoint,
    pub(crate) access: MetricsAccess,
    pub(crate) authenticator: Authenticator,
}

/// The routes of the control plane. Nodes that only serve apps have no `api`.
pub(crate) fn router(health: Health, metrics: MetricsRoute, tls: OnDemandTls, api: Option<Api>) -> Router {
    let tls = Router::new().route(TLS_ALLOWED, get(on_demand_tls::handle)).with_state(tls);
    let health = Router::new()
        .route("/-/health/live", get(live))
        .route("/-/health/ready", get(ready))
        .route("/-/health/serving", get(serving))
        .route("/-/health/database", get(database))
        .with_state(health);
    let metrics = Router::new().route("/-/metrics", get(scrape)).with_state(metrics);
    let not_found: fn() -> ApiError = match api {
        Some(_) => || ApiError::not_found(NOT_FOUND),
        None => || {
            let message = "this node only serves apps; send API requests to a manager node";
            ApiError::new(StatusCode::MISDIRECTED_REQUEST, message)
        },
    };
    let api = api.map(api::router).unwrap_or_default();
    health
        .merge(metrics)
        .merge(tls)
        .merge(api)
        .fallback(async move || not_found())
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        })
}

/// Liveness: the process responds.
async fn live() -> &'static str {
    "ok\n"
}

/// Readiness: the node is not shutting down and serves the latest revision of every app. Apps that it can load are served even while it
/// is not ready. An unreachable database does not make the node unready: live revisions are in memory.
async fn ready(State(health): State<Health>) -> Response<Body> {
    if health.shutdown.is_not_ready() {
        return response::text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    if let Some(trouble) = health.activation.not_ready_reason() {
        return response::text(StatusCode::SERVICE_UNAVAILABLE, &format!("{}\n", printable(&trouble)));
    }
    match health.presence.and_then(|presence| presence.down_for()) {
        Some(away) => {
            let message = format!("ok from memory; the database has been down for {} s\n", away.as_secs());
            response::text(StatusCode::OK, &message)
        }
        None => response::text(StatusCode::OK, "ok\n"),
    }
}

/// Readiness for load balancers: the node is not shutting down and can serve at least one app, if there are any. An app that no node
/// can load does not take all nodes out of rotation.
async fn serving(State(health): State<Health>) -> Response<Body> {
    if health.shutdown.is_not_ready() {
        return response::text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    match health.activation.not_ready_reason() {
        Some(trouble) if health.activation.applied().values().all(|app| app.error.is_some()) => {
            response::text(StatusCode::SERVICE_UNAVAILABLE, &format!("{}\n", printable(&trouble)))
        }
        _ => response::text(StatusCode::OK, "ok\n"),
    }
}

/// The database accepts writes, as pushes, the API and schedules need.
async fn database(State(health): State<Health>) -> Response<Body> {
    match health.database.check().await {
        Ok(_) => response::text(StatusCode::OK, "ok\n"),
        Err(error) => {
            response::text(StatusCode::SERVICE_UNAVAILABLE, &format!("{}\n", store_failure(&error)))
        }
    }
}

/// The metrics in Prometheus' text format. They reveal the names and the traffic of all apps.
async fn scrape(State(metrics): State<MetricsRoute>, request: Request) -> Result<Response<Body>, ApiError> {
    if metrics.access == MetricsAccess::Token {
        let caller =
            metrics.authenticator.authenticate(request.headers(), client_ip::client_ip(&request)).await?;
        // Tokens that can read every app predate the metrics scope.
        if !caller.principal.can_on_node(NodeRight::Metrics)
            && !caller.principal.can_on_every_app(Right::Read)
        {
            return Err(ApiError::missing_scope(NodeRight::Metrics.scope()));
        }
    }
    Ok(metrics.page.response().await)
}
