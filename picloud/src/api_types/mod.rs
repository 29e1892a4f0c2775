//! The types of the REST API under `/-/api/v1/`, for server and client.
//!
//! Their doc comments are the documentation of the API. Names are in snake case; times are in UTC, in the format of RFC 3339.

mod apps;
mod audit;
mod deploys;
mod domains;
mod executions;
mod kv;
mod lifecycle;
mod limits;
mod nodes;
mod problem;
mod schedules;
mod secrets;
mod status;
mod tokens;

pub(crate) use apps::{App, AppSettings, Apps, LiveDeploy, Prune, Pruned, StoppedApp};
pub(crate) use audit::{Audit, AuditEvent};
pub(crate) use deploys::{
    Branch, BranchSettings, Branches, Deploy, Deploys, Function, Rollback, RolledBack, Route, Routes,
};
pub(crate) use domains::{Domain, DomainState, Domains, TxtRecord};
pub(crate) use executions::NO_EXECUTION;
pub(crate) use executions::{
    DroppedRecords, Execution, Executions, Failure, LogLine, Logs, SourceLocation, WholeExecution,
};
pub(crate) use kv::{
    KvChanged, KvConflict, KvEntries, KvEntry, KvImported, KvNamespace, KvPage, KvUsage, NewKvValue,
};
pub(crate) use lifecycle::{DeletedApp, DeletedApps, RenameApp, RenamedApp, Undelete};
pub(crate) use limits::{AppLimits, LimitChanges, Limits, UsedLimits};
pub(crate) use nodes::{Disk, Node, Nodes};
pub(crate) use problem::{ErrorResponses, NOT_FOUND, Problem};
pub(crate) use schedules::{Held, Paused, ResumedAll, Run, RunNode, Runs, Schedule, Schedules, Started};
pub(crate) use secrets::{
    ChangedSecret, NewKey, NewSecret, Rotated, Secret, SecretDeploy, SecretEnvironment, Secrets,
};
pub(crate) use status::{ProblemKind, Severity, Status, StatusProblem};
pub(crate) use tokens::{CreatedToken, NewToken, Token, Tokens};
