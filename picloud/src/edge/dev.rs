//! `picloud dev`: the app it serves, and its control plane with health checks, functions and manual schedule runs. It has no tokens.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use manifest_schema::name::AppName;
use platform::dev::{ScheduleHistories, run_schedule};

use super::api_error::ApiError;
use super::functions::FunctionCaller;
use super::live::production;
use super::target;
use crate::api_types::{Run, Started};

/// The app of `picloud dev`.
pub(crate) struct DevApp {
    pub(crate) app: AppName,
    /// The host names to serve, besides IP addresses and `localhost`.
    pub(crate) hosts: Vec<String>,
    pub(crate) histories: ScheduleHistories,
}

impl DevApp {
    /// Whether `host` is served. Other names are rejected against DNS rebinding: a page elsewhere can point its own name at this machine
    /// and would share an origin with the app.
    pub(super) fn serves_host(&self, host: &str) -> bool {
        let name = target::host_name(host);
        let is_localhost = |name: &str| name.eq_ignore_ascii_case("localhost");
        target::is_ip_or_localhost(name)
            || name.rsplit_once('.').is_some_and(|(_, top)| is_localhost(top))
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }
}

#[derive(Clone)]
struct DevState {
    functions: FunctionCaller,
    histories: ScheduleHistories,
}

/// The routes of the control plane.
pub(super) fn router(functions: FunctionCaller, histories: ScheduleHistories) -> Router {
    let not_found =
        || ApiError::not_found("`picloud dev` only serves health checks, functions and schedule runs here");
    Router::new()
        .route("/-/health/live", get(|| async { "ok\n" }))
        .route("/-/health/ready", get(|| async { "ok\n" }))
        .route("/-/api/v1/apps/{app}/functions/{function}", post(call))
        .route("/-/api/v1/apps/{app}/schedules/{schedule}/run", post(run))
        .with_state(DevState { functions, histories })
        .fallback(async move || not_found())
}

async fn call(
    State(DevState { functions, .. }): State<DevState>,
    Path((app, function)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    require_token(&request)?;
    let app = AppName::new(&app).map_err(|_| ApiError::no_app())?;
    functions.call(&app, &function, request).await
}

async fn run(
    State(DevState { functions, histories }): State<DevState>,
    Path((app, schedule)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Started>, ApiError> {
    require_token(&request)?;
    let app = AppName::new(&app).map_err(|_| ApiError::no_app())?;
    let live = production(&functions.table, &app)?;
    let deploy = live.deploy;
    // Spawned: the run completes although the client disconnects.
    let task =
        tokio::spawn(async move { run_schedule(&functions.recorder, &histories, live, &schedule).await });
    let ran = task.await?.ok_or_else(|| ApiError::not_found("schedule not found"))?;
    let run = Run {
        due_at: ran.started_at,
        first_due_at: None,
        due_times: 1,
        manual: true,
        late_ms: 0,
        deploy,
        commit: None,
        // `picloud dev` keeps no records of executions.
        execution: None,
        node: None,
        claimed_at: ran.started_at,
        finished_at: Some(ran.ended_at),
        outcome: ran.outcome.as_str().to_owned(),
        detail: ran.detail,
    };
    Ok(Json(Started { run: Some(run) }))
}

/// Requires a bearer token and accepts any: a page of another site cannot send the header without a preflight.
fn require_token(request: &Request) -> Result<(), ApiError> {
    match request.headers().contains_key(header::AUTHORIZATION) {
        true => Ok(()),
        false => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "bearer token required (any value works in `picloud dev`)",
        )),
    }
}
