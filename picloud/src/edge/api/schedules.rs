//! Schedules: list, run history, run now, pause, resume.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use manifest_schema::manifest::Schedule;
use manifest_schema::name::AppName;
use platform::live::Live;
use platform::schedules::{RunCursor, RunOutcome, ScheduleHold, ScheduleRun, ScheduleStatus};
use platform::tokens::Caller;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{
    AdminCaller, AppAccess, BranchParam, Cursor, Invoke, Limit, NoBody, NoQuery, PathParams, Read,
    StrictQuery, page,
};
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

/// The default number of runs on a page.
const PAGE: u32 = 50;

/// How long a request waits for a run to finish.
const RUN_WAIT_MAX: Duration = Duration::from_secs(30);

/// Lists the schedules of a live revision.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/schedules",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), BranchParam),
    responses((status = 200, body = api_types::Schedules), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Read>,
    StrictQuery(BranchParam { branch }): StrictQuery<BranchParam>,
) -> Result<Json<api_types::Schedules>, ApiError> {
    let live = lookup::live(&api, &caller.principal, &app, branch.as_deref())?;
    let all = api.scheduler.scheduled(&live).await?;
    let held = api.scheduler.schedule_hold().await?;
    let schedules = all.into_iter().map(|found| to_api(found, held.is_some())).collect();
    Ok(Json(api_types::Schedules { schedules, scheduled: live.branch.scheduled, held: held.map(hold) }))
}

#[derive(Deserialize)]
pub(super) struct SchedulePath {
    schedule: String,
}

/// The filter of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsParams {
    /// The maximum number of items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// The branch; production if omitted.
    branch: Option<String>,
    /// Only runs due at or before this time.
    up_to: Option<DateTime<Utc>>,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<RunCursor>>,
}

/// Lists the runs of a schedule, latest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/schedules/{schedule}/runs",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), ("schedule" = String, Path, description = "The name of the schedule"), RunsParams),
    responses((status = 200, body = api_types::Runs), api_types::ErrorResponses),
)]
pub(super) async fn runs(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Read>,
    PathParams(SchedulePath { schedule }): PathParams<SchedulePath>,
    StrictQuery(params): StrictQuery<RunsParams>,
) -> Result<Json<api_types::Runs>, ApiError> {
    let RunsParams { limit, branch, up_to, cursor } = params;
    let (live, schedule) = find(&api, &caller.principal, &app, branch.as_deref(), &schedule)?;
    let found = api.scheduler.runs(&live, &schedule, up_to, page(limit, cursor, PAGE)).await?;
    Ok(Json(api_types::Runs {
        next_cursor: found.next.map(|next| next.to_string()),
        runs: found.items.into_iter().map(run).collect(),
    }))
}

/// Runs a schedule now; 202 if the run takes longer than 30 seconds.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/schedules/{schedule}/run",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), ("schedule" = String, Path, description = "The name of the schedule"), BranchParam),
    responses((status = 200, body = api_types::Started), (status = 202, body = api_types::Started), api_types::ErrorResponses),
)]
pub(super) async fn run_now(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Invoke>,
    PathParams(SchedulePath { schedule }): PathParams<SchedulePath>,
    StrictQuery(BranchParam { branch }): StrictQuery<BranchParam>,
    _: NoBody,
) -> Result<(StatusCode, Json<api_types::Started>), ApiError> {
    let (live, schedule) = find(&api, &caller.principal, &app, branch.as_deref(), &schedule)?;
    let run_now = api.scheduler.run_now(live, schedule, &caller.actor);
    match tokio::time::timeout(RUN_WAIT_MAX, run_now).await {
        Ok(ran) => Ok((StatusCode::OK, Json(api_types::Started { run: ran?.map(run) }))),
        Err(_) => Ok((StatusCode::ACCEPTED, Json(api_types::Started { run: None }))),
    }
}

/// Pauses a schedule; no change if it is paused already.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/schedules/{schedule}/pause",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), ("schedule" = String, Path, description = "The name of the schedule"), BranchParam),
    responses((status = 200, body = api_types::Schedule), api_types::ErrorResponses),
)]
pub(super) async fn pause(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Invoke>,
    PathParams(SchedulePath { schedule }): PathParams<SchedulePath>,
    StrictQuery(BranchParam { branch }): StrictQuery<BranchParam>,
    _: NoBody,
) -> Result<Json<api_types::Schedule>, ApiError> {
    let (live, schedule) = find(&api, &caller.principal, &app, branch.as_deref(), &schedule)?;
    api.scheduler.pause(&live, &schedule, &caller.actor).await?;
    one(&api, &live, &schedule).await
}

