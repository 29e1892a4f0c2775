//! Secrets of an app: list, set, unset; and rotation of the encryption keys.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use manifest_schema::name::{AppName, SettingName};
use platform::deploy::Pusher;
use platform::secrets::{Changed, EncryptedSecret, Environment, ListedSecret};
use platform::tokens::{Caller, Right};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{
    AdminCaller, AppAccess, FoundApp, JsonBody, NoBody, NoQuery, PathParams, Secrets, StrictQuery,
};
use super::state::Api;
use crate::api_types::{self, SecretEnvironment};
use crate::edge::api_error::ApiError;

/// The length from which a value of only letters or digits is unlikely to occur in other text.
const WORD_BYTES_MAX: usize = 16;

/// How much of the live scripts is searched for a new value, production first.
const SEARCHED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Lists the secrets of an app, without their values.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/secrets",
    tag = "secrets",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::Secrets), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Secrets>,
    _: NoQuery,
) -> Result<Json<api_types::Secrets>, ApiError> {
    let secrets = api.vault.list(app.id).await?.into_iter();
    let secret = |ListedSecret { secret, lost }| {
        let EncryptedSecret { name, environment, set_at, set_by, key_id, .. } = secret;
        api_types::Secret { name, environment: environment.into(), set_at, set_by, key: key_id, lost }
    };
    Ok(Json(api_types::Secrets { secrets: secrets.map(secret).collect() }))
}

#[derive(Deserialize)]
pub(super) struct SecretPath {
    name: String,
}

/// The environment of a secret.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EnvironmentParam {
    /// Production, the default, or all previews.
    #[serde(default)]
    #[param(inline)]
    environment: SecretEnvironment,
}

/// Sets a secret and redeploys what uses it. A caller with the create scope creates the app too: its first push can need the secret.
#[utoipa::path(
    put,
    path = "/-/api/v1/apps/{app}/secrets/{name}",
    tag = "secrets",
    params(
        ("app" = String, Path, description = "The name of the app"),
        ("name" = String, Path, description = "The name of the secret"),
        EnvironmentParam,
    ),
    request_body = api_types::NewSecret,
    responses((status = 200, body = api_types::ChangedSecret), api_types::ErrorResponses),
)]
pub(super) async fn set(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Secrets>,
    PathParams(SecretPath { name }): PathParams<SecretPath>,
    StrictQuery(EnvironmentParam { environment }): StrictQuery<EnvironmentParam>,
    JsonBody(api_types::NewSecret { value }): JsonBody<api_types::NewSecret>,
) -> Result<Json<api_types::ChangedSecret>, ApiError> {
    let name = SettingName::new(&name)?;
    // Spawned: a disconnect of the client does not leave the change stored but not live.
    let (deployer, of) = (api.deployer.clone(), name.clone());
    // The search is long and must not block this thread.
    let search = (api.clone(), caller.principal.clone(), app.clone(), value.clone());
    let search = tokio::task::spawn_blocking(move || {
        let (api, caller, app, value) = search;
        value_warnings(&api, &caller, &app, &value)
    });
    let warnings = search.await?;
    let by = Pusher { caller: caller.principal, actor: caller.actor, creates: true, message: None };
    let task =
        tokio::spawn(async move { deployer.set_secret(&app, (environment.into(), &of), &value, &by).await });
    Ok(Json(api_types::ChangedSecret { warnings, ..to_api(&name, environment, task.await??) }))
}

