//! What a node sets on each of its connections, and whether it stays set.
//!
//! It is set once a connection is there, not while it is made: PgBouncer refuses to connect with parameters that it does
//! not know.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::time::timeout;

use crate::error::OpenError;
use crate::{LOCK_WAIT_MAX, Pool};

/// How long a statement of the test for a pooler may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// How often is tested for a pooler: where others use it too, one test may find the first connection again by chance.
const TESTS: usize = 3;

/// Compiling a query takes longer than any of ours takes.
const ALWAYS: (&str, &str) = ("jit", "off");

/// The settings of a node's connections.
pub(crate) fn settings(pool: &Pool) -> Vec<(&'static str, String)> {
    let milliseconds = pool.statement.as_millis().to_string();
    vec![
        ("statement_timeout", milliseconds.clone()),
        ("idle_in_transaction_session_timeout", milliseconds),
        ("lock_timeout", LOCK_WAIT_MAX.as_millis().to_string()),
    ]
}

/// Sets them on a connection.
pub(crate) async fn set<V: AsRef<str>>(
    connection: &mut PgConnection,
    settings: &[(&str, V)],
) -> Result<(), sqlx::Error> {
    let settings = settings.iter().map(|(name, value)| (*name, value.as_ref())).chain([ALWAYS]);
    let sets: Vec<String> = settings.map(|(name, value)| format!("SET {name} = '{value}'")).collect();
    sqlx::raw_sql(AssertSqlSafe(sets.join("; "))).execute(connection).await?;
    Ok(())
}

/// Refuses a pooler that hands out another connection for each transaction or statement: what a node sets, prepares,
/// listens to and locks on a connection would be lost, or another client's.
///
/// It has no setting that a client could read. But it cannot help to move the first of two clients to another connection
/// while the second is within a transaction on the one that the first has just used.
pub(crate) async fn refuse_shared(
    first: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<(), OpenError> {
    for _ in 0..TESTS {
        match timeout(ANSWER_TIME_MAX, PgConnection::connect_with(options)).await {
            Ok(Ok(mut second)) => refuse_if_shared(first, &mut second).await?,
            // Where there is no other connection to be had, nobody can have a part of this one.
            Ok(Err(_)) | Err(_) => return Ok(()),
        }
    }
    Ok(())
}

async fn refuse_if_shared(first: &mut PgConnection, second: &mut PgConnection) -> Result<(), OpenError> {
    let unreachable = OpenError::Unreachable;
    let before = server_process(first).await.map_err(unreachable)?;
    let others = match timeout(ANSWER_TIME_MAX, begin(second)).await {
        Ok(Ok(process)) => process,
        // A pooler for single statements refuses transactions.
        Ok(Err(sqlx::Error::Database(_))) => return Err(OpenError::Shared),
        Ok(Err(error)) => return Err(unreachable(error)),
        // A pooler that has no second connection, and does not give away the first.
        Err(_) => return Ok(()),
    };
    match timeout(ANSWER_TIME_MAX, server_process(first)).await {
        Ok(Ok(after)) if after == before && after != others => Ok(()),
        // A pooler that has a single connection, and has given it away.
        Ok(Ok(_)) | Err(_) => Err(OpenError::Shared),
        Ok(Err(error)) => Err(unreachable(error)),
    }
}

async fn begin(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    server_process(connection).await
}

/// The server's process on the other end, asked without a prepared statement, which a pooler may lose too.
pub(crate) async fn server_process(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::raw_sql("SELECT pg_backend_pid()::text").fetch_one(connection).await?.try_get(0)
}
