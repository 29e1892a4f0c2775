//! Deploys: history, rollback, and the routes of the live revision.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use manifest_schema::manifest::{Function, Route};
use manifest_schema::name::AppName;
use platform::apps::{DeployNumber, DeployState, ListedDeploy};
use platform::deploy::{Activated, EventSender, Outcome, Pusher, Rejection};
use platform::memory::OutOfMemory;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{
    AppAccess, BranchParam, Cursor, DeployProduction, FoundApp, JsonBody, Limit, NoQuery, Read,
    RequestedHost, StrictQuery, page,
};
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;
use crate::render::push::sentence;

/// The default number of deploys on a page.
const PAGE: u32 = 50;

/// The filter of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only deploys of this branch.
    branch: Option<String>,
    /// The maximum number of items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<u64>>,
}

/// Lists the deploys of an app, latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/deploys",
    tag = "deploys",
    params(("app" = String, Path, description = "The name of the app"), ListParams),
    responses((status = 200, body = api_types::Deploys), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    StrictQuery(params): StrictQuery<ListParams>,
) -> Result<Json<api_types::Deploys>, ApiError> {
    let ListParams { branch, limit, cursor } = params;
    let is_first = cursor.is_none();
    let page = page(limit, cursor, PAGE).and_then(DeployNumber::new);
    let found = api.apps.deploys(&app, branch.clone(), page).await?;
    if let Some(branch) = branch.filter(|_| is_first && found.items.is_empty()) {
        return Err(lookup::no_deploy_of(&api, &app.name, &branch));
    }
    Ok(Json(api_types::Deploys {
        next_cursor: found.next.map(|next| next.to_string()),
        deploys: found.items.into_iter().map(to_api).collect(),
    }))
}

fn to_api(DeployState { deploy: listed, live }: DeployState) -> api_types::Deploy {
    api_types::Deploy {
        live,
        number: listed.deploy.number.get(),
        branch: listed.deploy.branch,
        commit: listed.deploy.commit.to_string(),
        subject: listed.subject,
        author: listed.author,
        deployed_at: listed.deploy.at,
        deployed_by: listed.deploy.by,
        cause: listed.deploy.cause,
        message: listed.deploy.message,
    }
}

/// Rolls production back to an earlier deploy, as a new deploy.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/rollback",
    tag = "deploys",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = api_types::Rollback,
    responses((status = 200, body = api_types::RolledBack), api_types::ErrorResponses),
)]
pub(super) async fn roll_back(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<DeployProduction>,
    host: RequestedHost,
    _: NoQuery,
    JsonBody(rollback): JsonBody<api_types::Rollback>,
) -> Result<Json<api_types::RolledBack>, ApiError> {
    let parse = |number| DeployNumber::new(number).ok_or(ApiError::bad_request("deploy numbers start at 1"));
    let to = rollback.deploy.map(parse).transpose()?;
    let message = rollback.message.filter(|message| !message.trim().is_empty());
    let pusher =
        Pusher { caller: caller.principal, actor: caller.actor, creates: false, message: message.clone() };
    let url = host.app_urls(&api, &app.name).production();
    // Spawned: a disconnect of the client does not cancel it halfway.
    let (deployer, name) = (api.deployer.clone(), app.name.clone());
    let task = tokio::spawn(async move {
        let tell = EventSender::sink();
        deployer.roll_back(&name, to, &pusher, &tell).await
    });
    let rolled = task.await??;
    match rolled.report.outcome {
        Outcome::Live(activated) => Ok(Json(rolled_back(rolled.to, activated, url, message))),
        Outcome::Rejected(rejection) => Err(rejected(&app.name, &rejection)),
        _ => Err(ApiError::conflict("nothing was changed")),
    }
}

/// The error for a rejected rollback.
fn rejected(app: &AppName, rejection: &Rejection) -> ApiError {
    let status = match rejection {
        Rejection::DiskFull | Rejection::NoMemory(OutOfMemory::App { .. }) => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        Rejection::OutcomeUnknown | Rejection::NoMemory(OutOfMemory::Node { .. }) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::CONFLICT,
    };
    ApiError::new(status, sentence(app, rejection))
}

fn rolled_back(
    to: ListedDeploy,
    activated: Activated,
    url: String,
    message: Option<String>,
) -> api_types::RolledBack {
    let reach = activated.propagation.filter(|reach| !reach.unknown);
    api_types::RolledBack {
        to: to.deploy.number.get(),
        deploy: activated.deploy.get(),
        commit: to.deploy.commit.to_string(),
        subject: to.subject,
        url,
        message,
        nodes_live: reach.as_ref().map(|reach| reach.live),
        nodes: reach.as_ref().map(platform::nodes::Propagation::nodes),
    }
}

/// Lists the routes and functions of the live revision.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/routes",
    tag = "deploys",
    params(("app" = String, Path, description = "The name of the app"), BranchParam),
    responses((status = 200, body = api_types::Routes), api_types::ErrorResponses),
)]
pub(super) async fn routes(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Read>,
    StrictQuery(BranchParam { branch }): StrictQuery<BranchParam>,
) -> Result<Json<api_types::Routes>, ApiError> {
    let live = lookup::live(&api, &caller.principal, &app, branch.as_deref())?;
    let manifest = live.revision.manifest();
    let route = |route: &Route| api_types::Route {
        path: route.path.to_string(),
        methods: route.methods.iter().map(|method| method.as_str().to_owned()).collect(),
        script: route.script.as_str().to_owned(),
    };
    let function = |function: &Function| api_types::Function {
        name: function.name.as_str().to_owned(),
        script: function.script.as_str().to_owned(),
    };
    Ok(Json(api_types::Routes {
        deploy: live.deploy,
        routes: manifest.routes.iter().map(route).collect(),
        functions: manifest.functions.iter().map(function).collect(),
    }))
}
