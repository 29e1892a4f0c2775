//! Whether all is well.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schedules::Held;

/// Whether all is well, as the node that answers sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// There are no problems.
    pub(crate) well: bool,
    /// The version of PiCloud.
    pub(crate) version: String,
    /// The version of the time zone data, and whether it is the system's or bundled: `2026f, bundled`.
    pub(crate) zone_data: String,
    /// The node that answers.
    pub(crate) node: String,
    /// `PostgreSQL` or `SQLite`.
    pub(crate) database: String,
    /// How many nodes there are, and how many of them are ready. Null while the database cannot be read.
    pub(crate) nodes: Option<usize>,
    pub(crate) nodes_ready: Option<usize>,
    /// How many apps there are; null while the database cannot be read.
    pub(crate) apps: Option<usize>,
    /// How many of them are stopped.
    pub(crate) apps_stopped: Option<usize>,
    /// How many are deleted and can be brought back.
    pub(crate) apps_deleted: Option<usize>,
    /// How many apps have something live in production.
    pub(crate) apps_live: usize,
    /// When the latest backup was made; null: none was, as far as the database knows.
    pub(crate) last_backup_at: Option<chrono::DateTime<chrono::Utc>>,
    /// What is not as it should be, at most 50 of a kind.
    pub(crate) problems: Vec<StatusProblem>,
    /// The schedules of all apps are held: none runs by the clock.
    pub(crate) schedules_held: Option<Held>,
}

/// Something that is not as it should be.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StatusProblem {
    pub(crate) kind: ProblemKind,
    pub(crate) severity: Severity,
    /// What it is, with the names of what it concerns.
    pub(crate) message: String,
    /// What helps, or shows more.
    pub(crate) hint: String,
}

/// What kind of problem it is. More may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProblemKind {
    DatabaseNotWritable,
    NodeNotReady,
    AppNotServed,
    ScheduleFailing,
    SchedulesHeld,
    ExecutionsFailing,
    RecordsDropped,
    BackupMissing,
    BackupOld,
    ClockSkew,
    ClockJump,
    RetentionPaused,
    PreviewWithoutCertificate,
    PreviewReadsProduction,
    DiskNearlyFull,
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Something does not work.
    Error,
    /// Something will not work, or did not work and does again.
    Warning,
}