/// Warnings about a value that makes a bad secret, since values are redacted in logs and rejected in pushes. Only callers who can read the code
/// learn where it contains the value.
fn value_warnings(api: &Api, caller: &Caller, app: &AppName, value: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if value.len() < runtime::SECRET_MIN_BYTES {
        let min = runtime::SECRET_MIN_BYTES;
        return vec![format!(
            "a secret shorter than {min} bytes is neither redacted in logs nor detected in pushes"
        )];
    }
    let is_word = value.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    if value.len() < WORD_BYTES_MAX && (is_word || is_number) {
        warnings.push(format!(
            "the value is a {} that can occur in other text: it is redacted everywhere in logs, and pushes that contain it are rejected",
            if is_word { "word" } else { "number" }
        ));
    }
    if caller.can(Right::Read, app) {
        let mut branches = api.table.branches(app);
        branches.sort_by_key(|live| (!live.branch.production, live.branch.name.clone()));
        let (mut seen, mut left) = (HashSet::new(), SEARCHED_BYTES_MAX);
        for live in &branches {
            for (path, source) in live.revision.sources() {
                // Previews share most sources with production.
                if !seen.insert(Arc::as_ptr(source)) {
                    continue;
                }
                let Some(rest) = left.checked_sub(source.text().len()) else { return warnings };
                left = rest;
                if source.text().contains(value) {
                    warnings.push(format!(
                        "the value is in {path}, which is live on {}, and visible to everyone who can clone the repository: choose another value",
                        live.branch.name
                    ));
                }
            }
        }
    }
    warnings
}

/// Removes a secret.
#[utoipa::path(
    delete,
    path = "/-/api/v1/apps/{app}/secrets/{name}",
    tag = "secrets",
    params(
        ("app" = String, Path, description = "The name of the app"),
        ("name" = String, Path, description = "The name of the secret"),
        EnvironmentParam,
    ),
    responses((status = 200, body = api_types::ChangedSecret), api_types::ErrorResponses),
)]
pub(super) async fn unset(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Secrets>,
    PathParams(SecretPath { name }): PathParams<SecretPath>,
    StrictQuery(EnvironmentParam { environment }): StrictQuery<EnvironmentParam>,
    _: NoBody,
) -> Result<Json<api_types::ChangedSecret>, ApiError> {
    let name = SettingName::new(&name)?;
    let (deployer, of) = (api.deployer.clone(), name.clone());
    let task =
        tokio::spawn(
            async move { deployer.unset_secret(&app, (environment.into(), &of), &caller.actor).await },
        );
    let changed = task.await??;
    if !changed.changed {
        return Err(ApiError::not_found("secret not found"));
    }
    Ok(Json(to_api(&name, environment, changed)))
}

/// Re-encrypts the secrets of all apps with the first key of the key file.
#[utoipa::path(
    post,
    path = "/-/api/v1/secrets/rotate",
    tag = "secrets",
    responses((status = 200, body = api_types::Rotated), api_types::ErrorResponses),
)]
pub(super) async fn rotate(
    State(api): State<Api>,
    AdminCaller(caller): AdminCaller,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::Rotated>, ApiError> {
    Ok(Json(api_types::Rotated { rotated: api.vault.rotate(&caller.actor).await? }))
}

/// Adds a new first key to the key file in the data folder of this node, to replace a lost key. Rejected where the operator manages the key
/// file.
#[utoipa::path(
    post,
    path = "/-/api/v1/secrets/new-key",
    tag = "secrets",
    responses((status = 200, body = api_types::NewKey), api_types::ErrorResponses),
)]
pub(super) async fn begin_new_key(
    State(api): State<Api>,
    AdminCaller(caller): AdminCaller,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::NewKey>, ApiError> {
    let vault = api.vault.clone();
    // Spawned: a disconnect of the client does not leave an audit event without its key.
    let new = tokio::spawn(async move { vault.begin_new_key(&caller.actor).await }).await??;
    Ok(Json(api_types::NewKey {
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

fn to_api(name: &SettingName, environment: SecretEnvironment, changed: Changed) -> api_types::ChangedSecret {
    let deploys = changed.deploys.into_iter();
    let deploys = deploys.map(|(branch, deploy)| api_types::SecretDeploy { branch, deploy: deploy.get() });
    api_types::ChangedSecret {
        name: name.as_str().to_owned(),
        environment,
        changed: changed.changed,
        deploys: deploys.collect(),
        warnings: Vec::new(),
    }
}
