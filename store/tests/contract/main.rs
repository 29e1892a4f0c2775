//! Contract tests of the store. Each test runs on both databases unless it concerns only one.
//!
//! - `database`, `fixtures`: databases and sample data of the tests
//! - `push`, `ref_updates`, `concurrency`: the transaction of a push
//! - `domains`: custom domains
//! - `gc`: garbage collection
//! - `disk`: disk usage and quotas
//! - `lifecycle`: stopping, renaming and deleting apps
//! - `limits`: limits of apps
//! - `objects`: git objects and deltas
//! - `schedules`: schedules, claims and leases
//! - `records`: executions and logs
//! - `state`, `shared_state`, `state_backup`: the state of apps, also with several nodes
//! - `access`, `secrets`: tokens, the audit log, secrets
//! - `read_order`, `query_plans`: order of results, use of indexes
//! - `nodes`: heartbeats, notifications and applied generations
//! - `unresponsive_server`: timeouts, locks and conflicts in PostgreSQL
//! - `status`: what needs attention of the operator
//! - `certificates`: certificate grants for previews
//! - `backup`: backup and restore
//! - `open`, `migration`: which databases are accepted, and the migration of earlier schemas

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

/// Turns each function into two tests, `postgres::` and `sqlite::`, each with an empty database.
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                crate::database::on_postgres(super::$name).await
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                crate::database::on_sqlite(super::$name).await
            })*
        }
    };
}

mod access;
mod backup;
mod certificates;
mod concurrency;
mod database;
mod disk;
mod domains;
mod fixtures;
mod gc;
mod lifecycle;
mod limits;
mod migration;
mod nodes;
mod objects;
mod open;
mod push;
mod query_plans;
mod read_order;
mod records;
mod ref_updates;
mod schedules;
mod secrets;
mod shared_state;
mod state;
mod state_backup;
mod status;
mod unresponsive_server;
