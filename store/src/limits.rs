//! Limits of single apps, which override the defaults of the server.

use std::ops::RangeInclusive;

use uuid::Uuid;

use crate::audit::{Actor, AuditAction, AuditEvent};
use crate::error::StoreError;
use crate::model::App;
use crate::sql_types::{Maybe, Unsigned};
use crate::{Store, dispatch};

/// The limits of an app. `None`: the default of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct AppLimits {
    /// Bytes of memory of the node that the app can use at once.
    #[sqlx(rename = "limit_memory_share", try_from = "Maybe<Unsigned<u64>>")]
    pub memory_share: Option<u64>,
    /// Disk quota of the repository in bytes.
    #[sqlx(rename = "limit_disk", try_from = "Maybe<Unsigned<u64>>")]
    pub disk: Option<u64>,
    /// Maximum number of previews.
    #[sqlx(rename = "limit_previews", try_from = "Maybe<Unsigned<u64>>")]
    pub previews: Option<u64>,
    /// Maximum number of schedule runs per minute.
    #[sqlx(rename = "limit_schedule_runs_per_minute", try_from = "Maybe<Unsigned<u64>>")]
    pub schedule_runs: Option<u64>,
    /// Maximum `timeout` in the manifest, in milliseconds.
    #[sqlx(rename = "limit_timeout_ms", try_from = "Maybe<Unsigned<u64>>")]
    pub timeout_ms: Option<u64>,
    /// Maximum `operations` in the manifest.
    #[sqlx(rename = "limit_operations", try_from = "Maybe<Unsigned<u64>>")]
    pub operations: Option<u64>,
    /// Maximum `memory` in the manifest, in bytes.
    #[sqlx(rename = "limit_script_memory", try_from = "Maybe<Unsigned<u64>>")]
    pub script_memory: Option<u64>,
    /// Maximum `body` in the manifest, in bytes.
    #[sqlx(rename = "limit_body", try_from = "Maybe<Unsigned<u64>>")]
    pub body: Option<u64>,
    /// Maximum `concurrency` in the manifest.
    #[sqlx(rename = "limit_concurrency", try_from = "Maybe<Unsigned<u64>>")]
    pub concurrency: Option<u64>,
    /// Maximum number of schedules in the manifest.
    #[sqlx(rename = "limit_schedules", try_from = "Maybe<Unsigned<u64>>")]
    pub schedules: Option<u64>,
    /// Maximum size of the state in bytes.
    #[sqlx(rename = "limit_state", try_from = "Maybe<Unsigned<u64>>")]
    pub state: Option<u64>,
}

/// One of [`AppLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppLimit {
    /// See [`AppLimits::memory_share`].
    MemoryShare,
    /// See [`AppLimits::disk`].
    Disk,
    /// See [`AppLimits::previews`].
    Previews,
    /// See [`AppLimits::schedule_runs`].
    ScheduleRuns,
    /// See [`AppLimits::timeout_ms`].
    Timeout,
    /// See [`AppLimits::operations`].
    Operations,
    /// See [`AppLimits::script_memory`].
    ScriptMemory,
    /// See [`AppLimits::body`].
    Body,
    /// See [`AppLimits::concurrency`].
    Concurrency,
    /// See [`AppLimits::schedules`].
    Schedules,
    /// See [`AppLimits::state`].
    State,
}

impl AppLimit {
    /// All limits in display order.
    pub const ALL: [Self; 11] = [
        Self::MemoryShare,
        Self::Disk,
        Self::Previews,
        Self::ScheduleRuns,
        Self::Timeout,
        Self::Operations,
        Self::ScriptMemory,
        Self::Body,
        Self::Concurrency,
        Self::Schedules,
        Self::State,
    ];

    /// The name: `memory-share`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemoryShare => "memory-share",
            Self::Disk => "disk",
            Self::Previews => "previews",
            Self::ScheduleRuns => "schedule-runs-per-minute",
            Self::Timeout => "timeout",
            Self::Operations => "operations",
            Self::ScriptMemory => "script-memory",
            Self::Body => "body",
            Self::Concurrency => "concurrency",
            Self::Schedules => "schedules",
            Self::State => "state",
        }
    }

    /// The valid values. Zero is valid where an app can do without: no previews, no schedules, no state.
    pub fn range(self) -> RangeInclusive<u64> {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        match self {
            Self::MemoryShare | Self::ScriptMemory | Self::Body => 1..=1 << 50,
            Self::Disk | Self::State => 0..=1 << 50,
            Self::Previews | Self::Schedules => 0..=100_000,
            Self::ScheduleRuns => 0..=1_000_000,
            Self::Timeout => 1..=DAY_MS,
            Self::Operations => 1..=1 << 50,
            Self::Concurrency => 1..=100_000,
        }
    }
}

impl AppLimits {
    /// Gets one limit.
    pub fn get(&self, limit: AppLimit) -> Option<u64> {
        let mut copy = *self;
        *copy.slot(limit)
    }

    /// Sets or unsets one limit.
    pub fn set(&mut self, limit: AppLimit, value: Option<u64>) {
        *self.slot(limit) = value;
    }

    fn slot(&mut self, limit: AppLimit) -> &mut Option<u64> {
        match limit {
            AppLimit::MemoryShare => &mut self.memory_share,
            AppLimit::Disk => &mut self.disk,
            AppLimit::Previews => &mut self.previews,
            AppLimit::ScheduleRuns => &mut self.schedule_runs,
            AppLimit::Timeout => &mut self.timeout_ms,
            AppLimit::Operations => &mut self.operations,
            AppLimit::ScriptMemory => &mut self.script_memory,
            AppLimit::Body => &mut self.body,
            AppLimit::Concurrency => &mut self.concurrency,
            AppLimit::Schedules => &mut self.schedules,
            AppLimit::State => &mut self.state,
        }
    }
}

/// Changed limits with their new values; `None`: the default of the server.
pub type LimitChanges = [(AppLimit, Option<u64>)];

/// Applies changes. Returns one audit event for each limit whose value changed.
pub(crate) fn apply(app: &mut App, changes: &LimitChanges, by: &Actor) -> Vec<AuditEvent> {
    let shown =
        |value: Option<u64>| Some(value.map_or_else(|| "default".to_owned(), |value| value.to_string()));
    let mut events = Vec::new();
    for (limit, value) in changes {
        let before = app.limits.get(*limit);
        if before != *value {
            app.limits.set(*limit, *value);
            let subject = format!("limit {}", limit.as_str());
            let event = AuditEvent::new(by, AuditAction::AppSetting, Some(&app.name), &subject);
            events.push(event.changing(shown(before), shown(*value)));
        }
    }
    events
}

impl Store {
    /// Changes limits of an app and notifies all nodes except `node`. Returns the updated app.
    ///
    /// # Errors
    /// The app does not exist any more, or the database failed. Nothing was changed.
    pub async fn change_limits(
        &self,
        app: &App,
        changes: &LimitChanges,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<App, StoreError> {
        dispatch!(self, apps::change_limits(app, changes, node, by))
    }
}
