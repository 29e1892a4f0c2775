//! Functions: what a manifest declares to be called.

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{Response, StatusCode};
use platform::execution::Purpose;
use platform::tokens::Right;
use runtime::Trigger;

use super::{Api, allow, no_app, problem};
use crate::edge::app::{Called, read_body, request_id, run};
use crate::edge::credentials::Caller;

/// Calls a function of an app's live revision with the body as its payload; the answer is the function's.
pub(super) async fn call(
    State(api): State<Api>,
    Path((app, function)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response<Body> {
    if let Err(response) = allow(&caller, Right::Invoke, &app) {
        return *response;
    }
    let live = api.table.get_production(&app);
    let Some(live) = live else { return no_app() };
    let functions = &live.revision.manifest().functions;
    let Some(found) = functions.iter().find(|declared| declared.name.as_str() == function) else {
        return problem(StatusCode::NOT_FOUND, "the app has no such function");
    };
    let script = found.script.clone();
    let called =
        Called { request_id: request_id(request.headers()), purpose: Purpose::Call(found.name.clone()) };
    match read_body(request.into_body(), live.revision.manifest().limits.body, api.body_time).await {
        Ok(payload) => {
            let trigger = Trigger::Function { payload };
            run(&api.recorder, &live, script, called, trigger).await.map(Body::new)
        }
        Err(response) => response,
    }
}
