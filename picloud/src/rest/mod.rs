//! The documents of the REST API under `/-/api/v1/`, as servers write and clients read them: one room a resource.
//!
//! Names are in snake case, times as RFC 3339 has them, in UTC.

mod apps;
mod nodes;
mod schedules;

pub(crate) use apps::{App, Apps, LiveDeploy};
pub(crate) use nodes::{Node, Nodes};
pub(crate) use schedules::{Paused, Run, RunNode, Runs, Schedule, Schedules, Started};
