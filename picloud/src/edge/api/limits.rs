//! The limits of an app: its own and the server's defaults.

use axum::Json;
use axum::extract::State;
use platform::apps::App;
use platform::limits::AppLimit;

use super::extract::{Admin, FoundApp, JsonBody, NoQuery, Read};
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

/// Shows the limits of an app, and which of them are its own.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/limits",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::AppLimits), api_types::ErrorResponses),
)]
pub(super) async fn show(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    _: NoQuery,
) -> Result<Json<api_types::AppLimits>, ApiError> {
    Ok(Json(to_api(&api, &app).await?))
}

/// Changes the given limits of an app. They apply to live revisions on all nodes at once.
#[utoipa::path(
    patch,
    path = "/-/api/v1/apps/{app}/limits",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = api_types::LimitChanges,
    responses((status = 200, body = api_types::AppLimits), api_types::ErrorResponses),
)]
pub(super) async fn change(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Admin>,
    _: NoQuery,
    JsonBody(changes): JsonBody<api_types::LimitChanges>,
) -> Result<Json<api_types::AppLimits>, ApiError> {
    let changes = changes_of(&changes);
    // Spawned: a disconnect of the client does not leave the change stored but not live.
    let deployer = api.deployer.clone();
    let task = tokio::spawn(async move { deployer.change_limits(&app, &changes, &caller.actor).await });
    Ok(Json(to_api(&api, &task.await??).await?))
}

async fn to_api(api: &Api, app: &App) -> Result<api_types::AppLimits, ApiError> {
    let defaults = api.apps.limits();
    let granted = defaults.with(&app.limits);
    let previews = api.apps.branches(app).await?.iter().filter(|branch| !branch.production).count();
    Ok(api_types::AppLimits {
        granted: limits_of(|limit| granted.get(limit)),
        own: limits_of(|limit| app.limits.get(limit)),
        default: limits_of(|limit| defaults.get(limit)),
        used: api_types::UsedLimits { disk_bytes: app.disk_bytes, previews },
    })
}

fn limits_of(value: impl Fn(AppLimit) -> Option<u64>) -> api_types::Limits {
    api_types::Limits {
        memory_share_bytes: value(AppLimit::MemoryShare),
        disk_bytes: value(AppLimit::Disk),
        state_bytes: value(AppLimit::State),
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

/// The given limits with their new values.
fn changes_of(changes: &api_types::LimitChanges) -> Vec<(AppLimit, Option<u64>)> {
    let all = [
        (AppLimit::MemoryShare, changes.memory_share_bytes),
        (AppLimit::Disk, changes.disk_bytes),
        (AppLimit::State, changes.state_bytes),
        (AppLimit::Previews, changes.previews),
        (AppLimit::ScheduleRuns, changes.schedule_runs_per_minute),
        (AppLimit::Timeout, changes.timeout_ms),
        (AppLimit::Operations, changes.operations),
        (AppLimit::ScriptMemory, changes.script_memory_bytes),
        (AppLimit::Body, changes.body_bytes),
        (AppLimit::Concurrency, changes.concurrency),
        (AppLimit::Schedules, changes.schedules),
    ];
    all.into_iter().filter_map(|(limit, value)| Some((limit, value?))).collect()
}
