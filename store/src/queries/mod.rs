//! The queries, each written once for both databases.
//!
//! This folder is compiled twice, as `postgres::queries` and as `sqlite::queries`. What it is written with has the same
//! names in both, and is that of the database: `Connections`, `Connection`, `Database`, the functions of `transaction`, and
//! `dialect`, the few words and queries that each has of its own. So a query is plain SQL that both understand, with `$1` for
//! what is bound (sqlx goes by the number in SQLite too), and `sql!` where it holds a word of the dialect.

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod certificates;
pub(crate) mod collection;
pub(crate) mod deploys;
pub(crate) mod domains;
pub(crate) mod executions;
pub(crate) mod history;
pub(crate) mod lifecycle;
pub(crate) mod logs;
pub(crate) mod object_rows;
pub(crate) mod push;
pub(crate) mod recording;
pub(crate) mod refs;
pub(crate) mod retention;
pub(crate) mod revisions;
pub(crate) mod schedule_hold;
pub(crate) mod schedule_runs;
pub(crate) mod schedules;
pub(crate) mod secrets;
pub(crate) mod status;
pub(crate) mod tokens;

use super::{Connection, Connections, Database, dialect, objects, records, transaction};

/// SQL that is put together, of words of ours alone: values are bound.
macro_rules! sql {
    ($($text:tt)*) => { sqlx::AssertSqlSafe(format!($($text)*)) };
}
pub(super) use sql;
