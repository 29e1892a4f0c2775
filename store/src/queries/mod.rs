//! The queries, each written once for both databases.
//!
//! This directory is compiled twice, as `postgres::queries` and `sqlite::queries`. The names that it uses exist in
//! both: `Connections`, `Connection`, `Database`, the functions of `transaction`, and `dialect` for SQL that differs.
//! Queries are plain SQL for both, with `$1` for parameters (sqlx numbers them in SQLite too), and `sql!` for queries
//! with parts of the dialect.

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod certificates;
pub(crate) mod deploys;
pub(crate) mod domains;
pub(crate) mod executions;
pub(crate) mod gc;
pub(crate) mod history;
pub(crate) mod lifecycle;
pub(crate) mod logs;
pub(crate) mod object_decode;
pub(crate) mod push;
pub(crate) mod recording;
pub(crate) mod refs;
pub(crate) mod retention;
pub(crate) mod revisions;
pub(crate) mod schedule_hold;
pub(crate) mod schedule_runs;
pub(crate) mod schedules;
pub(crate) mod secrets;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod tokens;

use super::{Connection, Connections, Database, dialect, kv, objects, records, transaction};

/// Formats SQL from trusted parts; values are bound.
macro_rules! sql {
    ($($text:tt)*) => { sqlx::AssertSqlSafe(format!($($text)*)) };
}
pub(super) use sql;
