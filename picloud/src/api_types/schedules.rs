//! Types for schedules and their runs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The schedules of a live deploy, in the order of the manifest.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Schedules {
    pub(crate) schedules: Vec<Schedule>,
    /// Whether the schedules are enabled: always in production, optional for previews.
    pub(crate) scheduled: bool,
    /// The hold on the schedules of all apps, during which none runs; null if there is none.
    pub(crate) held: Option<Held>,
}

/// A hold on the schedules of all apps.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Held {
    pub(crate) since: DateTime<Utc>,
    /// The cause, such as the restore of a backup.
    pub(crate) by: String,
}

/// The end of a hold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ResumedAll {
    /// The ended hold; null if there was none.
    pub(crate) held: Option<Held>,
    /// Number of resumed schedules.
    pub(crate) resumed: usize,
}

/// A schedule.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Schedule {
    pub(crate) name: String,
    /// Cron expression of the manifest.
    pub(crate) cron: String,
    /// IANA name of the time zone.
    pub(crate) timezone: String,
    pub(crate) script: String,
    /// When and by whom the schedule was paused; null if it is not paused.
    pub(crate) paused: Option<Paused>,
    /// The next three due times; empty while the schedule is paused, held or disabled.
    pub(crate) next: Vec<DateTime<Utc>>,
    pub(crate) last_run: Option<Run>,
}

/// When and by whom a schedule was paused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Paused {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
}

/// Runs of a schedule, latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Runs {
    pub(crate) runs: Vec<Run>,
    /// Cursor of the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// A run, or due times that were skipped or missed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Run {
    /// Due time; the last of several.
    pub(crate) due_at: DateTime<Utc>,
    /// The first of several due times; null for a single one.
    pub(crate) first_due_at: Option<DateTime<Utc>>,
    /// Number of due times, up to 1000; 1001 means more.
    pub(crate) due_times: u32,
    /// Whether the run was started manually.
    pub(crate) manual: bool,
    /// Delay from the due time to the claim.
    pub(crate) late_ms: i64,
    pub(crate) deploy: u64,
    /// Commit of the deploy.
    pub(crate) commit: Option<String>,
    /// Id of the execution; null if none ran.
    pub(crate) execution: Option<String>,
    /// The node that claimed the run.
    pub(crate) node: Option<RunNode>,
    pub(crate) claimed_at: DateTime<Utc>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    /// `running`, `succeeded`, `failed`, `skipped`, `missed` or `lost`.
    pub(crate) outcome: String,
    /// Why the run failed or did not start.
    pub(crate) detail: Option<String>,
}

/// The node of a run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RunNode {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// A manually started run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Started {
    /// The finished run; null if it is still running at the end of the request.
    pub(crate) run: Option<Run>,
}
