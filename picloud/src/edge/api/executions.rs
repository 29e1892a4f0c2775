//! Executions: every run of a script, for as long as it is remembered.

use axum::Json;
use axum::extract::State;
use manifest_schema::execution::TriggerKind;
use platform::records::{ExecutionRecord, Executions, WholeExecution};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{Cursor, FoundApp, Limit, NoQuery, PathParams, Read, StrictQuery, page};
use super::logs;
use super::names;
use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::rest;

/// How many are listed where nothing else is asked for.
const PAGE: u32 = 50;

/// Which executions are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Those of deploys of this branch, as git names it.
    branch: Option<String>,
    /// Those of this script, a path in the repository.
    script: Option<String>,
    /// Those that this started.
    #[param(inline)]
    trigger: Option<Trigger>,
    /// Those that failed.
    #[serde(default)]
    failed: bool,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// Where to go on: the `next_cursor` of another answer.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<u64>>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Trigger {
    Http,
    Function,
    Scheduled,
}

impl From<Trigger> for TriggerKind {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Http => Self::Http,
            Trigger::Function => Self::Function,
            Trigger::Scheduled => Self::Scheduled,
        }
    }
}

/// The executions of an app, the latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/executions",
    tag = "executions",
    params(("app" = String, Path, description = "The name of the app"), ListParams),
    responses((status = 200, body = rest::Executions), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Read>,
    StrictQuery(params): StrictQuery<ListParams>,
) -> Result<Json<rest::Executions>, ApiError> {
    let ListParams { branch, script, trigger, failed, limit, cursor } = params;
    let (is_first, of, on) = (cursor.is_none(), script.clone(), branch.clone());
    let which = Executions { branch, script, trigger: trigger.map(TriggerKind::from), failed };
    let found = api.records.executions(&app, which, page(limit, cursor, PAGE)).await?;
    if let Some(script) = of.filter(|_| is_first && found.items.is_empty()) {
        names::require_live_script(&api, &app.name, &script)?;
    }
    if let Some(branch) = on.filter(|_| is_first && found.items.is_empty()) {
        names::live(&api, &caller.who, &app.name, Some(&branch))?;
    }
    Ok(Json(rest::Executions {
        next_cursor: found.next.map(|next| next.to_string()),
        executions: found.items.into_iter().map(shown).collect(),
    }))
}

#[derive(Deserialize)]
pub(super) struct ExecutionPath {
    id: Uuid,
}

/// One execution with its log, and the line of the source where it failed, as its commit has it.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/executions/{id}",
    tag = "executions",
    params(("app" = String, Path, description = "The name of the app"), ("id" = uuid::Uuid, Path, description = "The id of the execution")),
    responses((status = 200, body = rest::WholeExecution), rest::Refusals),
)]
pub(super) async fn show(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    PathParams(ExecutionPath { id }): PathParams<ExecutionPath>,
    _: NoQuery,
) -> Result<Json<rest::WholeExecution>, ApiError> {
    let found = api.records.execution(&app, id).await?.ok_or(ApiError::not_found(rest::NO_EXECUTION))?;
    let WholeExecution { record, lines, source } = found;
    let mut execution = shown(record);
    if let Some(place) = execution.failure.as_mut().and_then(|failure| failure.place.as_mut()) {
        place.source = source;
    }
    Ok(Json(rest::WholeExecution { execution, log: lines.into_iter().map(logs::shown).collect() }))
}

fn shown(record: ExecutionRecord) -> rest::Execution {
    rest::Execution {
        id: record.id,
        request_id: record.request,
        deploy: record.deploy.get(),
        commit: record.commit.to_string(),
        script: record.script,
        trigger: record.trigger.as_str().to_owned(),
        target: record.target,
        node: record.node,
        started_at: record.started_at,
        duration_us: u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX),
        operations: record.operations,
        memory_bytes: record.memory,
        status: record.status,
        failure: record.failure.map(|failure| rest::Failure {
            kind: failure.kind,
            message: failure.message,
            place: failure.place.map(|place| rest::Place {
                script: place.script,
                line: place.line,
                column: place.column,
                source: None,
            }),
        }),
        lines: record.lines,
        lines_dropped: record.lines_dropped,
    }
}
