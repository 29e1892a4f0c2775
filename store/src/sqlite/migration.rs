//! Migrations of the schema.

use sqlx::SqliteConnection;
use sqlx::migrate::{MigrateError, Migrator};

use crate::error::OpenError;

pub(super) static DATABASE: Migrator = sqlx::migrate!("migrations/sqlite");
pub(super) static STATE: Migrator = sqlx::migrate!("migrations/state");

/// Runs the pending migrations of the database.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    migrate_with(connection, &DATABASE).await
}

/// Runs the pending migrations of a file.
pub(super) async fn migrate_with(
    connection: &mut SqliteConnection,
    migrations: &Migrator,
) -> Result<(), OpenError> {
    reject_foreign(connection, migrations).await?;
    migrations.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found },
        error => OpenError::Migrate(error),
    })
}

/// A database without our first migration must have no tables.
pub(super) async fn reject_foreign(
    connection: &mut SqliteConnection,
    migrations: &Migrator,
) -> Result<(), OpenError> {
    let own = migrations.iter().next().map(|first| first.checksum.to_vec());
    let failed = |error: sqlx::Error| OpenError::Migrate(error.into());
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM main.sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    if tables.iter().any(|table| table == "_sqlx_migrations") {
        let first: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT checksum FROM _sqlx_migrations ORDER BY version LIMIT 1")
                .fetch_optional(&mut *connection)
                .await
                .map_err(failed)?;
        return match first {
            Some((first,)) if Some(&first) != own.as_ref() => {
                Err(OpenError::Foreign { table: "_sqlx_migrations".to_owned() })
            }
            _ => Ok(()),
        };
    }
    let foreign = tables.into_iter().find(|table| !table.starts_with("sqlite_"));
    foreign.map_or(Ok(()), |table| Err(OpenError::Foreign { table }))
}

/// The latest schema version of the database in this binary.
pub(crate) fn latest_version() -> i64 {
    latest_version_of(&DATABASE)
}

/// The latest schema version of a file in this binary.
pub(super) fn latest_version_of(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or_default()
}
