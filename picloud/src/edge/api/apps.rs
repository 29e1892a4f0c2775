//! Apps: list, create, prune, and their settings.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use manifest_schema::name::AppName;
use platform::gc::Pruned;
use platform::tokens::Right;
use serde::Deserialize;

use super::extract::{Admin, FoundApp, JsonBody, NoBody, NoQuery, PathParams, Read};
use super::state::Api;
use crate::api_types::{self, App, AppSettings, Apps, LiveDeploy};
use crate::edge::api_error::ApiError;
use crate::edge::authenticator::Caller;

/// Lists the apps that the caller has access to, by name.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps",
    tag = "apps",
    responses((status = 200, body = api_types::Apps), api_types::ErrorResponses),
)]
pub(super) async fn list(State(api): State<Api>, caller: Caller, _: NoQuery) -> Result<Json<Apps>, ApiError> {
    let apps = api.apps.list().await?.into_iter().filter(|app| caller.principal.can_see(&app.name));
    Ok(Json(Apps { apps: apps.map(|app| to_api(&api, app)).collect() }))
}

pub(super) fn to_api(api: &Api, app: platform::apps::App) -> App {
    App {
        live: api
            .table
            .get_production(app.name.as_str())
            .map(|live| LiveDeploy { deploy: live.deploy, commit: live.revision.commit().to_owned() }),
        name: app.name.as_str().to_owned(),
        production_branch: app.production_branch,
        protected: app.protected,
        created_at: app.created_at,
        disk_bytes: app.disk_bytes,
        stopped: app
            .stopped_at
            .map(|at| api_types::StoppedApp { at, by: app.stopped_by.unwrap_or_default() }),
    }
}

#[derive(Deserialize)]
pub(super) struct NewApp {
    app: String,
}

/// Creates an app; 201 if it did not exist.
#[utoipa::path(
    put,
    path = "/-/api/v1/apps/{app}",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::App), (status = 201, body = api_types::App), api_types::ErrorResponses),
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    PathParams(NewApp { app }): PathParams<NewApp>,
    _: NoQuery,
    _: NoBody,
) -> Result<(StatusCode, Json<App>), ApiError> {
    let name = AppName::new(&app)?;
    if !caller.principal.can(Right::Create, &name) {
        return Err(ApiError::missing_scope(Right::Create.scope(&name)));
    }
    let (app, created) = api.apps.create(&name, &caller.actor).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(to_api(&api, app))))
}

/// Deletes old deploys of an app and collects the objects that become unreachable. Live deploys are kept.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/prune",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = api_types::Prune,
    responses((status = 200, body = api_types::Pruned), api_types::ErrorResponses),
)]
pub(super) async fn prune(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Admin>,
    _: NoQuery,
    JsonBody(api_types::Prune { deploys, older_than_seconds }): JsonBody<api_types::Prune>,
) -> Result<Json<api_types::Pruned>, ApiError> {
    // The numbers of the API have 63 bits.
    if older_than_seconds.is_some_and(|seconds| i64::try_from(seconds).is_err()) {
        return Err(ApiError::bad_request("`older_than_seconds` is too large"));
    }
    let (collector, name) = (api.collector.clone(), app.name.clone());
    let rule = collector.rule(deploys, older_than_seconds.map(Duration::from_secs));
    // Spawned: a disconnect of the client neither cancels it halfway nor loses its audit event.
    let task = tokio::spawn(async move { collector.prune(&app, &rule, &caller.actor).await });
    let Pruned { deploys, objects, bytes } = task.await??;
    let now = api.apps.find(&name).await?.ok_or_else(ApiError::no_app)?;
    Ok(Json(api_types::Pruned { deploys, objects, bytes, disk_bytes: now.disk_bytes }))
}

/// Shows the settings of an app.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/settings",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::AppSettings), api_types::ErrorResponses),
)]
pub(super) async fn settings(FoundApp { app, .. }: FoundApp<Read>, _: NoQuery) -> Json<AppSettings> {
    Json(AppSettings { protected: Some(app.protected) })
}

/// Changes the given settings of an app.
#[utoipa::path(
    patch,
    path = "/-/api/v1/apps/{app}/settings",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = api_types::AppSettings,
    responses((status = 200, body = api_types::AppSettings), api_types::ErrorResponses),
)]
pub(super) async fn set(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Admin>,
    _: NoQuery,
    JsonBody(settings): JsonBody<AppSettings>,
) -> Result<Json<AppSettings>, ApiError> {
    let protected = settings.protected.unwrap_or(app.protected);
    api.apps.protect(&app, protected, &caller.actor).await?;
    Ok(Json(AppSettings { protected: Some(protected) }))
}
