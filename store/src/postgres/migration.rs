//! Migrations of the schema, and the check that no node of an earlier version is running.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use tokio::time::sleep;

use crate::cluster::NODE_TIMEOUT;
use crate::error::OpenError;

/// The migrations that rename or drop what nodes of earlier versions use: none of these may run next to them.
const INCOMPATIBLE: [i64; 1] = [33];

/// How often the table of nodes is read while waiting for nodes that may have stopped.
const NODE_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// SQLSTATE `object_in_use`: raised by an incompatible migration that finds a running node.
const OBJECT_IN_USE: &str = "55006";

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Runs the pending migrations. sqlx holds an advisory lock meanwhile: one node migrates, the others wait. The same lock is
/// taken before the check for older nodes, so that none can pass its own check of the schema in between.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<(), OpenError> {
    reject_foreign(connection).await?;
    connection.lock().await.map_err(OpenError::Migrate)?;
    let migrated = migrate_locked(connection).await;
    connection.unlock().await.ok();
    migrated
}

async fn migrate_locked(connection: &mut PgConnection) -> Result<(), OpenError> {
    wait_for_older_nodes(connection).await?;
    match MIGRATIONS.run(&mut *connection).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(OpenError::Newer { found }),
        // A node registered after the check.
        Err(MigrateError::ExecuteMigration(sqlx::Error::Database(error), _))
            if error.code().as_deref() == Some(OBJECT_IN_USE) =>
        {
            Err(older_nodes(&live_nodes(connection).await.map_err(failed)?))
        }
        Err(error) => Err(OpenError::Migrate(error)),
    }
}

/// A node in the schema before [`INCOMPATIBLE`] migrations, whose columns have other names since.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
struct OlderNode {
    id: String,
    name: String,
    version: String,
    heartbeat: String,
}

/// Rejects the migration while older nodes are running. One that has just stopped without leaving may still look alive: it is
/// waited for until its heartbeat is too old. One that sends another heartbeat is running.
async fn wait_for_older_nodes(connection: &mut PgConnection) -> Result<(), OpenError> {
    if !is_incompatible_pending(connection).await.map_err(failed)? {
        return Ok(());
    }
    let first = live_nodes(connection).await.map_err(failed)?;
    let mut live = first.clone();
    if !live.is_empty() {
        tracing::info!("migration waits for nodes of an earlier version to stop: {}", names(&live));
    }
    while !live.is_empty() {
        let running: Vec<_> = live.into_iter().filter(|node| !first.contains(node)).collect();
        if !running.is_empty() {
            return Err(older_nodes(&running));
        }
        sleep(NODE_POLL_INTERVAL).await;
        live = live_nodes(connection).await.map_err(failed)?;
    }
    Ok(())
}

/// Whether an incompatible migration is pending on a schema that has a table of nodes.
async fn is_incompatible_pending(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let migrated: bool = sqlx::query_scalar(
        "SELECT to_regclass('_sqlx_migrations') IS NOT NULL AND to_regclass('nodes') IS NOT NULL",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !migrated {
        return Ok(false);
    }
    sqlx::query_scalar("SELECT NOT $1 <@ coalesce(array_agg(version), '{}') FROM _sqlx_migrations")
        .bind(&INCOMPATIBLE[..])
        .fetch_one(connection)
        .await
}

/// The nodes with a recent heartbeat. The clock is the one that wrote it; a heartbeat that is far ahead is from before that
/// clock was set back.
async fn live_nodes(connection: &mut PgConnection) -> Result<Vec<OlderNode>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id::text AS id, name, program AS version, seen_at::text AS heartbeat FROM nodes
         WHERE seen_at BETWEEN clock_timestamp() - $1::float8 * interval '1 second'
             AND clock_timestamp() + interval '1 minute'
         ORDER BY name COLLATE \"C\", id",
    )
    .bind(NODE_TIMEOUT.as_secs_f64())
    .fetch_all(connection)
    .await
}

fn older_nodes(nodes: &[OlderNode]) -> OpenError {
    OpenError::OlderNodes { nodes: names(nodes) }
}

fn names(nodes: &[OlderNode]) -> String {
    nodes.iter().map(|node| format!("{} ({})", node.name, node.version)).collect::<Vec<_>>().join(", ")
}

fn failed(error: sqlx::Error) -> OpenError {
    OpenError::Migrate(error.into())
}

/// A database without our first migration must have no tables, except those of extensions such as PostGIS.
async fn reject_foreign(connection: &mut PgConnection) -> Result<(), OpenError> {
    let own = MIGRATIONS.iter().next().map(|first| first.checksum.to_vec());
    let migrated: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if migrated {
        let first: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT checksum FROM _sqlx_migrations ORDER BY version LIMIT 1")
                .fetch_optional(&mut *connection)
                .await
                .map_err(failed)?;
        return match first {
            Some((first,)) if Some(&first) != own.as_ref() => {
                Err(OpenError::Foreign { table: "_sqlx_migrations".to_owned() })
            }
            // No row: another node is about to run the first migration.
            _ => Ok(()),
        };
    }
    // Another node may run the first migration now, so the same query checks again that there are none.
    let table: Option<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
             AND to_regclass('_sqlx_migrations') IS NULL
             AND NOT EXISTS (SELECT FROM pg_depend
                             WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
         ORDER BY relname LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    table.map_or(Ok(()), |table| Err(OpenError::Foreign { table }))
}

/// The latest schema version of this binary.
pub(super) fn latest_version() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}
