//! The state of an app: read, change, export and import.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use manifest_schema::label::branch_label;
use manifest_schema::units::parse_duration;
use platform::apps::App;
use platform::audit::Actor;
use platform::live::LiveState;
use platform::memory::Purpose;
use platform::state::{
    EntryPage, ExportedEntry, KvAction, KvChange, KvKey, KvList, KvValue, NamespaceName, StateTarget,
};
use runtime::{KvError, VALUE_BYTES_MAX};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::compact_json::compact;
use super::extract::{FoundApp, JsonBody, KvRead, KvWrite, NoBody, NoQuery, StrictQuery};
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;
use crate::edge::response;

/// The error for a key that does not exist.
const NO_KEY: &str = "key not found";

/// The number of entries without `limit`, and the maximum.
const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

/// How long a key can exist, as in scripts.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// The longest time until an imported key ends: that of a `ttl`, and a day in which the clocks of servers can differ.
const IMPORTED_TTL_MAX: Duration = Duration::from_secs(3651 * 24 * 60 * 60);

/// A list of entries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// A preview; production if omitted.
    branch: Option<String>,
    /// What the keys begin with.
    #[serde(default)]
    prefix: String,
    /// Only keys above this one.
    after: Option<String>,
    /// Only keys below this one.
    before: Option<String>,
    /// The maximum number of entries, from 1 to 1000; 100 if omitted.
    limit: Option<u32>,
    /// From the highest key down.
    #[serde(default)]
    reverse: bool,
    /// Without values.
    #[serde(default)]
    keys: bool,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
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

/// Lists entries of the state of an app, in the order of their keys. A page ends once its values have 2 MiB.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/kv",
    tag = "kv",
    params(("app" = String, Path, description = "The name of the app"), ListParams),
    responses((status = 200, body = api_types::KvPage), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<KvRead>,
    StrictQuery(params): StrictQuery<ListParams>,
) -> Result<Response, ApiError> {
    let ListParams { branch, prefix, after, before, limit, reverse, keys, cursor } = params;
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::bad_request(format!("`limit` must be 1 to {LIMIT_MAX}")));
    }
    let texts = [
        ("prefix", Some(&prefix)),
        ("after", after.as_ref()),
        ("before", before.as_ref()),
        ("cursor", cursor.as_ref()),
    ];
    // Databases cannot compare keys with it.
    let has_nul = |(_, text): &(&str, Option<&String>)| text.is_some_and(|text| text.contains('\0'));
    if let Some((name, _)) = texts.into_iter().find(has_nul) {
        return Err(ApiError::bad_request(format!("`{name}` must not contain NUL")));
    }
    let (after, before) = match reverse {
        true => (after, cursor.or(before)),
        false => (cursor.or(after), before),
    };
    let (of, list) = (target(&api, &app, branch).await?, KvList { prefix, after, before, limit, reverse });
    // The memory of the values is reserved until the response is.
    let (page, _memory) = match keys {
        true => {
            let page = api.state.keys(&of, &list).await?;
            (page.map(|(key, expires_at_ms)| Ok(key_to_api(&key, expires_at_ms))), None)
        }
        false => {
            let EntryPage { page, memory } = api.state.list(&of, &list).await?;
            (page.map(to_api), memory)
        }
    };
    let entries = page.items.into_iter().collect::<Result<_, ApiError>>()?;
    let next_cursor = page.next.map(|key| key.to_string());
    respond(&api, &app, &api_types::KvPage { entries, next_cursor })
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
    to_api(entry.ok_or_else(|| ApiError::not_found(NO_KEY))?).map(Json)
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
    let key = parse_key(&key)?;
    let value = parse_value(&key, new.value, new.blob)?;
    let ttl = new.ttl.map(|ttl| parse_ttl(&ttl)).transpose()?;
    let of = target(&api, &app, branch).await?;
    let subject = key.as_str().to_owned();
    let changes = vec![(key, KvChange::Set { value, ttl })];
    change(&api, (&app, of), &caller.actor, (KvAction::Set, subject), changes).await?;
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
    let (state, log, by) = (api.state.clone(), api.audit.clone(), caller.actor);
    // Spawned: a disconnect of the client does not leave an audit event without its change.
    let task = tokio::spawn(async move {
        let audit = log.note_kv(&by, &app.name, &of, KvAction::Delete, key.as_str());
        state.delete(&of, &key, audit).await
    });
    match task.await?? {
        true => Ok(Json(api_types::KvChanged { keys: 1 })),
        false => Err(ApiError::not_found(NO_KEY)),
    }
}

