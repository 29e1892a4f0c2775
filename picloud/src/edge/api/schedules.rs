//! Schedules: what is scheduled and what came of it; run now, pause, resume.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{Response, StatusCode};
use chrono::{DateTime, Utc};
use manifest_schema::label::branch_label;
use manifest_schema::manifest::Schedule;
use manifest_schema::name::AppName;
use platform::live::{Found, Live};
use platform::schedules::{NotRun, Scheduled};
use platform::tokens::Right;
use serde::Deserialize;
use store::{RunOutcome, ScheduleHold, ScheduleRun};
use utoipa::IntoParams;

use super::input::{NoBody, Nothing};
use super::previews::no_branch;
use super::query::{Asked, Limit};
use super::{Api, allow, allow_admin, document, failed, problem, production, unserved};
use crate::edge::credentials::Caller;
use crate::rest;

/// How many runs are listed where nothing else is asked for.
const RUNS: u32 = 50;

/// How long a request waits for the end of a run.
const RUN_WAIT_MAX: Duration = Duration::from_secs(30);

/// Of which branch.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct On {
    /// The branch, as git names it; without one it is production.
    branch: Option<String>,
}

/// The schedules of what is live.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/schedules",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), On),
    responses((status = 200, body = rest::Schedules), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
    Asked(on): Asked<On>,
) -> Response<Body> {
    let live = match live(&api, &caller, Right::Read, &app, on.branch.as_deref()) {
        Ok(live) => live,
        Err(response) => return *response,
    };
    match (api.scheduler.scheduled(&live).await, api.scheduler.schedule_hold().await) {
        (Ok(all), Ok(held)) => {
            let schedules = all.into_iter().map(|found| shown(found, held.is_some())).collect();
            let (scheduled, held) = (live.branch.scheduled, held.map(hold));
            document(&rest::Schedules { schedules, scheduled, held })
        }
        (Err(error), _) | (_, Err(error)) => failed(&error),
    }
}

/// Which rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// The branch, as git names it; without one it is production.
    branch: Option<String>,
    /// Those due then or before.
    up_to: Option<DateTime<Utc>>,
}

/// The latest rows of a schedule.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/schedules/{schedule}/runs",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), ("schedule" = String, Path, description = "The name of the schedule"), Which),
    responses((status = 200, body = rest::Runs), rest::Refusals),
)]
pub(super) async fn runs(
    State(api): State<Api>,
    Path(place): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    Asked(which): Asked<Which>,
) -> Response<Body> {
    let (live, schedule) = match find(&api, &caller, Right::Read, &place, which.branch.as_deref()) {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let limit = Limit::or(which.limit, RUNS);
    match api.scheduler.runs(&live, &schedule, which.up_to, limit).await {
        Ok(runs) => document(&rest::Runs { runs: runs.into_iter().map(run).collect() }),
        Err(error) => failed(&error),
    }
}

/// Runs a schedule now.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/schedules/{schedule}/run",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), ("schedule" = String, Path, description = "The name of the schedule"), On),
    responses((status = 200, body = rest::Started), (status = 202, body = rest::Started), rest::Refusals),
)]
pub(super) async fn run_now(
    State(api): State<Api>,
    Path(place): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    Asked(on): Asked<On>,
    _: NoBody,
) -> Response<Body> {
    let (live, schedule) = match find(&api, &caller, Right::Invoke, &place, on.branch.as_deref()) {
        Ok(found) => found,
        Err(response) => return *response,
    };
    match tokio::time::timeout(RUN_WAIT_MAX, api.scheduler.run_now(live, schedule, &caller.actor)).await {
        Ok(Ok(ran)) => document(&rest::Started { run: ran.map(run) }),
        Ok(Err(NotRun::Store(error))) => failed(&error),
        Ok(Err(error)) => problem(StatusCode::CONFLICT, &error.to_string()),
        Err(_) => {
            let mut response = document(&rest::Started { run: None });
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        }
    }
}

/// Pauses a schedule; one that is paused stays so.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/schedules/{schedule}/pause",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), ("schedule" = String, Path, description = "The name of the schedule"), On),
    responses((status = 200, body = rest::Schedule), rest::Refusals),
)]
pub(super) async fn pause(
    State(api): State<Api>,
    Path(place): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    Asked(on): Asked<On>,
    _: NoBody,
) -> Response<Body> {
    let (live, schedule) = match find(&api, &caller, Right::Invoke, &place, on.branch.as_deref()) {
        Ok(found) => found,
        Err(response) => return *response,
    };
    match api.scheduler.pause(&live, &schedule, &caller.actor).await {
        Ok(_) => one(&api, &live, &schedule).await,
        Err(error) => failed(&error),
    }
}

