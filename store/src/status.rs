//! What an operator has to look at: schedules and executions that fail, dropped records, the age of the latest backup.
//!
//! What these queries cost does not grow with history: each reads through an index, and counts up to a bound.

use chrono::{DateTime, Utc};
use manifest_schema::name::JobName;

use crate::column::{Named, Unsigned};
use crate::error::StoreError;
use crate::schedule::RunOutcome;
use crate::{Store, either};

/// The failures of an app that are counted; there may be more.
pub const FAILURES_COUNTED_MAX: u32 = 1000;

/// The executions of an app that are counted; there may be more.
pub const EXECUTIONS_COUNTED_MAX: u32 = 10_000;

/// How many of the latest runs of a schedule are looked at for the last one that ran.
pub(crate) const RUNS_LOOKED_AT: i64 = 100;

/// The migration with which databases began to know when they were backed up.
pub(crate) const BACKUPS_KNOWN_SINCE: i64 = 18;

/// A schedule whose last run failed or was lost.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FailingSchedule {
    /// The name of its app.
    pub app: String,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// Its name.
    #[sqlx(try_from = "Named<JobName>")]
    pub name: JobName,
    /// When the run was due.
    pub due: DateTime<Utc>,
    /// [`RunOutcome::Failed`] or [`RunOutcome::Lost`].
    pub outcome: RunOutcome,
    /// Why.
    pub detail: Option<String>,
}

/// How many executions of an app failed.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FailingApp {
    /// The name of the app.
    pub app: String,
    /// How many failed, counted up to [`FAILURES_COUNTED_MAX`].
    #[sqlx(try_from = "Unsigned<u64>")]
    pub failed: u64,
    /// How many executions there were, counted up to [`EXECUTIONS_COUNTED_MAX`].
    #[sqlx(try_from = "Unsigned<u64>")]
    pub executions: u64,
}

/// Records that a node dropped.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct DroppedRecords {
    /// The name of the node.
    pub node: String,
    /// The name of the app; `None`: of apps that are not there any more, or as earlier versions counted them, together.
    pub app: Option<String>,
    /// How many executions.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub executions: u64,
    /// How many log lines.
    #[sqlx(try_from = "Unsigned<u64>")]
    pub lines: u64,
    /// From when on …
    pub since: DateTime<Utc>,
    /// … until when.
    pub until: DateTime<Utc>,
}

/// When the database was backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LastBackup {
    /// Since when backups are noted in this database.
    pub known_since: DateTime<Utc>,
    /// When the latest was made, if any was.
    pub made_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Schedules whose last run failed or was lost, apart from those that are paused, by app, branch and name: at most
    /// `limit`. Some may not be declared any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn failing_schedules(&self, limit: u32) -> Result<Vec<FailingSchedule>, StoreError> {
        either!(self, status::failing_schedules(limit))
    }

    /// Apps of which executions failed since a moment, by name: at most `limit`. What a client caused does not count: it went
    /// away, or its body was no JSON.
    ///
    /// # Errors
    /// The database failed.
    pub async fn failing_apps(
        &self,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<FailingApp>, StoreError> {
        either!(self, status::failing_apps(since, limit))
    }

    /// The records that nodes dropped since a moment, by the names of nodes and apps: at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn dropped_records(
        &self,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<DroppedRecords>, StoreError> {
        either!(self, status::dropped_records(since, limit))
    }

    /// When the database was backed up.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_backup(&self) -> Result<LastBackup, StoreError> {
        either!(self, status::last_backup())
    }
}
