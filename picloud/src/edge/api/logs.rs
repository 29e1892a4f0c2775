//! Logs of apps: a page of lines, or a stream.

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
use platform::records::{LogFilter, LogRecord, TailStart};
use platform::tokens::{Caller, Right, Tokens};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{Cursor, FoundApp, Limit, PAGE_MAX, Read, StrictQuery, page};
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;
use crate::edge::client_ip;
use crate::edge::shutdown::Shutdown;

/// The default number of lines on a page.
const PAGE: u32 = 100;

/// The `Retry-After` where too many streams are open.
const STREAMS_RETRY: Duration = Duration::from_secs(10);

/// How often to send a keepalive while there are no events.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// How often to check that the caller still has access.
const ACCESS_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How long clients wait before they reconnect.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The filter of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only lines of this script, a path in the repository.
    script: Option<String>,
    /// Only lines of this level or above.
    #[param(inline)]
    level: Option<Level>,
    /// Only lines of this execution.
    execution: Option<Uuid>,
    /// Only lines since this time.
    since: Option<DateTime<Utc>>,
    /// The maximum number of items.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<u64>>,
}

/// The filter of the stream, and how many earlier lines it starts with.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowParams {
    /// Only lines of this script, a path in the repository.
    script: Option<String>,
    /// Only lines of this level or above.
    #[param(inline)]
    level: Option<Level>,
    /// Only lines of this execution.
    execution: Option<Uuid>,
    /// Only lines since this time.
    since: Option<DateTime<Utc>>,
    /// The number of earlier lines to start with.
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

/// Lists the latest log lines of an app, oldest first.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/logs",
    tag = "logs",
    params(("app" = String, Path, description = "The name of the app"), ListParams),
    responses((status = 200, body = api_types::Logs), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    FoundApp { app, .. }: FoundApp<Read>,
    StrictQuery(params): StrictQuery<ListParams>,
) -> Result<Json<api_types::Logs>, ApiError> {
    let ListParams { script, level, execution, since, limit, cursor } = params;
    let filter = LogFilter { script, level: level.map(LogLevel::from), execution, since };
    let is_first = cursor.is_none();
    let found = api.records.lines(&app, &filter, page(limit, cursor, PAGE)).await?;
    if let Some(script) = filter.script.as_deref().filter(|_| is_first && found.items.is_empty()) {
        lookup::require_live_script(&api, &app.name, script)?;
    }
    Ok(Json(api_types::Logs {
        next_cursor: found.next.map(|next| next.to_string()),
        lines: found.items.into_iter().map(to_api).collect(),
    }))
}

/// The `Last-Event-ID` of a client that reconnects.
pub(super) struct LastEventId(Option<u64>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let id = parts.headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
        let id = id.map(str::parse).transpose();
        id.map(Self).map_err(|_| ApiError::bad_request("invalid `last-event-id`: not the id of an event"))
    }
}

/// The lines of an app as they come in, as server-sent events (<https://html.spec.whatwg.org/#server-sent-events>): `line`, and
/// `dropped` where some are missing. An event's id is a place to go on from (`Last-Event-ID`) without missing anything.
#[utoipa::path(
    get,
    path = "/-/api/v1/apps/{app}/logs/stream",
    tag = "logs",
    params(("app" = String, Path, description = "The name of the app"), FollowParams, ("last-event-id" = Option<u64>, Header, description = "The id of the last event that the client received")),
    responses((status = 200, description = "Events `line` with a LogLine, and `dropped` with a DroppedRecords", body = String, content_type = "text/event-stream"), api_types::ErrorResponses),
)]
pub(super) async fn follow(
    State(api): State<Api>,
    FoundApp { app, caller, .. }: FoundApp<Read>,
    LastEventId(last): LastEventId,
    StrictQuery(params): StrictQuery<FollowParams>,
) -> Result<Sse<KeepAliveStream<impl Stream<Item = Result<Event, Infallible>>>>, ApiError> {
    let FollowParams { script, level, execution, since, before } = params;
    if let Some(script) = &script {
        lookup::require_live_script(&api, &app.name, script)?;
    }
    let filter = LogFilter { script, level: level.map(LogLevel::from), execution, since };
    let from = last.map_or(TailStart::LastLines(before.min(PAGE_MAX)), TailStart::Record);
    let client =
        caller.actor.address.as_ref().and_then(|address| address.parse().ok()).map(client_ip::network);
    let holder = Holder::new(caller.principal.token, client, app.name.clone());
    let tail = api.records.follow(&app, filter, from, &holder).await.map_err(|error| match error {
        FollowError::Store(error) => ApiError::from(error),
        full => ApiError::unavailable(full.to_string(), STREAMS_RETRY),
    })?;
    let keep_alive = KeepAlive::new().interval(KEEPALIVE_INTERVAL);
    let (tokens, apps, checked_at) = (api.tokens, api.apps, Instant::now());
    let access = ReadAccess { tokens, apps, caller: caller.principal, app, checked_at };
    Ok(Sse::new(events(tail, access, api.shutdown)).keep_alive(keep_alive))
}