/// Resumes a schedule; one that is not paused goes on.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/schedules/{schedule}/resume",
    tag = "schedules",
    params(("app" = String, Path, description = "The name of the app"), ("schedule" = String, Path, description = "The name of the schedule"), On),
    responses((status = 200, body = rest::Schedule), rest::Refusals),
)]
pub(super) async fn resume(
    State(api): State<Api>,
    Path(place): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    Asked(on): Asked<On>,
    _: NoBody,
) -> Response<Body> {
    let (live, schedule) = match find(&api, &caller, Right::Invoke, &place, on.branch.as_deref()) {
        Ok(found) => found,
        Err(response) => return *response,
    };
    match api.scheduler.resume(&live, &schedule, &caller.actor).await {
        Ok(_) => one(&api, &live, &schedule).await,
        Err(error) => failed(&error),
    }
}

/// Resumes the schedules of all apps, which are held since a restore. What was skipped is recorded and not run.
#[utoipa::path(
    post,
    path = "/-/api/v1/schedules/resume",
    tag = "schedules",
    responses((status = 200, body = rest::ResumedAll), rest::Refusals),
)]
pub(super) async fn resume_all(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    _: Asked<Nothing>,
    _: NoBody,
) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    let held = match api.scheduler.schedule_hold().await {
        Ok(held) => held,
        Err(error) => return failed(&error),
    };
    match api.scheduler.resume_all(&caller.actor).await {
        Ok(Some(resumed)) => document(&rest::ResumedAll { held: held.map(hold), resumed }),
        Ok(None) => document(&rest::ResumedAll { held: None, resumed: 0 }),
        Err(error) => failed(&error),
    }
}

async fn one(api: &Api, live: &Live, schedule: &Schedule) -> Response<Body> {
    match (api.scheduler.scheduled(live).await, api.scheduler.schedule_hold().await) {
        (Ok(all), Ok(held)) => match all.into_iter().find(|found| found.schedule.name == schedule.name) {
            Some(found) => document(&shown(found, held.is_some())),
            None => no_schedule(),
        },
        (Err(error), _) | (_, Err(error)) => failed(&error),
    }
}

/// A hold as the API shows it.
pub(super) fn hold(ScheduleHold { since, cause }: ScheduleHold) -> rest::Held {
    rest::Held { since, by: cause }
}

fn find(
    api: &Api,
    caller: &Caller,
    right: Right,
    (app, name): &(String, String),
    branch: Option<&str>,
) -> Result<(Arc<Live>, Schedule), Box<Response<Body>>> {
    let live = live(api, caller, right, app, branch)?;
    let schedules = &live.revision.manifest().schedules;
    let found = schedules.iter().find(|declared| declared.name.as_str() == name).cloned();
    Ok((live, found.ok_or_else(|| Box::new(no_schedule()))?))
}

/// What is live on a branch, to whom may ask for it.
fn live(
    api: &Api,
    caller: &Caller,
    right: Right,
    app: &str,
    branch: Option<&str>,
) -> Result<Arc<Live>, Box<Response<Body>>> {
    allow(caller, right, app)?;
    let Some(branch) = branch else {
        return production(&api.table, app);
    };
    let found =
        AppName::new(app).ok().and_then(|app| api.table.find(app.as_str(), &branch_label(&app, branch)));
    match found {
        Some(Found::Live(live)) if live.branch.name == branch => Ok(live),
        Some(Found::Unserved) => Err(Box::new(unserved())),
        _ => Err(Box::new(no_branch())),
    }
}

fn no_schedule() -> Response<Body> {
    problem(StatusCode::NOT_FOUND, "the app has no such schedule")
}

fn shown(scheduled: Scheduled, held: bool) -> rest::Schedule {
    let Scheduled { schedule, paused, next, last } = scheduled;
    let next = if held { Vec::new() } else { next };
    rest::Schedule {
        name: schedule.name.as_str().to_owned(),
        cron: schedule.cron.as_str().to_owned(),
        timezone: schedule.cron.zone_name().to_owned(),
        script: schedule.script.as_str().to_owned(),
        paused: paused.map(|paused| rest::Paused { at: paused.at, by: paused.by }),
        next,
        last_run: last.map(run),
    }
}

fn run(run: ScheduleRun) -> rest::Run {
    rest::Run {
        late_ms: run.lateness().num_milliseconds(),
        due: run.due.last,
        first_due: (run.due.first < run.due.last).then_some(run.due.first),
        due_times: run.due.count,
        manual: run.manual,
        deploy: run.deploy.get(),
        commit: run.commit.map(|commit| commit.to_string()),
        execution: run.execution.map(|id| id.to_string()),
        node: run.node.map(|node| rest::RunNode { id: node.id.to_string(), name: node.name }),
        claimed_at: run.claimed_at,
        finished_at: run.finished_at,
        outcome: run.outcome.map_or("running", RunOutcome::as_str).to_owned(),
        detail: run.detail,
    }
}
