//! What is live on each branch, and whether the schedules of a preview run.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use chrono::TimeDelta;
use manifest_schema::label::branch_label;
use platform::tokens::Right;
use store::{App, LiveBranch, StoreError};

use super::input::{JsonBody, Nothing};
use super::query::{Asked, find_app};
use super::{Api, document, ended_early, failed, problem};
use crate::edge::credentials::Caller;
use crate::edge::forwarded::is_https;
use crate::edge::request;
use crate::rest;
use crate::words::addresses::Addresses;

/// What is live on each branch, production first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/branches",
    tag = "deploys",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = rest::Branches), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let app = match find_app(&api, &caller, Right::Read, &app).await {
        Ok(app) => app,
        Err(refused) => return *refused,
    };
    match live_branches(&api, &app, &addresses(&api, &app, &uri, &headers)).await {
        Ok(branches) => document(&rest::Branches { branches }),
        Err(error) => failed(&error),
    }
}

async fn live_branches(api: &Api, app: &App, addresses: &Addresses) -> Result<Vec<rest::Branch>, StoreError> {
    let mut branches = Vec::new();
    for LiveBranch { branch, commit, deploy, scheduled } in api.store.live_of(app.id).await? {
        let deployed_at = api.store.deployed_at(app.id, deploy).await?;
        let production = branch == app.production_branch;
        let age = api.preview_age.filter(|_| !production).and_then(|age| TimeDelta::from_std(age).ok());
        let label = branch_label(&app.name, &branch);
        branches.push(rest::Branch {
            url: match production {
                true => addresses.production(),
                false => addresses.preview(&branch),
            },
            label,
            name: branch,
            production,
            scheduled: production || scheduled,
            deploy: deploy.get(),
            commit: commit.to_string(),
            deployed_at,
            expires_at: age.and_then(|age| deployed_at?.checked_add_signed(age)),
        });
    }
    branches.sort_by_key(|branch| !branch.production);
    Ok(branches)
}

/// Lets the schedules of a preview run by the clock, or not any more. Until somebody asks for it they do not.
#[utoipa::path(
    patch,
    path = "/-/api/v1/apps/{app}/branches",
    tag = "deploys",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = rest::BranchSettings,
    responses((status = 200, body = rest::Branch), rest::Refusals),
)]
pub(super) async fn set(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    _: Asked<Nothing>,
    JsonBody(asked): JsonBody<rest::BranchSettings>,
) -> Response<Body> {
    let app = match find_app(&api, &caller, Right::DeployPreviews, &app).await {
        Ok(app) => app,
        Err(refused) => return *refused,
    };
    let addresses = addresses(&api, &app, &uri, &headers);
    if asked.branch == app.production_branch {
        let words = "the schedules of production always run; `picloud pause` stops one of them";
        return problem(StatusCode::CONFLICT, words);
    }
    // In a task of its own: a client that hangs up now does not stop it halfway.
    let (deployer, of, branch) = (api.deployer.clone(), app.clone(), asked.branch.clone());
    let setting =
        tokio::spawn(
            async move { deployer.schedule_preview(&of, &branch, asked.scheduled, &caller.actor).await },
        );
    match setting.await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return no_branch(),
        Ok(Err(error)) => return failed(&error),
        Err(error) => return ended_early(&error),
    }
    match live_branches(&api, &app, &addresses).await {
        Ok(branches) => match branches.iter().find(|branch| branch.name == asked.branch) {
            Some(branch) => document(branch),
            None => no_branch(),
        },
        Err(error) => failed(&error),
    }
}

/// Where the app answers, as whoever asks reaches this server.
pub(super) fn addresses(api: &Api, app: &App, uri: &Uri, headers: &HeaderMap) -> Addresses {
    api.public.addresses(request::host(uri, headers), is_https(headers), &app.name)
}

/// Nothing is served on the branch.
pub(super) fn no_branch() -> Response<Body> {
    problem(StatusCode::NOT_FOUND, "nothing is live on that branch")
}
