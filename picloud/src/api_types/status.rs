//! Types for the status of a server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schedules::Held;

/// The status of the server from the view of the responding node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// Whether there are no problems.
    pub(crate) healthy: bool,
    /// Version of PiCloud.
    pub(crate) version: String,
    /// Version and source of the time zone data, such as `2026f, bundled`.
    pub(crate) zone_data: String,
    /// Name of the responding node.
    pub(crate) node: String,
    /// `PostgreSQL` or `SQLite`.
    pub(crate) database: String,
    /// Number of nodes; null if the database is unavailable.
    pub(crate) nodes: Option<usize>,
    /// Number of ready nodes; null if the database is unavailable.
    pub(crate) nodes_ready: Option<usize>,
    /// Number of apps; null if the database is unavailable.
    pub(crate) apps: Option<usize>,
    /// Number of stopped apps.
    pub(crate) apps_stopped: Option<usize>,
    /// Number of deleted apps that can be restored.
    pub(crate) apps_deleted: Option<usize>,
    /// Number of apps with a live production deploy.
    pub(crate) apps_live: usize,
    /// Time of the last backup; null if none is known.
    pub(crate) last_backup_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Problems, at most 50 of a kind.
    pub(crate) problems: Vec<StatusProblem>,
    /// The hold on the schedules of all apps, during which none runs; null if there is none.
    pub(crate) schedules_held: Option<Held>,
}

/// A problem.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StatusProblem {
    pub(crate) kind: ProblemKind,
    pub(crate) severity: Severity,
    /// The problem, with the names of the affected objects.
    pub(crate) message: String,
    /// How to resolve or investigate the problem.
    pub(crate) hint: String,
}

/// The kind of a problem. Later versions can add more.
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
    StateNearlyFull,
    DiskNearlyFull,
}

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// A current failure.
    Error,
    /// An impending or a past failure.
    Warning,
}
