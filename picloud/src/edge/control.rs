//! The control plane under `/-/`: health, and the REST API.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use clap::ValueEnum;
use platform::activation::Activation;
use platform::health::DatabaseHealth;
use platform::nodes::Presence;
use platform::tokens::{NodeRight, Right};

use super::address::TLS_ALLOWED;
use super::api::{self, Api};
use super::api_error::ApiError;
use super::credentials::Door;
use super::names::{TlsNames, tls_allowed};
use super::stopping::Stopping;
use super::{client, reply};
use crate::numbers::Page;
use crate::rest::NOTHING_THERE;
use crate::words::{printable, store_failure};

/// What tells whether a node is well.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) database: DatabaseHealth,
    pub(crate) activation: Activation,
    /// Where several nodes may share the database.
    pub(crate) presence: Option<Presence>,
    pub(crate) stopping: Arc<Stopping>,
}

/// Who may read the numbers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricsAccess {
    /// Whoever has a token.
    Token,
    /// Whoever reaches the control plane.
    Open,
}

/// The numbers of a node, and who may read them.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) page: Page,
    pub(crate) access: MetricsAccess,
    pub(crate) door: Door,
}

/// The routes of the control plane. One that only answers apps has no `api`.
pub(crate) fn router(health: Health, metrics: Metrics, names: TlsNames, api: Option<Api>) -> Router {
    let names = Router::new().route(TLS_ALLOWED, get(tls_allowed)).with_state(names);
    let health = Router::new()
        .route("/-/health/live", get(live))
        .route("/-/health/ready", get(ready))
        .route("/-/health/serving", get(serving))
        .route("/-/health/database", get(database))
        .with_state(health);
    let metrics = Router::new().route("/-/metrics", get(numbers)).with_state(metrics);
    let nowhere: fn() -> ApiError = match api {
        Some(_) => || ApiError::not_found(NOTHING_THERE),
        None => || {
            let words = "this node answers apps alone; ask a manager";
            ApiError::new(StatusCode::MISDIRECTED_REQUEST, words)
        },
    };
    let api = api.map(api::router).unwrap_or_default();
    health
        .merge(metrics)
        .merge(names)
        .merge(api)
        .fallback(async move || nowhere())
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        })
}

/// The process answers.
async fn live() -> &'static str {
    "ok\n"
}

/// Requests to apps are answered, and by the latest revisions: the node is not about to stop, and there is none that it
/// cannot load. Those that it can are answered all the same: whoever has no other node need not ask. A database that is away
/// is no reason to send nobody here: what is live is in memory.
async fn ready(State(health): State<Health>) -> Response<Body> {
    if health.stopping.is_turning_away() {
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if let Some(trouble) = health.activation.trouble() {
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, &format!("{}\n", printable(&trouble)));
    }
    match health.presence.and_then(|presence| presence.away_for()) {
        Some(away) => {
            let words = format!("ok from memory; the database has been away for {} s\n", away.as_secs());
            reply::text(StatusCode::OK, &words)
        }
        None => reply::text(StatusCode::OK, "ok\n"),
    }
}

/// Requests are to be sent here: the node is not about to stop, and there is an app that it can serve, or none at all. For
/// balancers: an app that no node can load does not take the others with it.
async fn serving(State(health): State<Health>) -> Response<Body> {
    if health.stopping.is_turning_away() {
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match health.activation.trouble() {
        Some(trouble) if health.activation.taken_up().values().all(|app| app.fault.is_some()) => {
            reply::text(StatusCode::SERVICE_UNAVAILABLE, &format!("{}\n", printable(&trouble)))
        }
        _ => reply::text(StatusCode::OK, "ok\n"),
    }
}

/// The database takes writes, which pushes, the API and schedules need.
async fn database(State(health): State<Health>) -> Response<Body> {
    match health.database.check().await {
        Ok(_) => reply::text(StatusCode::OK, "ok\n"),
        Err(error) => reply::text(StatusCode::SERVICE_UNAVAILABLE, &format!("{}\n", store_failure(&error))),
    }
}

/// The numbers of the node. They tell the names of all apps and how much they are used.
async fn numbers(State(metrics): State<Metrics>, request: Request) -> Result<Response<Body>, ApiError> {
    if metrics.access == MetricsAccess::Token {
        let caller = metrics.door.caller(request.headers(), client::address(&request)).await?;
        // Those who can read every app could before there was a scope.
        if !caller.who.may_on_node(NodeRight::Metrics) && !caller.who.may_everywhere(Right::Read) {
            return Err(ApiError::missing_scope(NodeRight::Metrics.scope()));
        }
    }
    Ok(metrics.page.answer().await)
}
