//! Opening the database and bringing its tables up to date.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::timeout;

use crate::error::{OpenError, StoreError};

/// The most connections of one node.
const CONNECTIONS_MAX: u32 = 16;

/// How long a query waits for a connection.
const ACQUIRE_TIME_MAX: Duration = Duration::from_secs(5);

/// How long one statement may take. The largest push inserts within a fraction of it.
const STATEMENT_TIME_MAX: &str = "60s";

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

pub(crate) async fn open(url: &str) -> Result<PgPool, OpenError> {
    // A pool only says that it timed out; one connection says why.
    one(url, &[]).await?.close().await.ok();
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIME_MAX)
        .connect_with(options(url)?)
        .await
        .map_err(OpenError::Unreachable)?;
    migrate(&mut *pool.acquire().await.map_err(OpenError::Unreachable)?).await?;
    Ok(pool)
}

/// One connection, with `settings` of its own.
pub(crate) async fn one(url: &str, settings: &[(&str, &str)]) -> Result<PgConnection, OpenError> {
    let options = options(url)?.options(settings.iter().copied());
    let reached = timeout(ACQUIRE_TIME_MAX, PgConnection::connect_with(&options)).await;
    reached.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(OpenError::Unreachable)
}

fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let options: PgConnectOptions = url.parse().map_err(OpenError::Unreachable)?;
    Ok(options.application_name("picloud").options([
        ("statement_timeout", STATEMENT_TIME_MAX),
        ("idle_in_transaction_session_timeout", STATEMENT_TIME_MAX),
        // Compiling a query takes longer than any of ours takes.
        ("jit", "off"),
    ]))
}

/// Brings the tables up to date. sqlx holds an advisory lock meanwhile, so that of several nodes one migrates and the others
/// wait.
pub(crate) async fn migrate(connection: &mut PgConnection) -> Result<(), OpenError> {
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found },
        error => OpenError::Migrate(error),
    })
}

/// The version of the tables that this program knows.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

pub(crate) async fn ping(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}