/// The access of the caller to the app, checked while the stream is open.
struct ReadAccess {
    tokens: Tokens,
    apps: Apps,
    caller: Caller,
    app: App,
    /// When it was last checked.
    checked_at: Instant,
}

impl ReadAccess {
    /// Completes when the token is revoked, expired or without access to the app, or the app is deleted.
    async fn revoked(&mut self) {
        loop {
            tokio::time::sleep_until(self.checked_at + ACCESS_CHECK_INTERVAL).await;
            let has_access = self.check().await;
            self.checked_at = Instant::now();
            // Without the database access is unknown, but then no lines are sent either.
            if has_access.is_ok_and(|has_access| !has_access) {
                return;
            }
        }
    }

    async fn check(&self) -> Result<bool, StoreError> {
        let caller = self.tokens.reauthenticate(&self.caller).await?;
        let can_read = caller.is_some_and(|caller| caller.can(Right::Read, &self.app.name));
        Ok(can_read && self.apps.find(&self.app.name).await?.is_some_and(|app| app.id == self.app.id))
    }
}

/// The events of a tail, until the node shuts down, the client disconnects or its access ends.
fn events(
    tail: Tail,
    access: ReadAccess,
    shutdown: Arc<Shutdown>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let begin = stream::iter([Event::default().retry(RECONNECT_DELAY).comment("picloud")]);
    let batches = stream::unfold((tail, access, shutdown), async |(mut tail, mut access, shutdown)| {
        let batch = tokio::select! {
            batch = tail.next() => batch?,
            () = access.revoked() => return None,
            () = shutdown.drain_begun() => return None,
        };
        Some((stream::iter(batch.into_iter().filter_map(event)), (tail, access, shutdown)))
    });
    begin.chain(batches.flatten()).map(Ok)
}

fn event(tail_event: TailEvent) -> Option<Event> {
    let dropped = |reason: &str| api_types::DroppedRecords {
        reason: reason.to_owned(),
        node: None,
        since: None,
        until: None,
        executions: 0,
        log_lines: 0,
    };
    let event = match tail_event {
        TailEvent::Line(line) => {
            let event = Event::default().event("line").id(line.sequence.to_string());
            event.json_data(to_api(line.record))
        }
        TailEvent::Dropped(lost) => {
            let event = Event::default().event("dropped").id(lost.sequence.to_string());
            let loss = lost.record;
            event.json_data(api_types::DroppedRecords {
                node: Some(loss.node),
                since: Some(loss.since),
                until: Some(loss.until),
                executions: loss.executions,
                log_lines: loss.log_lines,
                ..dropped("lost")
            })
        }
        TailEvent::DatabaseDown => Event::default().event("dropped").json_data(dropped("away")),
        TailEvent::DatabaseUp => Event::default().event("dropped").json_data(dropped("back")),
        TailEvent::DatabaseRestored(last) => {
            Event::default().event("dropped").id(last.to_string()).json_data(dropped("set back"))
        }
    };
    event.inspect_err(|error| tracing::error!(%error, "cannot serialize a log line")).ok()
}

pub(super) fn to_api(record: LogRecord) -> api_types::LogLine {
    api_types::LogLine {
        at: record.at,
        level: record.level.as_str().to_owned(),
        script: record.script,
        line: record.line,
        message: record.message,
        // Data with a character that could not be stored is no longer JSON: passed on as text.
        data: record.data.map(|data| serde_json::from_str(&data).unwrap_or(serde_json::Value::String(data))),
        execution: record.execution,
        failure: record.failure,
    }
}
