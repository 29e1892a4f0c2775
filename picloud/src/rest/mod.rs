//! The documents of the REST API under `/-/api/v1/`, as servers write and clients read them: one room a resource.
//!
//! Names are in snake case, times as RFC 3339 has them, in UTC.

mod apps;
mod audit;
mod deploys;
mod domains;
mod executions;
mod lifecycle;
mod limits;
mod nodes;
mod problem;
mod schedules;
mod secrets;
mod status;
mod tokens;

pub(crate) use apps::{App, AppSettings, Apps, LiveDeploy, Prune, Pruned, StoppedApp};
pub(crate) use audit::{Act, Audit};
pub(crate) use deploys::{
    Branch, BranchSettings, Branches, Deploy, Deploys, Function, Rollback, RolledBack, Route, Routes,
};
pub(crate) use domains::{Domain, DomainState, Domains, TxtRecord};
pub(crate) use executions::NO_EXECUTION;
pub(crate) use executions::{Execution, Executions, Failure, Gap, LogLine, Logs, Place, WholeExecution};
pub(crate) use lifecycle::{DeletedApp, DeletedApps, RenameApp, RenamedApp, Undelete};
pub(crate) use limits::{AppLimits, LimitChanges, Limits, UsedLimits};
pub(crate) use nodes::{Disk, Node, Nodes};
pub(crate) use problem::{NOTHING_THERE, Problem, Refusals};
pub(crate) use schedules::{Held, Paused, ResumedAll, Run, RunNode, Runs, Schedule, Schedules, Started};
pub(crate) use secrets::{
    ChangedSecret, NewKey, NewSecret, Rotated, Secret, SecretDeploy, SecretEnvironment, Secrets,
};
pub(crate) use status::{ProblemKind, Severity, Status, StatusProblem};
pub(crate) use tokens::{CreatedToken, NewToken, Token, Tokens};
