//! The store on PostgreSQL (13 and later).
//!
//! - `connect`, `session`: opening and migrating
//! - `connections`, `transaction`, `attempts`: everything is asked through these
//! - `dialect`, `objects`, `records`: what is said otherwise than in SQLite
//! - `queries`: all the other queries
//! - `nodes`: the nodes that share the database
//! - `backup`: everything at once

pub(crate) mod attempts;
pub(crate) mod backup;
pub(crate) mod connect;
pub(crate) mod connections;
mod dialect;
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
