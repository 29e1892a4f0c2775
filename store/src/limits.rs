//! What an app is granted of its own, in place of what the operator grants every app.

use std::ops::RangeInclusive;

use uuid::Uuid;

use crate::audit::{Act, Actor, AuditAction};
use crate::column::{Maybe, Unsigned};
use crate::error::StoreError;
use crate::record::App;
use crate::{Store, either};

/// The limits that an app has of its own. `None`: that of the operator holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct AppLimits {
    /// Bytes of the node's memory that the app can hold at once.
    #[sqlx(rename = "limit_memory_share", try_from = "Maybe<Unsigned<u64>>")]
    pub memory_share: Option<u64>,
    /// Bytes that its repository can take in the database.
    #[sqlx(rename = "limit_disk", try_from = "Maybe<Unsigned<u64>>")]
    pub disk: Option<u64>,
    /// How many previews can be live.
    #[sqlx(rename = "limit_previews", try_from = "Maybe<Unsigned<u64>>")]
    pub previews: Option<u64>,
    /// How many executions a minute its schedules can start.
    #[sqlx(rename = "limit_schedule_runs", try_from = "Maybe<Unsigned<u64>>")]
    pub schedule_runs: Option<u64>,
    /// The longest `timeout` of its manifest, in milliseconds.
    #[sqlx(rename = "limit_timeout_ms", try_from = "Maybe<Unsigned<u64>>")]
    pub timeout_ms: Option<u64>,
    /// The most `operations` of its manifest.
    #[sqlx(rename = "limit_operations", try_from = "Maybe<Unsigned<u64>>")]
    pub operations: Option<u64>,
    /// The most `memory` of its manifest, in bytes.
    #[sqlx(rename = "limit_script_memory", try_from = "Maybe<Unsigned<u64>>")]
    pub script_memory: Option<u64>,
    /// The longest `body` of its manifest, in bytes.
    #[sqlx(rename = "limit_body", try_from = "Maybe<Unsigned<u64>>")]
    pub body: Option<u64>,
    /// The most `concurrency` of its manifest.
    #[sqlx(rename = "limit_concurrency", try_from = "Maybe<Unsigned<u64>>")]
    pub concurrency: Option<u64>,
    /// How many schedules its manifest can declare.
    #[sqlx(rename = "limit_schedules", try_from = "Maybe<Unsigned<u64>>")]
    pub schedules: Option<u64>,
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
}

impl AppLimit {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
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
    ];

    /// What it is called: `memory-share`.
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
        }
    }

    /// The values that it can have. Zero only where an app can do without: no previews, no schedules.
    pub fn range(self) -> RangeInclusive<u64> {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        match self {
            Self::MemoryShare | Self::ScriptMemory | Self::Body => 1..=1 << 50,
            Self::Disk => 0..=1 << 50,
            Self::Previews | Self::Schedules => 0..=100_000,
            Self::ScheduleRuns => 0..=1_000_000,
            Self::Timeout => 1..=DAY_MS,
            Self::Operations => 1..=1 << 50,
            Self::Concurrency => 1..=100_000,
        }
    }
}

impl AppLimits {
    /// The value of one limit.
    pub fn get(&self, limit: AppLimit) -> Option<u64> {
        let mut copy = *self;
        *copy.place(limit)
    }

    /// Sets one limit, or takes it away.
    pub fn set(&mut self, limit: AppLimit, value: Option<u64>) {
        *self.place(limit) = value;
    }

    fn place(&mut self, limit: AppLimit) -> &mut Option<u64> {
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
        }
    }
}

/// A change of limits: each with its new value, or `None` for the operator's again.
pub type LimitChanges = [(AppLimit, Option<u64>)];

/// What a change has done to `limits`, as the audit list has it: one act for each limit that has another value now.
pub(crate) fn apply(app: &mut App, changes: &LimitChanges, by: &Actor) -> Vec<Act> {
    let shown =
        |value: Option<u64>| Some(value.map_or_else(|| "default".to_owned(), |value| value.to_string()));
    let mut acts = Vec::new();
    for (limit, value) in changes {
        let before = app.limits.get(*limit);
        if before != *value {
            app.limits.set(*limit, *value);
            let subject = format!("limit {}", limit.as_str());
            let act = Act::new(by, AuditAction::AppSetting, Some(&app.name), &subject);
            acts.push(act.changing(shown(before), shown(*value)));
        }
    }
    acts
}

impl Store {
    /// Changes limits of an app, which all nodes hear of, apart from `node`. The app as it is then.
    ///
    /// # Errors
    /// The app is not there any more, or the database failed. Nothing was changed then.
    pub async fn change_limits(
        &self,
        app: &App,
        changes: &LimitChanges,
        node: Option<Uuid>,
        by: &Actor,
    ) -> Result<App, StoreError> {
        either!(self, apps::change_limits(app, changes, node, by))
    }
}
