//! Branches: their live revisions, and whether the schedules of a preview run.

use axum::Json;
use axum::extract::State;
use manifest_schema::label::branch_label;
use platform::apps::{App, BranchState};

use super::extract::{DeployPreviews, FoundApp, JsonBody, NoQuery, Read, RequestedHost};
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;
use crate::render::app_urls::AppUrls;

/// Lists the live branches of an app, production first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/branches",
    tag = "branches",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::Branches), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    host: RequestedHost,
    _: NoQuery,
) -> Result<Json<api_types::Branches>, ApiError> {
    let urls = host.app_urls(&api, &app.name);
    let branches = api.apps.branches(&app).await?.into_iter();
    Ok(Json(api_types::Branches { branches: branches.map(|branch| to_api(&app, branch, &urls)).collect() }))
}

/// Enables or disables the schedules of a preview. They are disabled by default.
#[utoipa::path(
    patch,
    path = "/-/api/v1/apps/{app}/branches",
    tag = "branches",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = api_types::BranchSettings,
    responses((status = 200, body = api_types::Branch), api_types::ErrorResponses),
)]
pub(super) async fn set(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<DeployPreviews>,
    host: RequestedHost,
    _: NoQuery,
    JsonBody(api_types::BranchSettings { branch, scheduled }): JsonBody<api_types::BranchSettings>,
) -> Result<Json<api_types::Branch>, ApiError> {
    if branch == app.production_branch {
        let message = "schedules of production cannot be disabled; pause one with `picloud pause`";
        return Err(ApiError::conflict(message));
    }
    // Spawned: a disconnect of the client does not cancel it halfway.
    let (deployer, of, name) = (api.deployer.clone(), app.clone(), branch.clone());
    let task =
        tokio::spawn(async move { deployer.schedule_preview(&of, &name, scheduled, &caller.actor).await });
    if !task.await?? {
        return Err(lookup::no_branch(&api, &app.name, &branch));
    }
    let branches = api.apps.branches(&app).await?;
    let found = branches.into_iter().find(|found| found.live.branch == branch);
    let urls = host.app_urls(&api, &app.name);
    Ok(Json(to_api(&app, found.ok_or_else(ApiError::no_branch)?, &urls)))
}

fn to_api(app: &App, branch: BranchState, urls: &AppUrls) -> api_types::Branch {
    let BranchState { live, production, deployed_at, expires_at } = branch;
    api_types::Branch {
        url: match production {
            true => urls.production(),
            false => urls.preview(&live.branch),
        },
        label: branch_label(&app.name, &live.branch),
        name: live.branch,
        production,
        scheduled: production || live.scheduled,
        deploy: live.deploy.get(),
        commit: live.commit.to_string(),
        deployed_at,
        expires_at,
    }
}
