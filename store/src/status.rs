//! What needs attention of the operator: failing schedules and executions, dropped records, the age of the latest
//! backup.
//!
//! These queries use indexes and count up to a limit, so that their cost does not grow with the history.

use chrono::{DateTime, Utc};
use manifest_schema::name::JobName;

use crate::error::StoreError;
use crate::schedule::RunOutcome;
use crate::sql_types::{Named, Unsigned};
use crate::{Store, dispatch};

/// The maximum number of failures that are counted for an app.
pub const FAILURES_COUNTED_MAX: u32 = 1000;

/// The maximum number of executions that are counted for an app.
pub const EXECUTIONS_COUNTED_MAX: u32 = 10_000;

/// How many of the latest rows of a schedule are searched for its last run.
pub(crate) const RUNS_SEARCHED_MAX: i64 = 100;

/// The migration that added `last_backup`.
pub(crate) const BACKUP_MIGRATION: i64 = 18;

/// A schedule whose last run failed or was lost.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FailingSchedule {
    /// The name of the app.
    pub app: String,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// Its name.
    #[sqlx(try_from = "Named<JobName>")]
    pub name: JobName,
    /// The due time of the run.
    pub due_at: DateTime<Utc>,
    /// [`RunOutcome::Failed`] or [`RunOutcome::Lost`].
    pub outcome: RunOutcome,
    /// The reason.
    pub detail: Option<String>,
}

/// Failed executions of an app.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FailingApp {
    /// The name of the app.
    pub app: String,
    /// Failed executions, counted up to [`FAILURES_COUNTED_MAX`].
    #[sqlx(try_from = "Unsigned<u64>")]
    pub failed: u64,
    /// All executions, counted up to [`EXECUTIONS_COUNTED_MAX`].
    #[sqlx(try_from = "Unsigned<u64>")]
    pub executions: u64,
}

/// Records that a node dropped, summed up for each app.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct DroppedRecordsSummary {
    /// The name of the node.
    pub node: String,
    /// The name of the app; `None`: deleted apps, and rows of earlier versions that did not count per app.
    pub app: Option<String>,
    /// How many executions.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub executions: u64,
    /// How many log lines.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub log_lines: u64,
    /// The first drop.
    pub since: DateTime<Utc>,
    /// The last drop.
    pub until: DateTime<Utc>,
}

/// When the database was backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LastBackup {
    /// Since when backups are recorded in this database.
    pub recorded_since: DateTime<Utc>,
    /// When the latest backup was made, if any.
    pub made_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Schedules whose last run failed or was lost, except paused ones, by app, branch and name: at most `limit`.
    /// Some may not be declared any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn failing_schedules(&self, limit: u32) -> Result<Vec<FailingSchedule>, StoreError> {
        dispatch!(self, status::failing_schedules(limit))
    }

    /// Apps with failed executions since a time, by name: at most `limit`. Failures caused by clients do not count:
    /// disconnects and invalid JSON.
    ///
    /// # Errors
    /// The database failed.
    pub async fn failing_apps(
        &self,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<FailingApp>, StoreError> {
        dispatch!(self, status::failing_apps(since, limit))
    }

    /// Records that nodes dropped since a time, by node and app: at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn dropped_records_summary(
        &self,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<DroppedRecordsSummary>, StoreError> {
        dispatch!(self, status::dropped_records_summary(since, limit))
    }

    /// When the database was backed up.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_backup(&self) -> Result<LastBackup, StoreError> {
        dispatch!(self, status::last_backup())
    }
}