/// Resumes a schedule; no change if it is not paused.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/schedules/{schedule}/resume",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), ("schedule" = String, Path, description = "The name of the schedule"), BranchParam),
    responses((status = 200, body = api_types::Schedule), api_types::ErrorResponses),
)]
pub(super) async fn resume(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Invoke>,
    PathParams(SchedulePath { schedule }): PathParams<SchedulePath>,
    StrictQuery(BranchParam { branch }): StrictQuery<BranchParam>,
    _: NoBody,
) -> Result<Json<api_types::Schedule>, ApiError> {
    let (live, schedule) = find(&api, &caller.principal, &app, branch.as_deref(), &schedule)?;
    api.scheduler.resume(&live, &schedule, &caller.actor).await?;
    one(&api, &live, &schedule).await
}

/// Resumes the schedules of all apps after a restore, which holds them. Missed runs are recorded as skipped.
#[utoipa::path(
    post,
    path = "/-/api/v1/schedules/resume",
    tag = "schedules",
    responses((status = 200, body = api_types::ResumedAll), api_types::ErrorResponses),
)]
pub(super) async fn resume_all(
    State(api): State<Api>,
    AdminCaller(caller): AdminCaller,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::ResumedAll>, ApiError> {
    let held = api.scheduler.schedule_hold().await?;
    Ok(Json(match api.scheduler.resume_all(&caller.actor).await? {
        Some(resumed) => api_types::ResumedAll { held: held.map(hold), resumed },
        None => api_types::ResumedAll { held: None, resumed: 0 },
    }))
}

async fn one(api: &Api, live: &Live, schedule: &Schedule) -> Result<Json<api_types::Schedule>, ApiError> {
    let all = api.scheduler.scheduled(live).await?;
    let held = api.scheduler.schedule_hold().await?;
    let found = all.into_iter().find(|found| found.schedule.name == schedule.name);
    Ok(Json(to_api(found.ok_or_else(|| lookup::no_schedule(live, schedule.name.as_str()))?, held.is_some())))
}

/// Converts a hold to its API type.
pub(super) fn hold(ScheduleHold { since, cause }: ScheduleHold) -> api_types::Held {
    api_types::Held { since, by: cause }
}

fn find(
    api: &Api,
    caller: &Caller,
    app: &AppName,
    branch: Option<&str>,
    name: &str,
) -> Result<(Arc<Live>, Schedule), ApiError> {
    let live = lookup::live(api, caller, app, branch)?;
    let schedules = &live.revision.manifest().schedules;
    let found = schedules.iter().find(|declared| declared.name.as_str() == name).cloned();
    let found = found.ok_or_else(|| lookup::no_schedule(&live, name))?;
    Ok((live, found))
}

fn to_api(scheduled: ScheduleStatus, held: bool) -> api_types::Schedule {
    let ScheduleStatus { schedule, paused, next, last } = scheduled;
    let next = if held { Vec::new() } else { next };
    api_types::Schedule {
        name: schedule.name.as_str().to_owned(),
        cron: schedule.cron.as_str().to_owned(),
        timezone: schedule.cron.zone_name().to_owned(),
        script: schedule.script.as_str().to_owned(),
        paused: paused.map(|paused| api_types::Paused { at: paused.at, by: paused.by }),
        next,
        last_run: last.map(run),
    }
}

fn run(run: ScheduleRun) -> api_types::Run {
    api_types::Run {
        late_ms: run.lateness().num_milliseconds(),
        due_at: run.due.last,
        first_due_at: (run.due.first < run.due.last).then_some(run.due.first),
        due_times: run.due.count,
        manual: run.manual,
        deploy: run.deploy.get(),
        commit: run.commit.map(|commit| commit.to_string()),
        execution: run.execution.map(|id| id.to_string()),
        node: run.node.map(|node| api_types::RunNode { id: node.id.to_string(), name: node.name }),
        claimed_at: run.claimed_at,
        finished_at: run.finished_at,
        outcome: run.outcome.map_or("running", RunOutcome::as_str).to_owned(),
        detail: run.detail,
    }
}
