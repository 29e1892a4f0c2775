//! Secrets of an app: which there are, set, unset; and the keys of all.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{Response, StatusCode};
use manifest_schema::name::{AppName, SettingName};
use platform::deploy::{NotUnset, Pusher};
use platform::secrets::{Changed, ListedSecret, SecretError};
use platform::tokens::Right;
use store::StoreError;

use super::input::{JsonBody, NoBody, Nothing};
use super::query::{Asked, find_app};
use super::{Api, allow, allow_admin, document, ended_early, failed, no_app, problem};
use crate::edge::credentials::Caller;
use crate::rest;

/// Which secrets are set, when and by whom.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/secrets",
    tag = "secrets",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = rest::Secrets), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Response<Body> {
    let app = match find_app(&api, &caller, Right::Secrets, &app).await {
        Ok(app) => app,
        Err(response) => return *response,
    };
    match api.vault.list(app.id).await {
        Ok(secrets) => {
            let shown = secrets.into_iter().map(|ListedSecret { secret, lost }| rest::Secret {
                name: secret.name,
                set_at: secret.set_at,
                set_by: secret.set_by,
                key: secret.key,
                lost,
            });
            document(&rest::Secrets { secrets: shown.collect() })
        }
        Err(error) => failed(&error),
    }
}

/// Sets a secret. Whoever may create the app creates it with that: its first push may need the secret.
#[utoipa::path(
    put,
    path = "/-/api/v1/apps/{app}/secrets/{name}",
    tag = "secrets",
    params(("app" = String, Path, description = "The name of the app"), ("name" = String, Path, description = "The name of the secret")),
    request_body = rest::NewSecret,
    responses((status = 200, body = rest::ChangedSecret), rest::Refusals),
)]
pub(super) async fn set(
    State(api): State<Api>,
    Path((app, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    _: Asked<Nothing>,
    JsonBody(rest::NewSecret { value }): JsonBody<rest::NewSecret>,
) -> Response<Body> {
    let name = match named(&name) {
        Ok(name) => name,
        Err(response) => return *response,
    };
    if let Err(response) = allow(&caller, Right::Secrets, &app) {
        return *response;
    }
    let Ok(app) = AppName::new(&app) else { return no_app() };
    // In a task of its own: a client that hangs up now does not stop it halfway, when it is stored and not served.
    let (deployer, of) = (api.deployer.clone(), name.clone());
    let by = Pusher { caller: caller.who, actor: caller.actor, creates: true, message: None };
    let setting = tokio::spawn(async move { deployer.set_secret(&app, &of, &value, &by).await });
    match setting.await {
        Ok(Ok(changed)) => document(&shown(&name, changed)),
        Ok(Err(error)) => refused(&error),
        Err(error) => ended_early(&error),
    }
}

/// Unsets a secret.
#[utoipa::path(
    delete,
    path = "/-/api/v1/apps/{app}/secrets/{name}",
    tag = "secrets",
    params(("app" = String, Path, description = "The name of the app"), ("name" = String, Path, description = "The name of the secret")),
    responses((status = 200, body = rest::ChangedSecret), rest::Refusals),
)]
pub(super) async fn unset(
    State(api): State<Api>,
    Path((app, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    _: Asked<Nothing>,
    _: NoBody,
) -> Response<Body> {
    let name = match named(&name) {
        Ok(name) => name,
        Err(response) => return *response,
    };
    let app = match find_app(&api, &caller, Right::Secrets, &app).await {
        Ok(app) => app,
        Err(response) => return *response,
    };
    let (deployer, of) = (api.deployer.clone(), name.clone());
    let unsetting = tokio::spawn(async move { deployer.unset_secret(&app, &of, &caller.actor).await });
    match unsetting.await {
        Ok(Ok(changed)) if !changed.changed => problem(StatusCode::NOT_FOUND, "there is no such secret"),
        Ok(Ok(changed)) => document(&shown(&name, changed)),
        Ok(Err(error @ NotUnset::InUse { .. })) => problem(StatusCode::CONFLICT, &error.to_string()),
        Ok(Err(NotUnset::Secret(error))) => refused(&error),
        Err(error) => ended_early(&error),
    }
}

/// Encrypts the secrets of all apps with the first key of the file.
#[utoipa::path(
    post,
    path = "/-/api/v1/secrets/rotate",
    tag = "secrets",
    responses((status = 200, body = rest::Rotated), rest::Refusals),
)]
pub(super) async fn rotate(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    _: Asked<Nothing>,
    _: NoBody,
) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    match api.vault.rotate(&caller.actor).await {
        Ok(rotated) => document(&rest::Rotated { rotated }),
        Err(error) => refused(&error),
    }
}

/// Puts a new key on top of the key file in the data folder of the node that answers, for where the old one is lost. Refused
/// where the operator keeps the file.
#[utoipa::path(
    post,
    path = "/-/api/v1/secrets/new-key",
    tag = "secrets",
    responses((status = 200, body = rest::NewKey), rest::Refusals),
)]
pub(super) async fn begin_new_key(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    _: Asked<Nothing>,
    _: NoBody,
) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    let vault = api.vault.clone();
    // In a task of its own: a client that hangs up now does not leave an act in the audit list without its key.
    match tokio::spawn(async move { vault.begin_new_key(&caller.actor).await }).await {
        Ok(Ok(new)) => document(&rest::NewKey {
            key: new.id,
            node: api.node.identity.name.clone(),
            file: new.file.display().to_string(),
        }),
        Ok(Err(error)) => refused(&error),
        Err(error) => ended_early(&error),
    }
}

fn shown(name: &SettingName, changed: Changed) -> rest::ChangedSecret {
    let deploys = changed.deploys.into_iter();
    let deploys = deploys.map(|(branch, deploy)| rest::SecretDeploy { branch, deploy: deploy.get() });
    rest::ChangedSecret {
        name: name.as_str().to_owned(),
        changed: changed.changed,
        deploys: deploys.collect(),
    }
}

fn refused(error: &SecretError) -> Response<Body> {
    match error {
        SecretError::Store(StoreError::NoApp) => no_app(),
        SecretError::Store(error) => failed(error),
        SecretError::Value => problem(StatusCode::BAD_REQUEST, &error.to_string()),
        SecretError::TooMany => problem(StatusCode::CONFLICT, &error.to_string()),
        SecretError::Key(_) | SecretError::Seal(_) => {
            tracing::error!(%error, "secrets cannot be opened");
            problem(StatusCode::CONFLICT, &error.to_string())
        }
    }
}

fn named(name: &str) -> Result<SettingName, Box<Response<Body>>> {
    SettingName::new(name).map_err(|error| Box::new(problem(StatusCode::BAD_REQUEST, &error.to_string())))
}
