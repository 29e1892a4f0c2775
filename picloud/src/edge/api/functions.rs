//! Functions: what a manifest declares to be called.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode};
use platform::live::LiveTable;
use platform::recording::Recorder;
use platform::tokens::Right;
use runtime::Trigger;

use super::{Api, allow, problem, production};
use crate::edge::app::{read_body, request_id, run};
use crate::edge::credentials::Caller;
use crate::rest;

/// Calls a function of an app's live revision with the body as its payload; the answer is the function's.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/functions/{function}",
    tag = "functions",
    params(("app" = String, Path, description = "The name of the app"), ("function" = String, Path, description = "The name of the function")),
    request_body = serde_json::Value,
    responses((status = 200, description = "What the function answers, with whatever status it has", body = serde_json::Value), (status = "default", description = "The same"), rest::Refusals),
)]
pub(super) async fn call(
    State(api): State<Api>,
    Path((app, function)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response<Body> {
    if let Err(response) = allow(&caller, Right::Invoke, &app) {
        return *response;
    }
    let callees = Callees { table: api.table, recorder: api.recorder, body_time: api.body_time };
    answer(&callees, &app, &function, request).await
}

/// What can be called.
#[derive(Clone)]
pub(in crate::edge) struct Callees {
    pub(in crate::edge) table: Arc<LiveTable>,
    pub(in crate::edge) recorder: Recorder,
    /// The longest a client may take to send a payload.
    pub(in crate::edge) body_time: Duration,
}

/// Calls a function for whoever may call it.
pub(in crate::edge) async fn answer(
    callees: &Callees,
    app: &str,
    function: &str,
    request: Request,
) -> Response<Body> {
    let live = match production(&callees.table, app) {
        Ok(live) => live,
        Err(response) => return *response,
    };
    let functions = &live.revision.manifest().functions;
    let Some(found) = functions.iter().find(|declared| declared.name.as_str() == function) else {
        return problem(StatusCode::NOT_FOUND, "the app has no such function");
    };
    let (script, name, request_id) =
        (found.script.clone(), found.name.clone(), request_id(request.headers()));
    let most = live.revision.manifest().limits.body;
    match read_body(request.into_body(), most, callees.body_time).await {
        Ok(payload) => {
            let trigger = Trigger::Function { name, payload };
            run(&callees.recorder, &live, script, request_id, trigger).await.map(Body::new)
        }
        Err(response) => response,
    }
}
