//! Whether all is well.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::Response;
use chrono::{DateTime, Utc};
use manifest_schema::zone::zone_data;
use platform::status::{NodeState, Problem, Severity, Watched, problems, problems_without_database};
use store::StoreError;
use store::cluster::Disk;

use super::{Api, allow_admin, document, failed, nodes, schedules};
use crate::edge::credentials::Caller;
use crate::rest::{self, ProblemKind, StatusProblem};
use crate::words;

/// Whether the nodes are ready and serve what they should, and what else an operator has to look at: what fails, backups,
/// clocks and disks.
#[utoipa::path(
    get,
    path = "/-/api/v1/status",
    tag = "nodes",
    responses((status = 200, body = rest::Status), rest::Refusals),
)]
pub(super) async fn show(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    match status(&api).await {
        Ok(status) => document(&status),
        Err(error) => failed(&error),
    }
}

/// What is read from the database.
struct Read {
    nodes: usize,
    nodes_ready: usize,
    apps: usize,
    last_backup_at: Option<DateTime<Utc>>,
}

async fn status(api: &Api) -> Result<rest::Status, StoreError> {
    let watched = Watched {
        store: &api.store,
        database: &api.database,
        clock: &api.clock,
        table: &api.table,
        activation: &api.activation,
        node: &api.node.identity.name,
        backup_max_age: api.backup_max_age,
    };
    let (read, problems) = match read(api, watched).await {
        Ok((read, problems)) => (Some(read), problems),
        Err(error) if error.is_unavailable() => (None, problems_without_database(watched, &error)),
        Err(error) => return Err(error),
    };
    let held = problems.iter().find_map(|problem| match problem {
        Problem::SchedulesHeld(hold) => Some(schedules::hold(hold.clone())),
        _ => None,
    });
    Ok(rest::Status {
        well: problems.is_empty(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone_data: zone_data().to_string(),
        node: api.node.identity.name.clone(),
        database: if api.store.cluster().is_some() { "PostgreSQL" } else { "SQLite" }.to_owned(),
        nodes: read.as_ref().map(|read| read.nodes),
        nodes_ready: read.as_ref().map(|read| read.nodes_ready),
        apps: read.as_ref().map(|read| read.apps),
        apps_live: api.table.apps_in_production(),
        last_backup_at: read.and_then(|read| read.last_backup_at),
        problems: problems.iter().map(shown).collect(),
        schedules_held: held,
    })
}

async fn read(api: &Api, watched: Watched<'_>) -> Result<(Read, Vec<Problem>), StoreError> {
    let nodes = nodes::all(api).await?;
    let states: Vec<NodeState> = nodes.iter().map(state).collect();
    let read = Read {
        nodes: nodes.len(),
        nodes_ready: nodes.iter().filter(|node| node.trouble.is_none()).count(),
        apps: api.store.apps().await?.len(),
        last_backup_at: api.store.last_backup().await?.made_at,
    };
    Ok((read, problems(watched, &states).await?))
}

fn state(node: &rest::Node) -> NodeState {
    let disk = node.disk.map(|rest::Disk { free_bytes, size_bytes }| Disk { free_bytes, size_bytes });
    NodeState {
        name: node.name.clone(),
        trouble: node.trouble.clone(),
        clock_skew_ms: node.clock_skew_ms,
        disk,
    }
}

fn shown(problem: &Problem) -> StatusProblem {
    StatusProblem {
        kind: kind(problem),
        severity: match problem.severity() {
            Severity::Error => rest::Severity::Error,
            Severity::Warning => rest::Severity::Warning,
        },
        message: words::status::message(problem),
        hint: words::status::hint(problem),
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
        Problem::DiskNearlyFull { .. } => ProblemKind::DiskNearlyFull,
    }
}
