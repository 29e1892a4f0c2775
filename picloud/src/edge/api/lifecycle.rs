//! The life cycle of an app: stop, start, rename, delete, undelete.
//!
//! Each change runs in a spawned task, so that a disconnect of the client does not leave it stored but not live.

use axum::Json;
use axum::extract::State;
use manifest_schema::name::AppName;
use platform::apps::{AppId, DeletedApp};
use platform::gc::DELETED_APP_RETENTION;
use serde::Deserialize;
use uuid::Uuid;

use super::apps::to_api;
use super::extract::{Admin, AdminCaller, FoundApp, JsonBody, NoBody, NoQuery, PathParams};
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

/// Stops an app: it serves no requests and runs no schedules. Pushes are still accepted.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/stop",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::App), api_types::ErrorResponses),
)]
pub(super) async fn stop(
    State(api): State<Api>,
    found: FoundApp<Admin>,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::App>, ApiError> {
    set_stopped(api, found, true).await
}

/// Starts a stopped app. Schedule runs that were due meanwhile are skipped.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/start",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::App), api_types::ErrorResponses),
)]
pub(super) async fn start(
    State(api): State<Api>,
    found: FoundApp<Admin>,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::App>, ApiError> {
    set_stopped(api, found, false).await
}

async fn set_stopped(
    api: Api,
    FoundApp { app, caller, .. }: FoundApp<Admin>,
    stopped: bool,
) -> Result<Json<api_types::App>, ApiError> {
    let deployer = api.deployer.clone();
    let task = tokio::spawn(async move { deployer.stop(&app, stopped, &caller.actor).await });
    Ok(Json(to_api(&api, task.await??)))
}

/// Renames an app. Its URLs change, and the scopes of tokens follow.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/rename",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = api_types::RenameApp,
    responses((status = 200, body = api_types::RenamedApp), api_types::ErrorResponses),
)]
pub(super) async fn rename(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Admin>,
    _: NoQuery,
    JsonBody(api_types::RenameApp { name }): JsonBody<api_types::RenameApp>,
) -> Result<Json<api_types::RenamedApp>, ApiError> {
    let name = AppName::new(&name)?;
    let deployer = api.deployer.clone();
    let task = tokio::spawn(async move { deployer.rename(&app, &name, &caller.actor).await });
    let renamed = task.await??;
    Ok(Json(api_types::RenamedApp { app: to_api(&api, renamed.app), tokens: renamed.tokens }))
}

/// Deletes an app with all its data. It can be undeleted for seven days. Its name and domains are available at once, and a new app of that name
/// starts empty.
#[utoipa::path(
    delete,
    path = "/-/api/v1/apps/{app}",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::DeletedApp), api_types::ErrorResponses),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Admin>,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::DeletedApp>, ApiError> {
    let deployer = api.deployer.clone();
    let task = tokio::spawn(async move { deployer.delete(&app, &caller.actor).await });
    Ok(Json(deleted(task.await??)))
}

/// Lists the deleted apps that can be undeleted, latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/deleted-apps",
    tag = "apps",
    responses((status = 200, body = api_types::DeletedApps), api_types::ErrorResponses),
)]
pub(super) async fn list_deleted(
    State(api): State<Api>,
    _: AdminCaller,
    _: NoQuery,
) -> Result<Json<api_types::DeletedApps>, ApiError> {
    let apps = api.apps.deleted().await?;
    Ok(Json(api_types::DeletedApps { apps: apps.into_iter().map(deleted).collect() }))
}

#[derive(Deserialize)]
pub(super) struct DeletedPath {
    id: Uuid,
}

/// Undeletes an app, under its old name or a new one.
#[utoipa::path(
    post,
    path = "/-/api/v1/deleted-apps/{id}/undelete",
    tag = "apps",
    params(("id" = Uuid, Path, description = "The id of the deleted app")),
    request_body = api_types::Undelete,
    responses((status = 200, body = api_types::App), api_types::ErrorResponses),
)]
pub(super) async fn undelete(
    State(api): State<Api>,
    AdminCaller(caller): AdminCaller,
    PathParams(DeletedPath { id }): PathParams<DeletedPath>,
    _: NoQuery,
    JsonBody(api_types::Undelete { name }): JsonBody<api_types::Undelete>,
) -> Result<Json<api_types::App>, ApiError> {
    let name = name.map(|name| AppName::new(&name)).transpose()?;
    let deployer = api.deployer.clone();
    let task =
        tokio::spawn(
            async move { deployer.undelete(AppId::from_uuid(id), name.as_ref(), &caller.actor).await },
        );
    Ok(Json(to_api(&api, task.await??)))
}

fn deleted(app: DeletedApp) -> api_types::DeletedApp {
    api_types::DeletedApp {
        id: app.id.as_uuid(),
        name: app.name.to_string(),
        deleted_at: app.deleted_at,
        deleted_by: app.deleted_by,
        purged_at: app.deleted_at + DELETED_APP_RETENTION,
        disk_bytes: app.disk_bytes,
    }
}
