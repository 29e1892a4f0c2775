//! Deploys: what was live when and by whom, going back, and what the live one answers.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use platform::deploy::{Activated, Outcome, Pusher, Rejection, RollbackError, Tell};
use platform::tokens::Right;
use serde::Deserialize;
use store::{DeployFilter, DeployNumber, ListedDeploy};
use utoipa::IntoParams;

use super::input::{JsonBody, Nothing};
use super::previews::addresses;
use super::query::{Asked, Limit, cursor, find_app};
use super::{Api, allow, document, failed, problem, production};
use crate::edge::credentials::Caller;
use crate::rest;
use crate::words::push::sentence;

/// How many are listed where nothing else is asked for.
const PAGE: u32 = 50;

/// Which deploys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those of this branch.
    branch: Option<String>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// Where to go on: the `next_cursor` of another answer.
    cursor: Option<String>,
}

/// The deploys of an app, the latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/deploys",
    tag = "deploys",
    params(("app" = String, Path, description = "The name of the app"), Which),
    responses((status = 200, body = rest::Deploys), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
    Asked(which): Asked<Which>,
) -> Response<Body> {
    let (app, before) =
        match (find_app(&api, &caller, Right::Read, &app).await, cursor(which.cursor.as_deref())) {
            (Ok(app), Ok(before)) => (app, before),
            (Err(refused), _) | (_, Err(refused)) => return *refused,
        };
    let filter = DeployFilter { branch: which.branch, before: before.and_then(DeployNumber::new) };
    let limit = Limit::or(which.limit, PAGE);
    let (found, live) =
        match (api.store.latest_deploys(app.id, &filter, limit).await, api.store.live_of(app.id).await) {
            (Ok(found), Ok(live)) => (found, live),
            (Err(error), _) | (_, Err(error)) => return failed(&error),
        };
    let full = found.len() == limit as usize;
    let next_cursor = found.last().filter(|_| full).map(|last| last.deploy.number.to_string());
    let shown = |listed: store::ListedDeploy| rest::Deploy {
        live: live.iter().any(|live| live.deploy == listed.deploy.number),
        number: listed.deploy.number.get(),
        branch: listed.deploy.branch,
        commit: listed.deploy.commit.to_string(),
        subject: listed.subject,
        author: listed.author,
        deployed_at: listed.deploy.at,
        deployed_by: listed.deploy.by,
        because: listed.deploy.because,
        message: listed.deploy.message,
    };
    document(&rest::Deploys { deploys: found.into_iter().map(shown).collect(), next_cursor })
}

/// Goes back to an earlier deploy, by a push of the server's own.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/rollback",
    tag = "deploys",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = rest::Rollback,
    responses((status = 200, body = rest::RolledBack), rest::Refusals),
)]
pub(super) async fn roll_back(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    _: Asked<Nothing>,
    JsonBody(asked): JsonBody<rest::Rollback>,
) -> Response<Body> {
    let app = match find_app(&api, &caller, Right::DeployProduction, &app).await {
        Ok(app) => app,
        Err(refused) => return *refused,
    };
    let to = match asked.deploy.map(|number| DeployNumber::new(number).ok_or(number)) {
        Some(Err(_)) => return problem(StatusCode::BAD_REQUEST, "deploy numbers start at 1"),
        Some(Ok(number)) => Some(number),
        None => None,
    };
    // In a task of its own: a client that hangs up now does not stop it halfway.
    let deployer = api.deployer.clone();
    let message = asked.message.filter(|message| !message.trim().is_empty());
    let pusher = Pusher { caller: caller.who, actor: caller.actor, creates: false, message: message.clone() };
    let name = app.name.clone();
    let url = addresses(&api, &app, &uri, &headers).production();
    let rolling = tokio::spawn(async move {
        let (tell, _) = Tell::channel();
        deployer.roll_back(&app.name, to, &pusher, &tell).await
    });
    match rolling.await {
        Ok(Ok(rolled)) => match rolled.verdict.outcome {
            Outcome::Live(activated) => document(&rolled_back(rolled.to, activated, url, message)),
            Outcome::Rejected(rejection @ Rejection::DiskFull) => {
                problem(StatusCode::INSUFFICIENT_STORAGE, &sentence(&name, &rejection))
            }
            Outcome::Rejected(rejection @ Rejection::OutcomeUnknown) => {
                problem(StatusCode::SERVICE_UNAVAILABLE, &sentence(&name, &rejection))
            }
            Outcome::Rejected(rejection) => problem(StatusCode::CONFLICT, &sentence(&name, &rejection)),
            _ => problem(StatusCode::CONFLICT, "nothing was changed"),
        },
        Ok(Err(RollbackError::Store(error))) => failed(&error),
        Ok(Err(error @ (RollbackError::UnknownApp | RollbackError::UnknownDeploy(_)))) => {
            problem(StatusCode::NOT_FOUND, &error.to_string())
        }
        Ok(Err(error @ RollbackError::Message)) => problem(StatusCode::BAD_REQUEST, &error.to_string()),
        Ok(Err(error)) => problem(StatusCode::CONFLICT, &error.to_string()),
        Err(error) => {
            tracing::error!(%error, "a rollback came to an early end");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log has the cause")
        }
    }
}

fn rolled_back(
    to: ListedDeploy,
    activated: Activated,
    url: String,
    message: Option<String>,
) -> rest::RolledBack {
    let reach = activated.reach.filter(|reach| !reach.unknown);
    rest::RolledBack {
        to: to.deploy.number.get(),
        deploy: activated.deploy.get(),
        commit: to.deploy.commit.to_string(),
        subject: to.subject,
        url,
        message,
        nodes_live: reach.as_ref().map(|reach| reach.live),
        nodes: reach.as_ref().map(platform::nodes::Reach::nodes),
    }
}

/// The routes and functions of what is live in production.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/routes",
    tag = "deploys",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = rest::Routes), rest::Refusals),
)]
pub(super) async fn routes(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Response<Body> {
    if let Err(refused) = allow(&caller, Right::Read, &app) {
        return *refused;
    }
    let live = match production(&api.table, &app) {
        Ok(live) => live,
        Err(response) => return *response,
    };
    let manifest = live.revision.manifest();
    let route = |route: &manifest_schema::manifest::Route| rest::Route {
        path: route.path.to_string(),
        methods: route.methods.iter().map(|method| method.as_str().to_owned()).collect(),
        script: route.script.as_str().to_owned(),
    };
    let function = |function: &manifest_schema::manifest::Function| rest::Function {
        name: function.name.as_str().to_owned(),
        script: function.script.as_str().to_owned(),
    };
    document(&rest::Routes {
        deploy: live.deploy,
        routes: manifest.routes.iter().map(route).collect(),
        functions: manifest.functions.iter().map(function).collect(),
    })
}
