//! What answers under `/-/` while a folder is served: health, functions, and runs of schedules by hand. There are no tokens.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use manifest_schema::name::AppName;
use platform::workbench::run_by_hand;

use super::api_error::ApiError;
use super::functions::FunctionCaller;
use super::live::production;
use crate::rest::{Run, Started};

/// The routes beside the app.
pub(super) fn router(functions: FunctionCaller) -> Router {
    let nowhere =
        || ApiError::not_found("`picloud dev` answers health, functions, and runs of schedules alone");
    Router::new()
        .route("/-/health/live", get(|| async { "ok\n" }))
        .route("/-/health/ready", get(|| async { "ok\n" }))
        .route("/-/api/v1/apps/{app}/functions/{function}", post(call))
        .route("/-/api/v1/apps/{app}/schedules/{schedule}/run", post(run))
        .with_state(functions)
        .fallback(async move || nowhere())
}

/// Any token is right, but there must be one: a page of another site, open in the developer's browser, cannot send it
/// without being allowed to.
async fn call(
    State(functions): State<FunctionCaller>,
    Path((app, function)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    require_token(&request)?;
    let app = AppName::new(&app).map_err(|_| ApiError::no_app())?;
    functions.call(&app, &function, request).await
}

/// Runs a schedule by hand. The same holds for the token.
async fn run(
    State(functions): State<FunctionCaller>,
    Path((app, schedule)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Started>, ApiError> {
    require_token(&request)?;
    let app = AppName::new(&app).map_err(|_| ApiError::no_app())?;
    let live = production(&functions.table, &app)?;
    let deploy = live.deploy;
    // In a task of its own: a client that hangs up now does not stop it halfway.
    let running = tokio::spawn(async move { run_by_hand(&functions.recorder, live, &schedule).await });
    let ran = running.await?.ok_or_else(|| ApiError::not_found("the app has no such schedule"))?;
    let run = Run {
        due: ran.began,
        first_due: None,
        due_times: 1,
        manual: true,
        late_ms: 0,
        deploy,
        commit: None,
        // Nothing is recorded that could be looked for.
        execution: None,
        node: None,
        claimed_at: ran.began,
        finished_at: Some(ran.ended),
        outcome: ran.outcome.as_str().to_owned(),
        detail: ran.detail,
    };
    Ok(Json(Started { run: Some(run) }))
}

fn require_token(request: &Request) -> Result<(), ApiError> {
    match request.headers().contains_key(header::AUTHORIZATION) {
        true => Ok(()),
        false => {
            Err(ApiError::new(StatusCode::UNAUTHORIZED, "a token is needed as bearer; here any is right"))
        }
    }
}
