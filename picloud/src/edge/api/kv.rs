//! The state of an app: read, change, export and import.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use manifest_schema::units::parse_duration;
use platform::apps::App;
use platform::audit::Actor;
use platform::state::{
    ExportedEntry, KvAction, KvChange, KvKey, KvList, KvValue, NamespaceName, StateTarget,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{FoundApp, JsonBody, KvRead, KvWrite, NoBody, NoQuery, StrictQuery};
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

/// The number of entries without `limit`, and the maximum.
const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

/// How long a key can exist, as in scripts.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// A list of keys.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// A preview; production if omitted.
    branch: Option<String>,
    /// What the keys begin with.
    #[serde(default)]
    prefix: String,
    /// Only keys above this one: the last key of the page before.
    after: Option<String>,
    /// Only keys below this one.
    before: Option<String>,
    /// The maximum number of entries, from 1 to 1000; 100 if omitted.
    limit: Option<u32>,
    /// From the highest key down.
    #[serde(default)]
    reverse: bool,
}

/// A key of a namespace.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KeyParams {
    /// The key.
    key: String,
    /// A preview; production if omitted.
    branch: Option<String>,
}

/// A namespace.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NamespaceParams {
    /// A preview; production if omitted.
    branch: Option<String>,
}

/// Lists entries of the state of an app, in the order of their keys.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/kv",
    tag = "kv",
    params(("app" = String, Path, description = "The name of the app"), ListParams),
    responses((status = 200, body = api_types::KvEntries), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<KvRead>,
    StrictQuery(params): StrictQuery<ListParams>,
) -> Result<Json<api_types::KvEntries>, ApiError> {
    let limit = params.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::bad_request(format!("`limit` must be 1 to {LIMIT_MAX}")));
    }
    let of = target(&api, &app, params.branch).await?;
    let (prefix, after, before, reverse) = (params.prefix, params.after, params.before, params.reverse);
    let entries = api.state.list(&of, &KvList { prefix, after, before, limit, reverse }).await?;
    Ok(Json(api_types::KvEntries { entries: entries.into_iter().map(to_api).collect() }))
}

/// Shows one entry.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/kv/entry",
    tag = "kv",
    params(("app" = String, Path, description = "The name of the app"), KeyParams),
    responses((status = 200, body = api_types::KvEntry), api_types::ErrorResponses),
)]
pub(super) async fn show(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<KvRead>,
    StrictQuery(KeyParams { key, branch }): StrictQuery<KeyParams>,
) -> Result<Json<api_types::KvEntry>, ApiError> {
    let (key, of) = (parse_key(&key)?, target(&api, &app, branch).await?);
    let entry = api.state.get(&of, &key).await?;
    entry.map(|entry| Json(to_api(entry))).ok_or_else(|| ApiError::not_found("key not found"))
}

/// Stores a value. A value from before and its time end.
#[utoipa::path(
    put,
    path = "/-/api/v1/apps/{app}/kv/entry",
    tag = "kv",
    params(("app" = String, Path, description = "The name of the app"), KeyParams),
    request_body = api_types::NewKvValue,
    responses((status = 200, body = api_types::KvChanged), api_types::ErrorResponses),
)]
pub(super) async fn set(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<KvWrite>,
    StrictQuery(KeyParams { key, branch }): StrictQuery<KeyParams>,
    JsonBody(new): JsonBody<api_types::NewKvValue>,
) -> Result<Json<api_types::KvChanged>, ApiError> {
    let (key, value) = (parse_key(&key)?, parse_value(new.value, new.blob)?);
    let ttl = new.ttl.map(|ttl| parse_ttl(&ttl)).transpose()?;
    let of = target(&api, &app, branch).await?;
    let subject = key.as_str().to_owned();
    change(
        &api,
        (&app, of),
        &caller.actor,
        (KvAction::Set, subject),
        vec![(key, KvChange::Set { value, ttl })],
    )
    .await?;
    Ok(Json(api_types::KvChanged { keys: 1 }))
}

/// Deletes a key.
#[utoipa::path(
    delete,
    path = "/-/api/v1/apps/{app}/kv/entry",
    tag = "kv",
    params(("app" = String, Path, description = "The name of the app"), KeyParams),
    responses((status = 200, body = api_types::KvChanged), api_types::ErrorResponses),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<KvWrite>,
    StrictQuery(KeyParams { key, branch }): StrictQuery<KeyParams>,
    _: NoBody,
) -> Result<Json<api_types::KvChanged>, ApiError> {
    let (key, of) = (parse_key(&key)?, target(&api, &app, branch).await?);
    if api.state.get(&of, &key).await?.is_none() {
        return Err(ApiError::not_found("key not found"));
    }
    let subject = key.as_str().to_owned();
    change(&api, (&app, of), &caller.actor, (KvAction::Delete, subject), vec![(key, KvChange::Delete)])
        .await?;
    Ok(Json(api_types::KvChanged { keys: 1 }))
}