/// Stores entries as an export has them, all or none: at most 5,000, and 4 MiB. Those that have ended, or end within a
/// second, are left out.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/kv/import",
    tag = "kv",
    params(("app" = String, Path, description = "The name of the app"), NamespaceParams),
    request_body = api_types::KvEntries,
    responses((status = 200, body = api_types::KvImported), api_types::ErrorResponses),
)]
pub(super) async fn import(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<KvWrite>,
    StrictQuery(NamespaceParams { branch }): StrictQuery<NamespaceParams>,
    JsonBody(api_types::KvEntries { entries }): JsonBody<api_types::KvEntries>,
) -> Result<Json<api_types::KvImported>, ApiError> {
    let now_ms = api.state.now_ms();
    let (mut changes, mut expired) = (Vec::with_capacity(entries.len()), 0);
    for (index, entry) in entries.into_iter().enumerate() {
        match parse_entry(entry, now_ms).map_err(|error| error.at_entry(index))? {
            Some(change) => changes.push(change),
            None => expired += 1,
        }
    }
    let (keys, of) = (changes.len(), target(&api, &app, branch).await?);
    change(&api, (&app, of), &caller.actor, (KvAction::Import, format!("{keys} keys")), changes).await?;
    Ok(Json(api_types::KvImported { keys, expired }))
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
    let limits = api.apps.limits().with(&app.limits);
    let usage = api.state.usage(app.id, &limits).await?;
    let namespaces = usage.into_iter().map(|usage| api_types::KvNamespace {
        branch: usage.name.into_branch(),
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
    let (state, log, app, by) = (api.state.clone(), api.audit.clone(), app.name.clone(), by.clone());
    let task = tokio::spawn(async move {
        let audit = log.note_kv(&by, &app, &of, action, &subject);
        state.change_all(&of, &changes, audit).await
    });
    Ok(task.await??)
}

/// The namespace of a branch, or of production.
async fn target(api: &Api, app: &App, branch: Option<String>) -> Result<StateTarget, ApiError> {
    let (name, live) = match branch {
        Some(branch) if branch != app.production_branch => {
            if !api.apps.is_live(app, &branch).await? {
                return Err(lookup::no_branch(api, &app.name, &branch));
            }
            let live = api.table.find(app.name.as_str(), &branch_label(&app.name, &branch));
            (NamespaceName::Preview(branch), live)
        }
        _ => (NamespaceName::Production, api.table.find_production(app.name.as_str())),
    };
    // Nothing else tells the state the quota of what is not live.
    if !matches!(live, Some(LiveState::Live(_))) {
        api.state.namespace(app.id, &name, api.apps.limits().with(&app.limits).state_quota(&name));
    }
    Ok(StateTarget { app: app.id, name })
}

/// A JSON response in memory of the app.
fn respond(api: &Api, app: &App, page: &api_types::KvPage) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(page).map_err(ApiError::internal)?;
    let account = api.table.memory().account(app.id);
    let memory = account.try_reserve(Purpose::Responses, body.len() as u64).map_err(|error| {
        ApiError::unavailable(response::out_of_memory_message(&error), response::MEMORY_RETRY)
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], memory.into_bytes(body)).into_response())
}

fn parse_key(key: &str) -> Result<KvKey, ApiError> {
    KvKey::new(key).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The change that stores an entry; `None`: it has ended.
fn parse_entry(entry: api_types::KvEntry, now_ms: i64) -> Result<Option<(KvKey, KvChange)>, ApiError> {
    let api_types::KvEntry { key, value, blob, expires_at } = entry;
    let key = parse_key(&key)?;
    let value = parse_value(&key, value, blob)?;
    let expires_at_ms = expires_at.map(|at| at.timestamp_millis());
    if let Some(at) = expires_at_ms {
        let ttl = Duration::from_millis(u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0));
        if ttl < TTL_MIN {
            return Ok(None);
        }
        if ttl > IMPORTED_TTL_MAX {
            return Err(ApiError::bad_request("`expires_at` must be within the next ten years"));
        }
    }
    Ok(Some((key, KvChange::Restore { value, expires_at_ms })))
}

/// The value in the form in which scripts store it.
fn parse_value(key: &KvKey, value: Option<Box<RawValue>>, blob: Option<String>) -> Result<KvValue, ApiError> {
    let value = match (value, blob) {
        (Some(value), None) => match compact(value.get()) {
            Ok(json) => KvValue::Json(json.into()),
            Err(error) => return Err(ApiError::bad_request(format!("invalid `value`: {error}"))),
        },
        (None, Some(blob)) => match STANDARD.decode(blob) {
            Ok(bytes) => KvValue::Blob(bytes.into()),
            Err(_) => return Err(ApiError::bad_request("`blob` must be Base64")),
        },
        _ => {
            return Err(ApiError::bad_request("an entry needs `value`, which is not null, or `blob`"));
        }
    };
    let bytes = value.bytes().len();
    if bytes > VALUE_BYTES_MAX {
        return Err(ApiError::unprocessable(KvError::TooLarge { key: key.clone(), bytes }.to_string()));
    }
    Ok(value)
}

fn parse_ttl(ttl: &str) -> Result<Duration, ApiError> {
    let is_allowed = |ttl: &Duration| (TTL_MIN..=TTL_MAX).contains(ttl);
    parse_duration(ttl)
        .filter(is_allowed)
        .ok_or_else(|| ApiError::bad_request("`ttl` must be a duration from 1s to 3650d, such as 1h"))
}

fn to_api(entry: ExportedEntry) -> Result<api_types::KvEntry, ApiError> {
    let of_key = key_to_api(&entry.key, entry.expires_at_ms);
    Ok(match entry.value {
        KvValue::Json(json) => {
            // What is stored is JSON.
            let text = String::from_utf8(json.to_vec()).map_err(ApiError::internal)?;
            let value = RawValue::from_string(text).map_err(ApiError::internal)?;
            api_types::KvEntry { value: Some(value), ..of_key }
        }
        KvValue::Blob(bytes) => api_types::KvEntry { blob: Some(STANDARD.encode(bytes)), ..of_key },
    })
}

fn key_to_api(key: &KvKey, expires_at_ms: Option<i64>) -> api_types::KvEntry {
    let expires_at = expires_at_ms.and_then(DateTime::from_timestamp_millis);
    api_types::KvEntry { key: key.to_string(), value: None, blob: None, expires_at }
}
