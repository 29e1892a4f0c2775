//! Schedules and their runs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The schedules of what is live on a branch, in the order of its manifest.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Schedules {
    pub(crate) schedules: Vec<Schedule>,
    /// Whether they run by the clock: in production always, in a preview where it was asked for.
    pub(crate) scheduled: bool,
    /// Those of all apps are held: none runs by the clock.
    pub(crate) held: Option<Held>,
}

/// That the schedules of all apps are held.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Held {
    pub(crate) since: DateTime<Utc>,
    /// What holds them, such as the restore of a backup.
    pub(crate) by: String,
}

/// That the schedules of all apps go on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ResumedAll {
    /// What held them; null: nothing did.
    pub(crate) held: Option<Held>,
    /// How many go on.
    pub(crate) resumed: usize,
}

/// A schedule.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Schedule {
    pub(crate) name: String,
    /// The expression as the manifest has it.
    pub(crate) cron: String,
    /// The IANA name of the zone.
    pub(crate) timezone: String,
    pub(crate) script: String,
    /// Since when and by whom it is paused.
    pub(crate) paused: Option<Paused>,
    /// When it is due next, three times; never while it is paused or held, or in a preview whose schedules do not run.
    pub(crate) next: Vec<DateTime<Utc>>,
    pub(crate) last_run: Option<Run>,
}

/// That a schedule is paused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Paused {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
}

/// Rows of a schedule, the latest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Runs {
    pub(crate) runs: Vec<Run>,
    /// Where the next page begins, where there is one: its `cursor`.
    pub(crate) next_cursor: Option<String>,
}

/// A run, or due times that were not run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Run {
    /// When it was due; of several due times, the last.
    pub(crate) due: DateTime<Utc>,
    /// Of several due times, the first.
    pub(crate) first_due: Option<DateTime<Utc>>,
    /// How many due times it stands for, counted up to 1000; 1001 means more.
    pub(crate) due_times: u32,
    /// Whether somebody asked for it.
    pub(crate) manual: bool,
    /// How much later than due it was claimed.
    pub(crate) late_ms: i64,
    pub(crate) deploy: u64,
    /// The deploy's commit.
    pub(crate) commit: Option<String>,
    /// The execution, where something was run.
    pub(crate) execution: Option<String>,
    /// The node that claimed it.
    pub(crate) node: Option<RunNode>,
    pub(crate) claimed_at: DateTime<Utc>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    /// `running`, `succeeded`, `failed`, `skipped`, `missed` or `lost`.
    pub(crate) outcome: String,
    /// Why it failed or was not run.
    pub(crate) detail: Option<String>,
}

/// A node, as a run names it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RunNode {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// A run that was asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Started {
    /// What came of it; nothing where it goes on for longer than a request may take.
    pub(crate) run: Option<Run>,
}
