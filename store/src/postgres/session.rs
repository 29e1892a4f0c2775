//! Settings of each connection, and the check that no pooler shares it.
//!
//! They are set after connecting, because PgBouncer rejects connection parameters that it does not know.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::time::timeout;

use crate::error::OpenError;
use crate::{LOCK_TIMEOUT, PoolConfig};

/// The timeout of the statements that detect a pooler.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the check is repeated: other clients of the pooler may hide it by chance.
const PROBES: usize = 3;

/// JIT compilation takes longer than any of our queries.
const NO_JIT: (&str, &str) = ("jit", "off");

/// The settings of the connections of a node.
pub(crate) fn settings(pool: &PoolConfig) -> Vec<(&'static str, String)> {
    let milliseconds = pool.statement_timeout.as_millis().to_string();
    vec![
        ("statement_timeout", milliseconds.clone()),
        ("idle_in_transaction_session_timeout", milliseconds),
        ("lock_timeout", LOCK_TIMEOUT.as_millis().to_string()),
    ]
}

/// Applies settings to a connection.
pub(crate) async fn set<V: AsRef<str>>(
    connection: &mut PgConnection,
    settings: &[(&str, V)],
) -> Result<(), sqlx::Error> {
    let settings = settings.iter().map(|(name, value)| (*name, value.as_ref())).chain([NO_JIT]);
    let sets: Vec<String> = settings.map(|(name, value)| format!("SET {name} = '{value}'")).collect();
    sqlx::raw_sql(AssertSqlSafe(sets.join("; "))).execute(connection).await?;
    Ok(())
}

/// Rejects a pooler in transaction or statement mode: settings, prepared statements, notifications and locks of a
/// session would be lost or reach another client.
///
/// Clients cannot query the mode. But such a pooler has to move the first of two clients to another server connection
/// while the second one has an open transaction on the connection that the first one used last.
pub(crate) async fn reject_shared(
    first: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<(), OpenError> {
    for _ in 0..PROBES {
        match timeout(PROBE_TIMEOUT, PgConnection::connect_with(options)).await {
            Ok(Ok(mut second)) => reject_if_shared(first, &mut second).await?,
            // Without a second connection, none can share the first one.
            Ok(Err(_)) | Err(_) => return Ok(()),
        }
    }
    Ok(())
}

async fn reject_if_shared(first: &mut PgConnection, second: &mut PgConnection) -> Result<(), OpenError> {
    let unreachable = OpenError::Unreachable;
    let before = server_process(first).await.map_err(unreachable)?;
    let others = match timeout(PROBE_TIMEOUT, begin(second)).await {
        Ok(Ok(process)) => process,
        // A pooler in statement mode rejects transactions.
        Ok(Err(sqlx::Error::Database(_))) => return Err(OpenError::Shared),
        Ok(Err(error)) => return Err(unreachable(error)),
        // A pooler with a single connection in session mode.
        Err(_) => return Ok(()),
    };
    match timeout(PROBE_TIMEOUT, server_process(first)).await {
        Ok(Ok(after)) if after == before && after != others => Ok(()),
        // A pooler with a single connection that was handed to the other client.
        Ok(Ok(_)) | Err(_) => Err(OpenError::Shared),
        Ok(Err(error)) => Err(unreachable(error)),
    }
}

async fn begin(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    server_process(connection).await
}

/// The server process of a connection, queried without a prepared statement.
pub(crate) async fn server_process(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::raw_sql("SELECT pg_backend_pid()::text").fetch_one(connection).await?.try_get(0)
}
