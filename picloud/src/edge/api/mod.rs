//! The REST API under `/-/api/v1`: one room a resource. What is read and written is in [`crate::rest`].
//!
//! Every request needs a right token. Errors are RFC 9457 problem details.

mod apps;
mod deploys;
mod executions;
mod functions;
mod logs;
mod nodes;
mod query;
mod schedules;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post};
use platform::activation::Activation;
use platform::deploy::Deployer;
use platform::execution::Recorder;
use platform::schedules::Scheduler;
use platform::tokens::AdminToken;
use runtime::LiveTable;
use serde::Serialize;
use serde_json::json;
use store::Store;
use tokio::sync::Semaphore;

use super::credentials::caller;
use super::listener::Stopping;
use super::reply;
use crate::node::ThisNode;

/// What the API reads and changes.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) table: Arc<LiveTable>,
    pub(crate) activation: Activation,
    pub(crate) deployer: Deployer,
    /// How old a preview may become.
    pub(crate) preview_age: Option<Duration>,
    /// The node that answers.
    pub(crate) node: Arc<ThisNode>,
    pub(crate) admin: AdminToken,
    pub(crate) scheduler: Scheduler,
    pub(crate) recorder: Recorder,
    /// Places for those who follow logs.
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) stopping: Arc<Stopping>,
    /// The longest a client may take to send a body.
    pub(crate) body_time: Duration,
}

impl Api {
    /// Places for all who may follow logs at once.
    pub(crate) fn followers() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(logs::FOLLOWERS_MAX))
    }
}

/// The routes of the API.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/-/api/v1/apps", get(apps::list))
        .route("/-/api/v1/nodes", get(nodes::list))
        .route("/-/api/v1/apps/{app}/functions/{function}", post(functions::call))
        .route("/-/api/v1/apps/{app}/deploys", get(deploys::list))
        .route("/-/api/v1/apps/{app}/rollback", post(deploys::roll_back))
        .route("/-/api/v1/apps/{app}/branches", get(deploys::branches))
        .route("/-/api/v1/apps/{app}/routes", get(deploys::routes))
        .route("/-/api/v1/apps/{app}/executions", get(executions::list))
        .route("/-/api/v1/apps/{app}/executions/{id}", get(executions::show))
        .route("/-/api/v1/apps/{app}/logs", get(logs::list))
        .route("/-/api/v1/apps/{app}/logs/stream", get(logs::follow))
        .route("/-/api/v1/apps/{app}/schedules", get(schedules::list))
        .route("/-/api/v1/apps/{app}/schedules/{schedule}/runs", get(schedules::runs))
        .route("/-/api/v1/apps/{app}/schedules/{schedule}/run", post(schedules::run_now))
        .route("/-/api/v1/apps/{app}/schedules/{schedule}/pause", post(schedules::pause))
        .route("/-/api/v1/apps/{app}/schedules/{schedule}/resume", post(schedules::resume))
        .route_layer(from_fn_with_state(api.clone(), with_a_right_token))
        .with_state(api)
}

/// Lets a request on whose token is right.
async fn with_a_right_token(State(api): State<Api>, request: Request, next: Next) -> Response<Body> {
    if caller(request.headers(), &api.admin).is_ok() {
        return next.run(request).await;
    }
    let mut response = problem(StatusCode::UNAUTHORIZED, "a right token is needed as bearer");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// A document of the API.
fn document<T: Serialize>(document: &T) -> Response<Body> {
    match serde_json::to_value(document) {
        Ok(value) => reply::json(StatusCode::OK, &value),
        Err(error) => {
            tracing::error!(%error, "a document of the API cannot be written as JSON");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log has the cause")
        }
    }
}

/// What needs the database while it is away, or fails in it. The cause goes to the log.
fn failed(error: &store::StoreError) -> Response<Body> {
    tracing::error!(%error, "the store failed a request");
    if !error.is_unavailable() {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log has the cause");
    }
    let words = "the database cannot be reached; try again in a moment";
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, words);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// An error as RFC 9457 has it.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let mut response =
        reply::json(status, &json!({"status": status.as_u16(), "title": title, "detail": detail}));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
