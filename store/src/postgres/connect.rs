//! Opening the database and bringing its tables up to date.

use std::time::Duration;

use sqlx::migrate::MigrateError;
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

pub(crate) async fn open(url: &str) -> Result<PgPool, OpenError> {
    let options: PgConnectOptions = url.parse().map_err(OpenError::Unreachable)?;
    let options = options.application_name("picloud").options([
        ("statement_timeout", STATEMENT_TIME_MAX),
        ("idle_in_transaction_session_timeout", STATEMENT_TIME_MAX),
        // Compiling a query takes longer than any of ours takes.
        ("jit", "off"),
    ]);
    // A pool only says that it timed out; one connection says why.
    let reached = timeout(ACQUIRE_TIME_MAX, PgConnection::connect_with(&options)).await;
    reached.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(OpenError::Unreachable)?.close().await.ok();
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIME_MAX)
        .connect_with(options)
        .await
        .map_err(OpenError::Unreachable)?;
    // sqlx holds an advisory lock meanwhile, so that of several nodes one migrates and the others wait.
    sqlx::migrate!("migrations/postgres").run(&pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found },
        error => OpenError::Migrate(error),
    })?;
    Ok(pool)
}

pub(crate) async fn ping(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query("SELECT 1").execute(pool).await?;
    Ok(())
}