/// Stores entries as an export has them, all or none: at most 5,000, and 4 MiB. Those that have ended are left out.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/kv/import",
    tag = "kv",
    params(("app" = String, Path, description = "The name of the app"), NamespaceParams),
    request_body = api_types::KvEntries,
    responses((status = 200, body = api_types::KvChanged), api_types::ErrorResponses),
)]
pub(super) async fn import(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<KvWrite>,
    StrictQuery(NamespaceParams { branch }): StrictQuery<NamespaceParams>,
    JsonBody(api_types::KvEntries { entries }): JsonBody<api_types::KvEntries>,
) -> Result<Json<api_types::KvChanged>, ApiError> {
    let now = Utc::now();
    let mut changes = Vec::with_capacity(entries.len());
    for api_types::KvEntry { key, value, blob, expires_at } in entries {
        let (key, value) = (parse_key(&key)?, parse_value(value, blob)?);
        let ttl = expires_at.map(|at| (at - now).to_std());
        if !matches!(ttl, Some(Err(_))) {
            changes.push((key, KvChange::Set { value, ttl: ttl.and_then(Result::ok) }));
        }
    }
    let (keys, of) = (changes.len(), target(&api, &app, branch).await?);
    change(&api, (&app, of), &caller.actor, (KvAction::Import, format!("{keys} keys")), changes).await?;
    Ok(Json(api_types::KvChanged { keys }))
}

/// Shows what production and the previews of an app store, and the keys with the most conflicts.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/kv/usage",
    tag = "kv",
    params(("app" = String, Path, description = "The name of the app")),
    responses((status = 200, body = api_types::KvUsage), api_types::ErrorResponses),
)]
pub(super) async fn usage(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<KvRead>,
    _: NoQuery,
) -> Result<Json<api_types::KvUsage>, ApiError> {
    let namespaces = api.state.usage(app.id).await?.into_iter().map(|usage| api_types::KvNamespace {
        branch: match usage.name {
            NamespaceName::Production => None,
            NamespaceName::Preview(branch) => Some(branch),
        },
        bytes: usage.bytes,
        quota_bytes: usage.quota_bytes,
        entries: usage.entries,
        commits: usage.version,
        conflicts: usage
            .conflicts
            .into_iter()
            .map(|(key, count)| api_types::KvConflict { key: key.to_string(), count })
            .collect(),
    });
    Ok(Json(api_types::KvUsage { namespaces: namespaces.collect() }))
}

/// Makes changes and their audit event.
async fn change(
    api: &Api,
    (app, of): (&App, StateTarget),
    by: &Actor,
    (action, subject): (KvAction, String),
    changes: Vec<(KvKey, KvChange)>,
) -> Result<(), ApiError> {
    // Spawned: a disconnect of the client does not leave an audit event without its change.
    let (state, store, app, by) = (api.state.clone(), api.audit.clone(), app.name.clone(), by.clone());
    let task = tokio::spawn(async move {
        store.note_kv(&by, &app, &of, action, &subject).await?;
        state.change_all(&of, &changes).await?;
        Ok::<_, ApiError>(())
    });
    task.await?
}

/// The namespace of a branch, or of production.
async fn target(api: &Api, app: &App, branch: Option<String>) -> Result<StateTarget, ApiError> {
    let name = match branch {
        Some(branch) if branch != app.production_branch => {
            let branches = api.apps.branches(app).await?;
            if !branches.iter().any(|found| found.live.branch == branch) {
                return Err(lookup::no_branch(api, &app.name, &branch));
            }
            NamespaceName::Preview(branch)
        }
        _ => NamespaceName::Production,
    };
    Ok(StateTarget { app: app.id, name })
}

fn parse_key(key: &str) -> Result<KvKey, ApiError> {
    KvKey::new(key).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn parse_value(value: Option<serde_json::Value>, blob: Option<String>) -> Result<KvValue, ApiError> {
    match (value, blob) {
        (Some(value), None) if !value.is_null() => Ok(KvValue::Json(value.to_string().into_bytes().into())),
        (None, Some(blob)) => match STANDARD.decode(blob) {
            Ok(bytes) => Ok(KvValue::Blob(bytes.into())),
            Err(_) => Err(ApiError::bad_request("`blob` must be Base64")),
        },
        _ => Err(ApiError::bad_request("an entry needs `value`, which is not null, or `blob`")),
    }
}

fn parse_ttl(ttl: &str) -> Result<Duration, ApiError> {
    let is_allowed = |ttl: &Duration| (TTL_MIN..=TTL_MAX).contains(ttl);
    parse_duration(ttl)
        .filter(is_allowed)
        .ok_or_else(|| ApiError::bad_request("`ttl` must be a duration from 1s to 3650d, such as 1h"))
}

fn to_api(entry: ExportedEntry) -> api_types::KvEntry {
    let (value, blob) = match entry.value {
        KvValue::Json(json) => (parsed(&json), None),
        KvValue::Blob(bytes) => (None, Some(STANDARD.encode(bytes))),
    };
    let expires_at = entry.expires_at_ms.and_then(DateTime::from_timestamp_millis);
    api_types::KvEntry { key: entry.key.to_string(), value, blob, expires_at }
}

/// What is stored is JSON.
fn parsed(json: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(json).ok()
}
