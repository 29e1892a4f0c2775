//! Executions: the recorded runs of scripts.

use axum::Json;
use axum::extract::State;
use manifest_schema::execution::TriggerKind;
use platform::records::{ExecutionDetails, ExecutionQuery, ExecutionRecord};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{Cursor, FoundApp, Limit, NoQuery, PathParams, Read, StrictQuery, page};
use super::logs;
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

/// The default number of executions on a page.
const PAGE: u32 = 50;

/// The filter of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only executions of deploys of this branch.
    branch: Option<String>,
    /// Only executions of this script, a path in the repository.
    script: Option<String>,
    /// Only executions with this trigger.
    #[param(inline)]
    trigger: Option<Trigger>,
    /// Only failed executions.
    #[serde(default)]
    failed: bool,
    /// The maximum number of items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// The `next_cursor` of the previous page.
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

/// Lists the executions of an app, latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/executions",
    tag = "executions",
    params(("app" = String, Path, description = "The name of the app"), ListParams),
    responses((status = 200, body = api_types::Executions), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Read>,
    StrictQuery(params): StrictQuery<ListParams>,
) -> Result<Json<api_types::Executions>, ApiError> {
    let ListParams { branch, script, trigger, failed, limit, cursor } = params;
    let (is_first, named_script, named_branch) = (cursor.is_none(), script.clone(), branch.clone());
    let filter = ExecutionQuery { branch, script, trigger: trigger.map(TriggerKind::from), failed };
    let found = api.records.executions(&app, filter, page(limit, cursor, PAGE)).await?;
    if let Some(script) = named_script.filter(|_| is_first && found.items.is_empty()) {
        lookup::require_live_script(&api, &app.name, &script)?;
    }
    if let Some(branch) = named_branch.filter(|_| is_first && found.items.is_empty()) {
        lookup::live(&api, &caller.principal, &app.name, Some(&branch))?;
    }
    Ok(Json(api_types::Executions {
        next_cursor: found.next.map(|next| next.to_string()),
        executions: found.items.into_iter().map(to_api).collect(),
    }))
}

#[derive(Deserialize)]
pub(super) struct ExecutionPath {
    id: Uuid,
}

/// Shows an execution with its log, and for a failure the source line of its commit.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/executions/{id}",
    tag = "executions",
    params(("app" = String, Path, description = "The name of the app"), ("id" = uuid::Uuid, Path, description = "The id of the execution")),
    responses((status = 200, body = api_types::WholeExecution), api_types::ErrorResponses),
)]
pub(super) async fn show(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    PathParams(ExecutionPath { id }): PathParams<ExecutionPath>,
    _: NoQuery,
) -> Result<Json<api_types::WholeExecution>, ApiError> {
    let found = api.records.execution(&app, id).await?.ok_or(ApiError::not_found(api_types::NO_EXECUTION))?;
    let ExecutionDetails { record, lines, source } = found;
    let mut execution = to_api(record);
    if let Some(location) = execution.failure.as_mut().and_then(|failure| failure.location.as_mut()) {
        location.source = source;
    }
    Ok(Json(api_types::WholeExecution { execution, log: lines.into_iter().map(logs::to_api).collect() }))
}

fn to_api(record: ExecutionRecord) -> api_types::Execution {
    api_types::Execution {
        id: record.id,
        request_id: record.request_id,
        deploy: record.deploy.get(),
        commit: record.commit.to_string(),
        script: record.script,
        trigger: record.trigger.as_str().to_owned(),
        target: record.target,
        node: record.node,
        started_at: record.started_at,
        duration_us: u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX),
        operations: record.operations,
        memory_peak_bytes: record.memory_peak_bytes,
        status: record.status,
        failure: record.failure.map(|failure| api_types::Failure {
            kind: failure.kind,
            message: failure.message,
            location: failure.location.map(|place| api_types::SourceLocation {
                script: place.script,
                line: place.line,
                column: place.column,
                source: None,
            }),
        }),
        log_lines: record.log_lines,
        log_lines_dropped: record.log_lines_dropped,
    }
}
