//! Secrets of an app: which there are, set, unset; and the keys of all.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use manifest_schema::name::{AppName, SettingName};
use platform::deploy::Pusher;
use platform::secrets::{Changed, Environment, ListedSecret, SealedSecret};
use platform::tokens::{Caller, Right};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{
    AdminCaller, AppAccess, FoundApp, JsonBody, NoBody, NoQuery, PathParams, Secrets, StrictQuery,
};
use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::rest::{self, SecretEnvironment};

/// From so many bytes on, letters alone or digits alone are no word or number of other texts.
const WORD_MAX: usize = 16;

/// How many bytes of live scripts a new value is looked for in, those of production first.
const SEARCHED_BYTES_MAX: usize = 64 * 1024 * 1024;

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
    FoundApp { app, .. }: FoundApp<Secrets>,
    _: NoQuery,
) -> Result<Json<rest::Secrets>, ApiError> {
    let secrets = api.vault.list(app.id).await?.into_iter();
    let secret = |ListedSecret { secret, lost }| {
        let SealedSecret { name, environment, set_at, set_by, key, .. } = secret;
        rest::Secret { name, environment: environment.into(), set_at, set_by, key, lost }
    };
    Ok(Json(rest::Secrets { secrets: secrets.map(secret).collect() }))
}

#[derive(Deserialize)]
pub(super) struct SecretPath {
    name: String,
}

/// For whom a secret is set or unset.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EnvironmentParam {
    /// For production, where it is left out, or for all previews.
    #[serde(default)]
    #[param(inline)]
    environment: SecretEnvironment,
}

/// Sets a secret. Whoever may create the app creates it with that: its first push may need the secret.
#[utoipa::path(
    put,
    path = "/-/api/v1/apps/{app}/secrets/{name}",
    tag = "secrets",
    params(
        ("app" = String, Path, description = "The name of the app"),
        ("name" = String, Path, description = "The name of the secret"),
        EnvironmentParam,
    ),
    request_body = rest::NewSecret,
    responses((status = 200, body = rest::ChangedSecret), rest::Refusals),
)]
pub(super) async fn set(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Secrets>,
    PathParams(SecretPath { name }): PathParams<SecretPath>,
    StrictQuery(EnvironmentParam { environment }): StrictQuery<EnvironmentParam>,
    JsonBody(rest::NewSecret { value }): JsonBody<rest::NewSecret>,
) -> Result<Json<rest::ChangedSecret>, ApiError> {
    let name = SettingName::new(&name)?;
    // In a task of its own: a client that hangs up now does not stop it halfway, when it is stored and not served.
    let (deployer, of) = (api.deployer.clone(), name.clone());
    // What is searched is large, and no other request waits for it.
    let (of_app, who, new) = ((api.clone(), app.clone()), caller.who.clone(), value.clone());
    let warnings = tokio::task::spawn_blocking(move || doubts(&of_app.0, &who, &of_app.1, &new)).await?;
    let by = Pusher { caller: caller.who, actor: caller.actor, creates: true, message: None };
    let setting =
        tokio::spawn(async move { deployer.set_secret(&app, (environment.into(), &of), &value, &by).await });
    Ok(Json(rest::ChangedSecret { warnings, ..shown(&name, environment, setting.await??) }))
}

/// Why a value makes a bad secret: it is looked for in logs and pushes. Only who can read the code learns what stands in it.
fn doubts(api: &Api, caller: &Caller, app: &AppName, value: &str) -> Vec<String> {
    let mut doubts = Vec::new();
    if value.len() < runtime::SECRET_MIN {
        let least = runtime::SECRET_MIN;
        return vec![format!("a secret of less than {least} bytes is not looked for in logs and pushes")];
    }
    let is_word = value.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    if value.len() < WORD_MAX && (is_word || is_number) {
        doubts.push(format!(
            "the value is a {} that other texts can hold: it is hidden wherever it stands in logs, and pushes with it are rejected",
            if is_word { "word" } else { "number" }
        ));
    }
    if caller.may(Right::Read, app) {
        let mut branches = api.table.branches(app);
        branches.sort_by_key(|live| (!live.branch.production, live.branch.name.clone()));
        let (mut seen, mut left) = (HashSet::new(), SEARCHED_BYTES_MAX);
        for live in &branches {
            for (path, source) in live.revision.sources() {
                // Previews mostly have the texts of production.
                if !seen.insert(Arc::as_ptr(source)) {
                    continue;
                }
                let Some(rest) = left.checked_sub(source.text().len()) else { return doubts };
                left = rest;
                if source.text().contains(value) {
                    doubts.push(format!(
                        "the value stands in {path}, which is live on {}, and so in what can be cloned: take another value",
                        live.branch.name
                    ));
                }
            }
        }
    }
    doubts
}

/// Unsets a secret.
#[utoipa::path(
    delete,
    path = "/-/api/v1/apps/{app}/secrets/{name}",
    tag = "secrets",
    params(
        ("app" = String, Path, description = "The name of the app"),
        ("name" = String, Path, description = "The name of the secret"),
        EnvironmentParam,
    ),
    responses((status = 200, body = rest::ChangedSecret), rest::Refusals),
)]
pub(super) async fn unset(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Secrets>,
    PathParams(SecretPath { name }): PathParams<SecretPath>,
    StrictQuery(EnvironmentParam { environment }): StrictQuery<EnvironmentParam>,
    _: NoBody,
) -> Result<Json<rest::ChangedSecret>, ApiError> {
    let name = SettingName::new(&name)?;
    let (deployer, of) = (api.deployer.clone(), name.clone());
    let unsetting =
        tokio::spawn(
            async move { deployer.unset_secret(&app, (environment.into(), &of), &caller.actor).await },
        );
    let changed = unsetting.await??;
    if !changed.changed {
        return Err(ApiError::not_found("there is no such secret"));
    }
    Ok(Json(shown(&name, environment, changed)))
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
    AdminCaller(caller): AdminCaller,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<rest::Rotated>, ApiError> {
    Ok(Json(rest::Rotated { rotated: api.vault.rotate(&caller.actor).await? }))
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
    AdminCaller(caller): AdminCaller,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<rest::NewKey>, ApiError> {
    let vault = api.vault.clone();
    // In a task of its own: a client that hangs up now does not leave an act in the audit list without its key.
    let new = tokio::spawn(async move { vault.begin_new_key(&caller.actor).await }).await??;
    Ok(Json(rest::NewKey {
        key: new.id,
        node: api.nodes.this().identity.name.clone(),
        file: new.file.display().to_string(),
    }))
}

impl From<Environment> for SecretEnvironment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Production => Self::Production,
            Environment::Preview => Self::Preview,
        }
    }
}

impl From<SecretEnvironment> for Environment {
    fn from(environment: SecretEnvironment) -> Self {
        match environment {
            SecretEnvironment::Production => Self::Production,
            SecretEnvironment::Preview => Self::Preview,
        }
    }
}

fn shown(name: &SettingName, environment: SecretEnvironment, changed: Changed) -> rest::ChangedSecret {
    let deploys = changed.deploys.into_iter();
    let deploys = deploys.map(|(branch, deploy)| rest::SecretDeploy { branch, deploy: deploy.get() });
    rest::ChangedSecret {
        name: name.as_str().to_owned(),
        environment,
        changed: changed.changed,
        deploys: deploys.collect(),
        warnings: Vec::new(),
    }
}
