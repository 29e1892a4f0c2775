//! The store on PostgreSQL (13 and later).
//!
//! - `connect`, `session`, `migration`: opening and migrating the database
//! - `connections`, `transaction`, `attempts`: timeouts, outcomes of commits, retries
//! - `dialect`, `objects`, `records`, `kv`: what differs from SQLite
//! - `queries`: all other queries
//! - `nodes`: the nodes that share the database
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
mod transaction;

use connections::{Connection, Connections};
use queries::sql;
pub(crate) use queries::*;
use sqlx::Postgres as Database;
