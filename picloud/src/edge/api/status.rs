//! Whether all is well.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::Response;
use manifest_schema::zone::zone_data;
use platform::status::{NodeState, Problem, Severity, Watched, problems};
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

async fn status(api: &Api) -> Result<rest::Status, StoreError> {
    let nodes = nodes::all(api).await?;
    let apps = api.store.apps().await?;
    let watched = Watched {
        store: &api.store,
        table: &api.table,
        activation: &api.activation,
        node: &api.node.identity.name,
        backup_max_age: api.backup_max_age,
    };
    let states: Vec<NodeState> = nodes.iter().map(state).collect();
    let mut problems: Vec<_> = problems(watched, &states).await?.iter().map(shown).collect();
    let held = api.scheduler.schedule_hold().await?.map(schedules::hold);
    problems.extend(held.as_ref().map(words::schedules::problem));
    let is_live = |app: &&store::App| api.table.get_production(app.name.as_str()).is_some();
    Ok(rest::Status {
        well: problems.is_empty(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone_data: zone_data().to_string(),
        node: api.node.identity.name.clone(),
        database: if api.store.cluster().is_some() { "PostgreSQL" } else { "SQLite" }.to_owned(),
        nodes: nodes.len(),
        nodes_ready: nodes.iter().filter(|node| node.trouble.is_none()).count(),
        apps: apps.len(),
        apps_live: apps.iter().filter(is_live).count(),
        last_backup_at: api.store.last_backup().await?.made_at,
        problems,
        schedules_held: held,
    })
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
        Problem::NodeNotReady { .. } => ProblemKind::NodeNotReady,
        Problem::AppNotServed(_) => ProblemKind::AppNotServed,
        Problem::ScheduleFailing { .. } => ProblemKind::ScheduleFailing,
        Problem::ExecutionsFailing(_) => ProblemKind::ExecutionsFailing,
        Problem::RecordsDropped(_) => ProblemKind::RecordsDropped,
        Problem::BackupMissing { .. } => ProblemKind::BackupMissing,
        Problem::BackupOld { .. } => ProblemKind::BackupOld,
        Problem::ClockSkew { .. } | Problem::ClockBehind { .. } => ProblemKind::ClockSkew,
        Problem::DiskNearlyFull { .. } => ProblemKind::DiskNearlyFull,
    }
}
