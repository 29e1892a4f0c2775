//! The status of the server.

use axum::Json;
use axum::extract::State;
use manifest_schema::zone::zone_data;
use platform::status::{Problem, Severity, Status};
use platform::tokens::NodeRight;

use super::extract::NoQuery;
use super::schedules;
use super::state::Api;
use crate::api_types::{self, ProblemKind, StatusProblem};
use crate::edge::api_error::ApiError;
use crate::edge::authenticator::Caller;
use crate::render;

/// Shows whether nodes and apps are healthy, and the problems that an operator should look at: failures, backups, clocks and disks.
#[utoipa::path(
    get,
    path = "/-/api/v1/status",
    tag = "nodes",
    responses((status = 200, body = api_types::Status), api_types::ErrorResponses),
)]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    _: NoQuery,
) -> Result<Json<api_types::Status>, ApiError> {
    if !caller.principal.can_on_node(NodeRight::Status) {
        return Err(ApiError::missing_scope(NodeRight::Status.scope()));
    }
    let Status { counts, apps_live, problems } = api.watched.status().await?;
    let held = problems.iter().find_map(|problem| match problem {
        Problem::SchedulesHeld(hold) => Some(schedules::hold(hold.clone())),
        _ => None,
    });
    Ok(Json(api_types::Status {
        healthy: problems.is_empty(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone_data: zone_data().to_string(),
        node: api.watched.node().to_owned(),
        database: if api.watched.is_shared() { "PostgreSQL" } else { "SQLite" }.to_owned(),
        nodes: counts.map(|counts| counts.nodes),
        nodes_ready: counts.map(|counts| counts.nodes_ready),
        apps: counts.map(|counts| counts.apps),
        apps_stopped: counts.map(|counts| counts.apps_stopped),
        apps_deleted: counts.map(|counts| counts.apps_deleted),
        apps_live,
        last_backup_at: counts.and_then(|counts| counts.last_backup_at),
        problems: problems.iter().map(to_api).collect(),
        schedules_held: held,
    }))
}

fn to_api(problem: &Problem) -> StatusProblem {
    StatusProblem {
        kind: kind(problem),
        severity: match problem.severity() {
            Severity::Error => api_types::Severity::Error,
            Severity::Warning => api_types::Severity::Warning,
        },
        message: render::status::message(problem),
        hint: render::status::hint(problem),
    }
}

fn kind(problem: &Problem) -> ProblemKind {
    match problem {
        Problem::DatabaseNotWritable { .. } => ProblemKind::DatabaseNotWritable,
        Problem::NodeNotReady { .. } => ProblemKind::NodeNotReady,
        Problem::AppNotServed(_) => ProblemKind::AppNotServed,
        Problem::ScheduleFailing { .. } => ProblemKind::ScheduleFailing,
        Problem::SchedulesHeld(_) => ProblemKind::SchedulesHeld,
        Problem::ExecutionsFailing(_) => ProblemKind::ExecutionsFailing,
        Problem::RecordsDropped(_) => ProblemKind::RecordsDropped,
        Problem::BackupMissing { .. } => ProblemKind::BackupMissing,
        Problem::BackupOld { .. } => ProblemKind::BackupOld,
        Problem::ClockSkew { .. } | Problem::ClockBehind { .. } => ProblemKind::ClockSkew,
        Problem::ClockJump { .. } => ProblemKind::ClockJump,
        Problem::RetentionPaused { .. } => ProblemKind::RetentionPaused,
        Problem::PreviewWithoutCertificate { .. } => ProblemKind::PreviewWithoutCertificate,
        Problem::PreviewReadsProduction { .. } => ProblemKind::PreviewReadsProduction,
        Problem::StateNearlyFull { .. } => ProblemKind::StateNearlyFull,
        Problem::DiskNearlyFull { .. } => ProblemKind::DiskNearlyFull,
    }
}
