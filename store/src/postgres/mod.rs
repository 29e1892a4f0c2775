//! The store on PostgreSQL (13 and later).
//!
//! - `connect`, `session`, `migration`: opening and migrating the database
//! - `connections`, `transaction`, `attempts`: timeouts, outcomes of commits, retries
//! - `dialect`, `objects`, `records`, `kv`: what differs from SQLite
//! - `queries`: all other queries
//! - `nodes`: the nodes that share the database; `state_log`: what they read of each other's commits of state
//! - `backup`: backup and restore

pub(crate) mod attempts;
pub(crate) mod backup;
pub(crate) mod connect;
pub(crate) mod connections;
mod dialect;
mod kv;
mod migration;
pub(crate) mod nodes;
pub(crate) mod objects;
#[path = "../queries/mod.rs"]
mod queries;
mod records;
mod session;
pub(crate) mod state_log;
pub(crate) mod transaction;

use connections::{Connection, Connections};
use queries::sql;
pub(crate) use queries::*;
use sqlx::Postgres as Database;
