//! The control plane under `/-/`: health, and the part of the REST API that exists.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::{get, post};
use platform::tokens::AdminToken;
use runtime::{LiveTable, Trigger};
use serde_json::json;
use store::Store;

use super::app::{read_body, request_id, run};
use super::credentials::caller;
use super::listener::Stopping;
use super::reply;

/// What the control plane reads.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) store: Store,
    pub(crate) table: Arc<LiveTable>,
    pub(crate) admin: AdminToken,
    pub(crate) stopping: Arc<Stopping>,
    /// The longest a client may take to send a body.
    pub(crate) body_time: Duration,
}

/// The routes of the control plane.
pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route("/-/health/live", get(live))
        .route("/-/health/ready", get(ready))
        .route("/-/api/v1/apps/{app}/functions/{function}", post(call_function))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        })
        .with_state(control)
}

/// The process answers.
async fn live() -> &'static str {
    "ok\n"
}

/// The node can do its whole work: it is not about to stop, and the database answers.
async fn ready(State(control): State<Control>) -> Response<Body> {
    if control.stopping.is_turning_away() {
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match control.store.ping().await {
        Ok(()) => reply::text(StatusCode::OK, "ok\n"),
        Err(error) => reply::unavailable(&error),
    }
}

/// Calls a function of an app's live revision with the body as its payload; the answer is the function's.
async fn call_function(
    State(control): State<Control>,
    Path((app, function)): Path<(String, String)>,
    request: Request,
) -> Response<Body> {
    if caller(request.headers(), &control.admin).is_err() {
        let mut response = problem(StatusCode::UNAUTHORIZED, "a right token is needed as bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    let live = control.table.get_production(&app);
    let Some(live) = live else {
        return problem(StatusCode::NOT_FOUND, "there is no such app, or nothing of it is live");
    };
    let functions = &live.revision.manifest().functions;
    let Some(found) = functions.iter().find(|declared| declared.name.as_str() == function) else {
        return problem(StatusCode::NOT_FOUND, "the app has no such function");
    };
    let script = found.script.clone();
    let request_id = request_id(request.headers());
    match read_body(request.into_body(), live.revision.manifest().limits.body, control.body_time).await {
        Ok(payload) => run(&live, script, request_id, Trigger::Function { payload }).await.map(Body::new),
        Err(response) => response,
    }
}

/// An error as RFC 9457 has it.
fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let mut response =
        reply::json(status, &json!({"status": status.as_u16(), "title": title, "detail": detail}));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
