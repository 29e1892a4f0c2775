//! Apps: what there is, what is live, and their settings.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{Response, StatusCode};
use manifest_schema::name::AppName;
use platform::tokens::Right;

use super::input::{JsonBody, NoBody, Nothing};
use super::query::{Asked, find_app};
use super::{Api, document, failed, no_app, problem};
use crate::edge::credentials::Caller;
use crate::rest::{self, App, AppSettings, Apps, LiveDeploy};

/// All apps that the caller may anything with, by name.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps",
    tag = "apps",
    responses((status = 200, body = rest::Apps), rest::Refusals),
)]
pub(super) async fn list(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Response<Body> {
    let apps = match api.store.apps().await {
        Ok(apps) => apps,
        Err(error) => return failed(&error),
    };
    let shown = apps.into_iter().filter(|app| caller.who.knows(&app.name)).map(|app| shown(&api, app));
    document(&Apps { apps: shown.collect() })
}

fn shown(api: &Api, app: store::App) -> App {
    App {
        live: api
            .table
            .get_production(app.name.as_str())
            .map(|live| LiveDeploy { deploy: live.deploy, commit: live.revision.commit().to_owned() }),
        name: app.name.as_str().to_owned(),
        production_branch: app.production_branch,
        protected: app.protected,
        created_at: app.created_at,
    }
}

/// Creates an app, to be pushed to later; 201 where it was not there before.
#[utoipa::path(
    put,
    path = "/-/api/v1/apps/{app}",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = rest::App), (status = 201, body = rest::App), rest::Refusals),
)]
pub(super) async fn create(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
    _: Asked<Nothing>,
    _: NoBody,
) -> Response<Body> {
    let name = match AppName::new(&app) {
        Ok(name) => name,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if !caller.who.may(Right::Create, &name) {
        let words = format!("this token may not do that; it needs the scope {}", Right::Create.scope(&name));
        return problem(StatusCode::FORBIDDEN, &words);
    }
    let created = match api.store.create_app(&name, &caller.actor).await {
        Ok(created) => created,
        Err(error) => return failed(&error),
    };
    match api.store.app(&name).await {
        Ok(Some(app)) => {
            let mut response = document(&shown(&api, app));
            if created {
                *response.status_mut() = StatusCode::CREATED;
            }
            response
        }
        Ok(None) => no_app(),
        Err(error) => failed(&error),
    }
}

/// The settings of an app.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/settings",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = rest::AppSettings), rest::Refusals),
)]
pub(super) async fn settings(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Response<Body> {
    match find_app(&api, &caller, Right::Read, &app).await {
        Ok(app) => document(&AppSettings { protected: Some(app.protected) }),
        Err(response) => *response,
    }
}

/// Changes those settings of an app that are named.
#[utoipa::path(
    patch,
    path = "/-/api/v1/apps/{app}/settings",
    tag = "apps",
    params(("app" = String, Path, description = "The name of the app")),
    request_body = rest::AppSettings,
    responses((status = 200, body = rest::AppSettings), rest::Refusals),
)]
pub(super) async fn set(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
    _: Asked<Nothing>,
    JsonBody(asked): JsonBody<AppSettings>,
) -> Response<Body> {
    let app = match find_app(&api, &caller, Right::Admin, &app).await {
        Ok(app) => app,
        Err(response) => return *response,
    };
    let protected = asked.protected.unwrap_or(app.protected);
    match api.store.protect_app(&app, protected, &caller.actor).await {
        Ok(_) => document(&AppSettings { protected: Some(protected) }),
        Err(error) => failed(&error),
    }
}
