//! The queries for PostgreSQL (13 and later).

pub(crate) mod apps;
pub(crate) mod attempts;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod connect;
pub(crate) mod connections;
pub(crate) mod deploys;
pub(crate) mod domains;
pub(crate) mod executions;
pub(crate) mod git;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod objects;
pub(crate) mod push;
pub(crate) mod recording;
pub(crate) mod revisions;
pub(crate) mod schedule_hold;
pub(crate) mod schedule_runs;
pub(crate) mod schedules;
pub(crate) mod secrets;
mod session;
pub(crate) mod status;
pub(crate) mod tokens;
mod transaction;
