//! What is live on each branch, and whether the schedules of a preview run.

use axum::Json;
use axum::extract::State;
use manifest_schema::label::branch_label;
use platform::apps::{App, BranchState};

use super::extract::{DeployPreviews, FoundApp, JsonBody, NoQuery, ReachedBy, Read};
use super::names;
use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::rest;
use crate::words::addresses::Addresses;

/// What is live on each branch, production first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/branches",
    tag = "branches",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = rest::Branches), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    reached: ReachedBy,
    _: NoQuery,
) -> Result<Json<rest::Branches>, ApiError> {
    let addresses = reached.addresses(&api, &app.name);
    let branches = api.apps.branches(&app).await?.into_iter();
    Ok(Json(rest::Branches { branches: branches.map(|branch| shown(&app, branch, &addresses)).collect() }))
}

/// Lets the schedules of a preview run by the clock, or not any more. Until somebody asks for it they do not.
#[utoipa::path(
    patch,
    path = "/-/api/v1/apps/{app}/branches",
    tag = "branches",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = rest::BranchSettings,
    responses((status = 200, body = rest::Branch), rest::Refusals),
)]
pub(super) async fn set(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<DeployPreviews>,
    reached: ReachedBy,
    _: NoQuery,
    JsonBody(rest::BranchSettings { branch, scheduled }): JsonBody<rest::BranchSettings>,
) -> Result<Json<rest::Branch>, ApiError> {
    if branch == app.production_branch {
        let words = "the schedules of production always run; `picloud pause` stops one of them";
        return Err(ApiError::conflict(words));
    }
    // In a task of its own: a client that hangs up now does not stop it halfway.
    let (deployer, of, name) = (api.deployer.clone(), app.clone(), branch.clone());
    let setting =
        tokio::spawn(async move { deployer.schedule_preview(&of, &name, scheduled, &caller.actor).await });
    if !setting.await?? {
        return Err(names::no_branch(&api, &app.name, &branch));
    }
    let branches = api.apps.branches(&app).await?;
    let found = branches.into_iter().find(|found| found.live.branch == branch);
    let addresses = reached.addresses(&api, &app.name);
    Ok(Json(shown(&app, found.ok_or_else(ApiError::no_branch)?, &addresses)))
}

fn shown(app: &App, branch: BranchState, addresses: &Addresses) -> rest::Branch {
    let BranchState { live, production, deployed_at, expires_at } = branch;
    rest::Branch {
        url: match production {
            true => addresses.production(),
            false => addresses.preview(&live.branch),
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
