//! What apps logged: a page of it, or as it comes in.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, Stream, StreamExt as _};
use platform::recording::tail::{Tail, TailEvent};
use platform::tokens::Right;
use serde::Deserialize;
use store::{LineFilter, LineLevel, LineRecord, Part};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::query::{Asked, Limit, PAGE_MAX, cursor, find_app};
use super::{Api, document, failed, problem};
use crate::edge::credentials::Caller;
use crate::edge::listener::Stopping;
use crate::rest;

/// How many lines are listed where nothing else is asked for.
const PAGE: u32 = 100;

/// How many may follow at once.
pub(super) const FOLLOWERS_MAX: usize = 64;

/// How often a stream says that it goes on, when there is nothing else to say.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client waits before it asks again, once a stream has ended.
const RETRY: Duration = Duration::from_secs(1);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those of this script, a path in the repository.
    script: Option<String>,
    /// Those of this level or a higher one.
    #[param(inline)]
    level: Option<Level>,
    /// Those of this execution.
    execution: Option<Uuid>,
    /// Those written since then.
    since: Option<DateTime<Utc>>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// Where to go on: the `next_cursor` of another answer.
    cursor: Option<String>,
}

/// Which lines, and how many of those that are there already come first.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Followed {
    /// Those of this script, a path in the repository.
    script: Option<String>,
    /// Those of this level or a higher one.
    #[param(inline)]
    level: Option<Level>,
    /// Those of this execution.
    execution: Option<Uuid>,
    /// Those written since then.
    since: Option<DateTime<Utc>>,
    /// How many of the lines that are there already come first.
    #[serde(default)]
    #[param(maximum = 1000)]
    before: u32,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    Trace,
    Info,
    Warn,
    Error,
}

impl From<Level> for LineLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

/// The latest lines of an app, the oldest of them first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/logs",
    tag = "logs",
    params(("app" = String, Path, description = "The name of the app"), Which),
    responses((status = 200, body = rest::Logs), rest::Refusals),
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
    let filter = LineFilter {
        script: which.script,
        level: which.level.map(LineLevel::from),
        execution: which.execution,
        since: which.since,
    };
    let limit = Limit::or(which.limit, PAGE);
    match api.store.lines(app.id, &filter, before.map_or(Part::Latest, Part::Before), limit).await {
        Ok(lines) => {
            let full = lines.len() == limit as usize;
            let next_cursor = lines.first().filter(|_| full).map(|first| first.number.to_string());
            let lines = lines.into_iter().map(|line| shown(line.record)).collect();
            document(&rest::Logs { lines, next_cursor })
        }
        Err(error) => failed(&error),
    }
}

/// The lines of an app as they come in, as server-sent events (<https://html.spec.whatwg.org/#server-sent-events>): `line`, and
/// `gap` where some are missing. An event's id is a place to go on from (`Last-Event-ID`) without missing anything.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/logs/stream",
    tag = "logs",
    params(("app" = String, Path, description = "The name of the app"), Followed, ("last-event-id" = Option<u64>, Header, description = "The id of the last event that was heard")),
    responses((status = 200, description = "Events `line` with a LogLine, and `gap` with a Gap", body = String, content_type = "text/event-stream"), rest::Refusals),
)]
pub(super) async fn follow(
    State(api): State<Api>,
    Path(app): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Asked(which): Asked<Followed>,
) -> Response<Body> {
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let (app, last) = match (find_app(&api, &caller, Right::Read, &app).await, cursor(last)) {
        (Ok(app), Ok(last)) => (app, last),
        (Err(refused), _) | (_, Err(refused)) => return *refused,
    };
    let Ok(place) = Arc::clone(&api.followers).try_acquire_owned() else {
        let mut response =
            problem(StatusCode::SERVICE_UNAVAILABLE, "too many follow logs of this node already");
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return response;
    };
    let filter = LineFilter {
        script: which.script,
        level: which.level.map(LineLevel::from),
        execution: which.execution,
        since: which.since,
    };
    let from = match last {
        Some(last) => last,
        None => {
            let part = Part::Latest;
            let earlier = match which.before {
                0 => Ok(Vec::new()),
                before => api.store.lines(app.id, &filter, part, before.min(PAGE_MAX)).await,
            };
            match (earlier, api.store.last_record().await) {
                (Ok(earlier), Ok(last)) => earlier.first().map_or(last, |first| first.number - 1),
                (Err(error), _) | (_, Err(error)) => return failed(&error),
            }
        }
    };
    let tail = Tail::new(api.store.clone(), app.id, filter, from);
    let keep_alive = KeepAlive::new().interval(HEARTBEAT);
    Sse::new(events(tail, api.stopping, place)).keep_alive(keep_alive).into_response()
}

/// What a tail tells, until the node stops or the client leaves.
fn events(
    tail: Tail,
    stopping: Arc<Stopping>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let begin = stream::iter([Event::default().retry(RETRY).comment("picloud")]);
    let told = stream::unfold((tail, stopping, place), async |(mut tail, stopping, place)| {
        let told = tokio::select! {
            told = tail.next() => told,
            () = stopping.begun() => return None,
        };
        Some((stream::iter(told.into_iter().filter_map(event)), (tail, stopping, place)))
    });
    begin.chain(told.flatten()).map(Ok)
}

fn event(told: TailEvent) -> Option<Event> {
    let gap = |reason: &str| rest::Gap {
        reason: reason.to_owned(),
        node: None,
        since: None,
        until: None,
        executions: 0,
        lines: 0,
    };
    let event = match told {
        TailEvent::Line(line) => {
            let event = Event::default().event("line").id(line.number.to_string());
            event.json_data(shown(line.record))
        }
        TailEvent::Lost(lost) => {
            let event = Event::default().event("gap").id(lost.number.to_string());
            let loss = lost.record;
            event.json_data(rest::Gap {
                node: Some(loss.node),
                since: Some(loss.since),
                until: Some(loss.until),
                executions: loss.executions,
                lines: loss.lines,
                ..gap("lost")
            })
        }
        TailEvent::Away => Event::default().event("gap").json_data(gap("away")),
        TailEvent::Back => Event::default().event("gap").json_data(gap("back")),
        TailEvent::SetBack(last) => {
            Event::default().event("gap").id(last.to_string()).json_data(gap("set back"))
        }
    };
    event.inspect_err(|error| tracing::error!(%error, "a line cannot be written as JSON")).ok()
}

pub(super) fn shown(record: LineRecord) -> rest::LogLine {
    rest::LogLine {
        at: record.at,
        level: record.level.as_str().to_owned(),
        script: record.script,
        line: record.line,
        message: record.message,
        // What is no JSON any more, since a character of it could not be stored, is shown as it is.
        data: record.data.map(|data| serde_json::from_str(&data).unwrap_or(serde_json::Value::String(data))),
        execution: record.execution,
        failure: record.failure,
    }
}
