//! What an app is granted: its limits, its own ones and those of the server.

use axum::Json;
use axum::extract::State;
use platform::apps::App;
use platform::limits::AppLimit;

use super::extract::{Admin, FoundApp, JsonBody, NoQuery, Read};
use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::rest;

/// What the app is granted, and which of it is its own.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/limits",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = rest::AppLimits), rest::Refusals),
)]
pub(super) async fn show(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    _: NoQuery,
) -> Result<Json<rest::AppLimits>, ApiError> {
    Ok(Json(shown(&api, &app).await?))
}

/// Changes those limits of an app that are named. What is live goes on, within the new limits, on all nodes.
#[utoipa::path(
    patch,
    path = "/-/api/v1/apps/{app}/limits",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = rest::LimitChanges,
    responses((status = 200, body = rest::AppLimits), rest::Refusals),
)]
pub(super) async fn change(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Admin>,
    _: NoQuery,
    JsonBody(changes): JsonBody<rest::LimitChanges>,
) -> Result<Json<rest::AppLimits>, ApiError> {
    let changes = changed(&changes);
    // In a task of its own: a client that hangs up now does not stop it halfway, when it is stored and not served.
    let deployer = api.deployer.clone();
    let changing = tokio::spawn(async move { deployer.change_limits(&app, &changes, &caller.actor).await });
    Ok(Json(shown(&api, &changing.await??).await?))
}

async fn shown(api: &Api, app: &App) -> Result<rest::AppLimits, ApiError> {
    let usual = api.apps.limits();
    let granted = usual.with(&app.limits);
    let previews = api.apps.branches(app).await?.iter().filter(|branch| !branch.production).count();
    Ok(rest::AppLimits {
        granted: document(|limit| granted.get(limit)),
        own: document(|limit| app.limits.get(limit)),
        default: document(|limit| usual.get(limit)),
        used: rest::UsedLimits { disk_bytes: app.disk_bytes, previews },
    })
}

fn document(value: impl Fn(AppLimit) -> Option<u64>) -> rest::Limits {
    rest::Limits {
        memory_share_bytes: value(AppLimit::MemoryShare),
        disk_bytes: value(AppLimit::Disk),
        previews: value(AppLimit::Previews),
        schedule_runs_per_minute: value(AppLimit::ScheduleRuns),
        timeout_ms: value(AppLimit::Timeout),
        operations: value(AppLimit::Operations),
        script_memory_bytes: value(AppLimit::ScriptMemory),
        body_bytes: value(AppLimit::Body),
        concurrency: value(AppLimit::Concurrency),
        schedules: value(AppLimit::Schedules),
    }
}

/// The limits that are named, each with its new value.
fn changed(changes: &rest::LimitChanges) -> Vec<(AppLimit, Option<u64>)> {
    let named = [
        (AppLimit::MemoryShare, changes.memory_share_bytes),
        (AppLimit::Disk, changes.disk_bytes),
        (AppLimit::Previews, changes.previews),
        (AppLimit::ScheduleRuns, changes.schedule_runs_per_minute),
        (AppLimit::Timeout, changes.timeout_ms),
        (AppLimit::Operations, changes.operations),
        (AppLimit::ScriptMemory, changes.script_memory_bytes),
        (AppLimit::Body, changes.body_bytes),
        (AppLimit::Concurrency, changes.concurrency),
        (AppLimit::Schedules, changes.schedules),
    ];
    named.into_iter().filter_map(|(limit, value)| Some((limit, value?))).collect()
}
