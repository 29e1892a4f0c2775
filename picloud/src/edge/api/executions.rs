//! Executions: every run of a script, for as long as it is remembered.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{Response, StatusCode};
use platform::revision::{LoadError, Prepared};
use platform::tokens::Right;
use serde::Deserialize;
use store::{App, ExecutionFilter, ExecutionRecord, LineFilter, Part, TriggerKind};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::query::{Asked, Limit, cursor, find_app};
use super::{Api, document, failed, logs, problem};
use crate::edge::credentials::Caller;
use crate::rest;

/// How many are listed where nothing else is asked for.
const PAGE: u32 = 50;

/// The most lines that one execution has.
const LINES_MAX: u32 = 1001;

/// Which executions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
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
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Trigger {
    Http,
    Function,
    Scheduled,
}

/// The executions of an app, the latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/executions",
    tag = "executions",
    params(("app" = String, Path, description = "The name of the app"), Which),
    responses((status = 200, body = rest::Executions), rest::Refusals),
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
    let filter = ExecutionFilter {
        script: which.script,
        trigger: which.trigger.map(|trigger| match trigger {
            Trigger::Http => TriggerKind::Http,
            Trigger::Function => TriggerKind::Function,
            Trigger::Scheduled => TriggerKind::Scheduled,
        }),
        failed: which.failed,
        before,
    };
    let limit = Limit::or(which.limit, PAGE);
    match api.store.executions(app.id, &filter, limit).await {
        Ok(found) => {
            let full = found.len() == limit as usize;
            let next_cursor = found.last().filter(|_| full).map(|last| last.number.to_string());
            let executions = found.into_iter().map(|found| shown(found.record)).collect();
            document(&rest::Executions { executions, next_cursor })
        }
        Err(error) => failed(&error),
    }
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
    Path((app, id)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
) -> Response<Body> {
    let app = match find_app(&api, &caller, Right::Read, &app).await {
        Ok(app) => app,
        Err(refused) => return *refused,
    };
    let Ok(id) = id.parse::<Uuid>() else {
        return problem(StatusCode::BAD_REQUEST, "the id of an execution is a UUID");
    };
    let record = match api.store.execution(app.id, id).await {
        Ok(Some(record)) => record,
        Ok(None) => {
            let words = "there is no such execution; it may still run, or be too old to be remembered";
            return problem(StatusCode::NOT_FOUND, words);
        }
        Err(error) => return failed(&error),
    };
    let filter = LineFilter { execution: Some(id), ..LineFilter::default() };
    let lines = match api.store.lines(app.id, &filter, Part::Latest, LINES_MAX).await {
        Ok(lines) => lines,
        Err(error) => return failed(&error),
    };
    let source = match source_line(&api, &app, &record).await {
        Ok(source) => source,
        Err(LoadError::Store(error)) => return failed(&error),
        Err(error) => {
            tracing::warn!(app = %app.name, commit = %record.commit, %error, "a source line cannot be read");
            None
        }
    };
    let mut execution = shown(record);
    if let Some(place) = execution.failure.as_mut().and_then(|failure| failure.place.as_mut()) {
        place.source = source;
    }
    let log = lines.into_iter().map(|line| logs::shown(line.record)).collect();
    document(&rest::WholeExecution { execution, log })
}

async fn source_line(api: &Api, app: &App, record: &ExecutionRecord) -> Result<Option<String>, LoadError> {
    let Some(place) = record.failure.as_ref().and_then(|failure| failure.place.as_ref()) else {
        return Ok(None);
    };
    let text = Prepared::file(&api.store, app, record.commit, &place.script).await?;
    let at = (place.line as usize).saturating_sub(1);
    Ok(text.and_then(|text| text.lines().nth(at).map(str::to_owned)))
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
