//! What apps logged: a page of it, or as it comes in.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderName;
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, KeepAliveStream, Sse};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, Stream, StreamExt as _};
use manifest_schema::execution::LogLevel;
use platform::StoreError;
use platform::apps::{App, Apps};
use platform::executor::Holder;
use platform::recording::FollowError;
use platform::recording::tail::{Tail, TailEvent};
use platform::records::{LineFilter, LineRecord, TailFrom};
use platform::tokens::{Caller, Right, Tokens};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{Cursor, FoundApp, Limit, PAGE_MAX, Read, StrictQuery, page};
use super::names;
use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::edge::client;
use crate::edge::stopping::Stopping;
use crate::rest;

/// How many lines are listed where nothing else is asked for.
const PAGE: u32 = 100;

/// When a client that found no place to follow asks again.
const FOLLOWERS_RETRY: Duration = Duration::from_secs(10);

/// How often a stream says that it goes on, when there is nothing else to say.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often it is looked at whether somebody may go on following.
const PERMISSION_CHECK: Duration = Duration::from_secs(2);

/// How long a client waits before it asks again, once a stream has ended.
const RETRY: Duration = Duration::from_secs(1);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Which lines are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
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
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<u64>>,
}

/// Which lines are followed, and how many of those that are there already come first.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowParams {
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

impl From<Level> for LogLevel {
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
    params(("app" = String, Path, description = "The name of the app"), ListParams),
    responses((status = 200, body = rest::Logs), rest::Refusals),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    StrictQuery(params): StrictQuery<ListParams>,
) -> Result<Json<rest::Logs>, ApiError> {
    let ListParams { script, level, execution, since, limit, cursor } = params;
    let filter = LineFilter { script, level: level.map(LogLevel::from), execution, since };
    let is_first = cursor.is_none();
    let found = api.records.lines(&app, &filter, page(limit, cursor, PAGE)).await?;
    if let Some(script) = filter.script.as_deref().filter(|_| is_first && found.items.is_empty()) {
        names::require_live_script(&api, &app.name, script)?;
    }
    Ok(Json(rest::Logs {
        next_cursor: found.next.map(|next| next.to_string()),
        lines: found.items.into_iter().map(shown).collect(),
    }))
}

/// The id of the last event that a client has heard, where it follows again.
pub(super) struct LastEventId(Option<u64>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let id = parts.headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
        let id = id.map(str::parse).transpose();
        id.map(Self).map_err(|_| ApiError::bad_request("`last-event-id` is the id of an event"))
    }
}

/// The lines of an app as they come in, as server-sent events (<https://html.spec.whatwg.org/#server-sent-events>): `line`, and
/// `gap` where some are missing. An event's id is a place to go on from (`Last-Event-ID`) without missing anything.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/logs/stream",
    tag = "logs",
    params(("app" = String, Path, description = "The name of the app"), FollowParams, ("last-event-id" = Option<u64>, Header, description = "The id of the last event that was heard")),
    responses((status = 200, description = "Events `line` with a LogLine, and `gap` with a Gap", body = String, content_type = "text/event-stream"), rest::Refusals),
)]
pub(super) async fn follow(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Read>,
    LastEventId(last): LastEventId,
    StrictQuery(params): StrictQuery<FollowParams>,
) -> Result<Sse<KeepAliveStream<impl Stream<Item = Result<Event, Infallible>>>>, ApiError> {
    let FollowParams { script, level, execution, since, before } = params;
    if let Some(script) = &script {
        names::require_live_script(&api, &app.name, script)?;
    }
    let filter = LineFilter { script, level: level.map(LogLevel::from), execution, since };
    let from = last.map_or(TailFrom::LastLines(before.min(PAGE_MAX)), TailFrom::Record);
    let client = caller.actor.address.as_ref().and_then(|address| address.parse().ok()).map(client::network);
    let holder = Holder::new(caller.who.token, client, app.name.clone());
    let tail = api.records.follow(&app, filter, from, &holder).await.map_err(|error| match error {
        FollowError::Store(error) => ApiError::from(error),
        full => ApiError::unavailable(full.to_string(), FOLLOWERS_RETRY),
    })?;
    let keep_alive = KeepAlive::new().interval(HEARTBEAT);
    let (tokens, apps, checked) = (api.tokens, api.apps, Instant::now());
    let permission = Permission { tokens, apps, caller: caller.who, app, checked };
    Ok(Sse::new(events(tail, permission, api.stopping)).keep_alive(keep_alive))
}

/// Whether somebody may go on following an app.
struct Permission {
    tokens: Tokens,
    apps: Apps,
    caller: Caller,
    app: App,
    /// When that was last looked at.
    checked: Instant,
}

impl Permission {
    /// Ends once the token is revoked, has expired, or may not read the app any more, and once the app is gone.
    async fn ended(&mut self) {
        loop {
            tokio::time::sleep_until(self.checked + PERMISSION_CHECK).await;
            let holds = self.holds().await;
            self.checked = Instant::now();
            // While the database is away nobody can say, and nothing is sent.
            if holds.is_ok_and(|holds| !holds) {
                return;
            }
        }
    }

    async fn holds(&self) -> Result<bool, StoreError> {
        let caller = self.tokens.identify_again(&self.caller).await?;
        let may_read = caller.is_some_and(|caller| caller.may(Right::Read, &self.app.name));
        Ok(may_read && self.apps.find(&self.app.name).await?.is_some_and(|app| app.id == self.app.id))
    }
}

/// What a tail tells, until the node stops, the client leaves, or may not follow any more.
fn events(
    tail: Tail,
    permission: Permission,
    stopping: Arc<Stopping>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let begin = stream::iter([Event::default().retry(RETRY).comment("picloud")]);
    let told = stream::unfold((tail, permission, stopping), async |(mut tail, mut permission, stopping)| {
        let told = tokio::select! {
            told = tail.next() => told?,
            () = permission.ended() => return None,
            () = stopping.begun() => return None,
        };
        Some((stream::iter(told.into_iter().filter_map(event)), (tail, permission, stopping)))
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
